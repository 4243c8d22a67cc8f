"""The demonstrator's way to the service: HTTP, and nothing else."""

from typing import Any

import requests

from serct.errors import SerctError

_TIMEOUT_S = 120.0


class Client:
    """A client of one service.

    Every method raises `SerctError`, with what the service said, if it does not answer.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = {"X-API-Key": api_key} if api_key else {}

    def ready(self) -> dict[str, Any]:
        """Tell which model answers, and what is wrong, if anything."""
        found: dict[str, Any] = self._ask("GET", "/ready", allowed=(200, 503)).json()
        return found

    def versions(self) -> list[dict[str, Any]]:
        """List the versions that may be asked; none if the service has no registry."""
        answer = self._ask("GET", "/v1/models", allowed=(200, 404))
        found: list[dict[str, Any]] = answer.json() if answer.status_code == 200 else []
        return found

    def predict(self, name: str, content: bytes, version: str | None = None) -> dict[str, Any]:
        """Ask for the emotion of one file."""
        found: dict[str, Any] = self._ask(
            "POST",
            "/v1/predict",
            files={"files": (name, content)},
            params={"version": version} if version else {},
        ).json()
        return found

    def segments(self, name: str, content: bytes, version: str | None = None) -> dict[str, Any]:
        """Ask for the emotions along a recording, twice a second."""
        params = {"window_s": "1.5", "hop_s": "0.5"} | ({"version": version} if version else {})
        found: dict[str, Any] = self._ask(
            "POST", "/v1/segments", files={"file": (name, content)}, params=params
        ).json()
        return found

    def _ask(
        self, method: str, path: str, allowed: tuple[int, ...] = (200,), **more: Any
    ) -> requests.Response:
        try:
            answer = requests.request(
                method, self.url + path, headers=self._headers, timeout=_TIMEOUT_S, **more
            )
        except requests.RequestException as error:
            raise SerctError(f"the service at {self.url} does not answer: {error}") from error
        if answer.status_code not in allowed:
            try:
                detail = answer.json()["detail"]
            except (ValueError, KeyError, TypeError):
                detail = answer.text[:200]
            raise SerctError(f"the service says: {detail}")
        return answer
