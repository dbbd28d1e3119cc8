"""docs/reference/RESULTS.md from the experiments and their records."""

from collections.abc import Iterable
from statistics import fmean

from .comparison import Found, sample
from .conclusions import conclude
from .experiments import Experiment, document
from .records import Record, is_finished

_HEADS = (
    *("row", "", "val reported", "val here", "test reported", "test here", "n", "difference"),
    *("params reported", "params here", "equal", "epochs", "seconds", "last rate"),
)


def format_page(experiments: list[Experiment], found: Found) -> str:
    """The text of the file."""
    texts = document()["texts"]
    parts = ["# The reference experiments, run here", _head(experiments, found), texts["how"]]
    for family, about in document()["families"].items():
        members = [each for each in experiments if each.family == family]
        if members:
            parts += [f"## {about['title']}", about.get("about", ""), _results(members, found), _assumed(members)]
            parts += [_unbalanced(members, found)] if family == "e" else []
    parts += ["## What the reports concluded, and whether it holds here", *conclude(experiments, found)]
    parts += ["## Keras's ways", texts["keras"]]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _head(experiments: list[Experiment], found: Found) -> str:
    records = [record for each in experiments for record in found[each.name] if "versions" in record]  # it started
    if not records:
        return "No run has ended yet."
    done = sum(any(map(is_finished, found[each.name])) for each in experiments)
    hours = sum(record["seconds"] for record in records) / 3600
    versions = (f"{name} {number}" for record in records for name, number in record["versions"].items())
    return "\n".join(
        [
            f"- {done} of {len(experiments)} rows, {len(records)} runs, {hours:.1f} hours of training",
            f"- machine: {_join_distinct(map(_machine, records))}",
            f"- versions: {_join_distinct(versions)}",
            f"- commit: {_join_distinct(map(_commit, records))}",
        ]
    )


def _machine(record: Record) -> str:
    load = "one run at a time" if record["jobs"] == 1 else f"{record['jobs']} runs at a time"
    device = record["device"].replace(", 1 threads", ", 1 thread")  # as the first records have it
    return f"{device}, {record['cores']} cores, {load}"


def _commit(record: Record) -> str:
    """Twelve digits, and whether files differed from it."""
    commit = str(record["git_commit"])
    return commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]], left: int) -> str:
    """A Markdown table whose first `left` columns are aligned to the left."""
    heads = list(heads)
    lines = [heads, ["---"] * left + ["--:"] * (len(heads) - left), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _results(experiments: list[Experiment], found: Found) -> str:
    return _table(_HEADS, (_row(each, found[each.name]) for each in experiments), left=2)


def _row(experiment: Experiment, records: list[Record]) -> list[str]:
    done = [record for record in records if record["status"] == "completed"]
    theirs = experiment.reported
    test = sample(done)
    params = next((record["params_keras"] for record in records if "params_keras" in record), None)
    return [
        experiment.label,
        experiment.title,
        _number(theirs.get("val/acc"), ".4g"),
        str(sample(done, "val/acc")) if done else _why_no_score(records),
        _number(theirs.get("test/acc"), ".4g"),
        str(test) if done else "",
        str(len(done)),
        f"{test.mean - theirs['test/acc']:+.4f}" if test.values and "test/acc" in theirs else "",
        _number(theirs.get("params"), ",.0f"),
        _number(params, ",.0f"),
        ("yes" if params == theirs["params"] else "**no**") if params and "params" in theirs else "",
        _ours_and_theirs(done, theirs, "epochs", ".3g"),
        _ours_and_theirs(done, theirs, "seconds", ".0f", span=True),
        _ours_and_theirs(done, theirs, "last_lr", ".3g"),
    ]


def _why_no_score(records: list[Record]) -> str:
    if not records:
        return "not run yet"
    return f"{records[0]['status']}: {records[0].get('error', '')}".replace("|", "\\|")


def _ours_and_theirs(done: list[Record], theirs: dict[str, float], key: str, form: str, *, span: bool = False) -> str:
    """Our mean, or the least and the largest, and after a slash the report's number if it has one."""
    values = [record[key] for record in done if record.get(key) is not None]
    shown = ([min(values), max(values)] if span else [fmean(values)]) if values else []
    ours = " to ".join(dict.fromkeys(format(value, form) for value in shown))
    return f"{ours} / {theirs[key]:{form}}" if key in theirs else ours


def _unbalanced(experiments: list[Experiment], found: Found) -> str:
    """The other scores on the test set, for classes of different sizes; empty where there are none."""
    scores = {key for each in experiments for record in found[each.name] for key in record if key.startswith("test/")}
    names = sorted(scores - {"test/acc", "test/loss"})
    if not names:
        return ""
    heads = ["row", "test/acc", *names]
    rows = ([each.label, *(str(sample(found[each.name], name)) for name in heads[1:])] for each in experiments)
    return _table(heads, rows, left=1)


def _assumed(experiments: list[Experiment]) -> str:
    labels: dict[str, list[str]] = {}
    for each in experiments:
        for part in each.assumed:
            labels.setdefault(part, []).append(each.label)
    parts = "; ".join(f"{part} ({', '.join(who)})" for part, who in labels.items())
    return f"Not stated by the report, assumed: {parts}." if labels else ""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _join_distinct(items: Iterable[str]) -> str:
    return "; ".join(sorted(set(items)))
