"""What a pruned trial would have reached: samplers learn from it as from the value of a completed one."""

from collections.abc import Mapping, Sequence
from statistics import fmean

_PRIOR = 3  # completed trials, from which on their own slope counts more than the one that is expected


def final_value(
    reports: Mapping[int, float], complete: Sequence[Mapping[int, float]], finals: Sequence[float]
) -> float:
    """The estimated value of a trial that ended early: the more of it is missing, the nearer to what others reached.

    It lies on a line through the completed trials, from their reports at the last step of this one to their values. An
    early report says little, so the slope is expected to be the part of a whole trial that has run; the fewer trials
    have completed, the more that counts.

    Args:
        reports: its reports by step, at least one, all finite.
        complete: the reports of the completed trials.
        finals: their values, in the same order.
    """
    last = max(reports)
    known = [(curve[last], final) for curve, final in zip(complete, finals, strict=True) if last in curve]
    if not known:
        return reports[last]
    middle, reached = fmean(report for report, _ in known), fmean(final for _, final in known)
    spread = sum((report - middle) ** 2 for report, _ in known)
    together = sum((report - middle) * (final - reached) for report, final in known)
    part = last / max(max(curve) for curve in complete if curve)
    weighed = len(known) * (together / spread if spread else part) + _PRIOR * part
    slope = min(max(weighed / (len(known) + _PRIOR), 0.0), 1.0)
    return reached + slope * (reports[last] - middle)
