"""The recipe of each stage: which code it runs and which params it uses."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from serct.config.params import Params, SplitParams, TrainParams
from serct.data.corpora import (
    Corpus,
    CorpusParams,
    Sources,
    build_corpus,
    read_corpus_params,
    read_licences,
)
from serct.data.official.reading import division_files
from serct.evaluation.conditions import read_conditions
from serct.models import read_encoder_params, read_model_params
from serct.models.interface import ModelParams, TorchParams
from serct.runtime import atomic
from serct.runtime.digests import file_digest
from serct.runtime.source import code_digests

_PROJECT = Path(__file__).resolve().parents[3]
_CHECKSUMS, _TEMPLATES = Path("serct/data/corpora/checksums"), Path("serct/reports")

# Errors and logs only speak. Whatever reads params and files, writes them and finds the device
# delivers what stands in a recipe, an input or an output. MLflow shows what is in the files.
_NEVER = frozenset(
    {
        "pipeline.stage", "serct.errors", "serct.tracking",
        "serct.config.files", "serct.config.params", "serct.config.reader", "serct.config.record",
        "serct.config.search", "serct.config.section", "serct.config.serving",
        "serct.runtime.arrays", "serct.runtime.atomic", "serct.runtime.cache",
        "serct.runtime.devices",
        "serct.runtime.digests", "serct.runtime.disk", "serct.runtime.executors",
        "serct.runtime.log", "serct.runtime.loopback", "serct.runtime.machine",
        "serct.runtime.ray_cluster", "serct.runtime.source",
    }
)  # fmt: skip
# They bring the bytes that the authors publish, or fail.
_TRANSPORT = {"serct.data.download", "serct.data.partial_file"}
_OBTAINING = _TRANSPORT | {"serct.data.archives"}
_READING = {"serct.data.corpora", "serct.data.reading"}
# Emotions are fixed in the manifest; later they are names in the order of a table.
_EMOTIONS = {"serct.emotions"}
# Networks take hours to train, and are not trained by what fits scikit-learn's models.
_CLASSICAL = {"serct.models.classical", "serct.training.classical"}
_LOOP = {"serct.training.batches", "serct.training.loop", "serct.training.state"}
_BALANCE = {"serct.training.balance"}
_AUGMENTATION = {"serct.training.augmentation", "serct.training.effects"}

SPARED: Mapping[str, frozenset[str]] = {
    "download": _NEVER | _TRANSPORT | _EMOTIONS | {
        "serct.data.audio", "serct.data.decoding", "serct.data.duplicates", "serct.data.manifest",
    },
    "manifest": _NEVER | _OBTAINING | {
        "serct.data.reading.espeak", "serct.data.reading.piecewise", "serct.data.reading.sources",
        "serct.data.reading.verification",
    },
    # Of a corpus' reader it takes only whether the speech is synthetic, which is in the recipe.
    "preprocess": _NEVER | _OBTAINING | _EMOTIONS | _READING | {"serct.data.duplicates"},
    # An estimate of how long it takes is only told. An encoder's digest is in the recipe.
    "train": _NEVER | _EMOTIONS | {"serct.training.encoders", "serct.training.estimate"},
    **dict.fromkeys(("evaluate", "zero_shot", "zero_shot_targets"), _NEVER | _EMOTIONS),
    # Of a corpus' reader it takes only the licence, which is in the recipe.
    "report": _NEVER | _EMOTIONS | _READING,
}  # fmt: skip
"""What does not decide the output of a stage: modules, and packages with all that is in them."""


@dataclass(frozen=True)
class Recipe:
    """What decides a stage's output besides its input files.

    Attributes:
        code: Digest of each module's statements, by the module's name.
        params: What the stage reads of params.yaml.
        files: Digest of each other file of the project that it reads, by its path.
    """

    code: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def write_corpus_recipes(params: Params, out: Path) -> None:
    """Write a folder with the recipes of the stages that prepare a corpus: CORPUS/STAGE.json.

    Raises:
        ParamsError: If a corpus has no entry, or naming the key that is wrong.
    """
    recipes = {
        f"{name}/{stage}": recipe
        for name in params.pipeline.corpora
        for stage, recipe in _recipes_of_corpus(params, name)
    }
    _write(out, recipes)


def write_model_recipes(params: Params, out: Path) -> None:
    """Write a folder with the recipes of the later stages.

    They are MODEL/STAGE.json, encoders/ENCODER/STAGE.json and STAGE.json.

    Raises:
        ParamsError: If a model has no entry, or naming the key that is wrong.
    """
    recipes = {
        f"{name}/{stage}": recipe
        for name in params.pipeline.models
        for stage, recipe in _recipes_of_model(params, name)
    }
    for name in params.pipeline.encoders:
        # A commit and a digest say which encoder it is, whatever the code that brings it.
        entry = read_encoder_params(params, name).model_dump(mode="json")
        recipes[f"encoders/{name}/download_encoder"] = Recipe({}, {"encoder": entry})
    pipeline = params.pipeline.model_dump(mode="json")
    licences = read_licences(params, params.pipeline.train_corpora)
    targets = {"zero_shot_corpora": pipeline["zero_shot_corpora"]}
    templates = sorted((_PROJECT / _TEMPLATES).glob("*.j2"))
    recipes["zero_shot_targets"] = Recipe(_code("zero_shot_targets"), targets)
    recipes["report"] = Recipe(
        _code("report"), {"pipeline": pipeline, "licences": licences}, _digests(templates)
    )
    _write(out, recipes)


def _recipes_of_corpus(params: Params, name: str) -> Iterator[tuple[str, Recipe]]:
    entry = read_corpus_params(params, name)
    members = list(_with_members(entry))
    readers = [f"serct.data.corpora.{member.reader}" for member in members]
    corpus = build_corpus(name, entry)
    lists = {build_corpus(name, member).checksums for member in members} - {""}
    checksums = [_PROJECT / _CHECKSUMS / f"{each}.csv" for each in sorted(lists)]
    content = entry.model_dump(mode="json")
    code = _code("download", *readers)
    own = {"corpus": _without(content, "labels", "split")}
    yield "download", Recipe(code, own, _digests(checksums))
    division = params.split_params(name)
    used = {
        "corpus": _without(content, "split"),
        **_sections(params, "seed", "checks"),
        "split": division.model_dump(mode="json"),
    }
    # A corpus without labels of its own, or a division: as before there were these keys.
    used = _without(used, "labels", "path", only_null=True)
    yield "manifest", Recipe(_code("manifest", *readers), used, _division(corpus, division))
    rows = {
        **_sections(params, "audio", "checks", "preprocess"),
        "protocol": division.protocol,
        "synthetic": corpus.is_synthetic,
    }
    yield "preprocess", Recipe(_code("preprocess"), rows)


def division_changed(params: Params, workspace: Path) -> bool:
    """Return whether the files that divide corpora are others than the recipes say.

    They lie outside the workspace, where DVC does not watch them.
    """
    for name in params.pipeline.corpora:
        division = params.split_params(name)
        path = workspace / "data" / "recipes" / "corpora" / name / "manifest.json"
        if division.path is not None and path.exists():
            noted = json.loads(path.read_text("utf-8"))["files"]
            corpus = build_corpus(name, read_corpus_params(params, name))
            if noted != _division(corpus, division, workspace):
                return True
    return False


def _division(corpus: Corpus, params: SplitParams, root: Path = Path()) -> dict[str, str]:
    """Return the digests of the files that divide a corpus, wherever they lie on this machine."""
    mirror = Sources.from_environment().mirror
    files = division_files(corpus, params, mirror, root)
    return {f"{path.parent.name}/{path.name}": file_digest(path) for path in files}


def _without(content: Mapping[str, Any], *names: str, only_null: bool = False) -> dict[str, Any]:
    """Return a mapping, and all inside it, without some keys, or without these where null."""
    return {
        key: _without(value, *names, only_null=only_null) if isinstance(value, Mapping) else value
        for key, value in content.items()
        if key not in names or (only_null and value is not None)
    }


def _with_members(entry: CorpusParams) -> Iterator[CorpusParams]:
    """Yield the entry of a corpus, and of those that it joins."""
    yield entry
    for value in dict(entry).values():
        for member in value.values() if isinstance(value, Mapping) else ():
            if isinstance(member, CorpusParams):
                yield from _with_members(member)


def _recipes_of_model(params: Params, name: str) -> Iterator[tuple[str, Recipe]]:
    model, train = read_model_params(params, name), params.train_params(name)
    module = f"serct.models.{model.architecture}"
    also_spared = _CLASSICAL if isinstance(model, TorchParams) else _LOOP
    effects = {key: value for key, value in (train.augment or {}).items() if value is not None}
    roots = [module, *(f"serct.training.effects.{effect}" for effect in sorted(effects))]
    used = {
        **_sections(params, "seed"),
        "model": model.decisive(),
        "train": _used(model, train, effects),
    }
    not_trained_by = also_spared
    not_trained_by = not_trained_by if effects else not_trained_by | _AUGMENTATION
    not_trained_by = not_trained_by if train.balance else not_trained_by | _BALANCE
    yield "train", Recipe(_code("train", *roots, also_spared=not_trained_by), used)
    used_conditions = read_conditions(params.robustness.conditions, params.where)
    names = sorted({str(condition.entry["condition"]) for condition in used_conditions})
    conditions = [f"serct.evaluation.conditions.{name}" for name in names]
    for stage, others, sections in (
        ("evaluate", conditions, ("evaluate", "robustness")),
        ("zero_shot", [], ("evaluate",)),
    ):
        code = _code(stage, module, *others, also_spared=also_spared)
        yield stage, Recipe(code, _sections(params, *sections))


def _used(model: ModelParams, train: TrainParams, effects: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of training that decide a model."""
    used = model.used_settings(train)
    return {**used, "augment": dict(effects)} if "augment" in used else used


def _code(stage: str, *roots: str, also_spared: Iterable[str] = ()) -> dict[str, str]:
    return code_digests([f"pipeline.{stage}", *roots], SPARED[stage].union(also_spared))


def _sections(params: Params, *names: str) -> dict[str, Any]:
    """Return sections of params as plain data."""
    found = {name: getattr(params, name) for name in names}
    return {
        name: value if isinstance(value, int) else value.model_dump(mode="json")
        for name, value in found.items()
    }


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    return {path.relative_to(_PROJECT).as_posix(): file_digest(path) for path in paths}


def _write(out: Path, recipes: Mapping[str, Recipe]) -> None:
    with atomic.replacing_folder(out) as folder:
        for path, recipe in recipes.items():
            atomic.write_json(folder / f"{path}.json", asdict(recipe))
