"""The map of the rooms names every package, in the order of the import contract."""

import re
import tomllib

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "concepts" / "rooms.md"
ROW = re.compile(r"^\| `([\w/]+)` \| .+ \| (\d+) \|$", re.MULTILINE)


def layers() -> list[set[str]]:
    """The rooms of each layer of the import contract, the lowest layer first, as paths."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [lines] = [each["layers"] for each in contracts["contracts"] if each["type"] == "layers"]
    found = [{name.replace(".", "/") for name in re.findall(r"[\w.]+", line)} for line in lines]
    rooms = [{path for path in layer if (ROOT / path).is_dir()} for layer in found]
    return [layer for layer in reversed(rooms) if layer]


def test_the_map_has_every_room_in_its_layer() -> None:
    rows = [(path, int(layer)) for path, layer in ROW.findall(PAGE.read_text())]
    expected = {path: number for number, layer in enumerate(layers(), 1) for path in layer}
    assert dict(rows) == expected
    assert len(rows) == len(expected)
    numbers = [number for _, number in rows]
    assert numbers == sorted(numbers, reverse=True)


def test_the_map_has_exactly_the_packages() -> None:
    packages = {f"serct/{path.parent.name}" for path in (ROOT / "serct").glob("*/__init__.py")}
    assert {path for path, _ in ROW.findall(PAGE.read_text())} == {*packages, "pipeline"}
