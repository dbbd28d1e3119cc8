"""leaderboard.csv and leaderboard.md: every trial of a study, best first, written anew after each trial."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
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
from lightsweep.core.text import printable, printable_line, spreadsheet_cell
from lightsweep.sweeper.config_differences import BEST_FILE, write_config
from lightsweep.sweeper.job import RESERVED
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import Space, key_of
from lightsweep.sweeper.statistics import Confirmed, Search
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import baseline_of, facts_of, folder_of, summarise_trials, value_of, without_repeats
from lightsweep.sweeper.verdict import Verdict, confirmation_heading, confirmation_rows, judge, read_confirmation


def ranked(trials: Sequence[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    """Complete trials, best first; then pruned, running, waiting and failed ones by number."""
    sign = -1 if direction == StudyDirection.MAXIMIZE else 1
    order = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL]

    def sort_key(trial: FrozenTrial) -> tuple[int, float, int]:
        value = trial.value if trial.state == TrialState.COMPLETE else None
        return order.index(trial.state), sign * (value or 0.0), trial.number

    return sorted(trials, key=sort_key)


def ranked_complete(trials: Sequence[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    """Complete trials, best first."""
    return ranked([trial for trial in trials if trial.state == TrialState.COMPLETE], direction)


def leaderboard_rows(
    trials: Sequence[FrozenTrial], space: Space, direction: StudyDirection, metric: str, facts: Sequence[str]
) -> list[dict[str, Any]]:
    """One row a trial: rank, trial, state, value (with the standard deviation over seeds), its difference to the
    baseline, its parameters, and these facts of its job."""
    table, baseline = [], baseline_of(trials)
    for rank, trial in enumerate(ranked(trials, direction), start=1):
        overrides = (override.partition("=") for override in space.overrides(trial))
        known = facts_of(trial)
        table.append(
            {
                "rank": rank if trial.state == TrialState.COMPLETE else "",
                "trial": trial.number,
                "state": "interrupted" if trial.user_attrs.get("interrupted") else trial.state.name.lower(),
                "value": "" if (value := value_of(trial)) is None else value,
                "std": known.get("std", ""),
                difference_column(metric): compare_to_baseline(trial, baseline, metric),
                **{name: known.get(name, "") for name in facts},
                **{key: value for key, _, value in overrides},
                "note": _note(trial),
                "folder": folder_of(trial.number),
            }
        )
    return table


def _format_csv(table: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    buffer = StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writerow({column: spreadsheet_cell(column) for column in columns})
    writer.writerows({name: _csv_cell(value) for name, value in row.items()} for row in table)
    return buffer.getvalue()


def _csv_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; ``-0.5`` is a number."""
    if not isinstance(value, str):
        return value
    try:
        float(value)
    except ValueError:
        return spreadsheet_cell(value)
    return value


def format_markdown(table: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """A table without its empty columns."""
    columns = [column for column in columns if any(row.get(column, "") != "" for row in table)]
    lines: list[Iterable[str]] = [columns, ["---" for _ in columns]]
    lines += [[_markdown_cell(column, row.get(column, "")) for column in columns] for row in table]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _markdown_cell(column: str, value: Any) -> str:
    is_difference = column in DIFFERENCE_COLUMNS and value != ""
    return format_difference_cell(column, value) if is_difference else format_short(value)


def format_short(value: Any) -> str:
    """A value for a narrow column: four significant digits, no bars or line breaks."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return printable_line(value).replace("|", "\\|")
    return str(int(number)) if number.is_integer() else f"{number:.4g}"


def _columns(table: Sequence[dict[str, Any]], facts: Sequence[str]) -> list[str]:
    """The columns of all rows; parameters that only some trials have stand with the others."""
    if not table:
        return ["rank", "trial", "state", "value"]
    differences = [name for name in DIFFERENCE_COLUMNS if name in table[0]]
    first, last = ["rank", "trial", "state", "value", "std", *differences], [*facts, "note", "folder"]
    parameters = dict.fromkeys(key for row in table for key in row if key not in (*first, *last))
    return [*first, *parameters, *last]


def compare_to_baseline(trial: FrozenTrial, baseline: FrozenTrial | None, metric: str) -> Any:
    """The difference to the baseline, for `difference_column`; empty where it means nothing: what a pruned trial
    reported last is of an earlier step."""
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


def _recorded(trials: Sequence[FrozenTrial], metric: str) -> tuple[str, ...]:
    """The names of all that trials have recorded, in the order in which they came; the metric is the value."""
    names = dict.fromkeys(name for trial in trials for name in trial.user_attrs.get("facts", {}))
    return tuple(name for name in names if name not in RESERVED and name != metric)


class Publisher:
    """Writes a study's files, one sweeper at a time, so that the latest state wins."""

    def __init__(self, plan: Plan, queue: TrialQueue) -> None:
        self.plan, self.queue = plan, queue
        self._best: int | None = None

    def publish(self) -> None:
        self.queue.retry(self._write)  # a disk that is full for a while

    def _write(self) -> None:
        with self.queue.writing():
            plan, trials = self.plan, without_repeats(self.queue.trials())
            facts = plan.application.columns or _recorded(trials, plan.metric)
            table = leaderboard_rows(trials, plan.space, self.queue.study.direction, plan.metric, facts)
            paragraphs, confirmed = [], read_confirmation(plan.folder)
            if judged := self.verdict(confirmed):
                paragraphs.append("\n".join(f"- {line}" for line in judged.lines))
            columns = _columns(table, facts)
            paragraphs.append(format_markdown(table, columns))
            if confirmed is not None:
                rows = confirmation_rows(confirmed, plan.metric)
                names = list(dict.fromkeys(name for row in rows for name in row))
                paragraphs += [confirmation_heading(confirmed), format_markdown(rows, names)]
            write_atomic(plan.folder / "leaderboard.csv", _format_csv(table, columns))
            title = f"# {plan.address.study}: {plan.metric}"
            write_atomic(plan.folder / "leaderboard.md", "\n\n".join([title, *paragraphs]) + "\n")
            complete = self.complete()
            if complete and complete[0].number != self._best:
                self._write_best(complete[0])

    def search(self) -> Search | None:
        """What is known from the trials; None where none was completed."""
        maximises = self.queue.study.direction == StudyDirection.MAXIMIZE
        return summarise_trials(
            without_repeats(self.queue.trials()),
            metric=self.plan.metric,
            maximises=maximises,
            seeds=max(1, len(self.plan.seeds)),
            changed_at=self.queue.study.user_attrs.get("changed_at", 0),
            has_seed_key=self.plan.settings.seed_key is not None,
        )

    def verdict(self, confirmed: Confirmed | None) -> Verdict | None:
        """What the sweep has found; None where no trial was completed."""
        search = self.search()
        return judge(search, confirmed) if search else None

    def complete(self) -> list[FrozenTrial]:
        """Complete trials, best first."""
        return ranked_complete(without_repeats(self.queue.trials()), self.queue.study.direction)

    def overrides(self, trial: FrozenTrial) -> tuple[str, ...]:
        """What to type for a trial: the fixed ones and its own."""
        return (*self.plan.space.fixed, *filter(self._is_known, self.plan.space.overrides(trial)))

    def _is_known(self, override: str) -> bool:
        """False for ``+KEY`` of a key that no config has: a study of an earlier version may have searched one."""
        if not override.startswith("+"):
            return True
        try:
            self.plan.compose((*self.plan.space.fixed, override))
        except ConfigError:
            return False
        return True

    def _write_best(self, best: FrozenTrial) -> None:
        plan = self.plan
        found = {key_of(name): value for name, value in best.params.items()}
        content = {"name": "optuna", "best_params": found, "best_value": best.value}  # as the official sweeper has it
        write_atomic(plan.folder / "optimization_results.yaml", OmegaConf.to_yaml(content))
        comment = printable(f"trial {best.number} of the sweep {plan.address.study}: {plan.metric} {best.value:.4f}")
        config, loader = plan.compose(self.overrides(best)), plan.context.config_loader
        write_config(plan.folder / BEST_FILE, comment, config, plan.config, loader, plan.application)
        self._best = best.number
