"""How other tools write a range or a choice, in this one's spelling."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lightsweep.core.overrides import written

_LOW = ("low", "min", "lower", "minimum")
_HIGH = ("high", "max", "upper", "maximum")
_CHOICES = ("values", "choices", "options", "categories")
_KIND = ("type", "distribution", "method", "scale", "prior")
_CALLS = {
    "uniform": "interval({})",
    "loguniform": "tag(log, interval({}))",
    "randint": "range({})",
    "categorical": "choice({})",
}


def of_mapping(value: Mapping[str, Any]) -> str | None:
    """``{type: float, low: 1e-4, high: 1e-2, log: true}`` as ``tag(log, interval(0.0001, 0.01))``; None where it is
    something else."""
    entry = {str(name).lower(): item for name, item in value.items()}
    for name in _CHOICES:
        if isinstance(listed := entry.get(name), Sequence) and not isinstance(listed, str):
            return choice(listed)
    low, high = _bounds(entry)
    if low is None or high is None:
        return None
    kind = " ".join(str(entry.get(name, "")) for name in _KIND).lower()
    return _range(
        low, high, _step(entry), log=bool(entry.get("log") or entry.get("log_scale")) or "log" in kind, kind=kind
    )


def of_call(text: str) -> str | None:
    """``uniform(0, 1)`` as ``interval(0, 1)``; None where it is no other tool's function."""
    call = re.fullmatch(r"\s*([A-Za-z_]+)\s*\((.*)\)\s*", text)
    ours = _CALLS.get(call[1].lower().replace("_", "")) if call else None
    return ours.format(call[2]) if call and ours else None


def choice(listed: Sequence[Any]) -> str:
    """A choice among these values."""
    if any(each is None for each in listed):
        return ",".join(map(written, listed))  # choice() takes no null
    return f"choice({','.join(map(written, listed))})"


def _bounds(entry: Mapping[str, Any]) -> tuple[Any, Any]:
    both = entry.get("bounds", entry.get("range"))
    if isinstance(both, Sequence) and len(both) == 2:
        low, high = both
    else:
        low, high = (next((entry[name] for name in names if name in entry), None) for names in (_LOW, _HIGH))
    return _number(low), _number(high)


def _step(entry: Mapping[str, Any]) -> Any:
    return _number(entry.get("step", entry.get("q")))


def _number(value: Any) -> int | float | None:
    """YAML takes 1e-4 for a text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _range(low: Any, high: Any, step: Any, *, log: bool, kind: str) -> str:
    if "int" in kind:
        low, high = int(low), int(high)
    elif "float" in kind or "uniform" in kind:
        low, high = float(low), float(high)
    if step and not log:
        return f"range({low}, {round(high + step, 12)}, {step})"  # whose end is left out
    inside = f"interval({low}, {high})"
    return f"tag(log, {inside})" if log else inside
