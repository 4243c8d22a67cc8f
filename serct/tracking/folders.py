"""The folders that the stages write, as tracking reads them."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from serct.config.files import read_rows, read_text
from serct.config.record import Record
from serct.errors import TrackingError
from serct.evaluation.records import METRICS_FILE, Confusion, EvaluationMetrics, ZeroShotMetrics
from serct.models.records import CARD, ESTIMATOR, RUN, WEIGHTS, Card, RunRecord, read_history
from serct.reports.model_card import model_card
from serct.runtime.digests import check_files, file_digests


@dataclass(frozen=True)
class ModelFolder:
    """A trained model's folder, data/models/<corpus>-<model>; it is never written to.

    Its `run.json` may name a run that no longer exists, so runs are found by fingerprint.

    Attributes:
        path: Absolute.
        card: Content of card.json.
        run: Content of run.json.
        history: Rows of history.csv, finite numbers alone.
    """

    path: Path
    card: Mapping[str, Any]
    run: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]

    @classmethod
    def read(cls, path: Path) -> "ModelFolder":
        """Read a folder.

        Raises:
            TrackingError: If a file is missing or not readable.
        """
        path = path.resolve()
        card = Card.read(path / CARD, error=TrackingError)
        run = RunRecord.read(path / RUN, error=TrackingError)
        try:
            datetime.fromisoformat(run.started_at)
        except ValueError as error:
            raise TrackingError(
                f"{path / RUN}: started_at is {run.started_at!r}, expected ISO 8601"
            ) from error
        rows = read_history(path, error=TrackingError)
        history = tuple({k: v for k, v in row.items() if math.isfinite(v)} for row in rows)
        return cls(path, card.as_json(), run.as_json(), history)

    @property
    def fingerprint(self) -> str:
        """Digest of parameters, data and seed."""
        return str(self.card["fingerprint"])

    @property
    def started_ms(self) -> int:
        """When training began, in ms since 1970."""
        return int(datetime.fromisoformat(self.run["started_at"]).timestamp() * 1000)

    @property
    def ended_ms(self) -> int:
        """When training ended, in ms since 1970."""
        return self.started_ms + int(float(self.run["seconds"]) * 1000)

    @cached_property
    def weights_digest(self) -> str:
        """SHA-256 of the weights: differs between two trainings with the same fingerprint.

        Raises:
            TrackingError: If the weights are not those that the card lists.
        """
        check_files(self.path, self.card["files"], CARD, TrackingError)
        return digest_of_weights(self.path, self.card["files"])

    @property
    def description(self) -> str:
        """The model card for people, before the model is tested."""
        return model_card(Card.read(self.path / CARD, error=TrackingError))

    def split_counts(self) -> dict[str, Counter[str]]:
        """Count the utterances of each emotion in each split, {} if the manifest is not there."""
        path = self.path.parents[1] / "manifests" / f"{self.card['corpus']}.csv"
        counts: dict[str, Counter[str]] = {}
        if path.exists():
            for row in read_rows(path, ("split", "emotion"), error=TrackingError):
                counts.setdefault(row["split"], Counter())[row["emotion"]] += 1
        return counts


def digest_of_weights(folder: Path, files: Mapping[str, str]) -> str:
    """Compute the SHA-256 over those of a model's weights.

    Args:
        folder: The model's.
        files: As its card lists them; none in a card before version 4, then the files are read.
    """
    names = (WEIGHTS, ESTIMATOR)
    found = files or file_digests(folder, names)
    digests = [bytes.fromhex(found[name]) for name in names if name in found]
    return hashlib.sha256(b"".join(digests)).hexdigest()


@dataclass(frozen=True)
class ResultsFolder:
    """A folder of results of one model: of its own test part, or zero-shot on other corpora.

    Attributes:
        path: Absolute.
        metrics: Content of metrics.json.
    """

    path: Path
    metrics: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "ResultsFolder":
        """Read a folder.

        Raises:
            TrackingError: If metrics.json is missing or not readable, or a file beside it is not
                the one that it lists.
        """
        path = path.resolve()
        metrics = path / METRICS_FILE
        kind: type[Record] = EvaluationMetrics
        with suppress(ValueError, TypeError):  # content that is no mapping gets its error below
            if "targets" in json.loads(read_text(metrics, "", TrackingError)):
                kind = ZeroShotMetrics
        content = kind.read(metrics, error=TrackingError).as_json()
        check_files(path, content["files"], METRICS_FILE, TrackingError)
        return cls(path, content)

    @property
    def kind(self) -> str:
        """The name under which a run shows the results: a tag and a folder of artifacts."""
        return "zero_shot" if "targets" in self.metrics else "evaluation"

    def confusions(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield each confusion matrix with the name of its file, without the suffix."""
        for path in sorted(self.path.glob("confusion*.json")):
            yield path.stem, Confusion.read(path, error=TrackingError).as_json()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of names and content of all files."""
        digest = hashlib.sha256()
        for path in sorted(self.path.rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(self.path)}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()
