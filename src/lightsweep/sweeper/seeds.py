"""Several seeds a trial: one value from many, and the trial's own result.json."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lightsweep.core.files import write_whole

_MEASURES = ("loss", "acc", "f1", "balanced_acc")
_AVERAGED = (*(f"{part}/{name}" for part in ("train", "val", "test") for name in _MEASURES), "best_epoch", "epochs")


def mean_facts(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means of what the seeds measured, and the sum of their seconds."""
    means: dict[str, Any] = {}
    for name in _AVERAGED:
        values = [fact[name] for fact in facts if isinstance(fact.get(name), int | float)]
        if values:
            means[name] = fmean(values)
    if facts and "params" in facts[0]:
        means["params"] = facts[0]["params"]
    means["seconds"] = sum(fact.get("seconds") or 0.0 for fact in facts)
    return means


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation; None of a single value."""
    return stdev(values) if len(values) > 1 else None


def write_result(
    folder: Path,
    *,
    status: str,
    seeds: Sequence[int],
    values: Sequence[float],
    facts: dict[str, Any],
    error: str | None,
) -> None:
    """The trial's result.json beside its seeds' folders."""
    content: dict[str, Any] = {
        "status": status,
        "kind": "trial",
        "seeds": list(seeds)[: len(values)],
        "values": list(values),
        "best_value": fmean(values) if values else None,
        "std": spread(values),
        **facts,
    }
    if error:
        content["error"] = error
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "result.json", json.dumps(content, indent=1) + "\n")
