"""The text of params.yaml: every value is explained, and DVC writes it as it stands."""

import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml

from serct.config.reader import read_yaml
from tests.conftest import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
LINES = TEXT.splitlines()


def keys_of(
    node: yaml.MappingNode, path: tuple[str, ...] = (), base: str | None = None
) -> Iterator[tuple[tuple[str, ...], str, str | None]]:
    """Walk over the keys with a value, their lines, and the entry that explains them if any."""
    for key, value in node.value:
        line = key.start_mark.line
        comments = "\n".join((LINES[line - 1], LINES[line]))
        named = re.search(r"eys without a comment are as in (\w+)", comments)
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            yield from keys_of(value, (*path, key.value), named[1] if named else base)
        else:
            yield (*path, key.value), LINES[line], base


def value_of(params: Any, path: tuple[str, ...]) -> Any:
    return reduce(lambda inner, key: inner[key], path, params)


def test_every_key_is_explained() -> None:
    """Each value's meaning, unit or range stands on its line, or the value is that of a base."""
    params = read_yaml(ROOT / "params.yaml")
    of_demo = {"language", "num_speakers", "num_texts", "emotions"}
    unexplained = {"reader", "architecture", "train"} | of_demo
    bases = set()
    for path, line, base in keys_of(yaml.compose(TEXT, yaml.SafeLoader)):
        if "#" in line or path[-1] in unexplained or path[0] == "corpora":
            continue
        if base is not None:
            bases.add(base)
            same = ("models", base, *path[2:])
            assert value_of(params, path) == value_of(params, same), ".".join(path)
        else:
            assert path[-1] == "num_layers" or path[-2] in ("augment", "conditions"), line
    assert bases == {"serct", "serct_plus", "egemaps_svm", "functionals_lda", "whisper_lda"}


def changed_lines(path: Path, before: str) -> list[str]:
    old, new = before.splitlines(), path.read_text(encoding="utf-8").splitlines()
    assert len(old) == len(new)
    return [line for was, line in zip(old, new, strict=True) if was != line]


def test_dvc_writes_params_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    with modify_yaml(path):
        pass
    assert path.read_text(encoding="utf-8") == TEXT


def test_a_new_value_is_one_changed_line(tmp_path: Path) -> None:
    """`dvc exp run -S` replaces every list and writes out what `<<` brings in."""
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    settings = [
        "train.epochs=5",
        "train.gradient_clip=2.5",
        "models.serct_plus.train.augment.gain_db=null",
    ]
    apply_overrides(path, settings)
    epochs, clip, gain = changed_lines(path, TEXT)
    assert epochs.startswith("  epochs: 5                   # passes over the training part")
    assert clip.startswith("  gradient_clip: 2.5          # largest gradient norm")
    assert gain.startswith("        gain_db:              # up to so many dB")
