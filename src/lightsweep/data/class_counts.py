"""How many images of each class are in each part, in a line."""

from collections.abc import Mapping, Sequence

import numpy as np

_MOST = 10  # classes that are all named
_FEWEST = 5  # of more, those that have the fewest training images


def told(class_names: Sequence[str], counts: Mapping[str, np.ndarray]) -> str:
    """Args:
    counts: of each part, ``int64 [K]``; the first is that of training.
    """
    parts = [part for part in counts if counts[part].any()]
    table = np.stack([counts[part] for part in parts], 1)
    order = range(len(class_names)) if len(class_names) <= _MOST else table[:, 0].argsort(kind="stable")[:_FEWEST]
    rows = "; ".join(f"{class_names[row]} {', '.join(f'{count:,}' for count in table[row])}" for row in order)
    if len(class_names) <= _MOST:
        return f"images of each class in {', '.join(parts)}: {rows}"
    ranges = ", ".join(
        f"{low:,} to {high:,} in {part}" for part, low, high in zip(parts, table.min(0), table.max(0), strict=True)
    )
    return f"images of each of {len(class_names):,} classes: {ranges}; fewest {rows}"
