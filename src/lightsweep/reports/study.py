"""The study behind a sweep's folder, or in a storage.

It is read only, without a lock: so a report can be made while the sweep runs, and of a copy of its folder.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core import secrets
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL
from lightsweep.core.text import printable_line
from lightsweep.reports.columns import escape_tags
from lightsweep.reports.runs import load_yaml
from lightsweep.sweeper import confirmation, read_only, statistics, verdict
from lightsweep.sweeper.objectives import Objectives, objectives_of
from lightsweep.sweeper.trials import (
    INFEASIBLE,
    check_attributes,
    is_feasible,
    is_repeat,
    is_untried,
    summarise_trials,
    without_repeats,
)
from lightsweep.sweeper.verdict import Verdict

_KEPT = ("interrupted", "error", "baseline", "note", "repeat_of", INFEASIBLE)  # of a trial's attributes


@dataclass(frozen=True)
class Study:
    """A copy of a study.

    Args:
        study: in memory.
        settings: ``hydra.sweeper`` of the sweep, as its trials recorded it.
        folder: the sweep's; None where it is unknown.
        names: what the parameters are called in the study that was copied, by their short names.
    """

    study: optuna.Study
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.study.study_name

    @property
    def space(self) -> dict[str, str]:
        """Each parameter's distribution as text."""
        space = self.study.user_attrs.get("space")
        return {str(key): str(value) for key, value in space.items()} if isinstance(space, dict) else {}

    @property
    def trials(self) -> list[FrozenTrial]:
        """All but those that were not run: repeats of a point, and points that violate a constraint."""
        return [trial for trial in without_repeats(self.study.get_trials(deepcopy=False)) if not is_untried(trial)]

    @property
    def complete(self) -> list[FrozenTrial]:
        """Those that may be the best."""
        return [trial for trial in self.trials if trial.state == TrialState.COMPLETE and is_feasible(trial)]

    @property
    def objectives(self) -> Objectives:
        prune_on = self.settings.get("prune_on")
        known = objectives_of(self.study)
        return replace(known, prune_on=prune_on) if prune_on in known.names else known

    @property
    def maximises(self) -> bool:
        """Whether the objective, of several the first one, is better the larger it is."""
        return self.objectives.directions[0] == "maximize"

    @property
    def seeds(self) -> int:
        """How many runs a trial's value is the mean of."""
        seeds = self.settings.get("seeds")
        return len(seeds) if isinstance(seeds, list) and seeds else 1

    @property
    def changed_at(self) -> int:
        """The first trial with today's data and settings."""
        number = self.study.user_attrs.get("changed_at")
        return number if type(number) is int else 0


def judge(study: Study, metric: str) -> list[str]:
    """What the sweep has found, a line a sentence; nothing where it has found nothing yet.

    Args:
        metric: the name of the objective, where there is only one.
    """
    found = find_verdict(study, metric)
    return [printable_line(line) for line in (found.lines if found is not None else ())]


def find_verdict(study: Study, metric: str) -> Verdict | None:
    """What the sweep has found; None where it has found nothing yet.

    Args:
        metric: the name of the objective, where there is only one.
    """
    confirmed = _read_confirmation(study)
    if study.objectives.several:
        return verdict.judge_front(study.trials, study.objectives, confirmed, study.study.user_attrs)
    found = summarise_trials(
        study.trials,
        metric=metric,
        maximises=study.maximises,
        seeds=study.seeds,
        changed_at=study.changed_at,
        has_seed_key=study.settings.get("seed_key", "") is not None,  # earlier versions named none
    )
    return None if found is None else verdict.judge(found, confirmed)


def noise_of(study: Study, metric: str) -> float | None:
    """By how much two trials of one configuration differ at most, as the confirmation shows; None if unknown."""
    confirmed = _read_confirmation(study)
    if confirmed is None:
        return None
    samples = [confirmed.values(each, metric) for each in ("best", "baseline")]
    return statistics.noise_of_trials(samples, seeds=study.seeds)


def _read_confirmation(study: Study) -> statistics.Confirmed | None:
    return None if study.folder is None else confirmation.read_confirmation(study.folder)


def find_study(folder: Path, storage: str | None) -> Study | None:
    """The study of a sweep's folder; None where there is none.

    Args:
        storage: an Optuna URL, where the study is neither in the folder nor in an SQLite file that its runs name.

    Raises:
        ConfigError: the study is there and cannot be read.
    """
    settings = _read_settings(folder)
    named = settings.get("storage")
    file = folder / JOURNAL
    if isinstance(named, str) and named.startswith("${") and not file.is_file():
        storage = storage or secrets.storage_address()  # the sweep had its address from the environment
    if storage is None and not file.is_file() and not named:
        return None
    with _naming(str(folder)):
        opened = _open_storage(file, storage, named)
        return copy_study(read_only.load_study(opened, settings.get("study_name") or folder.name), settings, folder)


def open_study(where: str, name: str | None, storage: str | None) -> tuple[optuna.Study, Path | None]:
    """Open a study to read it; nothing can be written through it, but into a database server.

    Args:
        where: a sweep's folder, a journal, or an Optuna URL.
        name: of the study, where the storage holds several.
        storage: an Optuna URL, where the study is not in the folder.

    Returns:
        The study, and the sweep's folder where that is known.

    Raises:
        ConfigError: there is no such study, or it cannot be read.
    """
    path = Path(where)
    folder, settings, file = None, {}, path
    if "://" in where:
        storage = where
    elif path.is_dir():
        folder, settings, file = path, _read_settings(path), path / JOURNAL
    with _naming(secrets.redact(where)):
        if not (storage or file.is_file() or settings.get("storage")):
            below = ", ".join(str(each.parent) for each in sorted(path.glob(f"*/{JOURNAL}"))[:5])
            raise ConfigError(f"{where!r} is no sweep's folder and no Optuna URL" + f"; try {below}" * bool(below))
        opened = _open_storage(file, storage, settings.get("storage"))
        study = read_only.load_study(
            opened, name or settings.get("study_name") or path.name, option="--study-name", typed=name
        )
        check_attributes(study, "--study-name")
    return study, folder


@contextmanager
def _naming(where: str) -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # each storage raises its own
        reason = secrets.redact(" ".join(str(error).split())[:200])
        raise ConfigError(f"the study of {where} cannot be read ({type(error).__name__}: {reason})") from error


def _read_settings(folder: Path) -> dict[str, Any]:
    for pattern in ("trial-*/.hydra/hydra.yaml", "trial-*/seed-*/.hydra/hydra.yaml"):
        for path in sorted(folder.glob(pattern), reverse=True)[:3]:  # the latest trial has the settings of now
            try:
                sweeper = load_yaml(path)["hydra"]["sweeper"]
            except (KeyError, TypeError):  # missing, damaged, or of another program
                continue
            if isinstance(sweeper, dict):
                return sweeper
    return {}


def _open_storage(file: Path, storage: str | None, named: Any) -> BaseStorage:
    if storage is None and file.is_file():
        return read_only.open_journal(file)
    url = storage or str(named)
    path = read_only.sqlite_file(url)
    if path is not None and not path.is_file():
        raise ConfigError(f"the study's database {path} is not there; --storage says where it is")
    if storage is None and path is None:  # a folder from somebody else must not choose whom we connect to
        raise ConfigError(
            "the study is in a database: name it, --storage 'postgresql://host/db', or set LIGHTSWEEP_STORAGE"
        )
    return read_only.open_database(url)


def copy_study(study: optuna.Study, settings: Mapping[str, Any], folder: Path | None) -> Study:
    """The study in memory, with short names and with texts that plotly shows as they are."""
    trials = study.get_trials(deepcopy=False)
    labels = _shorten_names(list(dict.fromkeys(name for trial in trials for name in trial.params)))
    made = optuna.create_study(study_name=study.study_name, directions=study.directions)
    if study.metric_names is not None:
        with warnings.catch_warnings(action="ignore"):  # it is experimental in Optuna
            made.set_metric_names(study.metric_names)
    for name, value in study.user_attrs.items():
        made.set_user_attr(name, value)
    for trial in trials:
        made.add_trial(_relabel(trial, labels))
    return Study(made, settings, folder, {label: name for name, label in labels.items()})


def _relabel(trial: FrozenTrial, labels: Mapping[str, str]) -> FrozenTrial:
    repeats = is_repeat(trial)  # kept, as numbers count trials, with a state that no figure uses
    attributes = {name: trial.user_attrs[name] for name in _KEPT if name in trial.user_attrs}
    if "error" in attributes:
        attributes["error"] = escape_tags(attributes["error"])
    return FrozenTrial(
        number=trial.number,
        state=TrialState.FAIL if repeats else trial.state,
        value=None,
        values=None if repeats else trial.values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params={labels[name]: _escape_text(value) for name, value in trial.params.items()},
        distributions={
            labels[name]: CategoricalDistribution([_escape_text(choice) for choice in each.choices])
            if isinstance(each, CategoricalDistribution)
            else each
            for name, each in trial.distributions.items()
        },
        user_attrs=attributes,
        system_attrs={name: value for name, value in trial.system_attrs.items() if name.startswith("constraints")},
        intermediate_values=trial.intermediate_values,
        trial_id=trial.number,
    )


def _escape_text(value: Any) -> Any:
    return escape_tags(value) if isinstance(value, str) else value


def _shorten_names(names: Sequence[str]) -> dict[str, str]:
    """``optimizer.lr`` as lr, ``optimizer=sgd:optimizer.lr`` as lr (sgd), as long as they differ."""
    short = {}
    for name in names:
        condition, _, key = name.rpartition(":")
        label = key.rpartition(".")[2]
        short[name] = f"{label} ({condition.rpartition('=')[2]})" if condition else label
    taken = list(short.values())
    return {name: escape_tags(label if taken.count(label) == 1 else name) for name, label in short.items()}
