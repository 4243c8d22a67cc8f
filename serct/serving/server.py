"""Running the service as a process: uvicorn, told to stop gently."""

import uvicorn

from serct.serving.service import create_service
from serct.serving.settings import Settings

_KEEP_ALIVE_S = 15
_MAX_MESSAGE_BYTES = 1_000_000


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; then open requests are answered before it ends.

    Args:
        settings: What is served and how much of it.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one, which the log tells.
    """
    uvicorn.run(
        create_service(settings),
        host=host,
        port=port,
        log_level="info",
        # Who asked what is nobody's business.
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_s),
        ws_max_size=_MAX_MESSAGE_BYTES,
        ws="websockets-sansio",
    )
