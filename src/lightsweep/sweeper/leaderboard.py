"""leaderboard.csv and leaderboard.md: every trial of a study, best first, written anew when trials have ended."""

import csv
import shlex
import time
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import write_atomic
from lightsweep.core.metrics import (
    DIFFERENCE_COLUMNS,
    PARETO,
    difference_column,
    difference_to_baseline,
    format_difference_cell,
)
from lightsweep.core.text import printable, printable_line, spreadsheet_cell
from lightsweep.sweeper import confirmation
from lightsweep.sweeper.config_differences import BEST_FILE, write_config
from lightsweep.sweeper.job import RESERVED
from lightsweep.sweeper.objectives import Objectives, values_by_name
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.speed import format_speed
from lightsweep.sweeper.statistics import Confirmed, Search
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import (
    INFEASIBLE,
    SPEED,
    baseline_of,
    facts_of,
    folder_of,
    is_feasible,
    is_untried,
    params_of,
    summarise_trials,
    value_of,
    without_repeats,
)
from lightsweep.sweeper.verdict import Verdict, judge, judge_front, point_file, remove_points

_SHARE = 0.05  # of the time, while trials run


def state_of(trial: FrozenTrial) -> str:
    """As a table has it."""
    if trial.user_attrs.get("interrupted"):
        return "interrupted"
    return "infeasible" if is_untried(trial) else trial.state.name.lower()


def leaderboard_rows(
    trials: Sequence[FrozenTrial], space: Space, objectives: Objectives, facts: Sequence[str]
) -> list[dict[str, Any]]:
    """One row a trial: rank, trial, state, value (with the standard deviation over seeds), its difference to the
    baseline, its parameters, and these facts of its job. Of several objectives the Pareto rank, and a value each."""
    table, baseline = [], baseline_of(trials)
    ranks = objectives.pareto_ranks(trials) if objectives.several else {}
    for rank, trial in enumerate(objectives.ranked(trials), start=1):
        overrides = (override.partition("=") for override in space.overrides(trial))
        known, is_ranked = facts_of(trial), trial.state == TrialState.COMPLETE and is_feasible(trial)
        scores = _scores(trial, baseline, objectives)
        place = {PARETO: ranks.get(trial.number, "")} if objectives.several else {"rank": rank if is_ranked else ""}
        table.append(
            {
                **place,
                "trial": trial.number,
                "state": state_of(trial),
                **scores,
                **{fact: known.get(fact, "") for fact in facts if fact not in scores},
                **{key: value for key, _, value in overrides if key not in scores},
                "note": _note(trial),
                "folder": folder_of(trial.number),
            }
        )
    return table


def _scores(trial: FrozenTrial, baseline: FrozenTrial | None, objectives: Objectives) -> dict[str, Any]:
    last = "" if (value := value_of(trial)) is None else value
    if not objectives.several:
        compared = compare_to_baseline(trial, baseline, objectives.names[0])
        std = facts_of(trial).get("std", "")
        return {"value": last, "std": std, difference_column(objectives.names[0]): compared}
    if trial.state == TrialState.COMPLETE:
        return values_by_name(objectives, trial)
    return {name: last if name == objectives.prune_on else "" for name in objectives.names}


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


def _columns(table: Sequence[dict[str, Any]], facts: Sequence[str], objectives: Objectives) -> list[str]:
    """The columns of all rows; parameters that only some trials have stand with the others."""
    first = [PARETO, "trial", "state", *objectives.names] if objectives.several else ["rank", "trial", "state", "value"]
    if not table:
        return first
    first += [name for name in ("std", *DIFFERENCE_COLUMNS) if name in table[0] and not objectives.several]
    last = [*(fact for fact in facts if fact not in first), "note", "folder"]
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
    parts += [f"infeasible: {trial.user_attrs[INFEASIBLE]}"] if INFEASIBLE in trial.user_attrs else []
    parts += [str(trial.user_attrs[name]) for name in ("note", "error") if trial.user_attrs.get(name)]
    return "; ".join(parts)


def _recorded(trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> tuple[str, ...]:
    """The names of all that trials have recorded, in the order in which they came; objectives are the values."""
    names = dict.fromkeys(name for trial in trials for name in trial.user_attrs.get("facts", {}))
    return tuple(name for name in names if name not in RESERVED and name not in objectives)


class Publisher:
    """Writes a study's files, one sweeper at a time, so that the latest state wins.

    While trials run that takes at most a twentieth of the time.
    """

    def __init__(self, plan: Plan, queue: TrialQueue) -> None:
        self.plan, self.queue = plan, queue
        self._best: tuple[int, ...] = ()  # the trials whose configs were written
        self._is_stale = False
        self._not_before = 0.0  # of time.monotonic

    def publish(self) -> None:
        """Write them now."""
        started = time.monotonic()
        self.queue.retry(self._write)  # a disk that is full for a while
        ended = time.monotonic()
        self._is_stale, self._not_before = False, ended + (ended - started) / _SHARE

    def update(self, *, trial_ended: bool = False) -> None:
        """Write them if a trial has ended since they were written; later, where that would take too much of the time:
        with many trials it takes long."""
        self._is_stale |= trial_ended
        if self._is_stale and time.monotonic() >= self._not_before:
            self.publish()

    def trials(self) -> list[FrozenTrial]:
        return without_repeats(self.queue.trials())

    def _write(self) -> None:
        with self.queue.writing():
            plan, trials, objectives = self.plan, self.trials(), self.plan.objectives
            facts = plan.application.columns or _recorded(trials, objectives.names)
            table = leaderboard_rows(trials, plan.space, objectives, facts)
            paragraphs, confirmed = [], confirmation.read_confirmation(plan.folder)
            if judged := self.verdict(confirmed):
                paragraphs.append("\n".join(f"- {line}" for line in judged.lines))
            if objectives.several:
                paragraphs.append("\n".join(f"- {line}" for line in self.commands()))
            if speed := format_speed(self.queue.study.user_attrs.get(SPEED)):
                paragraphs.append(speed)
            columns = _columns(table, facts, objectives)
            paragraphs.append(format_markdown(table, columns))
            if confirmed is not None:
                rows = confirmation.table_rows(confirmed, objectives.names)
                names = list(dict.fromkeys(name for row in rows for name in row))
                paragraphs += [confirmation.heading(confirmed), format_markdown(rows, names)]
            write_atomic(plan.folder / "leaderboard.csv", _format_csv(table, columns))
            title = f"# {plan.address.study}: {', '.join(objectives.names)}"
            write_atomic(plan.folder / "leaderboard.md", "\n\n".join(filter(None, [title, *paragraphs])) + "\n")
            best = self.best()
            if best and tuple(trial.number for trial in best) != self._best:
                self._write_best(best)

    def search(self) -> Search | None:
        """What is known from the trials of one objective; None where none was completed."""
        if self.plan.objectives.several:
            return None
        return summarise_trials(
            self.trials(),
            metric=self.plan.metric,
            maximises=self.plan.objectives.directions[0] == "maximize",
            seeds=max(1, len(self.plan.seeds)),
            changed_at=self.queue.study.user_attrs.get("changed_at", 0),
            has_seed_key=self.plan.settings.seed_key is not None,
        )

    def verdict(self, confirmed: Confirmed | None) -> Verdict | None:
        """What the sweep has found; None where no trial was completed."""
        if self.plan.objectives.several:
            return judge_front(self.trials(), self.plan.objectives, confirmed, self.queue.study.user_attrs)
        search = self.search()
        return judge(search, confirmed) if search else None

    def complete(self) -> list[FrozenTrial]:
        """Complete trials that violate no constraint, best first."""
        return self.plan.objectives.ranked_complete(self.trials())

    def best(self) -> list[FrozenTrial]:
        """The best trial; of several objectives the Pareto front."""
        return self.plan.objectives.front(self.trials()) if self.plan.objectives.several else self.complete()[:1]

    def to_confirm(self) -> dict[str, FrozenTrial]:
        """The trials that a confirmation runs beside the baseline, by the name of their configuration.

        Raises:
            ConfigError: ``hydra.sweeper.confirm_points`` names one that is not completed.
        """
        if self.plan.objectives.several:
            points = confirmation.choose_points(self.trials(), self.plan.objectives, self.plan.settings.confirm_points)
            return {f"best-{trial.number}": trial for trial in points}
        search = self.search()  # the baseline must not be run twice
        return {} if search is None or search.is_baseline else {"best": self.complete()[0]}

    def write_confirmation(self, configurations: Sequence[str], seeds: Sequence[int]) -> None:
        """Write what the runs of these configurations show."""
        plan, search = self.plan, self.search()
        further = plan.objectives.names if plan.objectives.several else ()
        best, by = None if search is None else search.best.number, plan.settings.confirm_metric
        confirmation.write_confirmation(
            plan.folder, configurations, seeds, plan.application, by, self.verdict, best=best, objectives=further
        )

    def commands(self) -> list[str]:
        """What runs each trial on the front of several objectives."""
        program, folder = self.plan.application.program, shlex.quote(str(self.plan.folder))
        files = [(trial.number, point_file(trial.number).removesuffix(".yaml")) for trial in self.best()]
        return [f"run trial {number}: {program} --config-dir {folder} --config-name {name}" for number, name in files]

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

    def _write_best(self, best: Sequence[FrozenTrial]) -> None:
        """The results as the official sweeper writes them, and a config for each of these trials."""
        plan, objectives = self.plan, self.plan.objectives
        found = [{"params": params_of(trial), "values": list(trial.values)} for trial in best]
        one = {"best_params": found[0]["params"], "best_value": best[0].values[0]}
        content = {"name": "optuna", **({"solutions": found} if objectives.several else one)}
        write_atomic(plan.folder / "optimization_results.yaml", OmegaConf.to_yaml(OmegaConf.create(content)))
        for trial in best:
            if trial.number in self._best:
                continue
            values = f"{plan.metric} {trial.values[0]:.4f}"
            values = objectives.format_values(trial.values) if objectives.several else values
            comment = printable(f"trial {trial.number} of the sweep {plan.address.study}: {values}")
            config, loader = plan.compose(self.overrides(trial)), plan.context.config_loader
            file = plan.folder / (point_file(trial.number) if objectives.several else BEST_FILE)
            write_config(file, comment, config, plan.config, loader, plan.application)
        if objectives.several:
            remove_points(plan.folder, [trial.number for trial in best])
        self._best = tuple(trial.number for trial in best)
