"""The service in a thread of the test's own process: it starts in a fraction of a second."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from serct.serving.service import create_service, process_config
from serct.serving.settings import Settings


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Serve on a free port until the block ends; yield the address."""
    config = process_config(create_service(settings), settings.limits, "127.0.0.1", 0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
