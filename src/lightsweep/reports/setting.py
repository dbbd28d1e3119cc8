"""How runs were made: the search, seeds, machine, versions and commit."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lightsweep.reports.runs import Run
from lightsweep.reports.study import Study
from lightsweep.reports.text import plain


def of(runs: Sequence[Run], study: Study | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """Headings, and what stands below each."""
    parts = []
    if study is not None:
        if study.space:
            parts.append(("Search space", [(plain(key), _range(said)) for key, said in study.space.items()]))
        parts.append(("Search", _search(study)))
    leaves = [seed for run in runs for seed in (run.seeds or (run,))]
    facts = [
        (label, _distinct(leaves, key))
        for label, key in (("seeds", "seed"), ("device", "device"), ("git commit", "git_commit"))
    ]
    versions = sorted({key for run in leaves for key in run.row if key.startswith("versions.")})
    facts += [(key.removeprefix("versions."), _distinct(leaves, key)) for key in versions]
    parts.append(("Seeds, machine and versions", [(plain(label), value) for label, value in facts if value]))
    return parts


def _range(distribution: str) -> str:
    """``FloatDistribution(high=1.0, log=True, low=0.1, step=None)`` as ``0.1 to 1.0, logarithmic``."""
    bounds = dict(re.findall(r"(\w+)=([^,()]+)", distribution))
    if "Categorical" in distribution:
        return plain(distribution.partition("(choices=")[2].removesuffix(")").strip("()") or distribution)
    if not {"low", "high"} <= bounds.keys():
        return plain(distribution)
    step = bounds.get("step", "None")
    words = [f"{bounds['low']} to {bounds['high']}"]
    words += ["logarithmic"] * (bounds.get("log") == "True") + [f"in steps of {step}"] * (step not in ("None", "1"))
    return plain(", ".join(words))


def _search(study: Study) -> list[tuple[str, str]]:
    settings = study.settings
    pairs = [("study", plain(study.name)), ("direction", study.study.direction.name.lower())]
    for part in ("sampler", "pruner"):
        node = settings.get(part)
        if isinstance(node, dict) and "_target_" in node:
            rest = ", ".join(f"{key}={value}" for key, value in node.items() if key != "_target_" and _is_said(value))
            pairs.append((part, plain(f"{str(node['_target_']).rpartition('.')[2]} ({rest})")))
    for key in ("n_trials", "seeds", "confirm", "timeout"):
        if settings.get(key) is not None:
            pairs.append(
                ({"n_trials": "trials asked for", "seeds": "seeds of each trial"}.get(key, key), plain(settings[key]))
            )
    return pairs


def _is_said(value: Any) -> bool:
    return value is not None and "${" not in str(value)


def _distinct(runs: Sequence[Run], key: str) -> str:
    counts = Counter(plain(run.row[key]) for run in runs if run.row.get(key) is not None)
    if len(counts) == 1:
        return next(iter(counts))
    shown = [f"{value} ({count})" for value, count in counts.most_common(12)]
    return ", ".join(shown) + (" …" if len(counts) > 12 else "")
