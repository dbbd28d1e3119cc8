"""What src/ablate.py measures: from its options, a study and the configs of runs to the arguments of train.py.

An ablation runs as a sweep without trials, ``hydra.sweeper.ablation`` names both ends as overrides. What comes from a
study or from a run's folder may be somebody else's, and would count as typed: it is checked before.
"""

import argparse
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

from lightsweep.app import config_lines
from lightsweep.app.sweeping import TRAINING
from lightsweep.config import allowlist
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import OUTPUTS
from lightsweep.core.overrides import format_override, format_value, key_of_override, quote
from lightsweep.reports.study import open_study
from lightsweep.runs import run_folder
from lightsweep.sweeper.objectives import objectives_of
from lightsweep.sweeper.space import key_of
from lightsweep.sweeper.status import Sweep, mean_seconds, read_status, read_sweep
from lightsweep.sweeper.trials import baseline_of, without_repeats

_KEY = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@-]*")
_NAMES = ("baseline", "best")


@dataclass(frozen=True)
class Asked:
    """What is to be measured.

    Args:
        arguments: of train.py.
        folder: of the results.
    """

    arguments: list[str]
    folder: Path


@dataclass(frozen=True)
class _End:
    """A configuration.

    Args:
        name: in words.
        lines: its overrides beside the sweep's; None of a run and of a config file.
        content: the config of those, without interpolations resolved.
        digest: of the data that a run has read.
        seconds: that it took.
    """

    name: str
    lines: list[str] | None = None
    content: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = None
    seconds: float | None = None


def prepare(options: argparse.Namespace) -> Asked:
    """Find both ends.

    Raises:
        ConfigError: one of them is not there, or they do not compare.
    """
    typed = [word for word in options.words if "=" in word and not Path(word).exists()]
    named = [word for word in options.words if word not in typed]
    if len(named) > 1:
        raise ConfigError(f"one SWEEP at most, got {' and '.join(named)}")
    sweep = _open_sweep(named[0], options.storage) if named else None
    wanted = (options.start or ("baseline" if sweep else None), options.end or ("best" if sweep else None))
    if None in wanted:
        raise ConfigError("name a SWEEP, or both configurations: --from RUN --to RUN")
    start, end = (_find_end(str(each), option, sweep) for each, option in zip(wanted, ("--from", "--to"), strict=True))
    if start.lines is not None and start.lines == end.lines:
        raise ConfigError(f"--from and --to are one configuration, {start.name}: there is nothing to measure")
    if None not in (start.digest, end.digest) and start.digest != end.digest:
        raise ConfigError(f"{start.name} and {end.name} have read different data, so they do not compare")
    if sweep is not None and start.lines is not None and end.lines is not None:
        folder = options.output or sweep.folder
        arguments, ends, depends = sweep.arguments(typed), (start.lines, end.lines), sweep.depends
        seconds = sweep.seconds
    else:
        folder = options.output or OUTPUTS / "ablations" / _folder_name(start.name, end.name)
        arguments, depends, seconds = (
            list[str](),
            {},
            next((each.seconds for each in (end, start) if each.seconds), None),
        )
        first, second = (_lines_of(each, sweep, typed) for each in (start, end))
        ends = (first, second)
        if first == second:
            raise ConfigError(f"{start.name} and {end.name} are one configuration: there is nothing to measure")
    by = "path" if options.path else "leave_one_out" if options.leave_one_out else "auto"
    settings = {
        "ablate": options.seeds,
        "n_jobs": options.jobs,
        "study_name": quote(folder.name or "ablation"),
        "ablation.from": _list(ends[0]),
        "ablation.to": _list(ends[1]),
        "ablation.by": by,
        "ablation.score_test": str(options.test).lower(),
        "ablation.names": _list([start.name, end.name]),
        "ablation.depends": format_value(dict(depends)),
        "ablation.seconds": format_value(seconds),
    }
    lines = [f"hydra.sweeper.{name}={value}" for name, value in settings.items()]
    where = f"hydra.sweep.dir={quote(str(folder.absolute()))}"
    return Asked(["-m", *arguments, "hydra/sweeper=lightsweep", where, *lines, *typed], folder)


def _list(lines: Sequence[str]) -> str:
    return f"[{','.join(map(quote, lines))}]"


def _folder_name(*names: str) -> str:
    return "-".join(re.sub(r"[^\w.-]+", "-", name)[:60].strip("-.") or "config" for name in names)


@dataclass(frozen=True)
class _SweepOfTraining:
    """A sweep of this program that has ended."""

    folder: Path
    study: optuna.Study
    sweep: Sweep

    @property
    def depends(self) -> dict[str, str]:
        """The keys that were searched under a condition, each with the condition's key."""
        names = dict.fromkeys(name for trial in self.study.get_trials(deepcopy=False) for name in trial.params)
        conditions = {key_of(name).lstrip("+"): name.rpartition(":")[0] for name in names if ":" in name}
        return {key: condition.partition("=")[0].lstrip("+") for key, condition in conditions.items()}

    @property
    def complete(self) -> list[optuna.trial.FrozenTrial]:
        """Completed trials that may be the best, best first."""
        trials = without_repeats(self.study.get_trials(deepcopy=False))
        return objectives_of(self.study).ranked_complete(trials)

    @property
    def seconds(self) -> float | None:
        """That a training took, about."""
        seeds = self.sweep.search.get("seeds")
        return mean_seconds(self.complete, len(seeds) if isinstance(seeds, list) else 1)

    def lines(self, typed: Sequence[str] = ()) -> list[str]:
        """The overrides of all trials, but those of keys that were typed now."""
        keys = {key_of_override(line) for line in typed}
        kept = [line for line in self.sweep.overrides if key_of_override(line) not in (*keys, "name")]
        return [_checked(line, f"the sweep in {self.folder}") for line in kept]

    def arguments(self, typed: Sequence[str]) -> list[str]:
        options = shlex.split(self.sweep.program.removeprefix(TRAINING.program))
        return [*options, *self.lines(typed)]


def _open_sweep(name: str, storage: str | None) -> _SweepOfTraining:
    where = run_folder.find_path(name)
    study, folder = open_study(str(where), None, storage)
    if folder is None:
        raise ConfigError(f"SWEEP must be a sweep's folder, got {name!r}")
    sweep, status = read_sweep(study), read_status(study)
    command = f"{sweep.program} {shlex.join(sweep.overrides)}".strip()
    if sweep.program.split(" --config-name")[0] != TRAINING.program:
        whose = f"of another program ({sweep.program})" if sweep.program else "whose program the study does not name"
        raise ConfigError(f"{name} is a sweep {whose}: its own command with hydra.sweeper.ablate=3 measures it")
    if len(status.objectives) > 1:
        raise ConfigError(f"an ablation needs one objective, {name} has {' and '.join(status.objectives)}")
    if status.state == "running":
        raise ConfigError(f"{name} is still running: its ablation starts when it has ended")
    if status.best is None:
        raise ConfigError(f"{name} has no completed trial, so there is nothing to measure")
    searched = {key_of(each) for trial in study.get_trials(deepcopy=False) for each in trial.params}
    if len(searched) == 1:
        raise ConfigError(
            f"{name} searched {searched.pop()} alone: there is nothing to divide, and its confirmation measures the"
            f" whole difference: {command} hydra.sweeper.confirm=3"
        )
    return _SweepOfTraining(folder, study, sweep)


def _find_end(wanted: str, option: str, sweep: _SweepOfTraining | None) -> _End:
    if wanted not in _NAMES and not (wanted.isdecimal() and sweep is not None):
        return _saved_end(wanted, option)
    if sweep is None:
        raise ConfigError(f"{option} {wanted} needs a SWEEP")
    if wanted == "baseline":
        return _End(wanted, [])
    complete = sweep.complete
    trials = {trial.number: trial for trial in complete}
    if wanted != "best" and int(wanted) not in trials:
        raise ConfigError(f"{option} must be a completed trial of {sweep.folder}, got {wanted}")
    trial = complete[0] if wanted == "best" else trials[int(wanted)]
    baseline = baseline_of(complete)
    if wanted == "best" and baseline == trial and not trial.user_attrs.get("note"):
        raise ConfigError(f"the best trial of {sweep.folder} is its baseline: there is nothing to measure")
    lines = [format_override(key_of(name), value) for name, value in trial.params.items()]
    return _End(f"trial {trial.number}", [_checked(line, f"trial {trial.number}") for line in lines])


def _saved_end(name: str, option: str) -> _End:
    """The end that a run or a config file is."""
    try:
        path = run_folder.find_path(name)
    except ConfigError as error:
        raise ConfigError(f"{option} {error}") from error
    folder = run_folder.find_folder(str(path))
    if path.is_file() and path.suffix == ".yaml":
        return _End(
            path.name if path.name != run_folder.CONFIG else path.parent.name, None, config_lines.read_file(path)
        )
    if not run_folder.is_run(folder):
        raise ConfigError(
            f"{option} must be baseline, best or a trial's number of SWEEP, a run's folder (one that holds"
            f" {run_folder.CONFIG}) or a config file, got {name!r}"
        )
    digest, seconds = TRAINING.data_digest(folder), config_lines.read_seconds(folder)
    return _End(folder.name, None, config_lines.read_run(folder), digest, seconds)


def _lines_of(end: _End, sweep: _SweepOfTraining | None, typed: Sequence[str]) -> list[str]:
    """The overrides of train.py that give this configuration, by its whole config, but for keys that are typed now."""
    content = end.content
    if end.lines is not None:
        assert sweep is not None
        content = config_lines.compose([*sweep.lines(), *end.lines])
    keys = {key_of_override(line) for line in typed}
    return [_checked(line, end.name) for line in config_lines.lines_of(content) if key_of_override(line) not in keys]


def _checked(line: str, whose: str) -> str:
    """An override that comes from a file.

    Raises:
        ConfigError: it is about where things are kept, or could do harm if it were typed.
    """
    key, value = key_of_override(line), line.partition("=")[2]
    is_bad = (
        _KEY.fullmatch(line.partition("=")[0]) is None
        or key.startswith(("hydra", "run_dir", "resume"))
        or key.rpartition(".")[2] in allowlist.GUARDED
        or any(word in value for word in ("oc.", "${hydra"))
    )
    if is_bad or not line.isprintable():
        raise ConfigError(f"{whose}: {key[:80]!r} is not taken from there; add it to the command where it is meant")
    return line
