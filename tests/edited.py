"""Records changed on purpose: their digests are those of the new content."""

import json
from pathlib import Path
from typing import Any

from serct.config.record import sealed
from serct.runtime.digests import file_digests


def edit_record(path: Path, **changes: Any) -> Path:
    """Change keys of a record on disk, with the digests of the files that it lists."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    if "files" in content:
        content["files"] = file_digests(path.parent, content["files"])
    path.write_text(json.dumps(sealed(content)), encoding="utf-8")
    return path
