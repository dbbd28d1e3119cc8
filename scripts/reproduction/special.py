"""Conclusions that are more than a comparison of two rows."""

from math import sqrt

from .noise import Noise, sample
from .records import Record
from .rows import Row

Found = dict[str, list[Record]]


def rates(found: Found, noise: Noise) -> str:
    """How much tanh and ReLU lose from their best rate to their worst."""
    question = "**Does tanh need a more careful learning rate than ReLU?**"
    tested = {act: {rate: sample(found[name]) for rate, name in _by_rate(act).items()} for act in ("tanh", "relu")}
    samples = [each for by_rate in tested.values() for each in by_rate.values()]
    if not all(each.values for each in samples):
        return f"{question} Not run yet."
    lost = {act: _range([each.mean for each in by_rate.values()]) for act, by_rate in tested.items()}
    more = lost["tanh"] - lost["relu"]
    limit = sqrt(2) * max(noise.limit(one, other) for one in samples for other in samples)  # four means, not two
    answer = "It cannot be told from the noise." if abs(more) <= limit else ("Yes." if more > 0 else "ReLU does.")
    told = "; ".join(
        f"{act} " + ", ".join(f"{each.with_n} at {rate}" for rate, each in by_rate.items())
        for act, by_rate in tested.items()
    )
    return (
        f"{question} {answer} From its best rate to its worst tanh loses {lost['tanh']:.4f}, ReLU {lost['relu']:.4f},"
        f" a difference of {more:+.4f} ({limit:.4f}). Adam with C2's network: {told}."
    )


def one_configuration(found: Found, noise: Noise) -> str:
    """D11, D13 and D20 are one configuration, but for the epochs that we assume."""
    question = "**D11, D13 and D20 are one configuration, reported with 0.524, 0.545 and 0.545: epochs or noise?**"
    short, long, twin = (found[name] for name in ("d11", "d13", "d20"))
    fewer, more = sample(short), sample(long)
    if not (fewer.values and more.values and twin):
        return f"{question} Not run yet."
    limit, difference = noise.limit(more, fewer), more.mean - fewer.mean
    cause = "The epochs" if difference > limit else "Noise explains it as well as the epochs"
    same = all(one["test/acc"] == other["test/acc"] for one in long for other in twin if one["seed"] == other["seed"])
    return (
        f"{question} {cause}: {more.with_n} after {long[0]['epochs']} epochs, {fewer.with_n} after"
        f" {short[0]['epochs']}, {difference:+.4f} ({limit:.4f}), reported +0.021. D13 and D20 with one seed are"
        f" {'equal to the last digit' if same else 'not equal'} here."
    )


def impossible_counts(rows: list[Row], found: Found) -> str:
    """Parameter counts that no network of the widths that the report names has."""
    lines = ["**Parameter counts that cannot be.**"]
    for row in rows:
        ours = [record["params_keras"] for record in found[row.name] if "params_keras" in record]
        theirs = row.reported.get("params")
        if theirs and ours and theirs != ours[0]:
            lines.append(f"{row.label}: the report prints {theirs:,.0f}, layers of its widths have {ours[0]:,}.")
    return " ".join([*lines, "Its text leaves something out; trained here is what it says."]) if len(lines) > 1 else ""


def _by_rate(act: str) -> dict[str, str]:
    """Rows by their rate."""
    return {"1e-2": f"{act}_1e-2", "1e-3": f"c2_{act}", "1e-4": f"{act}_1e-4"}


def _range(values: list[float]) -> float:
    return max(values) - min(values)
