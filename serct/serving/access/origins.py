"""Refuse what a web page of another site makes a visitor's browser send to this service.

A browser sends two kinds of requests for a hostile page without asking anybody: forms and
WebSockets, which name the page's site in the header Origin, and requests to a host name of the
page's own that suddenly stands for this machine (DNS rebinding), whose header Host has that name.
"""

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serct.errors import ParamsError
from serct.serving.echo import printable

ANY = "*"
# They change nothing, and CORS keeps their responses from other sites.
_HARMLESS = ("GET", "HEAD", "OPTIONS")
_MAX_TEXT = 100
_DEFAULT_PORTS = {"http": 80, "https": 443}


class CrossSiteGuard:
    """ASGI middleware that refuses requests from pages of other sites, and for other hosts."""

    def __init__(
        self, app: ASGIApp, allow_origins: Collection[str], allow_hosts: Collection[str] | None
    ) -> None:
        """Create the guard.

        Args:
            app: The application.
            allow_origins: Sites whose pages may use the service, such as "https://a.example"; "*"
                for all.
            allow_hosts: Names of this service beside "localhost" and addresses; None for all.
        """
        self._app, self._origins = app, frozenset(allow_origins)
        self._hosts = None if allow_hosts is None else frozenset(allow_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with status 400 or 403."""
        if scope["type"] in ("http", "websocket") and (found := self._problem(scope)):
            status, problem = found
            if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
                await JSONResponse({"detail": problem}, status)(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": problem[:100]})
            return
        await self._app(scope, receive, send)

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        for host in hosts:
            if self._hosts is not None and not _is_known(host, self._hosts):
                return 400, (
                    f"the header Host is {printable(host, _MAX_TEXT)}, expected localhost, an "
                    "address or a name that `serct serve --allow-host` allows"
                )
        if scope["type"] == "http" and scope["method"] in _HARMLESS:
            return None
        for origin in origins:
            is_own = any(_is_same(origin, host) for host in hosts)
            if not is_own and not {origin, ANY} & self._origins:
                return 403, (
                    f"this page comes from {printable(origin, _MAX_TEXT)}, expected one of this "
                    "service, or of a site that `serct serve --allow-origin` allows"
                )
        return None


def _is_known(host: str, names: Collection[str]) -> bool:
    """Return whether a host is one of the names, localhost or an address.

    A page can make its own name stand for this machine, but no address: a browser that sends an
    address has asked for it.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in names or name == "localhost" or name.endswith(".localhost") or ANY in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str) -> bool:
    """Return whether an origin is the host that a request goes to, at the same port.

    Example:
        >>> _is_same("https://a.example", "A.example"), _is_same("http://a:8000", "a:8000")
        (True, True)
        >>> _is_same("http://a:8000", "a:8501"), _is_same("null", "a")
        (False, False)
    """
    try:
        ours, theirs = urlsplit(f"//{host}"), urlsplit(origin)
        default = _DEFAULT_PORTS.get(theirs.scheme)
        same_port = (theirs.port or default) == (ours.port or default)
    except ValueError:
        return False
    return bool(theirs.hostname) and theirs.hostname == ours.hostname and same_port


def check_origin(text: str) -> str:
    """Return a site as browsers write it in the header Origin.

    Raises:
        ParamsError: If it is none.
    """
    try:
        found = urlsplit(text)
        is_origin = bool(found.hostname) and found.scheme in _DEFAULT_PORTS
        port = found.port
    except ValueError:
        is_origin, port = False, None
    if text == ANY:
        return ANY
    if not is_origin or found.path.strip("/") or found.query or "@" in found.netloc:
        raise ParamsError(
            f"--allow-origin is {text}, expected scheme and host, such as https://a.example, or *"
        )
    host = found.netloc.lower()
    if port == _DEFAULT_PORTS[found.scheme]:
        host = host.removesuffix(f":{port}")
    return f"{found.scheme}://{host}"
