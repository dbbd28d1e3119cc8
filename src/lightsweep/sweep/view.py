"""What a person sees of a sweep: a live table on a terminal, a line a trial elsewhere."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lightsweep.names import printable
from lightsweep.reporting.gaps import column_of, in_points, signed, to_baseline
from lightsweep.reporting.search import baseline_of
from lightsweep.sweep.leaderboard import ranked, short
from lightsweep.sweep.ledger import ended, is_interrupted
from lightsweep.sweep.space import Space


@dataclass(frozen=True)
class Progress:
    """A look at a study.

    Args:
        trials: all of them.
        running: since when, in seconds, each of this sweeper's trials runs, by number.
        n_trials: the total to reach.
    """

    trials: Sequence[FrozenTrial]
    running: Mapping[int, float]
    n_trials: int
    direction: StudyDirection
    space: Space
    metric: str


class View:
    """Shows a sweep as it goes on."""

    def __init__(self) -> None:
        self.console = Console()
        self.live: Live | None = None
        self.begun = time.monotonic()
        self.ended_before: int | None = None

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
        if self.ended_before is None:
            self.ended_before = ended(progress.trials)
        if self.live is not None:
            self.live.update(self._table(progress), refresh=True)

    def trial_ended(self, trial: FrozenTrial, progress: Progress) -> None:
        """A line for a trial that ended, where there is no live table."""
        if self.live is not None:
            return
        value = "" if trial.value is None else f" {progress.metric} {trial.value:.4f}"
        error = f" ({trial.user_attrs['error']})" if "error" in trial.user_attrs else ""
        first = _about(trial)
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        self.say(
            f"trial {trial.number} {trial.state.name.lower()}{value}{error}  {parameters(trial, progress.space)}{first}"
            f"  {seconds:.1f} s  [{ended(progress.trials)}/{progress.n_trials}] {_best(progress)}"
        )

    def _table(self, progress: Progress) -> Group:
        counts = {state: sum(trial.state == state for trial in progress.trials) for state in TrialState}
        interrupted = sum(is_interrupted(trial) for trial in progress.trials)
        done = ended(progress.trials)
        head = Text(
            f"{done}/{progress.n_trials} trials  {counts[TrialState.COMPLETE]} complete  {counts[TrialState.PRUNED]}"
            f" pruned  {counts[TrialState.FAIL] - interrupted} failed  {self._left(done, progress.n_trials)}"
        )
        table = Table(box=None, header_style="dim", pad_edge=False)
        for column in ("trial", "epoch", progress.metric, "seconds", "parameters"):
            table.add_column(column, justify="left" if column == "parameters" else "right", no_wrap=True)
        for trial in progress.trials:
            if trial.number in progress.running and trial.state == TrialState.RUNNING:
                step = trial.last_step
                score = "" if step is None else f"{trial.intermediate_values[step]:.4f}"
                seconds = f"{progress.running[trial.number]:.0f}"
                shown = Text(parameters(trial, progress.space) + _about(trial))
                table.add_row(str(trial.number), str(step or ""), score, seconds, shown)
        return Group(head, Text(_best(progress)), table)

    def _left(self, done: int, total: int) -> str:
        fresh = done - (self.ended_before or 0)
        if fresh < 1 or done >= total:
            return ""
        seconds = (time.monotonic() - self.begun) / fresh * (total - done)
        return f"{seconds / 60:.0f} min left" if seconds > 90 else f"{seconds:.0f} s left"


def parameters(trial: FrozenTrial, space: Space) -> str:
    """A trial's values in a line, numbers and names short: ``lr=0.001 width=256``."""
    pairs = (override.partition("=") for override in space.overrides(trial))
    return printable(" ".join(f"{key.rpartition('.')[2]}={short(value)}" for key, _, value in pairs))


def ten_best(progress: Progress) -> Table:
    """The table that a sweep ends with."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    difference = "points to baseline" if in_points(progress.metric) else "to baseline"
    for column in ("rank", "trial", progress.metric, "± sd", difference, "parameters"):
        table.add_column(column, justify="left" if column == "parameters" else "right")
    baseline = baseline_of(progress.trials)
    complete = [trial for trial in progress.trials if trial.state == TrialState.COMPLETE]
    for rank, trial in enumerate(ranked(complete, progress.direction)[:10], start=1):
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
