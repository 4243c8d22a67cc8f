"""Connections to this machine itself, which no proxy can make."""

import ipaddress
import os
from collections.abc import MutableMapping
from urllib.parse import urlsplit

_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(url: str) -> bool:
    """Return whether an address such as "http://127.0.0.1:8000" is on this machine.

    Example:
        >>> [is_loopback(f"http://{host}:80/x") for host in ("LOCALHOST", "127.1.2.3", "[::1]")]
        [True, True, True]
        >>> is_loopback("http://localhost.example.org")
        False
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def avoid_proxies(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let every library, and every process started from here, reach this machine directly.

    Without this a proxy of ``HTTP_PROXY`` or ``ALL_PROXY`` is asked for MLflow's server or the
    service on localhost, which it does not know.
    """
    if not any(name.lower().endswith("_proxy") and environment[name] for name in environment):
        return
    # Where both spellings are set, libraries read the small one.
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    names = [name.strip() for name in given.split(",") if name.strip()]
    if "*" not in names:
        value = ",".join(dict.fromkeys([*names, *_NAMES]))
        environment["no_proxy"] = environment["NO_PROXY"] = value
