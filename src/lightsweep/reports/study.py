"""The study behind a sweep's folder, read only: no lock is taken, nothing is cut off, created or written.

So a report can be made while the sweep runs, and of a copy of its folder.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core import secrets
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL
from lightsweep.reports.columns import escape_tags
from lightsweep.reports.runs import load_yaml
from lightsweep.sweeper.storage import read_journal
from lightsweep.sweeper.trials import is_repeat, without_repeats

_KEPT = ("interrupted", "error", "baseline", "note", "repeat_of")  # of a trial's attributes
_SQLITE = re.compile(r"sqlite:///(?P<path>[^?#:]+)$")


@dataclass(frozen=True)
class Study:
    """A copy of a study.

    Args:
        study: in memory.
        settings: ``hydra.sweeper`` of the sweep, as its trials recorded it.
    """

    study: optuna.Study
    settings: Mapping[str, Any] = field(default_factory=dict)

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
        """All but those that repeated another's point, and were not trained."""
        return without_repeats(self.study.get_trials(deepcopy=False))

    @property
    def complete(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    @property
    def maximises(self) -> bool:
        return self.study.direction == StudyDirection.MAXIMIZE

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


def find_study(folder: Path, storage: str | None) -> Study | None:
    """The study of a sweep's folder; None where there is none.

    Args:
        storage: an Optuna URL, where the study is neither in the folder nor in an SQLite file that its runs name.

    Raises:
        ConfigError: the study is there and cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = _read_settings(folder)
    named = settings.get("storage")
    file = folder / JOURNAL
    if isinstance(named, str) and named.startswith("${") and not file.is_file():
        storage = storage or secrets.storage_address()  # the sweep had its address from the environment
    if storage is None and not file.is_file() and not named:
        return None
    try:
        opened = _open(file, storage, named)
        return Study(_copy(_choose_study(opened, settings.get("study_name") or folder.name)), settings)
    except ConfigError:
        raise
    except Exception as error:  # each storage raises its own
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"the study of {folder} cannot be read ({type(error).__name__}: {reason})") from error


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


def _open(file: Path, storage: str | None, named: Any) -> BaseStorage:
    if storage is None and file.is_file():
        return JournalStorage(_ReadOnlyJournal(file))
    url = storage or str(named)
    sqlite = _SQLITE.match(url)
    if sqlite:
        path = Path(sqlite["path"])
        if not path.is_file():
            raise ConfigError(f"the study's database {path} is not there; --storage says where it is")
        return RDBStorage(f"sqlite:///file:{path.resolve()}?mode=ro&uri=true", skip_table_creation=True)
    if storage is None:  # a folder from somebody else must not choose whom we connect to
        raise ConfigError(
            "the study is in a database: name it, --storage 'postgresql://host/db', or set LIGHTSWEEP_STORAGE"
        )
    return RDBStorage(storage, skip_table_creation=True)


class _ReadOnlyJournal(BaseJournalBackend):
    """The complete lines of a journal. Optuna's own backend would lock the file, and fail on a half-written line."""

    def __init__(self, path: Path) -> None:
        self.logs = read_journal(path)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise ConfigError("a report must not write into a study")


def _choose_study(storage: BaseStorage, wanted: str) -> optuna.Study:
    names = optuna.get_all_study_names(storage)
    name = names[0] if len(names) == 1 else wanted
    if name not in names:
        raise ConfigError(f"the storage holds no study {name!r}, it holds {', '.join(map(repr, names)) or 'none'}")
    return optuna.load_study(study_name=name, storage=storage)


def _copy(study: optuna.Study) -> optuna.Study:
    """The study in memory, with short names and with texts that plotly shows as they are."""
    trials = study.get_trials(deepcopy=False)
    labels = _shorten_names(list(dict.fromkeys(name for trial in trials for name in trial.params)))
    copy = optuna.create_study(study_name=study.study_name, direction=study.direction)
    for name, value in study.user_attrs.items():
        copy.set_user_attr(name, value)
    for trial in trials:
        copy.add_trial(_relabel(trial, labels))
    return copy


def _relabel(trial: FrozenTrial, labels: Mapping[str, str]) -> FrozenTrial:
    repeats = is_repeat(trial)  # kept, as numbers count trials, with a state that no figure uses
    attributes = {name: trial.user_attrs[name] for name in _KEPT if name in trial.user_attrs}
    if "error" in attributes:
        attributes["error"] = escape_tags(attributes["error"])
    return FrozenTrial(
        number=trial.number,
        state=TrialState.FAIL if repeats else trial.state,
        value=None if repeats else trial.value,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params={labels[name]: _escape_text(value) for name, value in trial.params.items()},
        distributions={labels[name]: _escape_choices(each) for name, each in trial.distributions.items()},
        user_attrs=attributes,
        system_attrs={},
        intermediate_values=trial.intermediate_values,
        trial_id=trial.number,
    )


def _escape_choices(distribution: BaseDistribution) -> BaseDistribution:
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution([_escape_text(choice) for choice in distribution.choices])
    return distribution


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
