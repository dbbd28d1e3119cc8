"""What a page shows: sections with paragraphs, tables and figures, and the cells of tables."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.text import printable_line
from lightsweep.reports.columns import format_cell
from lightsweep.reports.figures import Figure
from lightsweep.reports.runs import Run, is_metric
from lightsweep.reports.table import STATUSES

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?(?=$|[ %])")


@dataclass
class Drawing:
    """The figures of a page: their data by id, the sections that show them, and what could not be drawn."""

    data: dict[str, Figure] = field(default_factory=dict)
    sections: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def section(self, id_: str, title: str, text: str = "") -> None:
        """Start a section.

        Args:
            text: a sentence above its figures, or instead of them.
        """
        self.sections.append({"id": id_, "title": title, "text": text, "lines": [], "tables": [], "figures": []})

    def write(self, lines: Iterable[str]) -> None:
        """Add paragraphs to the latest section, above its tables and figures."""
        self.sections[-1]["lines"] += map(printable_line, lines)

    def tabulate(self, caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a table to the latest section, above its figures. Numbers are formatted texts, or sorted as they are."""
        cells = [[plain_cell(value) for value in row] for row in rows]
        numeric = [any(row[index]["kind"] for row in cells) for index in range(len(columns))]
        heads = [describe_column(name, numeric=each) for name, each in zip(columns, numeric, strict=True)]
        self.sections[-1]["tables"].append({"caption": printable_line(caption), "columns": heads, "rows": cells})

    def add(self, label: str, draw: Callable[[], Figure | None], note: str = "", size: str = "") -> None:
        """Draw a figure in the latest section; None leaves it out. An error in a library costs that figure only."""
        try:
            figure = draw()
        except Exception as error:
            self.problems.append(printable_line(f"{label} could not be drawn ({type(error).__name__}: {error})")[:300])
            return
        if figure is not None:
            id_ = f"figure-{len(self.data)}"
            self.data[id_] = figure
            self.sections[-1]["figures"].append({"id": id_, "label": label, "note": note, "size": size})

    @property
    def shown(self) -> list[dict[str, Any]]:
        """Sections that are not empty."""
        filled = ("text", "lines", "tables", "figures")
        return [section for section in self.sections if any(section[part] for part in filled)]

    @property
    def links(self) -> list[tuple[str, str]]:
        return [(section["id"] + "-section", section["title"]) for section in self.shown]


def describe_column(label: str, *, numeric: bool = True, sortable: bool = True) -> dict[str, Any]:
    return {"label": printable_line(label), "numeric": numeric, "sortable": sortable}


def cell_of(run: Run, name: str) -> dict[str, Any]:
    """A cell with its text and the value that it is sorted by."""
    value, text = run.at(name), format_cell(run, name)
    if name == "status":
        known = f" {run.status}" * (run.status in STATUSES)
        return {"text": text, "value": printable_line(run.status), "kind": f"status{known}"}
    numeric = is_number(value)
    return {"text": text, "value": value if numeric else text, "kind": "number" if numeric or is_metric(name) else ""}


def text_cell(text: str) -> dict[str, Any]:
    return {"text": printable_line(text), "value": printable_line(text), "kind": ""}


def plain_cell(value: Any) -> dict[str, Any]:
    """A cell of a number, or of a text; a text that begins as a number does is set like one."""
    if is_number(value):
        return {"text": f"{value:.4g}", "value": value, "kind": "number"}
    number = _NUMBER.match(str(value))
    return text_cell(str(value)) | ({"value": float(number[0]), "kind": "number"} if number else {})
