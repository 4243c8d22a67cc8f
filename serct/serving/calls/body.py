"""The file in a request's body, part by part: a form as browsers send it, or the body itself."""

from collections.abc import AsyncIterator, Callable, Mapping

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from serct.serving.echo import printable

FIELD = "file"
_MAX_TYPE = 200


class Body:
    """A body that arrives, and the name of the file in it.

    Attributes:
        name: Of the file; "file" until it is known, or if the client gives none.
        size: Bytes that have arrived.
        announced: Bytes that the client announces; None if it does not.
        is_complete: Whether all has arrived.
    """

    def __init__(self, headers: Mapping[str, str], receive: Receive) -> None:
        """Create a body none of which was read."""
        announced = headers.get("content-length", "")
        self.name, self.size, self.is_complete = FIELD, 0, False
        self.announced = int(announced) if announced.isdigit() else None
        self._type = headers.get("content-type", "no content type")
        self._receive = receive

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the file.

        Raises:
            HTTPException: 400 if the body is not the form that it says it is, 422 if there is no
                file in it, or several.
            ClientDisconnect: If the client leaves before the end.
        """
        kind, options = parse_options_header(self._type)
        form = _Form(options.get(b"boundary", b"")) if kind == b"multipart/form-data" else None
        async for content in self._messages():
            if form is None:
                if content:
                    yield content
                continue
            form.add(content)
            self.name = printable(form.name) or FIELD
            if part := form.take():
                yield part
        self.is_complete = True
        found = self.size if form is None else form.num_files
        if found == 0:
            raise HTTPException(
                422,
                f"expected a recording as the body, or multipart/form-data with a file in the "
                f"field {FIELD}, found a body without it: {printable(self._type, _MAX_TYPE)}",
            )

    async def _messages(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.size += len(message.get("body", b""))
            yield message.get("body", b"")
            if not message.get("more_body", False):
                return

    async def drain(self, max_bytes: int) -> None:
        """Read on without use, up to a size: many clients read no response before they have sent.

        Raises:
            HTTPException: If the body is too slow or too large.
        """
        end = self.size + max_bytes
        while not self.is_complete and self.size < end:
            message = await self._receive()
            self.size += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)

    async def wait_for_disconnect(self) -> None:
        """Return when the client leaves, after its body has arrived."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _Form:
    """Takes the file out of a form, part by part."""

    def __init__(self, boundary: bytes) -> None:
        self.name, self.num_files = "", 0
        self._is_file = False
        self._content = bytearray()
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_begin": self._begin_header,
                    "on_header_field": self._adder(lambda: self._header[0]),
                    "on_header_value": self._adder(lambda: self._header[1]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_content,
                    "on_part_data": self._add_content,
                },
            )
        except FormParserError as error:
            raise _unreadable(error) from error

    def add(self, content: bytes) -> None:
        try:
            self._parser.write(content)
        except FormParserError as error:
            raise _unreadable(error) from error

    def take(self) -> bytes:
        part = bytes(self._content)
        self._content.clear()
        return part

    def _begin_header(self) -> None:
        self._header = (bytearray(), bytearray())

    @staticmethod
    def _adder(target: Callable[[], bytearray]) -> Callable[[bytes, int, int], None]:
        return lambda content, start, end: target().extend(content[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._is_file = options.get(b"name") == FIELD.encode() and b"filename" in options
        if not self._is_file:
            return
        self.num_files += 1
        if self.num_files > 1:
            raise HTTPException(422, f"several files in the field {FIELD}, expected one")
        self.name = options[b"filename"].decode("utf-8", "replace")

    def _add_content(self, content: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._content += content[start:end]


def _unreadable(error: Exception) -> HTTPException:
    return HTTPException(400, f"the body is no multipart/form-data: {printable(str(error), 200)}")
