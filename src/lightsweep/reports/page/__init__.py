"""One self-contained HTML page: opens offline in any browser, asks nobody for anything.

Its content security policy allows the page's own scripts, by their hashes, and no request. Values from run folders are
escaped by Jinja2, and the figures' data by `embedded`.
"""

import base64
import hashlib
import json
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lightsweep.config import allowlist
from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import read_regular, write_atomic
from lightsweep.core.text import DIFFERENCE_COLUMNS, printable_line
from lightsweep.reports import runs
from lightsweep.reports.columns import format_cell, short_labels
from lightsweep.reports.figures import Figure
from lightsweep.reports.runs import Run, is_metric
from lightsweep.reports.table import Table
from lightsweep.runs import saved_config
from lightsweep.sweeper import best_config

_HERE = Path(__file__).parent


def write_page(path: Path, template: str, content: Mapping[str, Any], figures: Mapping[str, Figure]) -> None:
    """Write a page.

    Args:
        template: a file beside this one.
        content: what the template shows.
        figures: by the id of the element that they are drawn in.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"--html must be a file in a folder that is there, got {str(path)!r}")
    write_atomic(path, render_page(template, content, figures))


def render_page(template: str, content: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("lightsweep.reports", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [(_HERE / "page.js").read_text(encoding="utf-8")]
    if figures:
        scripts.insert(0, get_plotlyjs().replace("\r\n", "\n"))
    return environment.get_template(template).render(
        **content,
        policy=_policy(scripts),
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        scripts=[Markup(script) for script in scripts],
        figure_data=Markup(embed_json(figures)),
    )


def embed_json(content: Any) -> str:
    """JSON that can stand inside a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(_finite(content), allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None  # more digits nobody sees
    return value


def _policy(scripts: list[str]) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )


@dataclass
class Drawing:
    """Gathers the figures of a page."""

    data: dict[str, Figure] = field(default_factory=dict)
    sections: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def section(self, id_: str, title: str) -> None:
        self.sections.append({"id": id_, "title": title, "text": "", "figures": []})

    def say(self, text: str) -> None:
        """A sentence in the latest section, in the place of a figure."""
        self.sections[-1]["text"] = text

    def add(self, label: str, make: Callable[[], Figure | None], note: str = "", size: str = "") -> None:
        """Draw a figure in the latest section. What a library cannot draw of a strange study costs that figure only."""
        try:
            figure = make()
        except Exception as error:
            self.remarks.append(printable_line(f"{label} could not be drawn ({type(error).__name__}: {error})")[:300])
            return
        if figure is not None:
            id_ = f"figure-{len(self.data)}"
            self.data[id_] = figure
            self.sections[-1]["figures"].append({"id": id_, "label": label, "note": note, "size": size})

    @property
    def shown(self) -> list[dict[str, Any]]:
        """Sections that have something in them."""
        return [section for section in self.sections if section["figures"] or section["text"]]

    @property
    def links(self) -> list[tuple[str, str]]:
        return [(section["id"] + "-section", section["title"]) for section in self.shown]


_STATUSES = ("completed", "unfinished", "pruned", "interrupted", "diverged", "failed")
_MOST_OPENED = 500  # rows that say how to train them again: for that some of their files are read


def build_leaderboard(table: Table, runs: Sequence[Run]) -> dict[str, Any]:
    """Caption, columns and rows. Columns with test scores have no button: nobody should choose by them."""
    labels, ranks = short_labels(table.columns), table.ranks
    leading = (table.monitor, "run", *DIFFERENCE_COLUMNS, "status")
    first = [name for name in leading if name in table.columns]  # all may have failed
    wanted = [*first, *(name for name in table.columns if name not in (*first, "kind"))]
    wanted += ["kind"] if "kind" in table.columns else []
    better = "higher" if table.maximises else "lower"
    columns = [column("rank")] + [
        column(labels[name], numeric=_is_numeric(runs, name), sortable=not name.startswith("test/")) for name in wanted
    ]
    rows = [[number_cell(ranks.get(run.name)), *(cell_of(run, name) for name in wanted)] for run in runs]
    _open_up([row[1 + wanted.index("run")] for row in rows], runs)
    data = printable_line(table.data or "unknown data")
    return {"caption": f"{data}, ranked by {table.monitor} ({better} is better)", "columns": columns, "rows": rows}


def _open_up(named: Sequence[dict[str, Any]], runs: Sequence[Run]) -> None:
    """Hand each run's cell what it shows when it is opened: the folder, and the command that trains it again."""
    for cell, run in list(zip(named, runs, strict=True))[:_MOST_OPENED]:
        command, note = find_command(run)
        cell |= {"folder": printable_line(run.folder.resolve()), "command": command, "note": note}


def column(label: str, *, numeric: bool = True, sortable: bool = True) -> dict[str, Any]:
    return {"label": printable_line(label), "numeric": numeric, "sortable": sortable}


def cell_of(run: Run, name: str) -> dict[str, Any]:
    value = run.at(name)
    text = format_cell(run, name)
    if name == "status":
        known = f" {run.status}" * (run.status in _STATUSES)
        return {"text": text, "value": printable_line(run.status), "kind": f"status{known}"}
    numeric = is_number(value)
    return {"text": text, "value": value if numeric else text, "kind": "number" if numeric or is_metric(name) else ""}


def text_cell(text: str) -> dict[str, Any]:
    return {"text": printable_line(text), "value": printable_line(text), "kind": ""}


def number_cell(value: int | None) -> dict[str, Any]:
    return {"text": "" if value is None else str(value), "value": "" if value is None else value, "kind": "number"}


def _is_numeric(runs: Sequence[Run], name: str) -> bool:
    values = [value for run in runs if (value := run.at(name)) is not None]
    return is_metric(name) or (bool(values) and all(is_number(value) for value in values))


_BEST = re.compile(r"# trial (\d+) of the sweep")
_OF_A_SWEEP = ("trial", "seed", "confirmation")


def find_command(run: Run) -> tuple[str | None, str]:
    """The command, and what is to be known of it; none where it cannot be said."""
    if run.row.get("kind") not in _OF_A_SWEEP:
        kept = [line for line in run.overrides if not _is_of_a_place(line)]
        left_out = [line.partition("=")[0] for line in run.overrides if _is_of_a_place(line)]
        note = f"Left out, to be typed by you: {', '.join(map(printable_line, left_out))}." if left_out else ""
        return "python src/train.py " + shlex.join(
            printable_line(part) for part in [*_config_options(run.folder), *kept]
        ), note
    if _is_best(run):
        return _with_config(run.folder.parent, best_config.FILE), ""
    first = (run.seeds or (run,))[0]
    if not (first.folder / best_config.REPEAT).is_file():
        return None, "Its sweep has left no config that trains it again."
    note = "This is its first seed." if run.seeds else ""
    return _with_config(first.folder, best_config.REPEAT), note


def _with_config(folder: Path, file: str) -> str:
    where = shlex.quote(printable_line(folder.resolve()))
    return f"python src/train.py --config-dir {where} --config-name {file.removesuffix('.yaml')}"


def _is_best(run: Run) -> bool:
    """Is it the trial that its sweep's best.yaml holds?"""
    try:
        named = _BEST.match(read_regular(run.folder.parent / best_config.FILE))
    except (OSError, ValueError):
        return False
    return named is not None and f"trial-{int(named[1]):04d}" == run.folder.name


def _is_of_a_place(line: str) -> bool:
    """Is it about where a run lies, or could it lead elsewhere? A record may be somebody else's, and what is typed may
    do more than a file."""
    key, _, value = line.lstrip("+~").partition("=")
    return (
        re.fullmatch(r"[A-Za-z_][\w./-]*", key) is None
        or key.startswith(("hydra", "run_dir", "resume"))
        or key.rpartition(".")[2] in allowlist.GUARDED
        or value.lstrip().startswith("{")
        or "${" in value
    )


def _config_options(folder: Path) -> list[str]:
    noted = runs.load_yaml(folder / ".hydra" / "hydra.yaml")
    try:
        return saved_config.config_options(noted["hydra"])
    except (KeyError, TypeError):  # missing, damaged, or of another program
        return []
