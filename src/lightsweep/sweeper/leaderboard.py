"""leaderboard.csv and leaderboard.md: every trial of a study, best first, written anew after each trial."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import write_atomic
from lightsweep.core.metrics import (
    DIFFERENCE_COLUMNS,
    difference_column,
    difference_to_baseline,
    format_difference_cell,
)
from lightsweep.core.text import printable, spreadsheet_cell
from lightsweep.sweeper import job, verdict
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import Space, key_of
from lightsweep.sweeper.statistics import Confirmed, Search
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import baseline_of, facts_of, folder_of, summarise_trials, value_of, without_repeats
from lightsweep.sweeper.verdict import Verdict, judge


def ranked(trials: Sequence[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    """Complete trials, best first; then pruned, running, waiting and failed ones by number."""
    sign = -1 if direction == StudyDirection.MAXIMIZE else 1
    order = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL]

    def place(trial: FrozenTrial) -> tuple[int, float, int]:
        complete = trial.state == TrialState.COMPLETE
        return (
            order.index(trial.state),
            sign * trial.value if complete and trial.value is not None else 0.0,
            trial.number,
        )

    return sorted(trials, key=place)


def leaderboard_rows(
    trials: Sequence[FrozenTrial], space: Space, direction: StudyDirection, metric: str, facts: Sequence[str]
) -> list[dict[str, Any]]:
    """One row a trial: rank, trial, state, value (with the standard deviation over seeds), its difference to the
    baseline, its parameters, and these facts of its job."""
    table = []
    baseline = baseline_of(trials)
    for rank, trial in enumerate(ranked(trials, direction), start=1):
        complete = trial.state == TrialState.COMPLETE
        overrides = (override.partition("=") for override in space.overrides(trial))
        known = facts_of(trial)
        table.append(
            {
                "rank": rank if complete else "",
                "trial": trial.number,
                "state": _state(trial),
                "value": "" if (value := value_of(trial)) is None else value,
                "std": known.get("std", ""),
                difference_column(metric): _to_baseline(trial, baseline, metric),
                **{key: value for key, _, value in overrides},
                **{name: known.get(name, "") for name in facts},
                "note": _note(trial),
                "folder": folder_of(trial.number),
            }
        )
    return table


def write_leaderboard(
    folder: Path,
    table: Sequence[dict[str, Any]],
    facts: Sequence[str],
    *,
    title: str,
    above: Sequence[str] = (),
    below: Sequence[str] = (),
) -> None:
    """Replace both files; in the Markdown the table stands between the paragraphs `above` and `below`."""
    columns = _columns(table, facts)
    buffer = StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writerow({column: spreadsheet_cell(column) for column in columns})
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in table)
    write_atomic(folder / "leaderboard.csv", buffer.getvalue())
    paragraphs = [f"# {title}", *above, markdown(table, columns), *below]
    write_atomic(folder / "leaderboard.md", "\n\n".join(paragraphs) + "\n")


def markdown(table: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """A table without the columns that have nothing."""
    columns = [column for column in columns if any(row.get(column, "") != "" for row in table)]
    lines = [_line(columns), _line("---" for _ in columns)]
    lines += [_line(_shown(column, row.get(column, "")) for column in columns) for row in table]
    return "\n".join(lines)


def _shown(column: str, value: Any) -> str:
    return format_difference_cell(column, value) if column in DIFFERENCE_COLUMNS and value != "" else short(value)


def _cell(value: Any) -> Any:
    return spreadsheet_cell(value) if isinstance(value, str) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def short(value: Any) -> str:
    """A value for a narrow column: four significant digits, no bars or line breaks."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return printable(" ".join(str(value).split())).replace("|", "\\|")
    return f"{number:.4g}" if number != int(number) else str(int(number))


def _columns(table: Sequence[dict[str, Any]], facts: Sequence[str]) -> list[str]:
    """The columns of all rows; parameters that only some trials have stay beside the others."""
    if not table:
        return ["rank", "trial", "state", "value"]
    differences = [name for name in DIFFERENCE_COLUMNS if name in table[0]]
    first, last = ["rank", "trial", "state", "value", "std", *differences], [*facts, "note", "folder"]
    parameters = dict.fromkeys(key for row in table for key in row if key not in (*first, *last))
    return [*first, *parameters, *last]


def _state(trial: FrozenTrial) -> str:
    return "interrupted" if trial.user_attrs.get("interrupted") else trial.state.name.lower()


def _to_baseline(trial: FrozenTrial, baseline: FrozenTrial | None, metric: str) -> Any:
    """Of completed trials: what a pruned one reported last is of an earlier epoch."""
    if baseline is None or trial.number == baseline.number or {trial.state, baseline.state} != {TrialState.COMPLETE}:
        return ""
    assert trial.value is not None
    assert baseline.value is not None
    return difference_to_baseline(metric, trial.value, baseline.value)


def _note(trial: FrozenTrial) -> str:
    parts = ["baseline"] if trial.user_attrs.get("baseline") else []
    parts += [f"again for trial {trial.user_attrs['retry_of']}"] if "retry_of" in trial.user_attrs else []
    parts += [str(trial.user_attrs[name]) for name in ("note", "error") if trial.user_attrs.get(name)]
    return "; ".join(parts)


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


class Publisher:
    """Writes a study's files, one sweeper at a time, so that the latest look wins."""

    def __init__(self, plan: Plan, queue: TrialQueue) -> None:
        self.plan, self.queue = plan, queue
        self._best: int | None = None

    def publish(self) -> None:
        self.queue.retry(self._write)  # a disk that is full for a while

    def _write(self) -> None:
        with self.queue.writing():
            trials, direction = without_repeats(self.queue.trials()), self.queue.study.direction
            facts = self.plan.application.columns
            table = leaderboard_rows(trials, self.plan.space, direction, self.plan.metric, facts)
            title = f"{self.plan.address.study}: {self.plan.metric}"
            confirmed = verdict.read_confirmation(self.plan.folder)
            judged = self.verdict(confirmed)
            above = ["\n".join(f"- {line}" for line in judged.lines)] if judged else []
            write_leaderboard(
                self.plan.folder, table, facts, title=title, above=above, below=self._confirmation(confirmed)
            )
            complete = self.complete()
            if complete and complete[0].number != self._best:
                self._write_best(complete[0])

    def found(self) -> Search | None:
        """What the trials say; None where none was completed."""
        maximises = self.queue.study.direction == StudyDirection.MAXIMIZE
        return summarise_trials(
            without_repeats(self.queue.trials()),
            metric=self.plan.metric,
            maximises=maximises,
            seeds=max(1, len(self.plan.seeds)),
            changed_at=self.queue.study.user_attrs.get("changed_at", 0),
        )

    def verdict(self, confirmed: Confirmed | None) -> Verdict | None:
        """What the sweep has found; None where no trial was completed."""
        found = self.found()
        return judge(found, confirmed) if found else None

    def _confirmation(self, confirmed: Confirmed | None) -> list[str]:
        if confirmed is None:
            return []
        table = verdict.confirmation_rows(confirmed, self.plan.metric)
        columns = list(dict.fromkeys(name for row in table for name in row))
        return [verdict.confirmation_heading(confirmed), markdown(table, columns)]

    def complete(self) -> list[FrozenTrial]:
        """Complete trials, best first."""
        complete = [trial for trial in without_repeats(self.queue.trials()) if trial.state == TrialState.COMPLETE]
        return ranked(complete, self.queue.study.direction)

    def overrides(self, trial: FrozenTrial) -> tuple[str, ...]:
        """What to type for a trial: the fixed ones and its own."""
        return (*self.plan.space.fixed, *filter(self._is_known, self.plan.space.overrides(trial)))

    def _is_known(self, line: str) -> bool:
        """A study of an earlier version may have searched ``+lr``, which no config has and nothing read."""
        if not line.startswith("+"):
            return True
        try:
            self.plan.compose((*self.plan.space.fixed, line))
        except ConfigError:
            return False
        return True

    def _write_best(self, best: FrozenTrial) -> None:
        found = {key_of(name): value for name, value in best.params.items()}
        content = {"name": "optuna", "best_params": found, "best_value": best.value}  # as the official sweeper has it
        write_atomic(self.plan.folder / "optimization_results.yaml", OmegaConf.to_yaml(content))
        comment = f"trial {best.number} of the sweep {self.plan.address.study}: {self.plan.metric} {best.value:.4f}"
        loader = self.plan.context.config_loader
        job.write_best(
            self.plan.folder,
            loader,
            self.plan.config,
            self.overrides(best),
            self.plan.application,
            comment=comment,
        )
        self._best = best.number
