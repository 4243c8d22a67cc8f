"""The file of a shard's rows."""

from pathlib import Path

import numpy as np

from serct.data.row_file import keep_rows, writing_rows


def test_shards_are_written_row_by_row_as_numpy_would(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.int16).reshape(3, 4)
    np.save(tmp_path / "numpy.npy", rows)
    with writing_rows(tmp_path / "own.npy", 3, 4) as file:
        for place in (2, 0, 1):
            file.write(place, rows[place])
    assert (tmp_path / "own.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()
    keep_rows(tmp_path / "own.npy", [0, 2])
    assert np.load(tmp_path / "own.npy").tolist() == rows[[0, 2]].tolist()
    keep_rows(tmp_path / "own.npy", [])
    assert not (tmp_path / "own.npy").exists()
