"""The service on a Ray cluster: copies of the same application behind the proxy of Ray Serve."""

import os
import signal
import threading
from dataclasses import replace

from serct.config.params import RayExecutor
from serct.runtime.log import logger
from serct.runtime.ray_cluster import connected, remote
from serct.serving.service import create_service
from serct.serving.settings import Settings


def serve_on_cluster(
    settings: Settings, host: str, port: int, section: RayExecutor, replicas: int
) -> None:
    """Serve until SIGTERM or SIGINT; Ray replaces a copy that is lost.

    Each copy follows the registry by itself and has its own limits, batches and metrics. A live
    stream stays with one copy. Several copies enrol no speakers, since a request may reach any.

    Args:
        settings: The model and the limits of each copy.
        host: Address to listen on, on each machine that has a copy.
        port: Port to listen on.
        section: The cluster, with the ``cpus`` and ``gpus`` of each copy.
        replicas: Number of copies.

    Raises:
        SerctError: If there is no cluster.
    """
    # Ray's default of 5 s is too short on a busy machine: it would restart a late proxy.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    with connected(section):
        from ray import serve

        settings = replace(settings, num_copies=replicas)
        limits = settings.limits
        build = remote(create_service)
        deployment = serve.deployment(
            name="serct",
            num_replicas=replicas,
            # The service itself refuses requests above its limits.
            max_ongoing_requests=limits.max_in_flight + limits.max_streams,
            ray_actor_options={"num_cpus": section.cpus, "num_gpus": section.gpus},
            graceful_shutdown_timeout_s=limits.drain_s,
        )(serve.ingress(lambda: build(settings))())
        serve.start(http_options={"host": host, "port": port})
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        try:
            serve.run(deployment.bind(), name="serct", route_prefix="/")
            logger.info("%d copies listen at http://%s:%d", replicas, host, port)
            stopped.wait()
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]
