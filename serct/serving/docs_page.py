"""The page /docs: every route of the service, from its own schema.

FastAPI's own page loads its scripts from a network address, which could then act for every visitor.
This page has no scripts, and its headers forbid any.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from jinja2 import Environment

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
:root { color-scheme: light dark; }
code, h2 { font-family: ui-monospace, monospace; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.2rem 0.8rem 0.2rem 0;
  border-bottom: 1px solid #8886; }
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ info.title }} {{ info.version }}</title>
<style>{{ style }}</style>
</head>
<body>
<h1>{{ info.title }} {{ info.version }}</h1>
<p>{{ info.description }}</p>
<p><a href="openapi.json">openapi.json</a> has every field: programs that read OpenAPI, such as
Swagger UI or Postman, make forms and clients of it. <code>WS /v1/stream</code> takes live
speech.</p>
{% for path, operations in paths.items() %}{% for method, operation in operations.items() %}
<h2>{{ method.upper() }} {{ path }}</h2>
<p>{{ operation.description or operation.summary }}
{%- if operation.security %} Needs the header <code>X-API-Key</code> if the service has keys.
{%- endif %}</p>
<table>
{% for field in operation.parameters or [] %}
<tr><td><code>{{ field.name }}</code></td><td>{{ field.description }}</td></tr>
{% endfor %}
{% for status, response in operation.responses.items() %}
<tr><td>{{ status }}</td><td>{{ response.description }}</td></tr>
{% endfor %}
</table>
{% endfor %}{% endfor %}
</body>
</html>
"""


def add_docs_page(app: FastAPI) -> None:
    """Add the page to an application that has all its other routes."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(_render(app.openapi()), headers={"Content-Security-Policy": policy})


def _render(schema: Mapping[str, Any]) -> str:
    return Environment(autoescape=True).from_string(_PAGE).render(schema, style=_STYLE)
