"""Tables as CSV, Markdown and JSON."""

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from lightsweep.core.text import printable_line, spreadsheet_cell
from lightsweep.reports.columns import format_cell, short_labels
from lightsweep.reports.runs import Run
from lightsweep.reports.table import Table, list_rows

Parts = Sequence[tuple[Table, Sequence[Run]]]  # tables, each with the rows that are wanted, in order

_MARKUP = re.compile(r"([\\`*\[\]<>|#~&]|(?<!\w)_|_(?!\w))")


def format_csv(parts: Parts) -> str:
    """The rows that are wanted, with every column.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    content = [row for table, runs in parts for row in list_rows(table, runs)]
    columns = list(dict.fromkeys(column for row in content for column in row))
    buffer = StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writerow({column: _csv_cell(column) for column in columns})
    writer.writerows({column: _csv_cell(value) for column, value in row.items()} for row in content)
    return buffer.getvalue()


def format_json(parts: Parts, problems: Mapping[str, str]) -> str:
    """The tables with the rows that are wanted, and the files that could not be read."""
    content = {
        "tables": [
            {
                "data": table.data,
                "monitor": table.monitor,
                "mode": "max" if table.maximises else "min",
                "differing": table.differing,
                "rows": list_rows(table, runs),
            }
            for table, runs in parts
        ],
        "skipped": problems,
    }
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def format_markdown(parts: Parts) -> str:
    """The tables as they are shown."""
    return "\n".join(_markdown(table, runs) for table, runs in parts)


def _markdown(table: Table, runs: Sequence[Run]) -> str:
    labels, ranks = short_labels(table.columns), table.ranks
    better = "higher" if table.maximises else "lower"
    lines = [f"{_escaped(table.data or 'unknown data')}, ranked by {_escaped(table.monitor)} ({better} is better)", ""]
    lines += [_line(["rank", *(_escaped(labels[column]) for column in table.columns)])]
    lines += [_line(["---"] * (len(table.columns) + 1))]
    for run in runs:
        texts = [_escaped(format_cell(run, column)) for column in table.columns]
        lines.append(_line([str(ranks.get(run.name, "")), *texts]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", printable_line(text))


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str):
        return spreadsheet_cell(printable_line(value))
    return "" if value is None else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
