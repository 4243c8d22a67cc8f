"""Corpora in the formats of other programs, read back by those programs and by this one."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import audformat
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

from serct.cli import app
from serct.config.params import Params
from serct.data.corpora import Sources, build_corpus, obtain_corpus, read_corpus_params, scan_corpus
from serct.data.download import no_progress
from serct.data.exporting import FORMATS, Export, export_corpus
from serct.data.manifest import Utterance, inspect_recordings, read_manifest, write_manifest
from serct.data.splitting import split_utterances
from serct.errors import BackendUnavailableError, CorpusError, ManifestError
from tests.recordings import write_recording

SPEAKERS = {"03": "f", "8": "m", "anna": ""}


def prepare(data: Path, name: str, entry: dict[str, Any], params: Params) -> list[Utterance]:
    """Run what the stages download and manifest do."""
    sources = Sources(mirror=None, cache=data / "cache", offline=True)
    section = read_corpus_params(Params({"corpora": {name: entry}}), name)
    obtain_corpus(name, section, data / "raw" / name, sources, no_progress)
    scan = scan_corpus(section, data / "raw" / name)
    language = build_corpus(name, section).language
    found, rejections = inspect_recordings(data / "raw" / name, scan, name, language, params.checks)
    assert not rejections
    write_manifest(data / "manifests" / f"{name}.csv", split_utterances(found, params.split, 3))
    return read_manifest(data / "manifests" / f"{name}.csv")


@pytest.fixture(scope="module")
def mine(tiny_params: Params, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A prepared corpus of three speakers, one without a gender, and its folder ``data``."""
    root = tmp_path_factory.mktemp("mine")
    rows = ["path,emotion,speaker,gender,text"]
    for number, (speaker, gender) in enumerate(SPEAKERS.items()):
        for emotion in ("angry", "sad"):
            for text in ("001", "t,2", "t3", ""):
                path = f"train/day {number}/{speaker}_{emotion}_{text[-1:]}.wav"
                write_recording(root / "mine" / path, seconds=0.06 + 0.01 * number)
                rows.append(f'{path},{emotion},{speaker},{gender},"{text}"')
    (root / "mine" / "labels.csv").write_text("\n".join(rows) + "\n")
    entry = {
        "reader": "folder",
        "path": str(root / "mine"),
        "table": "labels.csv",
        "language": "de",
    }
    prepare(root / "data", "mine", entry, tiny_params)
    section = read_corpus_params(Params({"corpora": {"mine": entry}}), "mine")
    return root / "data", build_corpus("mine", section)


@pytest.fixture
def export(mine: tuple[Path, Any]) -> Callable[[str, Path], Export]:
    data, corpus = mine
    return lambda kind, out: export_corpus(corpus, data, kind, out, no_progress)


def with_own_parts(params: Params) -> Params:
    """Return params with which each corpus keeps the division that it has."""
    return params.replace(split=params.split.model_copy(update={"protocol": "file"}))


def bare(utterances: list[Utterance], *left_out: str) -> list[Utterance]:
    return [replace(each, corpus="", **dict.fromkeys(left_out, "")) for each in utterances]


@pytest.mark.parametrize("word", ["03", "NA"])
def test_a_database_comes_back_as_the_same_manifest(export, tiny_params, mine, tmp_path, word):
    data, corpus = mine
    # A speaker called NA is nobody in a CSV of audformat.
    changes = {"speaker": word, "language": "pl" if word == "NA" else "de"}
    before = [
        replace(each, **changes) if each.speaker == "03" else each
        for each in read_manifest(data / "manifests" / "mine.csv")
    ]
    copy = tmp_path / "data"
    write_manifest(copy / "manifests" / "mine.csv", before)
    (copy / "raw").mkdir()
    (copy / "raw" / "mine").symlink_to(data / "raw" / "mine")
    export_corpus(corpus, copy, "audformat", tmp_path / "db", no_progress)
    database = audformat.Database.load(str(tmp_path / "db"), load_data=True)
    languages = ["deu"] if word == "03" else ["deu", "pol"]
    assert (database.usage, database.languages) == ("research", languages)
    assert database.license == "yours to know"
    assert set(database.tables) == {
        "files", "emotion", "emotion.train", "emotion.dev", "emotion.test",
    }  # fmt: skip
    assert database["emotion"]["emotion"].get().tolist() == [u.emotion for u in before]
    assert database["files"]["duration"].get().dt.total_seconds().tolist() == pytest.approx(
        [u.duration_s for u in before]
    )
    own = {u.path: u.split for u in before}
    for kind, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        assert {own[path] for path in database[f"emotion.{kind}"].index} == {split}
    suffix = ".csv" if word == "03" else ".parquet"
    assert (tmp_path / "db" / f"db.files{suffix}").exists()
    entry = {"reader": "audformat", "path": str(tmp_path / "db")}
    after = prepare(tmp_path / "again", "back", entry, with_own_parts(tiny_params))
    assert bare(after) == bare(before)


def test_open_licences_alone_permit_every_use(mine, tmp_path, monkeypatch):
    data, corpus = mine
    for number, (licence, usage) in enumerate(
        {
            "CC BY 4.0": "unrestricted", "public domain": "unrestricted",
            "CC BY-NC-SA 4.0": "research", "CC BY-SA 4.0": "research",
        }.items()
    ):  # fmt: skip
        monkeypatch.setattr(type(corpus), "licence", licence)
        out = tmp_path / str(number)
        assert export_corpus(corpus, data, "audformat", out, no_progress).licence == licence
        header = audformat.Database.load(str(out))
        assert (header.usage, header.license) == (usage, licence)


def test_an_audiofolder_is_what_datasets_reads(export, mine, tmp_path, monkeypatch):
    before = read_manifest(mine[0] / "manifests" / "mine.csv")
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(variable, "1")
    import datasets

    export("audiofolder", tmp_path / "out")
    # The corpus has a folder "train", so that names of folders alone would mislead.
    # datasets imports torchcodec before it notes a path, for which it does not use it.
    torchcodec = ModuleType("torchcodec.encoders")
    torchcodec.AudioEncoder = None
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.encoders", torchcodec)
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert set(found) == {"train", "validation", "test"}
    rows = {
        (split, Path(row["audio"]["path"]).name): row
        for split, part in found.items()
        for row in part.cast_column("audio", datasets.Audio(decode=False))
    }
    assert all(Path(row["audio"]["path"]).is_file() for row in rows.values())
    expected = {
        (u.split, Path(u.path).name): (u.emotion, u.speaker, u.gender, u.text_id, u.language)
        for u in before
    }
    assert expected == {
        key: (row["label"], row["speaker"], row["gender"], row["text_id"], row["language"])
        for key, row in rows.items()
    }
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "- Licence: yours to know" in card


def test_a_table_and_files_are_what_the_reader_folder_reads(export, tiny_params, mine, tmp_path):
    before = read_manifest(mine[0] / "manifests" / "mine.csv")
    export("csv", tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "labels.csv", dtype=str, keep_default_na=False)
    assert table["split"].tolist() == [u.split for u in before]
    entry = {"reader": "folder", "path": str(tmp_path / "out"), "table": "labels.csv"}
    kept = with_own_parts(tiny_params)
    after = prepare(tmp_path / "data", "mine", entry | {"language": "de"}, kept)
    assert bare(after) == bare(before)


def test_recordings_are_not_encoded_anew(export, mine, tmp_path):
    sources = {p.name: p.read_bytes() for p in (mine[0] / "raw" / "mine").rglob("*.wav")}
    for kind in FORMATS:
        export(kind, tmp_path / kind)
        assert {p.name: p.read_bytes() for p in (tmp_path / kind).rglob("*.wav")} == sources


def test_whole_or_not_at_all(export, mine, tmp_path, monkeypatch):
    data, corpus = mine
    with pytest.raises(
        CorpusError, match="format 'wav', expected one of audformat, audiofolder, c"
    ):
        export("wav", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    with pytest.raises(CorpusError, match="full: exists already, expected a new folder for --out"):
        export("csv", tmp_path / "full")
    with pytest.raises(
        ManifestError, match=r"mine\.csv: no such file; the manifest stage writes it"
    ):
        export_corpus(corpus, tmp_path, "csv", tmp_path / "out", no_progress)
    manifest = (data / "manifests" / "mine.csv").read_text("utf-8")
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "mine.csv").write_text(manifest, "utf-8")
    with pytest.raises(CorpusError, match="mine: 24 recordings of the manifest are missing"):
        export_corpus(corpus, tmp_path, "csv", tmp_path / "out", no_progress)
    monkeypatch.setitem(sys.modules, "audformat", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'serct\[audformat\]'"):
        export("audformat", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"full", "manifests"}


def test_the_command_names_the_licence(mine, tmp_path):
    data, corpus = mine
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "data").symlink_to(data)
    from tests.conftest import ROOT, shrink

    shrink(
        ROOT / "params.yaml",
        workspace / "params.yaml",
        corpora={"mine": corpus.params.model_dump()},
    )
    command = ["corpora", "export", "mine", "--format", "csv", "--workspace", str(workspace)]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    assert "24 utterances of mine" in done.output
    assert "The licence binds copies as well: yours to know" in done.output
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "b"), "--json"])
    found = json.loads(done.stdout)
    assert found["utterances"] == 24
    assert soundfile.info(next((tmp_path / "b").rglob("*.wav"))).samplerate == 16000


def test_synthetic_speech_comes_back_from_audformat_as_it_was(tiny_params, tmp_path):
    """With words, speakers and genders of a real reader, and the same digests of samples."""
    entry = {
        "reader": "demo", "language": "en", "emotions": ["angry", "sad"], "num_speakers": 2,
        "num_texts": 3,
    }  # fmt: skip
    before = prepare(tmp_path / "data", "demo_en", entry, tiny_params)
    section = read_corpus_params(Params({"corpora": {"demo_en": entry}}), "demo_en")
    corpus, out = build_corpus("demo_en", section), tmp_path / "db"
    export_corpus(corpus, tmp_path / "data", "audformat", out, no_progress)
    read = {"reader": "audformat", "path": str(out)}
    after = prepare(tmp_path / "again", "back", read, with_own_parts(tiny_params))
    assert len(after) == 12
    assert bare(after) == bare(before)
