"""Hyperparameter search with Optuna: proposes, trains with the one loop, ends poor trials early.

Only the training and validation splits are read. The state is a journal on disk, or a database for
many machines: any number of processes may work on one search, and a trial that was cut off goes on
after its last epoch.
"""

import hashlib
import json
import math
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import optuna
import yaml
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from serct.config.params import Params
from serct.config.search import SearchParams
from serct.data.dataset import ShardDataset
from serct.errors import ParamsError, SerctError
from serct.experiments.search.page import Search, search_page
from serct.experiments.search.space import as_entry, check_space, suggest, value_of, with_values
from serct.models import read_model_params
from serct.models.records import EpochRow
from serct.runtime import atomic
from serct.runtime.executors import open_executor
from serct.runtime.log import logger
from serct.tracking.process_tags import HOST, is_alive, process_tags
from serct.tracking.run_logger import Trials, tracked_search
from serct.training.fitting import fingerprint, fit

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
# Attributes of a trial.
_PROCESS, _EPOCH, _PROBLEM = "process", "best_epoch", "problem"


def run_search(
    workspace: Path, params: Params, num_trials: int, storage: str | None = None
) -> Search:
    """Run trials of a search until it has so many ended ones; log each.

    Args:
        workspace: Holds the preprocessed corpus; the search's files go into data/search.
        params: All parameters; ``params.search`` holds what to vary, ``params.executor`` where
            trials run.
        num_trials: Ended trials, of all processes and times together.
        storage: URL of a database shared with other machines; a journal in the folder if None.

    Returns:
        The state of the search; ``best.yaml``, ``trials.json`` and ``index.html`` are written in
        its folder.

    Raises:
        ParamsError: If the section names no such model or corpus, or an unknown key.
        ShardError: If the corpus is not preprocessed.
        SerctError: If no trial is complete, or there is no cluster.
    """
    search = params.search
    for kind, name, known in (
        ("model", search.model, params.models),
        ("corpus", search.corpus, params.corpora),
    ):
        if name not in known:
            raise ParamsError(f"search.{kind} is {name!r}, expected one of: {', '.join(known)}")
    shards = workspace / "data" / "shards" / search.corpus
    meta = ShardDataset(shards, ["train"]).meta
    check_space(params)
    folder = (
        workspace / "data/search" / f"{search.corpus}-{search.model}-{_digest(params, meta.digest)}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    study = _open_study(params, folder, storage)
    missing = num_trials - len(study.get_trials(deepcopy=False, states=_ENDED))
    with (
        open_executor(params.executor) as executor,
        tracked_search(params.tracking, folder.name, workspace) as trials,
    ):
        work = partial(_take_part, params, num_trials, storage, shards, folder, trials)
        executor.repeat(work, max(0, missing), folder.name, folder.parent)
    return _conclude(study, params, folder)


def _open_study(params: Params, folder: Path, storage: str | None) -> optuna.Study:
    search = params.search
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=folder.name,
        storage=_journal(folder) if storage is None else open_storage(storage),
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=search.first_look, reduction_factor=search.reduction
        ),
        direction="maximize",
        load_if_exists=True,
    )


def _take_part(
    params: Params, num_trials: int, storage: str | None, shards: Path, folder: Path, trials: Trials
) -> None:
    """Run one trial, in any process of any machine; none if enough are running."""
    study = _open_study(params, folder, storage)
    _take_up(study)
    trial = _ask(study, num_trials, params.seed)
    if trial is None:
        return
    train_set = ShardDataset(shards, ["train"])
    validation_set = ShardDataset(shards, ["validation"], train_set.emotions)
    _run_trial(study, trial, params, (train_set, validation_set), folder, trials)
    ended = study.trials[trial.number]
    value = "" if ended.value is None else f", validation UA {ended.value:.4f}"
    logger.info("trial %d %s%s: %s", ended.number, ended.state.name.lower(), value, ended.params)


def _ask(study: optuna.Study, num_trials: int, seed: int) -> optuna.Trial | None:
    """Return a new trial, None if enough have ended or are running."""
    if _num_counted(study, math.inf) >= num_trials:
        return None
    trial = study.ask()
    if _num_counted(study, trial.number) >= num_trials:
        # Another process proposed one at the same time, with a lower number.
        study.tell(trial, state=TrialState.FAIL)
        return None
    # The seed depends on the trial's number, which is unique: processes that start together must
    # not propose the same values.
    study.sampler = optuna.samplers.TPESampler(seed=seed + trial.number, constant_liar=True)
    return trial


def _num_counted(study: optuna.Study, before: float) -> int:
    states = (*_ENDED, TrialState.RUNNING)
    return sum(t.number < before for t in study.get_trials(deepcopy=False, states=states))


def _run_trial(
    study: optuna.Study,
    trial: optuna.Trial,
    params: Params,
    sets: tuple[ShardDataset, ShardDataset],
    folder: Path,
    trials: Trials,
) -> None:
    """Train one proposal and write its outcome into the study."""
    search, (train_set, validation_set) = params.search, sets
    trial.set_user_attr(_PROCESS, process_tags())
    values = {key: suggest(trial, key, space) for key, space in search.space.items()}
    try:
        proposed = with_values(params, values)
    except ParamsError as error:
        # Values that do not go together, such as a width that the heads do not divide.
        trial.set_user_attr(_PROBLEM, str(error))
        study.tell(trial, state=TrialState.PRUNED)
        return
    model, train = read_model_params(proposed, search.model), proposed.train_params(search.model)
    mark = fingerprint(model, train, params.seed, train_set.meta.digest)
    state = folder / f"{mark[:16]}.safetensors"
    card = {
        "name": search.model,
        "corpus": search.corpus,
        "protocol": train_set.meta.protocol,
        "synthetic": train_set.meta.synthetic,
        "architecture": model.model_dump(mode="json"),
        "training": model.used_settings(train),
        "audio": train_set.meta.audio,
        "emotions": train_set.emotions,
        "seed": params.seed,
        "digests": {"manifest": train_set.meta.manifest_digest, "shards": train_set.meta.digest},
        "versions": {"optuna": optuna.__version__},
        "fingerprint": f"{mark}-search",
    }
    best = 0.0
    with trials.trial(card) as run:

        def report(row: EpochRow) -> None:
            nonlocal best
            run.log_epoch(row.columns())
            best = max(best, row.validation_ua)
            trial.report(best, row.epoch)
            if row.epoch < search.epochs and trial.should_prune():
                raise optuna.TrialPruned

        try:
            fitted = fit(model, train, params.seed, train_set, validation_set, state, report)
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr(_EPOCH, fitted.best_epoch)
            study.tell(trial, fitted.best.validation_ua)
    state.unlink(missing_ok=True)


def _take_up(study: optuna.Study) -> None:
    """Put the trials of dead processes of this machine first in the queue again."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        tags = trial.user_attrs.get(_PROCESS, {})
        if tags.get(HOST) == socket.gethostname() and not is_alive(tags):
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)


def _digest(params: Params, shards_digest: str) -> str:
    """Return the digest of everything that must agree between comparable trials."""
    content = {
        "search": params.search.model_dump(mode="json"),
        "model": read_model_params(params, params.search.model).model_dump(mode="json"),
        "train": params.train.model_dump(mode="json"),
        "seed": params.seed,
        "shards": shards_digest,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _journal(folder: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def open_storage(url: str) -> BaseStorage:
    """Open the database of searches.

    Raises:
        SerctError: If there is no connection.
    """
    try:
        return RDBStorage(url)
    except Exception as error:
        # SQLAlchemy and each database driver have error classes of their own.
        raise SerctError(f"the search's database cannot be opened: {error}") from error


def _conclude(study: optuna.Study, params: Params, folder: Path) -> Search:
    search: SearchParams = params.search
    ended = study.get_trials(deepcopy=False, states=_ENDED)
    complete = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    if not complete:
        problems = {trial.user_attrs[_PROBLEM] for trial in ended if _PROBLEM in trial.user_attrs}
        raise SerctError(f"{folder}: no trial is complete. {'; '.join(sorted(problems))}")
    best = study.best_trial
    values = {key: value_of(best, key, space) for key, space in search.space.items()}
    rows = tuple(
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "validation_ua": trial.value,
            "epochs": max(trial.intermediate_values, default=0),
            **{key: value_of(trial, key, space) for key, space in search.space.items()},
        }
        for trial in ended
    )
    text = yaml.safe_dump({"models": {search.model: as_entry(values)}}, sort_keys=False)
    atomic.write_text(
        folder / "best.yaml",
        f"# Trial {best.number} of {len(ended)}: UA {best.value:.4f} on validation after at most "
        f"{search.epochs} epochs.\n{text}",
    )
    atomic.write_json(folder / "trials.json", [dict(row) for row in rows])
    found = Search(folder, rows, values, float(best.value or 0.0), _importance(study, search))
    atomic.write_text(folder / "index.html", search_page(search, found))
    return found


def _importance(study: optuna.Study, search: SearchParams) -> Mapping[str, float]:
    if len(search.space) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        return optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (RuntimeError, ValueError):
        # Fewer than two complete trials, or all equally good.
        return {}
