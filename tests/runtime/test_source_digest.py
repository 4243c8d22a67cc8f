"""The digest of code changes with all that a module computes with, and with nothing else."""

import importlib
import sys
from pathlib import Path

import pytest

from serct.runtime.source_digest import source_digest


def test_it_is_of_all_that_a_module_computes_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "rooms_of_a_test"
    (package / "inner").mkdir(parents=True)
    sources = {
        "model.py": "from rooms_of_a_test.inner import near\n"
        "def run():\n    import rooms_of_a_test.late\n",
        "inner/near.py": "from rooms_of_a_test.far import CONSTANT\nfrom pathlib import Path\n",
        "far.py": "CONSTANT = 1\n",
        "late.py": "",
        "other.py": "",
    }
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest(**changed: str) -> str:
        for name in [name for name in sys.modules if name.startswith("rooms_of_a_test")]:
            del sys.modules[name]
        for path, text in (sources | changed).items():
            (package / path).write_text(text)
        importlib.invalidate_caches()
        source_digest.cache_clear()
        return source_digest("rooms_of_a_test.model", "rooms_of_a_test")

    before = digest()
    assert digest() == before
    assert digest(**{"other.py": "ELSE = 1\n"}) == before
    for part in ("model.py", "inner/near.py", "far.py", "late.py"):
        assert digest(**{part: sources[part] + "# changed\n"}) != before, part
