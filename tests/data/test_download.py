"""Downloads against a real server on a socket that cuts, lies, refuses and ignores."""

import hashlib
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import pytest

from serct.data.download import Patience, Remote, download
from serct.errors import DownloadError
from serct.runtime.digests import file_digest
from tests.web import QuietHandler, in_background

CONTENT = hashlib.shake_256(b"content").digest(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HASTY = Patience(num_attempts=3, backoff_s=0.0, timeout_s=5.0)


class Server(ThreadingHTTPServer):
    """Serves one content under every path; what it does wrong is set by the test."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"1"'
        self.supports_range = True
        self.cuts = []  # bytes after which each next connection is cut
        self.statuses = []  # answered by each next request instead of the file
        self.shift = 0  # answers a range that starts this much later
        self.headers = {}
        self.stall = None  # waits for this event after half the content
        self.seen = []  # (Range, If-Range) of each request

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.bin"

    def handle_error(self, request, client_address):
        """A cut connection is no error here."""


class Handler(QuietHandler):
    def do_GET(self):
        server = self.server
        server.seen.append((self.headers.get("Range"), self.headers.get("If-Range")))
        if server.statuses:
            self.send_response(server.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, server.etag)
        if wanted and server.supports_range and same:
            start = int(wanted[1]) + server.shift
            if start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            end = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        else:
            self.send_response(200)
        body = server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        if server.etag:
            self.send_header("ETag", server.etag)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if server.stall:
            self.wfile.write(body[: len(body) // 2])
            server.stall.wait(20)
        elif server.cuts:
            self.wfile.write(body[: server.cuts.pop(0)])
        else:
            self.wfile.write(body)
        self.close_connection = True


@pytest.fixture
def server():
    running = Server()
    with in_background(running):
        yield running


def leave_partial(path, content, validator=None):
    path.with_name(f"{path.name}.part").write_bytes(content)
    if validator:
        path.with_name(f"{path.name}.part.validator").write_text(validator)


def test_whole_file_arrives_verified_and_nothing_else_is_left(server, tmp_path):
    path = tmp_path / "new" / "file.bin"
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert download(Remote(server.url, len(CONTENT), SHA256, md5), path) == path
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert file_digest(path) == SHA256


def test_cut_connection_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [81_920, 40_960]
    download(Remote(server.url), tmp_path / "file.bin", patience=HASTY)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert [seen[0] for seen in server.seen] == [None, "bytes=81920-", "bytes=122880-"]
    assert server.seen[1][1] == '"1"', "the rest is asked for only of the same version"


def test_often_cut_line_is_fine_while_each_attempt_gains(server, tmp_path):
    server.cuts = [20_000] * 10
    download(Remote(server.url), tmp_path / "file.bin", patience=HASTY)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_giving_up_keeps_what_came_and_a_later_call_goes_on(server, tmp_path):
    path = tmp_path / "file.bin"
    server.cuts = [73_728, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"3 failures in a row.*73728 bytes, is kept"):
        download(Remote(server.url), path, patience=HASTY)
    assert not path.exists()
    server.cuts = []
    download(Remote(server.url), path, patience=HASTY)
    assert path.read_bytes() == CONTENT
    assert server.seen[-1] == ("bytes=73728-", '"1"')


def test_killed_process_leaves_a_part_that_the_next_one_uses(server, tmp_path):
    path = tmp_path / "file.bin"
    part = tmp_path / "file.bin.part"
    server.stall = threading.Event()
    program = (
        "import sys, pathlib; from serct.data.download import Remote, download; "
        "download(Remote(sys.argv[1]), pathlib.Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, server.url, str(path)])
    try:
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size >= 100_000):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        server.stall.set()
    server.stall = None
    found = part.stat().st_size
    assert not path.exists()
    download(Remote(server.url, sha256=SHA256), path, patience=HASTY)
    assert path.read_bytes() == CONTENT
    assert server.seen[-1] == (f"bytes={found}-", '"1"')


def test_server_without_ranges_starts_again(server, tmp_path):
    server.supports_range = False
    server.cuts = [100_000]
    download(Remote(server.url), tmp_path / "file.bin", patience=HASTY)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(server.seen) == 2


def test_another_version_on_the_server_is_never_spliced(server, tmp_path):
    path = tmp_path / "file.bin"
    leave_partial(path, b"x" * 1000, '"0"')
    download(Remote(server.url), path, patience=HASTY)
    assert path.read_bytes() == CONTENT


def test_part_of_unknown_version_is_used_only_if_the_checksum_will_tell(server, tmp_path):
    path = tmp_path / "file.bin"
    leave_partial(path, CONTENT[:1000])
    download(Remote(server.url), path, patience=HASTY)
    assert server.seen == [(None, None)]
    path.unlink()
    leave_partial(path, CONTENT[:1000])
    download(Remote(server.url, sha256=SHA256), path, patience=HASTY)
    assert server.seen[1:] == [("bytes=1000-", None)]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("damage", [bytes(3), b"\xff\xfe", b'"1"\nX: y'])
def test_a_damaged_validator_is_none(server, tmp_path, damage):
    leave_partial(tmp_path / "a", CONTENT[:9000])
    (tmp_path / "a.part.validator").write_bytes(damage)
    download(Remote(server.url), tmp_path / "a", patience=HASTY)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.seen == [(None, None)]


def test_bad_part_is_dropped_and_fetched_again_once(server, tmp_path):
    path = tmp_path / "file.bin"
    leave_partial(path, b"x" * 1000)
    download(Remote(server.url, sha256=SHA256), path, patience=HASTY)
    assert path.read_bytes() == CONTENT
    assert [seen[0] for seen in server.seen] == ["bytes=1000-", None]


@pytest.mark.parametrize("num_extra", [0, 10])
def test_part_that_is_already_whole_or_too_long(server, tmp_path, num_extra):
    path = tmp_path / "file.bin"
    leave_partial(path, CONTENT + b"x" * num_extra, '"1"')
    download(Remote(server.url), path, patience=HASTY)
    assert path.read_bytes() == CONTENT


def test_range_that_starts_elsewhere_is_not_trusted(server, tmp_path):
    path = tmp_path / "file.bin"
    leave_partial(path, CONTENT[:1000], '"1"')
    server.shift = 5
    download(Remote(server.url), path, patience=HASTY)
    assert path.read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_not_kept(server, tmp_path):
    path = tmp_path / "file.bin"
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=rf"not the expected content: sha256 is .*{SHA256}"):
        download(Remote(server.url, sha256=SHA256), path, patience=HASTY)
    with pytest.raises(DownloadError, match=r"md5 is .* expected"):
        download(Remote(server.url, md5="0" * 32), path, patience=HASTY)
    assert list(tmp_path.iterdir()) == []


def test_wrong_size_is_refused_before_it_is_fetched(server, tmp_path):
    with pytest.raises(DownloadError, match="announces 300000 bytes, expected 5"):
        download(Remote(server.url, num_bytes=5), tmp_path / "file.bin", patience=HASTY)
    assert list(tmp_path.iterdir()) == []


def test_re_encoded_file_is_refused(server, tmp_path):
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(DownloadError, match="re-encoded"):
        download(Remote(server.url), tmp_path / "file.bin", patience=HASTY)


def test_file_that_is_there_is_fetched_only_if_it_is_wrong(server, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    download(Remote(server.url, sha256=SHA256), path)
    assert server.seen == []
    path.write_bytes(b"old")
    download(Remote(server.url, sha256=SHA256), path)
    assert path.read_bytes() == CONTENT


def test_passing_trouble_is_waited_out(server, tmp_path):
    server.statuses = [503, 429]
    download(Remote(server.url), tmp_path / "file.bin", patience=HASTY)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404])
def test_refusal_is_final(server, tmp_path, status):
    server.statuses = [status]
    with pytest.raises(DownloadError, match=f"file.bin: the server responded with {status}"):
        download(Remote(server.url), tmp_path / "file.bin", patience=HASTY)
    assert len(server.seen) == 1


def test_silent_server_is_given_up(server, tmp_path):
    server.stall = threading.Event()
    patience = Patience(num_attempts=2, backoff_s=0.0, timeout_s=0.1)
    with pytest.raises(DownloadError, match="timed out"):
        download(Remote(server.url), tmp_path / "file.bin", patience=patience)
    server.stall.set()


def test_unreachable_server(tmp_path):
    with Server() as closed:
        url = closed.url
    with pytest.raises(DownloadError, match="3 failures in a row"):
        download(Remote(url), tmp_path / "file.bin", patience=HASTY)


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://host/file", "http://", "name.zip"])
def test_only_http(tmp_path, url):
    with pytest.raises(DownloadError, match="expected an address that starts with http"):
        download(Remote(url), tmp_path / "file.bin")


def test_progress_counts_every_byte_once(server, tmp_path):
    totals, steps = [], []

    @contextmanager
    def progress(total, label, unit):
        totals.append((total, label, unit))
        yield steps.append

    server.supports_range = False
    server.cuts = [100_000]
    download(Remote(server.url), tmp_path / "file.bin", progress, HASTY)
    assert totals == [(len(CONTENT), "file.bin", "B")]
    assert sum(steps) == len(CONTENT)
    assert min(steps) > 0
