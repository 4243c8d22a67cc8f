"""The response to a long recording, which may begin before the request has ended."""

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serct.errors import AudioError, SerctError
from serct.serving.calls.call import Call
from serct.serving.calls.events import Event, Failure, line_of
from serct.serving.calls.formats import MEDIA_TYPES, Form, text_of

# Of a body after its file was refused.
_DRAINED_BYTES = 20_000_000


class CallResponse(Response):
    """Predicts a call, and sends its events as they come or all of it at the end.

    If something is wrong before anything was sent, the response has the status for it; later a
    line of NDJSON says so.
    """

    def __init__(self, call: Call, form: Form) -> None:
        super().__init__(media_type=MEDIA_TYPES[form])
        self._call, self._form = call, form
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Predict and respond; end early if the client leaves."""

        async def emit(event: Event) -> None:
            if self._form == "ndjson":
                await self._send_part(send, line_of(event))

        try:
            await self._call.run(emit)
            if self._form != "ndjson":
                await self._send_part(send, text_of(self._call, self._form))
        except ClientDisconnect:
            return  # nobody is left to be told
        except (HTTPException, SerctError) as error:
            if not self._has_begun:
                if isinstance(error, AudioError):
                    await self._call.body.drain(_DRAINED_BYTES)
                raise
            detail = error.detail if isinstance(error, HTTPException) else str(error)
            await self._send_part(send, line_of(Failure(detail=str(detail))))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_part(self, send: Send, text: str) -> None:
        if not self._has_begun:
            self._has_begun = True
            headers = [each for each in self.raw_headers if each[0] != b"content-length"]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
