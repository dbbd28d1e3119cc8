"""RESULTS.md from the rows and their records."""

from collections.abc import Iterable
from statistics import fmean

from . import conclusions, prose
from .noise import sample
from .records import Record, finished
from .rows import Row

FAMILIES = {
    "a": "A. Four configurations",
    "b": "B. Three experiments and a baseline",
    "c": "C. One model improved step by step",
    "d": "D. Controlled experiments",
    "e": "E. Image folders",
    "next": "Next steps that report A names, and what its questions need",
    "best": "Better than the references",
}
_HEADS = (
    *("row", "", "val reported", "val here", "test reported", "test here", "n", "difference"),
    *("params reported", "params here", "equal", "epochs", "seconds", "last rate"),
)
_LEFT = 2  # columns of words

Found = dict[str, list[Record]]


def text(rows: list[Row], found: Found) -> str:
    """The whole file."""
    parts = ["# The reference experiments, run here", _head(rows, found), prose.HOW]
    for family, title in FAMILIES.items():
        members = [row for row in rows if row.family == family]
        if members:
            parts += [f"## {title}", prose.ABOUT.get(family, ""), _table(members, found), _assumed(members)]
            parts += [_unbalanced(members, found)] if family == "e" else []
    parts += ["## What the reports concluded, and whether it holds here", *conclusions.text(rows, found)]
    parts += ["## Keras's ways", prose.KERAS]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _head(rows: list[Row], found: Found) -> str:
    records = [record for row in rows for record in found[row.name] if "versions" in record]  # it was begun
    done = sum(any(finished(record) for record in found[row.name]) for row in rows)
    if not records:
        return "No run has ended yet."
    versions = {f"{name} {number}" for record in records for name, number in record["versions"].items()}
    places = {_place(record) for record in records}
    hours = sum(record["seconds"] for record in records) / 3600
    return "\n".join(
        [
            f"- {done} of {len(rows)} rows, {len(records)} runs, {hours:.1f} hours of training",
            f"- machine: {_listed(places)}",
            f"- versions: {_listed(versions)}",
            f"- commit: {_listed(_commit(record) for record in records)}",
        ]
    )


def _place(record: Record) -> str:
    said = "one run at a time" if record["jobs"] == 1 else f"{record['jobs']} runs at a time"
    device = record["device"].replace(", 1 threads", ", 1 thread")  # as it was once written
    return f"{device}, {record['cores']} cores, {said}"


def _table(rows: list[Row], found: Found) -> str:
    cells = [_HEADS, ["---"] * _LEFT + ["--:"] * (len(_HEADS) - _LEFT), *(_cells(row, found[row.name]) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cells(row: Row, records: list[Record]) -> list[str]:
    done = [record for record in records if record["status"] == "completed"]
    theirs = row.reported
    test = sample(done)
    params = [record["params_keras"] for record in records if "params_keras" in record]
    difference = f"{test.mean - theirs['test/acc']:+.4f}" if test.values and "test/acc" in theirs else ""
    return [
        row.label,
        row.title,
        _number(theirs.get("val/acc"), ".4g"),
        str(sample(done, "val/acc")) if done else _state(records),
        _number(theirs.get("test/acc"), ".4g"),
        str(test) if done else "",
        str(len(done)),
        difference,
        _number(theirs.get("params"), ",.0f"),
        _number(params[0] if params else None, ",.0f"),
        ("yes" if params[0] == theirs["params"] else "**no**") if params and "params" in theirs else "",
        _beside(done, theirs, "epochs", ".3g"),
        _beside(done, theirs, "seconds", ".0f", span=True),
        _beside(done, theirs, "last_lr", ".3g"),
    ]


def _unbalanced(rows: list[Row], found: Found) -> str:
    """Scores on the test set beside accuracy and loss, for classes of different sizes; nothing where there are none."""
    scored = {key for row in rows for record in found[row.name] for key in record if key.startswith("test/")}
    names = sorted(scored - {"test/acc", "test/loss"})
    if not names:
        return ""
    head = ["row", "test/acc", *names]
    lines = [head, ["---"] + ["--:"] * (len(head) - 1)]
    for row in rows:
        samples = [sample(found[row.name], name) for name in ("test/acc", *names)]
        lines.append([row.label, *(str(each) if each.values else "" for each in samples)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _state(records: list[Record]) -> str:
    """Why a row has no score."""
    if not records:
        return "not run yet"
    return f"{records[0]['status']}: {records[0].get('error', '')}".replace("|", "\\|")


def _beside(records: list[Record], theirs: dict[str, float], key: str, form: str, *, span: bool = False) -> str:
    """Our mean, or the least and the largest, and behind a slash the report's number if there is one."""
    values = [record[key] for record in records if record.get(key) is not None]
    told = ([min(values), max(values)] if span else [fmean(values)]) if values else []
    ours = " to ".join(dict.fromkeys(format(value, form) for value in told))
    return f"{ours} / {theirs[key]:{form}}" if key in theirs else ours


def _assumed(rows: list[Row]) -> str:
    said: dict[str, list[str]] = {}
    for row in rows:
        for part in filter(None, row.assumed.split("; ")):
            said.setdefault(part, []).append(row.label)
    if not said:
        return ""
    return (
        "Not stated by the report, assumed: "
        + "; ".join(f"{part} ({', '.join(who)})" for part, who in said.items())
        + "."
    )


def _commit(record: Record) -> str:
    """Twelve digits, and whether files differed from it."""
    said = str(record["git_commit"])
    return said[:12] + ("-dirty" if said.endswith("-dirty") else "")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _listed(items: Iterable[str]) -> str:
    return "; ".join(sorted(set(items)))
