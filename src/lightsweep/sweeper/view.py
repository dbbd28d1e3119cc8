"""What a sweep prints: a live table on a terminal, a line for each trial elsewhere, and commands to type next."""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lightsweep.core import secrets
from lightsweep.core.metrics import PARETO, difference_column, format_difference_cell, in_points
from lightsweep.core.text import printable
from lightsweep.sweeper.leaderboard import compare_to_baseline, format_short
from lightsweep.sweeper.objectives import Objectives, format_value
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.storage import Address, is_server
from lightsweep.sweeper.trials import (
    INFEASIBLE,
    baseline_of,
    count_ended,
    facts_of,
    has_ended,
    is_untried,
    value_of,
    without_repeats,
)

_DRAW_EVERY = 0.2  # seconds
_BEST = 10  # trials in the table at the end
_RUNNING = 16  # trials in the live table
_FEWEST = 3  # trials that must have ended before the time left is known, and one a worker
_LATEST = 30  # trials that the mean is taken of: pruning sets in after some, and makes them shorter
_ADDED = ("hydra.mode=MULTIRUN",)  # by `app.arguments`, not by the user


@dataclass(frozen=True)
class Progress:
    """The state of a study.

    Args:
        trials: all of them.
        running: for how many seconds each of this sweeper's trials has run, by number.
        n_trials: the total to reach.
        starting: workers that are not ready yet.
    """

    trials: Sequence[FrozenTrial]
    running: Mapping[int, float]
    n_trials: int
    objectives: Objectives
    space: Space
    starting: int

    @property
    def metric(self) -> str:
        """The objective, of several the one that trials report; empty where they report nothing."""
        reported = self.objectives.reported
        return "" if reported is None else self.objectives.names[reported]


class View:
    """Shows a sweep while it runs."""

    def __init__(self) -> None:
        self.console = Console()
        self.live: Live | None = None
        self.drawn = 0.0  # when, as time.monotonic has it

    def open(self) -> None:
        if self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()

    def close(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def print(self, line: str) -> None:
        self.console.print(Text(printable(line)), soft_wrap=True)  # a study's texts may hold escape sequences

    def is_due(self) -> bool:  # to be drawn
        return self.live is not None and time.monotonic() - self.drawn > _DRAW_EVERY

    def update(self, progress: Progress) -> None:
        if self.live is not None:
            self.drawn = time.monotonic()
            self.live.update(running_table(progress), refresh=True)

    def trial_ended(self, trial: FrozenTrial, progress: Progress) -> None:
        """A line for a trial that ended, where there is no live table."""
        if self.live is not None:
            return
        value = "" if (last := value_of(trial)) is None else f" {progress.metric} {last:.4f}"
        if progress.objectives.several and trial.state == TrialState.COMPLETE:
            value = f" {progress.objectives.format_values(trial.values)}"
        if value and trial.state == TrialState.PRUNED and trial.last_step:
            value += f" after step {trial.last_step}"
        remarks = [trial.user_attrs[name] for name in (INFEASIBLE, "error") if name in trial.user_attrs]
        error = f" ({', '.join(remarks)})" if remarks else ""
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        self.print(
            f"trial {trial.number} {trial.state.name.lower()}{value}{error}  {_parameters(trial, progress.space)}"
            f"  {seconds:.1f} s  [{count_ended(progress.trials)}/{progress.n_trials}] {_best(progress)}"
        )


def running_table(progress: Progress) -> Group:
    """How far the sweep is, its best trial, and a line for each that runs. Where there is little room parameters are
    cut, and never a score."""
    counts = [f"{count} {state}" for state, count in _count_states(progress.trials).items()]
    summary = [f"{count_ended(progress.trials)}/{progress.n_trials} trials", *counts]
    if (seconds := seconds_left(progress.trials, progress.n_trials, datetime.now())) is not None:
        summary.append(f"about {format_duration(seconds)} left")
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("trial", "step", *([progress.metric] if progress.metric else []), "seconds"):
        table.add_column(Text(column), justify="right", no_wrap=True)
    table.add_column("parameters")  # what can be wrapped gives room first
    running = [each for each in progress.trials if each.number in progress.running and each.state == TrialState.RUNNING]
    shown = running[: _RUNNING if len(running) > _RUNNING + 1 else None]
    for trial in shown:
        score = "" if (last := value_of(trial)) is None else f"{last:.4f}"
        cells = [str(trial.number), str(trial.last_step or ""), *([score] if progress.metric else [])]
        cells.append(f"{progress.running[trial.number]:.0f}")
        table.add_row(*cells, _cut(_parameters(trial, progress.space)))
    rows: list[RenderableType] = [table] if table.rows else []
    if len(shown) < len(running):
        steps = [trial.last_step or 0 for trial in running]
        rows.append(_cut(f"and {len(running) - len(shown)} more; all at steps {min(steps)} to {max(steps)}"))
    starting = [Text(format_starting(progress.starting))] if progress.starting else []
    return Group(_cut("  ".join(summary)), _cut(_best(progress)), *rows, *starting)


def format_starting(workers: int) -> str:
    return f"starting {workers} worker{'s' * (workers != 1)}…"


def _count_states(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """How many trials ended in each state; those that were interrupted, or not tried, are not counted."""
    states = [trial.state for trial in trials if has_ended(trial)]
    return {
        "completed": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
    }


def _cut(line: str) -> Text:
    return Text(line, no_wrap=True, overflow="ellipsis")


def _parameters(trial: FrozenTrial, space: Space) -> str:
    """A trial's values in a line, numbers and names short, and whether it is the baseline: ``lr=0.001 width=256``."""
    pairs = (override.partition("=") for override in space.overrides(trial))
    values = " ".join(f"{key.rpartition('.')[2]}={format_short(value)}" for key, _, value in pairs)
    if not trial.user_attrs.get("baseline"):
        return printable(values)
    note = trial.user_attrs.get("note")
    return printable(f"{values} (baseline; {note})" if note else f"{values} (baseline)")


def ten_best(progress: Progress) -> Table:
    """The table that a sweep ends with; the baseline is in it whatever its rank."""
    objectives, table = progress.objectives, Table(box=None, header_style="bold", pad_edge=False)
    difference = "points to baseline" if in_points(progress.metric) else "to baseline"
    scores = [*objectives.names] if objectives.several else [progress.metric, "± sd", difference]
    for column in (PARETO if objectives.several else "rank", "trial", *scores):
        table.add_column(Text(column), justify="right", no_wrap=True)
    table.add_column("parameters")
    baseline, ranks = baseline_of(progress.trials), objectives.pareto_ranks(progress.trials)
    for rank, trial in enumerate(objectives.ranked_complete(progress.trials), start=1):
        if rank > _BEST and (baseline is None or trial.number != baseline.number):
            continue
        if objectives.several:
            first, cells = ranks.get(trial.number, ""), list(map(format_value, trial.values))
        else:
            first, cells = rank, _score_cells(trial, baseline, progress.metric)
        table.add_row(str(first), str(trial.number), *cells, Text(_parameters(trial, progress.space)))
    return table


def _score_cells(trial: FrozenTrial, baseline: FrozenTrial | None, metric: str) -> list[str]:
    """The value, its standard deviation and its difference to the baseline."""
    std, compared = facts_of(trial).get("std"), compare_to_baseline(trial, baseline, metric)
    gap = "" if compared == "" else format_difference_cell(difference_column(metric), compared)
    return [f"{trial.value:.4f}", "" if std is None else f"{std:.4f}", gap]


def confirmation_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A confirmation, a row a configuration."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for column in columns:
        is_name = column == "configuration"
        table.add_column(Text(column), justify="left" if is_name else "right", no_wrap=is_name)
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    return table


def _best(progress: Progress) -> str:
    objectives = progress.objectives
    if (best := objectives.best(progress.trials)) is None:
        return "best: none yet"
    if objectives.several:
        return _describe_front(objectives, objectives.front(progress.trials))
    return f"best {progress.metric} {best.value:.4f} (trial {best.number}) {_parameters(best, progress.space)}"


def _describe_front(objectives: Objectives, front: Sequence[FrozenTrial]) -> str:
    """``front 3 trials: val/acc 0.5120 to 0.6084, params 2826 to 269322``"""
    columns = list(zip(*(trial.values for trial in front), strict=True))
    ends = [list(dict.fromkeys(map(format_value, (min(values), max(values))))) for values in columns]
    spans = [f"{name} {' to '.join(each)}" for name, each in zip(objectives.names, ends, strict=False)]
    return f"front {len(front)} trial{'s' * (len(front) != 1)}: {', '.join(spans)}"


def seconds_left(trials: Sequence[FrozenTrial], n_trials: int, now: datetime) -> float | None:
    """Until `n_trials` have ended; None while too few have.

    A trial to come takes the mean of the latest ones, one that runs the rest of it, over as many workers as run now.
    """
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    ended = [trial for trial in trials if has_ended(trial)]
    spans = [(each.datetime_complete, each.duration) for each in ended if each.datetime_complete and each.duration]
    seconds = [duration.total_seconds() for _, duration in sorted(spans)][-_LATEST:]
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


def format_not_run(trials: Sequence[FrozenTrial]) -> list[str]:
    """How many suggestions were not run, and why."""
    own = without_repeats(trials)
    counts = {
        "repeated a point that had been tried: not run again": len(trials) - len(own),
        "would have violated hydra.sweeper.constraints: not run": sum(map(is_untried, own)),
    }
    return [f"{count} suggestion{'s' * (count > 1)} {why}" for why, count in counts.items() if count]


def format_summary(trials: Sequence[FrozenTrial], before: int, seconds: float) -> str:
    """How the trials ended.

    Args:
        before: how many had ended when this sweep started.
        seconds: that this sweep took.
    """
    counts = ", ".join(f"{count} {state}" for state, count in _count_states(trials).items())
    done = count_ended(trials)
    new = f"; {done - before} of them now" if before else ""
    return f"{done} trial{'s' * (done != 1)}: {counts}{new}, in {format_duration(seconds)}"


def storage_option(address: Address) -> str | None:
    """The study's storage as it is given to a command; None where it is found from the sweep's folder."""
    return address.location if is_server(address) and "://" in address.location else None


def format_interrupted(trials: Sequence[FrozenTrial], n_trials: int, program: str, typed: Sequence[str]) -> str:
    """The one line at the end of a sweep that was interrupted.

    Args:
        typed: the command's arguments.
    """
    again = sum(trial.state == TrialState.WAITING and "retry_of" in trial.user_attrs for trial in trials)
    rest = f", {again} {'is' if again == 1 else 'are'} to be run again" if again else ""
    line = f"interrupted: {count_ended(trials)} of {n_trials} trials have ended{rest}"
    return printable(secrets.redact(f"{line}; {repeat_command(program, typed)} continues the sweep"))


def command_with(program: str, key: str, value: object, typed: Sequence[str]) -> str:
    """What was typed, with another value of a key."""
    others = [part for part in typed if not part.lstrip("+").startswith(f"{key}=")]
    return secrets.redact(repeat_command(program, [*others, f"{key}={value}"]))


def repeat_command(program: str, typed: Sequence[str]) -> str:
    """What was typed, ready to be typed again; an address that was taken out of it belongs into the environment."""
    kept = [part for part in typed if part not in _ADDED and secrets.INTERPOLATION not in part]
    given = f"{secrets.VARIABLE}=… " if any(secrets.INTERPOLATION in part for part in typed) else ""
    return f"{given}{program} {shlex.join(kept)}"
