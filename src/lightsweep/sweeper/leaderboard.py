"""leaderboard.csv and leaderboard.md: every trial of a study, best first, written anew after each trial."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.files import write_whole
from lightsweep.core.gaps import COLUMNS, column_of, signed, to_baseline
from lightsweep.core.text import printable, spreadsheet_cell
from lightsweep.sweeper.search import baseline_of
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.value import value_of

_FACTS = ("val/acc", "val/f1", "val/loss", "train/acc", "best_epoch", "epochs", "params", "seconds")


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


def rows(trials: Sequence[FrozenTrial], space: Space, direction: StudyDirection, metric: str) -> list[dict[str, Any]]:
    """One row a trial: rank, trial, state, value (with the standard deviation over seeds), what lies between it and the
    baseline, its parameters and facts."""
    table = []
    baseline = baseline_of(trials)
    for rank, trial in enumerate(ranked(trials, direction), start=1):
        complete = trial.state == TrialState.COMPLETE
        overrides = (override.partition("=") for override in space.overrides(trial))
        table.append(
            {
                "rank": rank if complete else "",
                "trial": trial.number,
                "state": _state(trial),
                "value": "" if (value := value_of(trial)) is None else value,
                "std": trial.user_attrs.get("std", ""),
                column_of(metric): _to_baseline(trial, baseline, metric),
                **{key: value for key, _, value in overrides},
                **{name: trial.user_attrs.get(name, "") for name in _FACTS},
                "note": _note(trial),
                "folder": folder_of(trial.number),
            }
        )
    return table


def write(
    folder: Path, table: Sequence[dict[str, Any]], *, title: str, above: Sequence[str] = (), below: Sequence[str] = ()
) -> None:
    """Replace both files; in the Markdown the table stands between the paragraphs `above` and `below`."""
    columns = _columns(table)
    buffer = StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writerow({column: spreadsheet_cell(column) for column in columns})
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in table)
    write_whole(folder / "leaderboard.csv", buffer.getvalue())
    paragraphs = [f"# {title}", *above, markdown(table, _columns(table)), *below]
    write_whole(folder / "leaderboard.md", "\n\n".join(paragraphs) + "\n")


def markdown(table: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """A table without the columns that have nothing."""
    columns = [column for column in columns if any(row.get(column, "") != "" for row in table)]
    lines = [_line(columns), _line("---" for _ in columns)]
    lines += [_line(_shown(column, row.get(column, "")) for column in columns) for row in table]
    return "\n".join(lines)


def _shown(column: str, value: Any) -> str:
    return signed(column, value) if column in COLUMNS and value != "" else short(value)


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


def folder_of(number: int) -> str:
    return f"trial-{number:04d}"


def number_of(folder: Path) -> int:
    """The trial whose folder this is; -1 where its name is no trial's."""
    digits = folder.name.removeprefix("trial-")
    return int(digits) if digits.isdecimal() else -1


def _columns(table: Sequence[dict[str, Any]]) -> list[str]:
    """The columns of all rows; parameters that only some trials have stay beside the others."""
    if not table:
        return ["rank", "trial", "state", "value"]
    differences = [name for name in COLUMNS if name in table[0]]
    first, last = ["rank", "trial", "state", "value", "std", *differences], [*_FACTS, "note", "folder"]
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
    return to_baseline(metric, trial.value, baseline.value)


def _note(trial: FrozenTrial) -> str:
    parts = ["baseline"] if trial.user_attrs.get("baseline") else []
    parts += [f"again for trial {trial.user_attrs['retry_of']}"] if "retry_of" in trial.user_attrs else []
    parts += [str(trial.user_attrs[name]) for name in ("note", "error") if trial.user_attrs.get(name)]
    return "; ".join(parts)


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"
