"""A condition is one file: the one of the docs is added, and the docs' own test run on it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serct.evaluation import conditions
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "concepts" / "robustness.md"


@pytest.fixture
def page_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Add the condition of the page as one file; return the page's test."""
    text = PAGE.read_text(encoding="utf-8")
    condition, test = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "clipping.py").write_text(condition, encoding="utf-8")
    monkeypatch.setattr(conditions, "__path__", [*conditions.__path__, str(tmp_path)])
    yield test
    sys.modules.pop(f"{conditions.__name__}.clipping", None)
    vars(conditions).pop("clipping", None)


def test_the_page_holds_a_condition_and_a_test_that_passes(page_test: str) -> None:
    names: dict[str, Any] = {}
    exec(page_test, names)
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    test()


def test_the_page_describes_each_condition() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == conditions.condition_names()
