"""Pages: what the report and a search look like, from templates that stand beside this file."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """Fill in a template; what is filled in is escaped, unless it is `markupsafe.Markup`."""
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("serct", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
