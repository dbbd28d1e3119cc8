"""What a person sees of a sweep: a live table on a terminal, a line a trial elsewhere."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lightsweep.core import secrets
from lightsweep.core.metrics import difference_column, difference_to_baseline, format_difference_cell, in_points
from lightsweep.core.text import printable
from lightsweep.sweeper.leaderboard import ranked, short
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.storage import Address, is_server
from lightsweep.sweeper.trials import baseline_of, count_ended, facts_of, is_interrupted, value_of

_BEST = 10  # trials in the table at the end


@dataclass(frozen=True)
class Progress:
    """A look at a study.

    Args:
        trials: all of them.
        running: since when, in seconds, each of this sweeper's trials runs, by number.
        n_trials: the total to reach.
        starting: workers that are not ready yet.
    """

    trials: Sequence[FrozenTrial]
    running: Mapping[int, float]
    n_trials: int
    direction: StudyDirection
    space: Space
    metric: str
    starting: int


class View:
    """Shows a sweep as it goes on."""

    def __init__(self) -> None:
        self.console = Console()
        self.live: Live | None = None

    def open(self) -> None:
        if self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()

    def close(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def say(self, line: str) -> None:
        self.console.print(Text(printable(line)), soft_wrap=True)  # a study may hold what no terminal should obey

    def update(self, progress: Progress) -> None:
        if self.live is not None:
            self.live.update(running_table(progress), refresh=True)

    def trial_ended(self, trial: FrozenTrial, progress: Progress) -> None:
        """A line for a trial that ended, where there is no live table."""
        if self.live is not None:
            return
        value = "" if (seen := value_of(trial)) is None else f" {progress.metric} {seen:.4f}{_after(trial)}"
        error = f" ({trial.user_attrs['error']})" if "error" in trial.user_attrs else ""
        first = _about(trial)
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        self.say(
            f"trial {trial.number} {trial.state.name.lower()}{value}{error}  {parameters(trial, progress.space)}{first}"
            f"  {seconds:.1f} s  [{count_ended(progress.trials)}/{progress.n_trials}] {_best(progress)}"
        )


def running_table(progress: Progress) -> Group:
    """How far the sweep is, its best trial, and a line for each that runs. Where there is little room parameters are
    cut, and never a score."""
    counts = counted(progress.trials)
    done = count_ended(progress.trials)
    said = [f"{done}/{progress.n_trials} trials", *(f"{count} {state}" for state, count in counts.items())]
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("trial", "epoch", progress.metric, "seconds"):
        table.add_column(Text(column), justify="right", no_wrap=True)
    table.add_column("parameters")  # what can be wrapped gives room first
    for trial in progress.trials:
        if trial.number in progress.running and trial.state == TrialState.RUNNING:
            score = "" if (seen := value_of(trial)) is None else f"{seen:.4f}"
            seconds = f"{progress.running[trial.number]:.0f}"
            drawn = _cut(parameters(trial, progress.space) + _about(trial))
            table.add_row(str(trial.number), str(trial.last_step or ""), score, seconds, drawn)
    rows = [table] if table.rows else []
    coming = [Text(format_starting(progress.starting))] if progress.starting else []
    return Group(_cut("  ".join(said + _left(progress))), _cut(_best(progress)), *rows, *coming)


def format_starting(workers: int) -> str:
    return f"starting {workers} worker{'s' * (workers != 1)}…"


def counted(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """How many ended by themselves, by how."""
    states = [trial.state for trial in trials if not is_interrupted(trial)]
    return {
        "completed": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
    }


def _left(progress: Progress) -> list[str]:
    seconds = seconds_left(progress.trials, progress.n_trials, datetime.now())
    return [] if seconds is None else [f"about {format_duration(seconds)} left"]


def _cut(line: str) -> Text:
    return Text(line, no_wrap=True, overflow="ellipsis")


def _after(trial: FrozenTrial) -> str:
    """How much of a trial that was pruned its value is of."""
    return f" after step {trial.last_step}" if trial.state == TrialState.PRUNED and trial.last_step else ""


def parameters(trial: FrozenTrial, space: Space) -> str:
    """A trial's values in a line, numbers and names short: ``lr=0.001 width=256``."""
    pairs = (override.partition("=") for override in space.overrides(trial))
    return printable(" ".join(f"{key.rpartition('.')[2]}={short(value)}" for key, _, value in pairs))


def ten_best(progress: Progress) -> Table:
    """The table that a sweep ends with; the baseline is in it wherever it stands."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    difference = "points to baseline" if in_points(progress.metric) else "to baseline"
    for column in ("rank", "trial", progress.metric, "± sd", difference):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("parameters")
    baseline = baseline_of(progress.trials)
    complete = [trial for trial in progress.trials if trial.state == TrialState.COMPLETE]
    for rank, trial in enumerate(ranked(complete, progress.direction), start=1):
        if rank > _BEST and (baseline is None or trial.number != baseline.number):
            continue
        std = facts_of(trial).get("std")
        table.add_row(
            str(rank),
            str(trial.number),
            f"{trial.value:.4f}",
            "" if std is None else f"{std:.4f}",
            _to_baseline(trial, baseline, progress.metric),
            Text(parameters(trial, progress.space) + _about(trial)),
        )
    return table


def confirmation_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A confirmation, a row a configuration."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for column in columns:
        table.add_column(column, justify="left" if column == "configuration" else "right")
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    return table


def _to_baseline(trial: FrozenTrial, baseline: FrozenTrial | None, metric: str) -> str:
    if trial.value is None or baseline is None or baseline.value is None or trial.number == baseline.number:
        return ""
    return format_difference_cell(
        difference_column(metric), difference_to_baseline(metric, trial.value, baseline.value)
    )


def _about(trial: FrozenTrial) -> str:
    """Is it the baseline, and is it so only nearly?"""
    if not trial.user_attrs.get("baseline"):
        return ""
    note = trial.user_attrs.get("note")
    return printable(f" (baseline; {note})") if note else " (baseline)"


def _best(progress: Progress) -> str:
    complete = [trial for trial in progress.trials if trial.state == TrialState.COMPLETE]
    if not complete:
        return "best: none yet"
    best = ranked(complete, progress.direction)[0]
    return f"best {progress.metric} {best.value:.4f} (trial {best.number}) {parameters(best, progress.space)}"


_FEWEST = 3  # trials that must have ended before anything is said, and one a worker
_LATEST = 30  # trials that the mean is taken of: pruning sets in after some, and makes them shorter


def seconds_left(trials: Sequence[FrozenTrial], n_trials: int, now: datetime) -> float | None:
    """Until `n_trials` have ended; None while too few have.

    What is to begin takes the mean of the latest trials, what runs the rest of it, over as many workers as run now.
    """
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    seconds = _durations(trials)[-_LATEST:]
    if not running or len(seconds) < max(_FEWEST, len(running)):
        return None
    mean = fmean(seconds)
    waiting = max(0, n_trials - count_ended(trials) - len(running))
    rest = [max(0.0, mean - (now - trial.datetime_start).total_seconds()) for trial in running if trial.datetime_start]
    return (waiting * mean + sum(rest)) / len(running)


def format_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _durations(trials: Sequence[FrozenTrial]) -> list[float]:
    """Of the trials that ended by themselves, in that order."""
    spans = [
        (trial.datetime_complete, trial.duration.total_seconds())
        for trial in trials
        if trial.state.is_finished() and not is_interrupted(trial) and trial.datetime_complete and trial.duration
    ]
    return [seconds for _, seconds in sorted(spans)]


_ADDED = ("hydra.mode=MULTIRUN",)  # by `app.arguments`, not by the user


def format_summary(trials: Sequence[FrozenTrial], before: int, seconds: float) -> str:
    """How the trials ended.

    Args:
        before: how many had ended when this sweep began.
        seconds: that this sweep took.
    """
    counts = ", ".join(f"{count} {state}" for state, count in counted(trials).items())
    done = count_ended(trials)
    new = f"; {done - before} of them now" if before else ""
    return f"{done} trial{'s' * (done != 1)}: {counts}{new}, in {format_duration(seconds)}"


def storage_option(address: Address) -> str | None:
    """The study's storage as it is given to a command; None where it is found from the sweep's folder."""
    return address.location if is_server(address) and "://" in address.location else None


def say_how_to_go_on(trials: Sequence[FrozenTrial], n_trials: int, program: str, typed: Sequence[str]) -> None:
    """The one line at the end of a sweep that was interrupted.

    Args:
        typed: the command's arguments.
    """
    again = sum(trial.state == TrialState.WAITING and "retry_of" in trial.user_attrs for trial in trials)
    rest = f", {again} {'is' if again == 1 else 'are'} to be run again" if again else ""
    line = f"interrupted: {count_ended(trials)} of {n_trials} trials have ended{rest}"
    line += f"; {repeat_command(program, typed)} goes on"
    print(printable(secrets.redact(line)), file=sys.stderr, flush=True)


def command_with(program: str, key: str, value: object, typed: Sequence[str]) -> str:
    """What was typed, with another value of a key."""
    others = [part for part in typed if not part.lstrip("+").startswith(f"{key}=")]
    return secrets.redact(repeat_command(program, [*others, f"{key}={value}"]))


def repeat_command(program: str, typed: Sequence[str]) -> str:
    """What was typed, ready to be typed again; an address that was taken out of it belongs into the environment."""
    kept = [part for part in typed if part not in _ADDED and secrets.INTERPOLATION not in part]
    given = f"{secrets.VARIABLE}=… " if any(secrets.INTERPOLATION in part for part in typed) else ""
    return f"{given}{program} {shlex.join(kept)}"
