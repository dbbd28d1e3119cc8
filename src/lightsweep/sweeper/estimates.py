"""What a pruned trial would have reached: samplers learn from it as from the value of a completed one."""

from collections.abc import Mapping, Sequence
from statistics import median


def final_value(
    reports: Mapping[int, float], complete: Sequence[Mapping[int, float]], finals: Sequence[float]
) -> float:
    """The estimated value of a trial that ended early: its last report, and what others gained from that step on.

    Args:
        reports: its reports by step, at least one, all finite.
        complete: the reports of the completed trials.
        finals: their values, in the same order.
    """
    last = max(reports)
    gains = [final - curve[last] for curve, final in zip(complete, finals, strict=True) if last in curve]
    return reports[last] + (median(gains) if gains else 0.0)
