"""TESS: labels from names, every known oddity, and the download file by file."""

import hashlib
import json
import os
import random
from collections import Counter
from http.server import ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest

from serct.config.params import CheckParams
from serct.data.audio import read_recording
from serct.data.corpora import CorpusParams, Sources, obtain_corpus, scan_corpus, tess
from serct.data.corpora.tess import Tess
from serct.data.download import no_progress
from serct.data.manifest import inspect_recordings
from serct.data.reading import piecewise
from serct.data.reading.verification import Original, read_originals
from serct.errors import CorpusError, DownloadError
from tests.recordings import insert_chunk, write_recording
from tests.web import QuietHandler, in_background

TESS = CorpusParams(reader="tess")
CHECKS = CheckParams(silence_peak=0.0001, max_duration_s=600.0, max_rejected=0)
MIRROR = os.environ.get("SERCT_MIRROR", "")
needs_mirror = pytest.mark.skipif(
    not (MIRROR and Path(MIRROR, "tess").is_dir()), reason="SERCT_MIRROR holds no tess"
)


def labels(scan):
    return {(clip.path, clip.speaker, clip.text_id, clip.emotion) for clip in scan.utterances}


def test_label_speaker_and_word_come_from_the_name(tmp_path):
    for name in (
        "OAF_Fear/OAF_back_fear.wav",
        "OAF_Pleasant_surprise/OAF_bar_ps.wav",
        "OAF_neutral/OA_bite_neutral.wav",
        "YAF_pleasant_surprised/YAF_ring_ps.flac",
        "YAF_disgust/YAF_love_disgust.WAV",
        "OAF_Sad/README.txt",
        "OAF_Sad/.DS_Store",
        "__MACOSX/OAF_Sad/OAF_bath_sad.wav",
    ):
        write_recording(tmp_path / name)
    scan = scan_corpus(TESS, tmp_path)
    assert labels(scan) == {
        ("OAF_Fear/OAF_back_fear.wav", "OAF", "back", "fearful"),
        ("OAF_Pleasant_surprise/OAF_bar_ps.wav", "OAF", "bar", "surprised"),
        ("OAF_neutral/OA_bite_neutral.wav", "OAF", "bite", "neutral"),
        ("YAF_pleasant_surprised/YAF_ring_ps.flac", "YAF", "ring", "surprised"),
        ("YAF_disgust/YAF_love_disgust.WAV", "YAF", "love", "disgusted"),
    }
    assert {clip.gender for clip in scan.utterances} == {"f"}
    assert {clip.split for clip in scan.utterances} == {""}
    assert scan.rejections == ()


def test_odd_containers_are_read(tmp_path):
    write_recording(tmp_path / "YAF_germ_angry.wav", 24414, audio_format="AIFF")
    write_recording(tmp_path / "OAF_food_fear.wav", 96000)
    write_recording(tmp_path / "OAF_bar_sad.wav", 24414, channels=2)
    insert_chunk(write_recording(tmp_path / "YAF_bar_sad.wav", 24414))
    scan = scan_corpus(TESS, tmp_path)
    utterances, rejections = inspect_recordings(tmp_path, scan, "tess", "en", CHECKS)
    assert rejections == []
    assert {u.name: u.sample_rate for u in utterances} == {
        "YAF_germ_angry": 24414,
        "OAF_food_fear": 96000,
        "OAF_bar_sad": 24414,
        "YAF_bar_sad": 24414,
    }
    assert all(u.duration_s == pytest.approx(0.05, abs=1e-4) for u in utterances)


def test_doubled_nested_folders_give_each_recording_once(tmp_path):
    outer = tmp_path / "TESS Toronto emotional speech set data"
    for folder in (outer, outer / "tess toronto emotional speech set data"):
        write_recording(folder / "OAF_Sad" / "OAF_bar_sad.wav")
    write_recording(outer / "tess toronto emotional speech set data/OAF_Sad/OAF_base_sad.wav")
    scan = scan_corpus(TESS, tmp_path)
    assert [PurePosixPath(clip.path).name for clip in scan.utterances] == [
        "OAF_bar_sad.wav",
        "OAF_base_sad.wav",
    ]
    assert scan.utterances[0].path == f"{outer.name}/OAF_Sad/OAF_bar_sad.wav"
    assert scan.rejections == ()


def test_copies_that_differ_are_refused_by_name(tmp_path):
    write_recording(tmp_path / "a" / "OAF_bite_neutral.wav")
    write_recording(tmp_path / "b" / "OA_bite_neutral.wav", seconds=0.1)
    write_recording(tmp_path / "OAF_bar_sad.wav")
    scan = scan_corpus(TESS, tmp_path)
    assert [clip.path for clip in scan.utterances] == ["OAF_bar_sad.wav"]
    assert [r.path for r in scan.rejections] == ["a/OAF_bite_neutral.wav", "b/OA_bite_neutral.wav"]
    assert "files of one recording differ" in scan.rejections[0].reason


def test_foreign_names_are_refused(tmp_path):
    write_recording(tmp_path / "OAF_bar_sad.wav")
    write_recording(tmp_path / "OAF_bar_calm.wav")
    scan = scan_corpus(TESS, tmp_path)
    assert [r.path for r in scan.rejections] == ["OAF_bar_calm.wav"]
    assert "not a name of TESS" in scan.rejections[0].reason


def test_nothing_there(tmp_path):
    with pytest.raises(CorpusError, match="no recordings of the corpus tess"):
        scan_corpus(TESS, tmp_path)
    with pytest.raises(CorpusError, match="no such folder"):
        scan_corpus(TESS, tmp_path / "missing")


def test_scan_does_not_depend_on_the_order_of_the_file_system(tmp_path, monkeypatch):
    for word in ("back", "bar", "base", "bath"):
        for folder in ("x", "x/y"):
            write_recording(tmp_path / folder / f"OAF_{word}_sad.wav")
    expected = scan_corpus(TESS, tmp_path)
    real_walk = os.walk

    def shuffled(top):
        found = [
            (folder, names, random.sample(files, len(files)))
            for folder, names, files in real_walk(top)
        ]
        return random.sample(found, len(found))

    monkeypatch.setattr(os, "walk", shuffled)
    assert all(scan_corpus(TESS, tmp_path) == expected for _ in range(5))


class Dataverse(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), DataverseHandler)
        self.files = files  # name -> bytes
        self.broken = set()
        self.fetched = []


class DataverseHandler(QuietHandler):
    def do_GET(self):
        names = sorted(self.server.files)
        if self.path.startswith("/api/datasets/:persistentId/versions/:latest-published/files"):
            listing = [
                {
                    "label": name,
                    "dataFile": {
                        "id": number,
                        "filename": name,
                        "filesize": len(self.server.files[name]),
                        "md5": hashlib.md5(self.server.files[name]).hexdigest(),
                    },
                }
                for number, name in enumerate(names)
            ]
            body = json.dumps({"status": "OK", "data": listing}).encode()
        else:
            name = names[int(self.path.rsplit("/", 1)[1])]
            self.server.fetched.append(name)
            body = self.server.files[name]
            if name in self.server.broken:
                body = body[:-1] + b"!"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def dataverse(tmp_path, monkeypatch):
    """A server with five tiny recordings that stands in for the official one."""
    files, originals = {}, {}
    for word in ("back", "bar", "base", "bath", "bean"):
        path = write_recording(tmp_path / "server" / f"OAF_{word}_fear.wav")
        files[path.name] = path.read_bytes()
        originals[path.stem] = Original(
            path=PurePosixPath("OAF_Fear", path.name),
            num_bytes=len(files[path.name]),
            sha256=hashlib.sha256(files[path.name]).hexdigest(),
            audio_sha256=read_recording(path, CHECKS).digest(),
        )
    server = Dataverse(files)
    with in_background(server) as address:
        monkeypatch.setattr(tess, "_SERVER", f"http://{address}")
        monkeypatch.setattr(Tess, "originals", lambda self: originals)
        monkeypatch.setattr(Tess, "num_utterances", len(originals))
        yield server


def obtain(tmp_path, offline=False, mirror=None):
    sources = Sources(mirror=mirror, cache=tmp_path / "cache", offline=offline)
    obtain_corpus("tess", TESS, tmp_path / "raw" / "tess", sources, no_progress)


def test_download_arrives_in_the_folders_of_the_authors(dataverse, tmp_path):
    obtain(tmp_path)
    scan = scan_corpus(TESS, tmp_path / "raw" / "tess")
    assert [clip.path for clip in scan.utterances][:2] == [
        "OAF_Fear/OAF_back_fear.wav",
        "OAF_Fear/OAF_bar_fear.wav",
    ]
    assert len(scan.utterances) == 5
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["tess"]


def test_bad_files_are_listed_together_and_only_they_are_fetched_again(dataverse, tmp_path):
    dataverse.broken = {"OAF_bar_fear.wav", "OAF_bean_fear.wav"}
    with pytest.raises(DownloadError, match="tess: 2 files are still missing") as caught:
        obtain(tmp_path)
    assert str(caught.value).count("md5 is") == 2
    assert not (tmp_path / "raw" / "tess").exists()
    dataverse.broken, dataverse.fetched = set(), []
    obtain(tmp_path)
    assert sorted(dataverse.fetched) == ["OAF_bar_fear.wav", "OAF_bean_fear.wav"]
    dataverse.fetched = []
    obtain(tmp_path, offline=True)
    assert dataverse.fetched == [], "the cache holds all of it"


def test_a_damaged_file_in_the_cache_is_fetched_again(dataverse, tmp_path):
    obtain(tmp_path)
    [damaged] = (tmp_path / "cache").rglob("OAF_bar_fear.wav")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-9] + bytes(9))
    with pytest.raises(
        DownloadError, match="1 of 5 files not found or damaged, and SERCT_OFFLINE forbids"
    ):
        obtain(tmp_path, offline=True)
    dataverse.fetched = []
    obtain(tmp_path)
    assert dataverse.fetched == ["OAF_bar_fear.wav"]
    assert damaged.read_bytes() == whole


def test_after_enough_failures_no_more_are_tried(dataverse, tmp_path, monkeypatch):
    monkeypatch.setattr(piecewise, "_ENOUGH_FAILURES", 2)
    monkeypatch.setattr(piecewise, "_NUM_CONNECTIONS", 1)
    dataverse.broken = set(dataverse.files)
    with pytest.raises(DownloadError, match="tess: 5 files are still missing") as caught:
        obtain(tmp_path)
    assert str(caught.value).count("md5 is") == 2
    assert len(dataverse.fetched) == 2


def test_file_that_the_server_does_not_have(dataverse, tmp_path):
    del dataverse.files["OAF_bath_fear.wav"]
    with pytest.raises(DownloadError, match="OAF_bath_fear: not listed at http"):
        obtain(tmp_path)


def test_changed_content_on_the_server_is_found_by_the_list(dataverse, tmp_path):
    path = write_recording(tmp_path / "other" / "OAF_zzz_fear.wav")
    dataverse.files["OAF_bar_fear.wav"] = path.read_bytes()
    with pytest.raises(DownloadError, match=r"OAF_bar_fear\.wav: its content is not the original"):
        obtain(tmp_path)
    assert not (tmp_path / "raw" / "tess").exists()


def test_answer_that_is_no_listing(dataverse, tmp_path, monkeypatch):
    monkeypatch.setattr(json, "loads", lambda text: {"status": "ERROR"})
    with pytest.raises(DownloadError, match="not a Dataverse file listing"):
        obtain(tmp_path)


def test_list_of_originals_is_complete_and_plausible():
    originals = read_originals("tess")
    assert len(originals) == 2800
    assert sum(original.num_bytes for original in originals.values()) == 281_330_024
    assert len({original.sha256 for original in originals.values()}) == 2800
    assert len({original.audio_sha256 for original in originals.values()}) == 2800
    assert all(tess._FILE_NAME.fullmatch(stem) for stem in originals)


@needs_mirror
def test_the_real_corpus_scans_whole():
    scan = scan_corpus(TESS, Path(MIRROR, "tess"))
    assert scan.rejections == ()
    assert Counter(clip.speaker for clip in scan.utterances) == {"OAF": 1400, "YAF": 1400}
    assert set(Counter(clip.emotion for clip in scan.utterances).values()) == {400}
    assert set(Counter(clip.text_id for clip in scan.utterances).values()) == {14}


@pytest.mark.slow
@needs_mirror
def test_the_real_corpus_is_obtained_verified_and_without_doubles(tmp_path):
    obtain(tmp_path, offline=True, mirror=Path(MIRROR))
    raw = tmp_path / "raw" / "tess"
    scan = scan_corpus(TESS, raw)
    utterances, rejections = inspect_recordings(raw, scan, "tess", "en", CHECKS)
    assert rejections == []
    assert len(utterances) == 2800
    assert (raw / "YAF_angry" / "YAF_germ_angry.wav").read_bytes()[:4] == b"FORM"
