"""The study behind a sweep's folder, and the ranges that it searched.

It is read only, without a lock: so a report can be made while the sweep runs, and of a copy of its folder.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
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
_MARGIN = 0.04  # of an axis, beyond what was searched
_EDGE = 0.03  # of a range: a value this near to an end is at the edge
_MAX_TICKS = 6  # of a logarithmic axis
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
        opened = _open_storage(file, storage, named)
        return Study(_copy(_load_study(opened, settings.get("study_name") or folder.name)), settings)
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


def _open_storage(file: Path, storage: str | None, named: Any) -> BaseStorage:
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


def _load_study(storage: BaseStorage, name_in_config: str) -> optuna.Study:
    names = optuna.get_all_study_names(storage)
    name = names[0] if len(names) == 1 else name_in_config
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
        distributions={
            labels[name]: CategoricalDistribution([_escape_text(choice) for choice in each.choices])
            if isinstance(each, CategoricalDistribution)
            else each
            for name, each in trial.distributions.items()
        },
        user_attrs=attributes,
        system_attrs={},
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


@dataclass(frozen=True)
class ParameterRange:
    """What was searched of a parameter: from `low` to `high`, or choices. Axes span all of it.

    Args:
        choices: as text, empty for a range.
    """

    low: float
    high: float
    is_log: bool
    choices: tuple[str, ...] = ()

    def axis(self) -> dict[str, Any]:
        """For plotly's layout."""
        if self.choices:
            ends = [-0.5, len(self.choices) - 0.5]
            return {"type": "category", "categoryorder": "array", "categoryarray": [*self.choices], "range": ends}
        low, high = self._scale(self.low), self._scale(self.high)
        margin = _MARGIN * (high - low) or 0.5
        axis: dict[str, Any] = {"type": "linear", "range": [low - margin, high + margin], "zeroline": False}
        if self.is_log:
            ticks = self.ticks()
            axis |= {"type": "log", "tickvals": ticks, "ticktext": [format_number(tick) for tick in ticks]}
        return axis

    def ticks(self) -> list[float]:
        """The powers of ten of a logarithmic range, the ends of a short one, five numbers of another."""
        if not self.is_log:
            return [self.low + (self.high - self.low) * part / 4 for part in range(5)]
        powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
        if len(powers) < 2:
            return [self.low, self.high]
        return [10.0**power for power in powers[:: 1 + (len(powers) - 1) // _MAX_TICKS]]

    def at(self, value: Any) -> Any:
        """A value on the axis, where choices are text: plotly takes true for 1."""
        return _format_choice(value) if self.choices else value

    def share(self, value: Any) -> float:
        """How far along the axis a value is, from 0 at the low end to 1 at the high one."""
        if self.choices:
            return self.choices.index(_format_choice(value)) / max(1, len(self.choices) - 1)
        low, high = self._scale(self.low), self._scale(self.high)
        return (self._scale(value) - low) / (high - low) if high > low else 0.5

    def edge(self, value: Any) -> str | None:
        """The end of a range that a value is at; None inside, and of choices, which have no order."""
        if self.choices or not self.low < self.high:
            return None
        share = self.share(value)
        return "lower" if share <= _EDGE else "upper" if share >= 1 - _EDGE else None

    def _scale(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def find_ranges(trials: Sequence[FrozenTrial]) -> dict[str, ParameterRange]:
    """Each parameter's range in all trials together: a resumed study may search wider ones."""
    names = dict.fromkeys(name for trial in trials for name in trial.distributions)
    every = [trial.distributions for trial in trials]
    return {name: _join_distributions([each[name] for each in every if name in each]) for name in names}


def _join_distributions(distributions: Sequence[Any]) -> ParameterRange:
    last = distributions[-1]
    is_choice = isinstance(last, CategoricalDistribution)
    same = [each for each in distributions if isinstance(each, CategoricalDistribution) == is_choice]
    if is_choice:
        choices = dict.fromkeys(_format_choice(choice) for each in same for choice in each.choices)
        return ParameterRange(0.0, 0.0, is_log=False, choices=tuple(choices))
    low, high = min(each.low for each in same), max(each.high for each in same)
    return ParameterRange(low, high, is_log=bool(last.log) and low > 0)


def _format_choice(choice: Any) -> str:
    """A choice as it is typed; texts were escaped when the study was read."""
    if choice is None or isinstance(choice, bool):
        return "null" if choice is None else str(choice).lower()
    return choice if isinstance(choice, str) else escape_tags(choice)


def format_number(value: float) -> str:
    """``1e-4``, ``0.01``, ``1000``: as people type it."""
    text = f"{value:.4g}" if 0.01 <= abs(value) < 10_000 or value == 0 else f"{value:.2e}"
    if "e" not in text:
        return text
    digits, _, power = text.partition("e")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}e{int(power)}"
