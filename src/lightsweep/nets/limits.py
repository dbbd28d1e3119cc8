"""Sizes beyond which a network is a mistake: it would take hours or all memory before anything said so."""

from lightsweep.core import checks

DEEPEST = 1000
WIDEST = 1_000_000


def check(*, width: int, depth: int) -> None:
    """See that width and depth are whole numbers that make a network.

    Raises:
        ConfigError: names the key.
    """
    checks.whole("model.width", width, "[1, inf)")
    checks.whole("model.depth", depth, "[1, inf)")
    checks.require(width <= WIDEST, "model.width", f"be at most {WIDEST}", width)
    checks.require(depth <= DEEPEST, "model.depth", f"be at most {DEEPEST}", depth)
