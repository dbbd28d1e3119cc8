"""confirmation.json, read: numbers, or nothing. It may be somebody else's, or of an earlier version."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.files import read_json
from lightsweep.sweeper.search import Confirmed

FILE = "confirmation.json"
_LARGEST = 1e50
CONFIGURATIONS = ("best", "baseline")


def read(folder: Path) -> Confirmed | None:
    """A sweep's confirmation; None where there is none that can be read."""
    try:
        content = read_json(folder / FILE)
        entries = {name: content[name] for name in CONFIGURATIONS if name in content}
        return Confirmed(
            int(content["best_trial"]),
            tuple(int(seed) for seed in content["seeds"]),
            {name: _scores(entry) for name, entry in entries.items()},
            {name: int(entry["failed"]) for name, entry in entries.items()},
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _scores(entry: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    groups = {str(name): tuple(score["values"]) for name, score in entry.items() if isinstance(score, dict)}
    if not all(is_number(value) for values in groups.values() for value in values):
        raise ValueError("a score is no number")
    if any(abs(value) > _LARGEST for values in groups.values() for value in values):
        raise ValueError("a score is too large to be squared")
    return {name: values for name, values in groups.items() if values}
