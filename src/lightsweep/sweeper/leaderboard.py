"""leaderboard.csv and leaderboard.md: every trial of a study, best first, written anew when trials have ended."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.metrics import (
    DIFFERENCE_COLUMNS,
    PARETO,
    difference_column,
    difference_to_baseline,
    format_difference_cell,
)
from lightsweep.core.text import printable_line, spreadsheet_cell
from lightsweep.sweeper.job import RESERVED
from lightsweep.sweeper.objectives import Objectives, values_by_name
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.trials import (
    INFEASIBLE,
    baseline_of,
    facts_of,
    folder_of,
    is_feasible,
    is_untried,
    value_of,
)


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


def format_csv(table: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
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


def list_columns(table: Sequence[dict[str, Any]], facts: Sequence[str], objectives: Objectives) -> list[str]:
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


def recorded(trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> tuple[str, ...]:
    """The names of all that trials have recorded, in the order in which they came; objectives are the values."""
    names = dict.fromkeys(name for trial in trials for name in trial.user_attrs.get("facts", {}))
    return tuple(name for name in names if name not in RESERVED and name not in objectives)
