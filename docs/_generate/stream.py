"""The page of live streams, from the AsyncAPI document that the service itself publishes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from sphinx.application import Sphinx

from _generate.http import field_table
from serct.serving.streams.asyncapi import describe_stream

FILE = Path("reference", "stream.yaml")
# Model and Adaptation are types of the other routes as well.
_TYPES = "http.md"


def markdown() -> str:
    """Return a table for each message."""
    return "\n".join(_page(describe_stream()))


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the document beside the page of a finished site."""
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / FILE).write_text(document(), encoding="utf-8")


def document() -> str:
    """Return the AsyncAPI document as YAML."""
    return str(yaml.safe_dump(describe_stream(), sort_keys=False, allow_unicode=True, width=100))


def _page(api: Mapping[str, Any]) -> Iterator[str]:
    messages, schemas = api["components"]["messages"], api["components"]["schemas"]
    for operation in api["operations"].values():
        yield f"## {operation['summary']}\n"
        for each in operation["messages"]:
            name = each["$ref"].rpartition("/")[2]
            payload = messages[name]["payload"]
            yield f"### `{name}`\n\n{messages[name]['summary']}\n"
            if "$ref" in payload:
                schema = schemas[payload["$ref"].rpartition("/")[2]]
                yield from field_table(schema, _TYPES)
