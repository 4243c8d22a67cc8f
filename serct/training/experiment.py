"""One tracked training: from shards and parameters to a model folder and its run."""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from serct import __version__
from serct.config.params import Params
from serct.data.dataset import ShardDataset
from serct.models import read_model_params
from serct.models.calibration import Calibration, calibrate
from serct.models.checkpoint import save_model
from serct.models.records import HISTORY, IMPORTANCE, RUN, Card, Machine, RunRecord, write_history
from serct.models.reference import Reference
from serct.runtime import atomic, distributed, machine
from serct.runtime.atomic import write_json
from serct.runtime.digests import file_digests
from serct.tracking.process_tags import process_source
from serct.tracking.run_logger import tracked
from serct.training.fitted import Fitted
from serct.training.fitting import fingerprint, fit
from serct.training.reference import measure_reference


def train_and_track(
    params: Params, name: str, shards: Path, state: Path, out: Path, encoders: Path | None = None
) -> None:
    """Train one entry of ``models`` on one corpus, and write its folder.

    MLflow shows a training that lasts while it goes on; the report stage shows every other one.
    `torchrun` may start this in several processes, which then train together; the first one alone
    writes.

    Args:
        params: All parameters.
        name: The entry under ``models``.
        shards: The corpus.
        state: Where the unfinished training is kept; removed at the end.
        out: Folder to make; whole or not at all.
        encoders: See `serct.training.fitting.fit`.

    Raises:
        TrainingError: If training cannot go on.
        ShardError: If the shards are not usable.
    """
    train = params.train_params(name)
    with distributed.joined(train.device):
        _train_and_track(params, name, shards, state, out, encoders)


def _train_and_track(
    params: Params, name: str, shards: Path, state: Path, out: Path, encoders: Path | None
) -> None:
    model, train = read_model_params(params, name), params.train_params(name)
    train_set = ShardDataset(shards, ["train"])
    validation_set = ShardDataset(shards, ["validation"], train_set.emotions)
    meta = train_set.meta
    mark = fingerprint(model, train, params.seed, meta.digest)
    known = {
        "name": name, "architecture": model.model_dump(mode="json"), "corpus": meta.corpus,
        "corpora": _corpora(train_set),
        "language": meta.language, "synthetic": meta.synthetic, "protocol": meta.protocol,
        "audio": meta.audio, "sample_rate_hz": meta.sample_rate_hz, "emotions": train_set.emotions,
        "majority_emotion": train_set.emotions[int(np.bincount(train_set.labels).argmax())],
        "seed": params.seed, "training": model.used_settings(train),
        "digests": {"manifest": meta.manifest_digest, "shards": meta.digest},
        "versions": {"serct": __version__, "torch": version("torch"), "numpy": np.__version__},
        "fingerprint": mark,
    }  # fmt: skip
    with tracked(params.tracking, known) as run:
        fitted = fit(
            model, train, params.seed, train_set, validation_set, state,
            on_epoch=lambda row: run.log_epoch(row.columns()), encoders=encoders,
        )  # fmt: skip
        calibration = calibrate(fitted.validation, validation_set.labels, train.max_error)
        if distributed.rank() > 0:
            return
        served = fitted.validation
        if fitted.without_enrolment is not None:
            served = fitted.without_enrolment
        reference = measure_reference(validation_set, served, calibration)
        with atomic.replacing_folder(out) as folder:
            save_model(folder, fitted.model, _card(known, fitted, calibration, reference))
            write_history(folder, fitted.history)
            if fitted.importance is not None:
                write_json(folder / IMPORTANCE, fitted.importance.as_json())
            listed = file_digests(folder, [HISTORY, IMPORTANCE])
            record = _run_record(params, mark, run.id, fitted, listed)
            write_json(folder / RUN, record.as_json())
        state.unlink(missing_ok=True)
        run.finish(out)


def _corpora(train_set: ShardDataset) -> dict[str, dict[str, Any]]:
    """Return what a training part is of, as `serct.models.records.Card.corpora`."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(row.corpus for row in train_set.rows):
        own = [row for row in train_set.rows if row.corpus == name]
        found[name] = {
            "language": own[0].language, "utterances": len(own),
            "speakers": len({row.speaker for row in own} - {""}),
        }  # fmt: skip
    return found


def _card(
    known: dict[str, Any], fitted: Fitted, calibration: Calibration, reference: Reference | None
) -> Card:
    best = fitted.best
    content = {
        **known, "num_parameters": fitted.num_parameters, "best_epoch": fitted.best_epoch,
        "validation": {"loss": best.validation_loss, **best.validation},
        "calibration": calibration.model_dump(mode="json"),
        "reference": reference and reference.model_dump(mode="json"),
    }  # fmt: skip
    return Card.parse(json.dumps(content), "card.json")


def _run_record(
    params: Params, mark: str, run_id: str | None, fitted: Fitted, files: dict[str, str]
) -> RunRecord:
    return RunRecord(
        run_id=run_id, experiment=params.tracking.experiment, fingerprint=mark,
        started_at=fitted.started_at, seconds=sum(row.seconds for row in fitted.history),
        device=fitted.device, processes=distributed.size(),
        machine=Machine(**asdict(machine.machine())), files=files, **process_source(),
    )  # fmt: skip
