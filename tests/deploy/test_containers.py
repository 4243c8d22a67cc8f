"""The image of deploy/ is built on a base of Debian's packages, and its containers are run."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT, make_workspace
from tests.waiting import wait_for
from tests.web import free_port

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3600)]

PROGRAMS = ("podman", "podman-compose", "mmdebstrap", "runc")
# What a virtual machine may be denied to raise.
_LIMITS = 'default_ulimits = ["nofile=4096:4096", "nproc=1024:1024"]'
KEY = "sesame" * 8
_PATIENCE_S = 120.0


def run(*command: str, **environment: str) -> str:
    """Run a program; return stdout."""
    result = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
        check=False, timeout=3000,
    )  # fmt: skip
    assert result.returncode == 0, f"{command}: {result.stdout[-2000:]}{result.stderr[-4000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Podman with images of its own, which are gone in the end."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing) or 'its rights'}")
    folder = tmp_path_factory.mktemp("podman")
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
    )
    (folder / "containers.conf").write_text(
        '[engine]\nruntime = "runc"\n[network]\nnetwork_backend = "netavark"\n'
        f"[containers]\n{_LIMITS}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(folder / "storage.conf"))
        patch.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
        yield
        for command in (
            ["rm", "--all", "--force", "--time", "0"], ["rmi", "--all", "--force"],
            ["volume", "prune", "--force"], ["network", "prune", "--force"],
        ):  # fmt: skip
            subprocess.run(["podman", *command], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def pip_options(folder: Path) -> list[str]:
    """Return the options that give pip in a build the settings and wheels that it has here."""
    shown = run(sys.executable, "-m", "pip", "config", "list")
    found = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", shown, re.MULTILINE))
    values = {name: re.sub(r"\\n|\s+", "\n    ", value) for name, value in found.items()}
    conf = folder / "pip.conf"
    conf.write_text("[global]\n" + "".join(f"{name} = {text}\n" for name, text in values.items()))
    places = {Path(each).parent for each in re.findall(r"file://(/\S+)", conf.read_text())}
    places |= {Path(each) for each in re.findall(r"(?<![\w/:.])(/\S+)", conf.read_text())}
    mounts = [f"{place}:{place}:ro" for place in sorted(places) if place.exists()]
    return [f"--volume={each}" for each in (f"{conf}:/etc/pip.conf:ro", *mounts)]


@pytest.fixture(scope="module")
def image(engine: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    options = pip_options(tmp_path_factory.mktemp("pip"))
    run("bash", "deploy/build.sh", "--debian", "--network=host", *options)
    probe = subprocess.run(
        ["podman", "run", "--rm", "localhost/serct-base", "true"], capture_output=True, text=True
    )
    if probe.returncode:
        pytest.skip(f"the image was built, but no container runs here: {probe.stderr.strip()}")


def test_the_image_serves_a_model_with_few_rights(
    image: None, trained: dict[str, Path], spoken: Path
) -> None:
    port = free_port()
    run("podman", "network", "create", "alone")
    run(
        "podman", "run", "--detach", "--name=alone", "--network=alone", "--read-only",
        "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        f"--publish=127.0.0.1:{port}:8000",
        f"--volume={trained['functionals_lda']}:/model:ro", "localhost/serct", "serve", "--model",
        "/model", "--workspace", "/workspace", "--host", "0.0.0.0",
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: requests.get(f"{url}/ready", timeout=5).status_code == 200, _PATIENCE_S)
    files = {"files": ("a.wav", spoken.read_bytes())}
    found = requests.post(f"{url}/v1/predict", files=files, timeout=60)
    assert found.json()["predictions"][0]["emotion"]
    run("podman", "healthcheck", "run", "alone")
    status = run("podman", "exec", "alone", "cat", "/proc/1/status")
    assert re.search(r"^Uid:\t10001\t", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    write = ["podman", "exec", "alone", "touch", "/opt/serct/x"]
    assert b"Read-only" in subprocess.run(write, capture_output=True, check=False).stderr
    run("podman", "stop", "--time=40", "alone")
    assert run("podman", "inspect", "alone", "--format={{.State.ExitCode}}").strip() == "0"


@pytest.fixture
def composed(image: None, tmp_path: Path) -> Iterator[None]:
    """The composed set with Prometheus; Debian's PostgreSQL and Prometheus stand in for images."""
    for port in (5000, 8000, 8501, 9090):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                pytest.skip(f"port {port} is in use")
    for package, name, entry in (
        ("postgresql", "postgres-base", "[]"), ("prometheus", "prometheus", '["prometheus"]')
    ):  # fmt: skip
        base = tmp_path / "base.tar"
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={package}", "bookworm",
            str(base), "http://deb.debian.org/debian")  # fmt: skip
        change = f"--change=ENTRYPOINT {entry}"
        run("podman", "import", "--quiet", change, str(base), f"localhost/{name}")
    run("podman", "build", "--tag=localhost/postgres", str(Path(__file__).parent / "postgres"))
    environment = {"SERCT_API_KEY": KEY, "POSTGRES_PASSWORD": "x" * 40,
                   "POSTGRES_IMAGE": "localhost/postgres", "GRAFANA_PASSWORD": "x" * 40,
                   "PROMETHEUS_IMAGE": "localhost/prometheus"}  # fmt: skip
    compose = ("podman-compose", "-f", "deploy/compose.yaml", "-f",
               "deploy/monitoring/compose.yaml")  # fmt: skip
    try:
        # Without Grafana, which Debian does not have.
        run(*compose, "up", "-d", "app", "prometheus", **environment)
        yield
    finally:
        run(*compose, "down", "-v", **environment)


def test_the_composed_set_follows_its_registry(
    composed: None, trained: dict[str, Path], tone_shards: Path, new_database: Path,
    tmp_path: Path, spoken: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    registry, service = "http://localhost:5000", "http://localhost:8000"
    wait_for(lambda: requests.get(f"{registry}/health", timeout=5).status_code == 200, _PATIENCE_S)
    wait_for(lambda: requests.get(f"{service}/health", timeout=5).status_code == 200, _PATIENCE_S)
    assert requests.get(f"{service}/ready", timeout=5).json()["model"] is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    root = tmp_path / "workspace"
    root.mkdir()
    make_workspace(root, trained["serct"], tone_shards, new_database)
    wait_for(lambda: requests.get(f"{service}/ready", timeout=5).json()["ready"], _PATIENCE_S)
    files = {"files": ("a.wav", spoken.read_bytes())}
    assert requests.post(f"{service}/v1/predict", files=files, timeout=60).status_code == 401
    found = requests.post(
        f"{service}/v1/predict", files=files, headers={"X-API-Key": KEY}, timeout=60
    ).json()
    assert (found["model"]["name"], found["model"]["version"]) == ("serct", "1")
    wait_for(
        lambda: requests.get("http://localhost:8501/_stcore/health", timeout=5).text == "ok",
        _PATIENCE_S,
    )
    ask = (
        "import os; from serct.app.client import Client; "
        "print(Client('http://service:8000', os.environ['SERCT_API_KEY']).versions()[0]['version'])"
    )
    assert run("podman", "exec", "deploy_app_1", "python", "-c", ask).strip() == "1"
    for name in ("database", "mlflow", "service", "app"):
        run("podman", "healthcheck", "run", f"deploy_{name}_1")
    target = {"query": 'up{job="serct"}'}
    wait_for(
        lambda: (
            [
                (each["metric"]["instance"], each["value"][1])
                for each in requests.get(
                    "http://localhost:9090/api/v1/query", params=target, timeout=5
                ).json()["data"]["result"]
            ]
            == [("service:8000", "1")]
        )
    )
    # What the registry holds lies in volumes: it outlives its containers.
    run("podman", "restart", "--time=10", "deploy_mlflow_1", "deploy_service_1")
    wait_for(lambda: requests.get(f"{service}/ready", timeout=5).json()["ready"], _PATIENCE_S)
