"""An ablation: how much each of several changes is worth between two configurations, measured.

The path goes from the one configuration to the other, at each step by the one remaining change that helps most
(Fawcett & Hoos 2016). The runs that choose it make its steps look larger than they are, as the best of several always
does: so every point of the chosen path is measured again with further seeds, and the steps are those runs' alone.
Leave-one-out undoes each change alone at the end; nothing is chosen there.

Nothing here knows a config, a job or a folder: a configuration is the set of the changes that it has, by index.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

PATH, LEAVE_ONE_OUT = "path", "leave_one_out"
MOST_TRAININGS = 60  # of a path that is taken where nobody asked for it
MOST_SEEDS = 100

Configuration = frozenset[int]
Measure = Callable[[Sequence[Configuration], Sequence[int]], Mapping[Configuration, Sequence[float]]]


def count_trainings(changes: int, seeds: int, method: str, *, with_start: bool = False) -> int:
    """How many runs an ablation takes.

    Args:
        seeds: that each configuration is run with.
        with_start: leave-one-out measures the start, too.
    """
    if method == LEAVE_ONE_OUT:
        return seeds * (changes + 1 + with_start)
    return seeds * (sum(list_batches(changes)) + changes + 1)


def list_batches(changes: int) -> list[int]:
    """How many candidates each step of a path compares; none where only one change is left."""
    return list(range(changes, 1, -1))


def choose_method(changes: int, seeds: int) -> str:
    """The method where nobody asked for one: the path, unless it takes too many trainings."""
    return PATH if count_trainings(changes, seeds, PATH) <= MOST_TRAININGS else LEAVE_ONE_OUT


def find_path(changes: int, seeds: Sequence[int], measure: Measure, *, maximises: bool) -> list[Configuration]:
    """The points of the greedy path, from no change to all of them.

    A candidate without a completed run is not chosen. Where no candidate has one, all changes that are left are one
    step.

    Args:
        seeds: that choose, and that nothing is reported of.
    """
    points, everything = [Configuration()], Configuration(range(changes))
    while len(left := sorted(everything - points[-1])) > 1:
        candidates = [points[-1] | {change} for change in left]
        values = measure(candidates, seeds)
        means = {each: fmean(values[each]) for each in candidates if values.get(each)}
        if not means:
            break
        points.append((max if maximises else min)(means, key=means.__getitem__))
    return [*points, everything]


def list_points(changes: int, *, with_start: bool = False) -> list[Configuration]:
    """What leave-one-out measures: the end, and the end without each change."""
    everything = Configuration(range(changes))
    return [everything, *(everything - {change} for change in range(changes)), *[Configuration()] * with_start]
