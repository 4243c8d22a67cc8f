"""The page of the HTTP service, from the OpenAPI schema that the service itself publishes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serct.serving.service import create_service
from serct.serving.settings import Settings

Schema = Mapping[str, Any]


def markdown() -> str:
    """Return a section for each route and a table for each type of body."""
    service = create_service(Settings(model="models:/serct@champion", workspace=Path()))
    return "\n".join(_page(service.openapi()))


def _page(api: Schema) -> Iterator[str]:
    yield "## Routes\n"
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            yield from _route(f"{method.upper()} {path}", operation)
    yield "## Types\n"
    for name, schema in api["components"]["schemas"].items():
        if not name.startswith(("Body_", "HTTPValidationError", "ValidationError")):
            yield from _type(name, schema)
    yield "## Forms\n"
    for name, schema in api["components"]["schemas"].items():
        if name.startswith("Body_"):
            yield from _type(_title(name), schema)


def _route(title: str, operation: Schema) -> Iterator[str]:
    yield f"### `{title}`\n\n{operation.get('description', '')}\n"
    if "security" in operation:
        yield "Needs the header `X-API-Key` if the service was started with a key.\n"
    if "requestBody" in operation:
        for media, content in operation["requestBody"]["content"].items():
            yield f"Body: `{media}`, {_kind(content['schema'])}.\n"
    if operation.get("parameters"):
        where = " or ".join(dict.fromkeys(each["in"] for each in operation["parameters"]))
        yield f"| {where} | type | default | meaning |\n|---|---|---|---|"
        for parameter in operation["parameters"]:
            schema = parameter["schema"]
            default = f"`{schema['default']}`" if "default" in schema else ""
            meaning = parameter.get("description", "")
            yield f"| `{parameter['name']}` | {_kind(schema)} | {default} | {meaning} |"
        yield ""
    yield "| status | body | meaning |\n|---|---|---|"
    for status, response in sorted(operation["responses"].items()):
        kinds = [
            _kind(content["schema"]) if content.get("schema") else f"`{media}`"
            for media, content in response.get("content", {}).items()
        ]
        meaning = response["description"].replace("Successful Response", "Success.")
        yield f"| {status} | {' or '.join(kinds)} | {meaning} |"
    yield ""


def _type(name: str, schema: Schema) -> Iterator[str]:
    yield f"### {name}\n"
    if schema.get("description"):
        yield f"{schema['description']}\n"
    yield from field_table(schema)


def field_table(schema: Schema, page: str = "") -> Iterator[str]:
    """Return a table of the fields of a type, with links to the types on a page; "": its own."""
    required = schema.get("required", ())
    yield "| field | type | meaning |\n|---|---|---|"
    for field, inner in schema.get("properties", {}).items():
        optional = "" if field in required else " (optional)"
        kind = f"{_kind(inner, page)}{optional}"
        yield f"| `{field}` | {kind} | {inner.get('description', '')} |"
    yield ""


def _kind(schema: Schema, page: str = "") -> str:
    """Return a type in words, with a link where it has a table of its own."""
    if "$ref" in schema:
        name = _title(schema["$ref"].rpartition("/")[2])
        return f"[{name}]({page}#{name.lower().replace(' ', '-')})"
    if "anyOf" in schema:
        return " or ".join(_kind(each, page) for each in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'], page)}"
    if schema.get("contentMediaType") or schema.get("format") == "binary":
        return "file"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"{_kind(schema['additionalProperties'], page)} by name"
    bounds = [
        f"{words} {schema[key]:g}"
        for key, words in (("minimum", "from"), ("maximum", "to"))
        if key in schema
    ]
    return " ".join([schema.get("type", "any"), *bounds])


def _title(name: str) -> str:
    """Return FastAPI's name of a form as a title: Body_predict_v1_... -> Form of predict."""
    return f"Form of {name.split('_')[1]}" if name.startswith("Body_") else name
