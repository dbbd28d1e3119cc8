"""What the reports concluded, and whether it holds here. Every judgement is computed from the records."""

from math import sqrt
from statistics import fmean

from .comparison import Found, Noise, Sample, compare, pool, sample
from .experiments import Experiment, Question, read_questions

_PHOTOS = "e"  # the family with other images and another test set: its noise is another


def conclude(experiments: list[Experiment], found: Found) -> list[str]:
    """Paragraphs of Markdown."""
    photos, noise = (
        pool([sample(found[each.name]) for each in experiments if (each.family == _PHOTOS) is wanted])
        for wanted in (True, False)
    )
    if noise is None:
        return ["No row has several seeds yet, so the noise is unknown."]
    by_name = {each.name: each for each in experiments}
    parts = [_about(noise, photos), _nearness(experiments, found, noise)]
    for question in read_questions():
        family = by_name[question.pairs[0][0]].family
        parts.append(_answer(question, by_name, found, photos if family == _PHOTOS else noise))
    return [*parts, _rates(found, noise), _one_configuration(found, noise), _impossible_counts(experiments, found)]


def _about(noise: Noise, photos: Noise | None) -> str:
    other = f"; on E's photographs {photos.sd:.4f} with {photos.freedom}" if photos else ""
    return (
        "All of it is accuracy on the test set. Noise is the standard deviation over seeds, pooled over the rows that"
        f" have several: {noise.sd:.4f} with {noise.freedom} degrees of freedom{other}. A difference exceeds it"
        " where it is larger than the limit in parentheses, the two-sided 95 % bound of Student's t for the two n; of"
        " so many comparisons one in twenty would exceed it by chance."
    )


def _nearness(experiments: list[Experiment], found: Found, noise: Noise) -> str:
    """How many rows agree with the report, whose number counts as one run with our noise."""
    pairs = [(sample(found[each.name]), each.reported.get("test/acc")) for each in experiments]
    scored = [(ours, theirs) for ours, theirs in pairs if ours.values and theirs is not None]
    if not scored:
        return ""
    differences = [ours.mean - theirs for ours, theirs in scored]
    near = sum(abs(ours.mean - theirs) <= noise.limit(ours, Sample((theirs,))) for ours, theirs in scored)
    return (
        f"**Are the reports' numbers found again?** Of {len(scored)} rows with a reported test accuracy {near} are"
        f" within the noise of it; ours less theirs is {fmean(differences):+.4f} on average, from"
        f" {min(differences):+.4f} to {max(differences):+.4f}."
    )


def _answer(question: Question, by_name: dict[str, Experiment], found: Found, noise: Noise | None) -> str:
    if noise is None:
        return f"**{question.question}** Not run with several seeds yet."
    pairs = [compare(by_name[one], by_name[other], found, noise) for one, other in question.pairs]
    scored = [each for each in pairs if each is not None]
    missing = f" ({len(pairs) - len(scored)} of {len(pairs)} comparisons lack a score.)"
    answer = _summary([each.verdict for each in scored]) + (missing if len(scored) < len(pairs) else "")
    lines = [f"- {each.with_seconds if question.seconds else each}" for each in scored]
    return "\n".join([f"**{question.question}** {answer}", "", *lines])


def _summary(verdicts: list[int]) -> str:
    better, worse, total = verdicts.count(1), verdicts.count(-1), len(verdicts)
    where = "the one comparison" if total == 1 else f"all {total} comparisons"
    if not verdicts:
        return "Not run yet."
    if better == total:
        return f"Yes, in {where}."
    if worse == total:
        return f"No, the opposite, in {where}."
    if not better and not worse:
        return f"It is within the noise in {where}."
    counts = (("yes", better), ("the opposite", worse), ("within the noise", total - better - worse))
    return f"Of {total} comparisons {', '.join(f'{word} in {count}' for word, count in counts if count)}."


def _rates(found: Found, noise: Noise) -> str:
    """How much tanh and ReLU lose from their best rate to their worst."""
    question = "**Does tanh need a more careful learning rate than ReLU?**"
    by_rate = {
        activation: {rate: sample(found[name]) for rate, name in _names_by_rate(activation).items()}
        for activation in ("tanh", "relu")
    }
    samples = [each for rates in by_rate.values() for each in rates.values()]
    if not all(each.values for each in samples):
        return f"{question} Not run yet."
    means = {activation: [each.mean for each in rates.values()] for activation, rates in by_rate.items()}
    lost = {activation: max(values) - min(values) for activation, values in means.items()}
    more = lost["tanh"] - lost["relu"]
    limit = sqrt(2) * max(noise.limit(one, other) for one in samples for other in samples)  # four means, not two
    answer = "It is within the noise." if abs(more) <= limit else ("Yes." if more > 0 else "ReLU does.")
    details = "; ".join(
        f"{activation} " + ", ".join(f"{each.with_n} at {rate}" for rate, each in rates.items())
        for activation, rates in by_rate.items()
    )
    return (
        f"{question} {answer} From its best rate to its worst tanh loses {lost['tanh']:.4f}, ReLU {lost['relu']:.4f},"
        f" a difference of {more:+.4f} ({limit:.4f}). Adam with C2's network: {details}."
    )


def _names_by_rate(activation: str) -> dict[str, str]:
    return {"1e-2": f"{activation}_1e-2", "1e-3": f"c2_{activation}", "1e-4": f"{activation}_1e-4"}


def _one_configuration(found: Found, noise: Noise) -> str:
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


def _impossible_counts(experiments: list[Experiment], found: Found) -> str:
    """Parameter counts that no network of the widths in the report has."""
    lines = []
    for each in experiments:
        ours = [record["params_keras"] for record in found[each.name] if "params_keras" in record]
        theirs = each.reported.get("params")
        if theirs and ours and theirs != ours[0]:
            lines.append(f"{each.label}: the report prints {theirs:,.0f}, layers of its widths have {ours[0]:,}.")
    if not lines:
        return ""
    end = "Its text leaves something out; trained here is what it says."
    return " ".join(["**Parameter counts that cannot be.**", *lines, end])
