"""Where a corpus is looked for, how it is placed, and what is said when it is nowhere."""

import errno
import importlib
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from serct.config.params import Params
from serct.config.reader import read_params
from serct.data.corpora import (
    READERS,
    CorpusParams,
    Sources,
    build_corpus,
    emodb,
    obtain_corpus,
    read_corpus_params,
    verify_corpus,
)
from serct.data.corpora.emodb import Emodb
from serct.data.download import no_progress
from serct.data.reading import corpus
from serct.errors import CorpusError, DownloadError, ParamsError
from tests.recordings import write_recording

EMODB = CorpusParams(reader="emodb")
TESS = CorpusParams(reader="tess")


@pytest.fixture
def one_clip(monkeypatch):
    """An EMO-DB of one clip, whatever it holds."""
    monkeypatch.setattr(Emodb, "originals", lambda self: {})
    monkeypatch.setattr(Emodb, "num_utterances", 1)


def sources(tmp_path, offline=True):
    (tmp_path / "mirror").mkdir(exist_ok=True)
    return Sources(mirror=tmp_path / "mirror", cache=tmp_path / "cache", offline=offline)


def obtain(tmp_path, **changes):
    obtain_corpus("emodb", EMODB, tmp_path / "raw", sources(tmp_path, **changes), no_progress)


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("true", True), ("0", False), ("False", False), ("", False)]
)
def test_environment(tmp_path, value, offline):
    environment = {"SERCT_MIRROR": str(tmp_path), "SERCT_CACHE": "~/cache", "SERCT_OFFLINE": value}
    assert Sources.from_environment(environment) == Sources(
        mirror=tmp_path, cache=Path("~/cache").expanduser(), offline=offline
    )


def test_empty_environment():
    found = Sources.from_environment({})
    assert (found.mirror, found.offline) == (None, False)
    assert "serct" in str(found.cache)


def test_mirror_that_does_not_exist_is_not_passed_over():
    with pytest.raises(DownloadError, match="SERCT_MIRROR is '/no/such', expected an existing"):
        Sources.from_environment({"SERCT_MIRROR": "/no/such"})


@pytest.mark.usefixtures("one_clip")
def test_mirror_comes_before_the_cache_and_is_linked(tmp_path):
    original = write_recording(tmp_path / "mirror" / "emodb" / "wav" / "03a01Fa.wav")
    write_recording(tmp_path / "cache" / "emodb" / "03a01Wa.wav")
    obtain(tmp_path)
    [placed] = (tmp_path / "raw").rglob("*.wav")
    assert placed == tmp_path / "raw" / "wav" / "03a01Fa.wav"
    assert placed.samefile(original)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "mirror", "raw"]


@pytest.mark.usefixtures("one_clip")
def test_mirror_on_another_device_is_copied(tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    original = write_recording(tmp_path / "mirror" / "emodb" / "03a01Fa.wav")
    original.chmod(0o444)
    obtain(tmp_path)
    [placed] = (tmp_path / "raw").rglob("*.wav")
    assert not placed.samefile(original)
    assert placed.read_bytes() == original.read_bytes()


@pytest.mark.usefixtures("one_clip")
@pytest.mark.parametrize("name", ["emodb.zip", "download.zip"])
@pytest.mark.parametrize("place", ["mirror", "cache"])
def test_archives_are_found_too(tmp_path, name, place):
    recording = write_recording(tmp_path / "03a01Fa.wav")
    (tmp_path / place).mkdir()
    with zipfile.ZipFile(tmp_path / place / name, "w") as file:
        file.write(recording, "wav/03a01Fa.wav")
    obtain(tmp_path)
    assert (tmp_path / "raw" / "wav" / "03a01Fa.wav").exists()
    whole = (tmp_path / place / name).read_bytes()
    (tmp_path / place / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DownloadError, match=r"cut off\nPut a whole copy in its place, or remove it"
    ):
        obtain(tmp_path)


@pytest.mark.usefixtures("one_clip")
def test_links_in_the_mirror_are_followed(tmp_path):
    elsewhere = write_recording(tmp_path / "elsewhere" / "03a01Fa.wav").parent
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "emodb").symlink_to(elsewhere)
    obtain(tmp_path)
    assert not (tmp_path / "raw" / "03a01Fa.wav").is_symlink()


def test_linked_folders_inside_a_copy_are_followed(tmp_path, one_clip):
    elsewhere = write_recording(tmp_path / "elsewhere" / "03a01Fa.wav").parent
    (tmp_path / "mirror" / "emodb").mkdir(parents=True)
    (tmp_path / "mirror" / "emodb" / "wav").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(elsewhere)
    obtain(tmp_path)
    assert (tmp_path / "raw" / "wav" / "03a01Fa.wav").is_file()
    assert not (tmp_path / "raw" / "wav" / "loop").exists()


def test_a_copy_that_is_not_whole_is_refused(tmp_path, one_clip):
    write_recording(tmp_path / "mirror" / "emodb" / "03a01Fa.wav")
    (tmp_path / "mirror" / "emodb" / "more").symlink_to(tmp_path / "unmounted")
    with pytest.raises(CorpusError, match=r"listed as a whole:\n  more: a link to .*unmounted"):
        obtain(tmp_path)


def test_offline_says_what_is_missing_where_and_how_to_get_it(tmp_path):
    with pytest.raises(DownloadError, match="emodb: not found, and SERCT_OFFLINE") as caught:
        obtain(tmp_path)
    message = str(caught.value)
    for part in (
        "folder emodb or EmoDB or EMODB",
        "archive emodb or EmoDB or EMODB or download ending in .zip, .tar, .tar.gz, .tgz",
        f"the mirror {tmp_path / 'mirror'}",
        f"the cache {tmp_path / 'cache'}",
        "http://emodb.bilderbar.info/download/download.zip",
    ):
        assert part in message
    assert not (tmp_path / "raw").exists()
    with pytest.raises(DownloadError, match="tess: 2800 of 2800 files not found or damaged"):
        obtain_corpus("tess", TESS, tmp_path / "raw", sources(tmp_path), no_progress)


def test_failure_keeps_the_corpus_that_was_there(tmp_path):
    old = write_recording(tmp_path / "raw" / "old.wav")
    with pytest.raises(DownloadError):
        obtain(tmp_path)
    assert old.exists()


@pytest.mark.usefixtures("one_clip")
def test_page_in_place_of_the_archive_is_not_kept(tmp_path, monkeypatch):
    def download(remote, destination, progress):
        destination.write_text("<html>Please log in</html>")

    monkeypatch.setattr(corpus, "download", download)
    with pytest.raises(DownloadError, match="neither a zip nor a tar archive"):
        obtain(tmp_path, offline=False)
    assert not (tmp_path / "cache" / "emodb.zip").exists()


@pytest.mark.usefixtures("one_clip")
def test_downloaded_archive_is_kept_for_the_next_time(tmp_path, monkeypatch):
    recording = write_recording(tmp_path / "03a01Fa.wav")

    def download(remote, destination, progress):
        assert remote.url == "http://emodb.bilderbar.info/download/download.zip"
        with zipfile.ZipFile(destination, "w") as file:
            file.write(recording, "wav/03a01Fa.wav")

    monkeypatch.setattr(corpus, "download", download)
    obtain(tmp_path, offline=False)
    monkeypatch.setattr(corpus, "download", None)
    obtain(tmp_path, offline=True)
    assert (tmp_path / "raw" / "wav" / "03a01Fa.wav").exists()


@pytest.mark.usefixtures("one_clip")
def test_verifying_again_finds_what_has_gone(tmp_path):
    write_recording(tmp_path / "mirror" / "emodb" / "03a01Fa.wav")
    obtain(tmp_path)
    summary = verify_corpus("emodb", EMODB, tmp_path / "raw", no_progress)
    assert summary == "emodb: 1 utterances, 0 of them verified by SHA-256"
    (tmp_path / "raw" / "03a01Fa.wav").unlink()
    with pytest.raises(DownloadError, match="found 0 usable utterances, expected 1"):
        summary = verify_corpus("emodb", EMODB, tmp_path / "raw", no_progress)
    assert summary == "emodb: 1 utterances, 0 of them verified by SHA-256"
    (tmp_path / "raw").rmdir()
    with pytest.raises(CorpusError, match="no such folder"):
        verify_corpus("emodb", EMODB, tmp_path / "raw", no_progress)


def test_unexpected_names_are_refused_with_a_complete_list(tmp_path, monkeypatch):
    stems = list(build_corpus("emodb", EMODB).originals())
    monkeypatch.setattr(Emodb, "originals", lambda self: {})
    monkeypatch.setattr(Emodb, "num_utterances", 0)
    write_recording(tmp_path / "mirror" / "emodb" / "03a01Nz.wav")
    assert "03a01Nz" not in stems
    with pytest.raises(DownloadError, match=r"03a01Nz\.wav: not a file of this corpus"):
        obtain(tmp_path)


@pytest.mark.usefixtures("one_clip")
def test_progress_is_shown_for_placing_and_verifying(tmp_path):
    shown = []

    @contextmanager
    def progress(total, label, unit="it"):
        done = []
        yield lambda count=1: done.append(count)
        shown.append((label, total, sum(done), unit))

    write_recording(tmp_path / "mirror" / "emodb" / "03a01Fa.wav")
    obtain_corpus("emodb", EMODB, tmp_path / "raw", sources(tmp_path), progress)
    assert shown == [("placing emodb", 1, 1, "files"), ("verifying emodb", 1, 1, "files")]


def test_unknown_reader_is_named_beside_the_known_ones():
    params = Params({"corpora": {"mine": {"reader": "tesss"}, "other": {"path": "x"}}})
    expected = r"corpora\.mine\.reader is 'tesss': expected one of audformat, .*, savee, tess$"
    with pytest.raises(ParamsError, match=expected):
        read_corpus_params(params, "mine")
    with pytest.raises(ParamsError, match=r"corpora\.other\.reader is missing$"):
        read_corpus_params(params, "other")


def test_readers_are_the_files_of_the_folder():
    folder = Path(emodb.__file__).parent
    assert set(READERS) == {path.stem for path in folder.glob("*.py")} - {"__init__"}
    for reader in READERS:
        module = importlib.import_module(f"serct.data.corpora.{reader}")
        named = [
            each.model_fields["reader"].annotation
            for each in vars(module).values()
            if isinstance(each, type)
            and issubclass(each, CorpusParams)
            and each is not CorpusParams
        ]
        assert named in ([], [Literal[reader]])


def test_file_without_a_corpus_says_so(monkeypatch):
    monkeypatch.delattr(emodb, "Emodb")
    with pytest.raises(CorpusError, match=r"emodb\.py: expected one class derived from Corpus, fo"):
        build_corpus("emodb", EMODB)


def test_every_corpus_of_params_yaml_can_be_described():
    root = Path(__file__).parents[2]
    params = read_params(root / "params.yaml")
    corpora = {name: read_corpus_params(params, name) for name in params.corpora}
    about = {name: build_corpus(name, entry) for name, entry in corpora.items()}
    own = {"folder", "audformat"}
    assert {entry.reader for entry in corpora.values()} | own == set(READERS)
    assert about["tess"].num_utterances == 2800
    assert about["esd_en"].num_utterances == about["esd_zh"].num_utterances == 17_500
    assert about["esd_zh"].language == "zh"
    assert {name for name, each in about.items() if each.is_synthetic} == {
        "demo_en",
        "demo_de",
        "demo_zh",
    }
    assert all(each.licence and each.title for each in about.values())
