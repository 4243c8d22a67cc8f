"""Commands for the API keys of a service."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serct.cli.output import AsJson, print_json, print_rows
from serct.cli.shared import app
from serct.errors import KeysError

if TYPE_CHECKING:
    from serct.serving.access.keys import ApiKey

keys_app = typer.Typer(
    help="Make, list and remove the API keys of a service (`serct serve --keys`).",
    no_args_is_help=True,
)
app.add_typer(keys_app, name="keys")

File = Annotated[
    Path,
    typer.Option(
        "--file", envvar="SERCT_API_KEYS_FILE", help="File of the keys' hashes and limits."
    ),
]
Name = Annotated[str, typer.Argument(help="Name of the key's holder; no person's name.")]


@keys_app.command("add")
def keys_add(
    name: Name,
    file: File,
    expires: Annotated[
        str | None, typer.Option(help="Last day on which the key is valid, such as 2027-12-31.")
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="If left out, key_requests_per_minute of params.yaml.")
    ] = None,
    streams: Annotated[
        int | None, typer.Option(min=1, help="If left out, key_streams of params.yaml.")
    ] = None,
    max_body_mb: Annotated[
        float | None, typer.Option(help="If left out, as large as the service allows.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, print it once, and keep its hash.

    A service that uses the file accepts the key within a second.
    """
    from serct.config.section import validate
    from serct.serving.access.keys import ApiKey, hash_key, make_key

    key = make_key()
    fields = {
        "name": name, "sha256": hash_key(key), "expires": expires, "streams": streams,
        "requests_per_minute": requests_per_minute, "max_body_mb": max_body_mb,
    }  # fmt: skip
    entry = validate(ApiKey, fields, "command line")
    if entry.expires and entry.is_expired(datetime.now(UTC)):
        raise KeysError(f"--expires is {entry.expires}, expected today or later")
    with _changing(file) as keys:
        if any(each.name == name for each in keys):
            raise KeysError(
                f"{file}: there is a key {name} already; to replace it, `serct keys remove` it "
                "first, or add another name and remove this one when its holder has changed over"
            )
        keys.append(entry)
    if as_json:
        print_json({"name": name, "key": key, "expires": entry.expires})
        return
    typer.echo(key)
    typer.echo(f"{file}: added {name}; the key is shown this one time and kept nowhere", err=True)


@keys_app.command("list")
def keys_list(file: File, as_json: AsJson = False) -> None:
    """List names, limits and last days; neither keys nor hashes."""
    from serct.serving.access.keys import read_keys

    now = datetime.now(UTC)
    if as_json:
        print_json([
            each.model_dump(mode="json", exclude={"sha256"}) | {"expired": each.is_expired(now)}
            for each in read_keys(file)
        ])  # fmt: skip
        return
    rows = [
        {
            "name": each.name,
            "requests a minute": _limit(each.requests_per_minute),
            "streams": _limit(each.streams),
            "MB a body": _limit(each.max_body_mb),
            "valid until": f"{each.expires or ''}{' (expired)' if each.is_expired(now) else ''}",
        }
        for each in read_keys(file)
    ]
    print_rows("Keys", rows)


@keys_app.command("remove")
def keys_remove(name: Name, file: File) -> None:
    """Remove a key: a service that uses the file refuses it within a second."""
    with _changing(file) as keys:
        left = [each for each in keys if each.name != name]
        if len(left) == len(keys):
            known = ", ".join(each.name for each in keys) or "none"
            raise KeysError(f"{file}: no key {name}, found: {known}")
        keys[:] = left
    typer.echo(f"{file}: removed {name}", err=True)


@contextmanager
def _changing(file: Path) -> "Iterator[list[ApiKey]]":
    """Yield the keys of a file, and write them as they are at the end of the block."""
    from filelock import FileLock

    from serct.serving.access.keys import read_keys, write_keys

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock"), mode=0o600):
        keys = list(read_keys(file)) if file.exists() else []
        yield keys
        write_keys(file, keys)


def _limit(value: float | None) -> str:
    return "default" if value is None else f"{value:g}"
