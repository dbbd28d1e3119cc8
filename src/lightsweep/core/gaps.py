"""How far a score lies from the baseline's: percentage points of an accuracy, else in the score's own unit."""

_IN_POINTS = ("acc", "balanced_acc")  # shares of the images
_POINTS, _PLAIN = COLUMNS = ("points_to_baseline", "to_baseline")


def in_points(metric: str) -> bool:
    return metric.rpartition("/")[2] in _IN_POINTS


def difference(metric: str, value: float) -> str:
    """A difference with its sign: percentage points of an accuracy."""
    return f"{100 * value:+z.2f} points" if in_points(metric) else f"{value:+z.4f}"


def column_of(metric: str) -> str:
    """The name of a table's column with differences to the baseline."""
    return _POINTS if in_points(metric) else _PLAIN


def to_baseline(metric: str, value: float, baseline: float) -> float:
    """What stands in that column."""
    return round((value - baseline) * (100 if in_points(metric) else 1), 8)


def signed(name: str, value: float) -> str:
    """The same in a table for people."""
    return f"{value:+z.2f}" if name == _POINTS else f"{value:+z.4f}"
