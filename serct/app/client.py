"""The demonstrator's HTTP client of the service."""

from collections.abc import Sequence
from typing import Any

import requests

from serct.errors import SerctError, UnknownSpeakerError
from serct.runtime.loopback import is_loopback

_TIMEOUT_S = 120.0


class Client:
    """A client of one service.

    Every method raises `SerctError`, with the message of the service, if a request fails, and
    `UnknownSpeakerError` if that is because its speaker must be enrolled again.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = {"X-API-Key": api_key} if api_key else {}

    def ready(self) -> dict[str, Any]:
        """Return which model is in use, and its problem, if any."""
        found: dict[str, Any] = self._request("GET", "/ready", allowed=(200, 503)).json()
        return found

    def versions(self) -> list[dict[str, Any]]:
        """Return the versions in the registry; none without one, or if it cannot be read now."""
        response = self._request("GET", "/v1/models", allowed=(200, 404, 503))
        found: list[dict[str, Any]] = response.json() if response.status_code == 200 else []
        return found

    def drift(self) -> list[dict[str, Any]]:
        """Return how far each version's last predictions are from its validation part."""
        found: list[dict[str, Any]] = self._request("GET", "/v1/drift").json()
        return found

    def segments(
        self, name: str, content: bytes, version: str | None = None, speaker: str | None = None
    ) -> dict[str, Any]:
        """Predict the emotion of a recording and along it, for an enrolled speaker if named."""
        found: dict[str, Any] = self._request(
            "POST", "/v1/segments", files={"file": (name, content)},
            params=_given(version=version, speaker=speaker),
        ).json()  # fmt: skip
        return found

    def importance(self, name: str, content: bytes, speaker: str | None = None) -> dict[str, Any]:
        """Return which parts of a recording its prediction depends on."""
        found: dict[str, Any] = self._request(
            "POST", "/v1/importance", files={"file": (name, content)},
            params=_given(speaker=speaker),
        ).json()  # fmt: skip
        return found

    def enrol(self, files: Sequence[tuple[str, bytes]], speaker: str | None) -> dict[str, Any]:
        """Enrol a speaker with files, or add them to one that is enrolled."""
        found: dict[str, Any] = self._request(
            "POST", "/v1/speakers", allowed=(201,), files=[("files", file) for file in files],
            params=_given(speaker=speaker),
        ).json()  # fmt: skip
        return found

    def forget(self, speaker: str) -> None:
        """Forget a speaker, or do nothing if that has happened already."""
        self._request("DELETE", f"/v1/speakers/{speaker}", allowed=(204, 404))

    def _request(
        self, method: str, path: str, allowed: tuple[int, ...] = (200,), **more: Any
    ) -> requests.Response:
        try:
            with requests.Session() as session:
                # No proxy can reach a service on this machine.
                session.trust_env = not is_loopback(self.url)
                response = session.request(
                    method, self.url + path, headers=self._headers, timeout=_TIMEOUT_S, **more
                )
        except requests.RequestException as error:
            raise SerctError(f"the service at {self.url} does not respond: {error}") from error
        if response.status_code not in allowed:
            try:
                detail = response.json()["detail"]
            except (ValueError, KeyError, TypeError):
                detail = response.text[:200]
            message = f"the service responded with {response.status_code}: {detail}"
            if response.status_code in (404, 409) and "speaker" in more.get("params", {}):
                raise UnknownSpeakerError(message)
            raise SerctError(message)
        return response


def _given(**params: str | None) -> dict[str, str]:
    return {name: value for name, value in params.items() if value is not None}
