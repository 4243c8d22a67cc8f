"""A real nginx with the configuration of deploy/ puts TLS in front of the service."""

import asyncio
import io
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import requests
import soundfile

from serct.serving.settings import Settings
from tests.conftest import ROOT
from tests.serving.in_thread import serving
from tests.serving.streams.chromium import chromium, microphone
from tests.serving.streams.test_stream_session import stream_client
from tests.waiting import wait_for
from tests.web import free_port

pytestmark = pytest.mark.slow
RATE = 16_000
_PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, with its key in one file."""
    folder = tmp_path_factory.mktemp("certificate")
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        "-keyout", folder / "key.pem", "-out", folder / "certificate.pem",
    ]  # fmt: skip
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        pytest.skip("needs nginx and openssl: apt-get install nginx-light openssl")
    subprocess.run(command, capture_output=True, check=True)
    return folder / "certificate.pem"


@pytest.fixture(scope="module")
def url(
    trained: dict[str, Path], certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of the proxy."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    with serving(Settings(str(trained["mlp"]), Path("nowhere"), allow_hosts=())) as behind:
        site = (ROOT / "deploy" / "proxy" / "nginx.conf").read_text()
        for before, after in (
            ("127.0.0.1:8000", behind.removeprefix("http://")),
            ("listen 443", f"listen 127.0.0.1:{port}"),
            ("/etc/ssl/emotion.example.pem", str(certificate)),
            ("/etc/ssl/emotion.example.key", str(certificate.with_name("key.pem"))),
            ("server_name emotion.example", "server_name localhost"),
        ):
            assert site.count(before) == 1, before
            site = site.replace(before, after)
        (folder / "site.conf").write_text(site)
        folders = "\n".join(
            f"  {name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/errors; worker_processes 1;\n"
            f"events {{}}\nhttp {{\n  access_log off;\n{folders}\n  include site.conf;\n}}\n"
        )
        process = subprocess.Popen(["nginx", "-p", folder, "-c", "nginx.conf", "-e", "errors"])
        try:
            address = f"https://localhost:{port}"

            def is_up() -> bool:
                assert process.poll() is None, (folder / "errors").read_text()
                return requests.get(f"{address}/health", verify=certificate, timeout=5).ok

            wait_for(is_up, _PATIENCE_S)
            yield address
        finally:
            process.terminate()
            process.wait(30)


def wav(samples: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


def test_a_large_file_from_a_page_of_the_same_site(
    url: str, spoken: Path, certificate: Path
) -> None:
    samples, rate = soundfile.read(spoken, dtype="int16")
    content = wav(np.tile(samples, 20), rate)
    assert len(content) > 2**20  # as much as nginx takes by itself
    files = {"files": ("a.wav", content)}
    for origin, status in ((url, 200), ("https://other.example", 403)):
        found = requests.post(
            f"{url}/v1/predict", files=files, verify=certificate, timeout=60,
            headers={"Origin": origin},
        )  # fmt: skip
        assert found.status_code == status, found.text


def test_pages_and_metrics(url: str, certificate: Path) -> None:
    page = requests.get(f"{url}/stream/", verify=certificate, timeout=30)
    assert (page.status_code, "Content-Security-Policy" in page.headers) == (200, True)
    assert requests.get(f"{url}/metrics", verify=certificate, timeout=30).status_code == 404
    root = requests.get(f"{url}/", verify=certificate, timeout=30).json()
    assert root["stream"] == "/stream/"


def test_lines_of_a_long_call_come_while_it_is_sent(
    url: str, spoken: Path, certificate: Path
) -> None:
    samples, rate = soundfile.read(spoken, dtype="int16")
    content = wav(np.tile(samples, 90 * rate // len(samples)), rate)
    first_line = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield content[:-100_000]
        await asyncio.wait_for(first_line.wait(), _PATIENCE_S)
        yield content[-100_000:]

    async def call() -> list[bytes]:
        trust = ssl.create_default_context(cafile=certificate)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/v1/segments?format=ndjson", data=body(), ssl=trust) as answer,
        ):
            assert answer.status == 200
            lines = [await answer.content.readline()]
            first_line.set()
            return lines + [line async for line in answer.content]

    lines = asyncio.run(asyncio.wait_for(call(), 2 * _PATIENCE_S))
    assert re.search(rb'"type": ?"start"', lines[0])
    assert re.search(rb'"type": ?"result"', lines[-1])


def test_a_live_stream(
    url: str, spoken: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    samples, rate = soundfile.read(spoken, dtype="int16")

    async def parts() -> AsyncIterator[bytes]:
        yield np.concatenate((samples, np.zeros(rate, np.int16))).tobytes()

    async def converse() -> list[str]:
        address, start = f"{url.replace('http', 'ws')}/v1/stream", {"sample_rate": rate}
        found = stream_client.converse(address, start, parts())
        return [message["type"] async for message in found]

    found = asyncio.run(asyncio.wait_for(converse(), _PATIENCE_S))
    assert (found[0], found[-1]) == ("session.started", "session.end")
    assert "utterance.end" in found


def test_the_page_hears_a_microphone(url: str, spoken: Path, tmp_path: Path) -> None:
    options = microphone(tmp_path, spoken)

    async def main() -> None:
        async with chromium(tmp_path / "profile", "--ignore-certificate-errors", *options) as page:
            await page.open(f"{url}/stream/")
            await page.wait_for("element('model').innerText.includes('trained on tones')")
            await page.evaluate("element('live').click()")
            await page.wait_for("element('found').innerText.includes('utterance.end')")
            assert await page.evaluate("element('problem').hidden")

    asyncio.run(asyncio.wait_for(main(), 60))
