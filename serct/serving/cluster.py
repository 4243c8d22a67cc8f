"""The service on a Ray cluster: copies of the same application behind Ray Serve's proxy."""

import os
import signal
import threading

from serct.config.params import RayExecutor
from serct.runtime.log import logger
from serct.runtime.ray_cluster import connected, remote
from serct.serving.service import create_service
from serct.serving.settings import Settings


def serve_on_cluster(
    settings: Settings, host: str, port: int, section: RayExecutor, replicas: int
) -> None:
    """Serve until SIGTERM or SIGINT; a copy that is lost is replaced.

    Each copy follows the registry by itself, has its own limits and metrics, and answers the
    requests that come together to it as one batch. A live stream stays with one copy.

    Args:
        settings: What each copy serves and how much of it.
        host: Address to listen on, on each machine that has a copy.
        port: Port to listen on.
        section: The cluster; a copy has its ``cpus`` and ``gpus``.
        replicas: Copies.

    Raises:
        SerctError: If there is no cluster.
    """
    # Ray's own 5 s are short for a machine that is busy, and what is late is started again.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    with connected(section):
        from ray import serve

        build = remote(create_service)
        deployment = serve.deployment(
            name="serct",
            num_replicas=replicas,
            # The service itself says when it is too much.
            max_ongoing_requests=settings.max_in_flight + settings.max_streams,
            ray_actor_options={"num_cpus": section.cpus, "num_gpus": section.gpus},
            graceful_shutdown_timeout_s=settings.drain_s,
        )(serve.ingress(lambda: build(settings))())
        serve.start(http_options={"host": host, "port": port})
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        try:
            serve.run(deployment.bind(), name="serct", route_prefix="/")
            logger.info("%d copies answer at http://%s:%d", replicas, host, port)
            stopped.wait()
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]
