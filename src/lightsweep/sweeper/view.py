"""What a person sees of a sweep: a live table on a terminal, a line a trial elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lightsweep.core.gaps import column_of, in_points, signed, to_baseline
from lightsweep.core.text import printable
from lightsweep.sweeper.leaderboard import ranked, short
from lightsweep.sweeper.ledger import ended, is_interrupted
from lightsweep.sweeper.search import baseline_of
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.time_left import in_words, seconds_left
from lightsweep.sweeper.value import value_of

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
            f"  {seconds:.1f} s  [{ended(progress.trials)}/{progress.n_trials}] {_best(progress)}"
        )


def running_table(progress: Progress) -> Group:
    """How far the sweep is, its best trial, and a line for each that runs. Where there is little room parameters are
    cut, and never a score."""
    counts = counted(progress.trials)
    done = ended(progress.trials)
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
    coming = [Text(starting(progress.starting))] if progress.starting else []
    return Group(_cut("  ".join(said + _left(progress))), _cut(_best(progress)), *rows, *coming)


def starting(workers: int) -> str:
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
    return [] if seconds is None else [f"about {in_words(seconds)} left"]


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
        std = trial.user_attrs.get("std")
        table.add_row(
            str(rank),
            str(trial.number),
            f"{trial.value:.4f}",
            "" if std is None else f"{std:.4f}",
            _to_baseline(trial, baseline, progress.metric),
            Text(parameters(trial, progress.space) + _about(trial)),
        )
    return table


def confirmed(rows: Sequence[Mapping[str, Any]]) -> Table:
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
    return signed(column_of(metric), to_baseline(metric, trial.value, baseline.value))


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
