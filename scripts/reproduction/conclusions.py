"""What the reports concluded, and whether it holds here. Every word that judges is computed from the records."""

from dataclasses import dataclass
from statistics import fmean

from .claims import CLAIMS, Claim
from .noise import Noise, Sample, pooled, sample
from .records import Record
from .rows import Row
from .special import impossible_counts, one_configuration, rates

PHOTOS = "e"  # its images and its test set are others, so its noise is
_WORDS = {1: "better by more than the noise", -1: "worse by more than the noise", 0: "within the noise"}


def text(rows: list[Row], found: dict[str, list[Record]]) -> list[str]:
    """Paragraphs of Markdown."""
    photos, noise = (
        pooled([sample(found[row.name]) for row in rows if (row.family == PHOTOS) is wanted])
        for wanted in (True, False)
    )
    if noise is None:
        return ["No row has several seeds yet, so nothing can be said of noise."]
    known = {row.name: row for row in rows}
    parts = [_about(noise, photos), _nearness(rows, found, noise)]
    for claim in CLAIMS:
        family = known[claim.pairs[0][0]].family
        parts.append(_claim(claim, known, found, photos if family == PHOTOS else noise))
    return [*parts, rates(found, noise), one_configuration(found, noise), impossible_counts(rows, found)]


def _about(noise: Noise, photos: Noise | None) -> str:
    other = f"; on E's photographs {photos.sd:.4f} with {photos.freedom}" if photos else ""
    return (
        "All of it is accuracy on the test set. Noise is the standard deviation over seeds, pooled over the rows that"
        f" have several: {noise.sd:.4f} with {noise.freedom} degrees of freedom{other}. A difference exceeds it"
        " where it is larger than the limit in parentheses, the two-sided 95 % bound of Student's t for the two n; of"
        " so many comparisons one in twenty would exceed it by chance."
    )


def _nearness(rows: list[Row], found: dict[str, list[Record]], noise: Noise) -> str:
    """How many rows agree with what was reported, which is taken for one run as noisy as ours."""
    pairs = [(sample(found[row.name]), row.reported["test/acc"]) for row in rows if "test/acc" in row.reported]
    pairs = [(ours, theirs) for ours, theirs in pairs if ours.values]
    if not pairs:
        return ""
    differences = [ours.mean - theirs for ours, theirs in pairs]
    near = sum(abs(ours.mean - theirs) <= noise.limit(ours, Sample((theirs,))) for ours, theirs in pairs)
    return (
        f"**Are the reports' numbers found again?** Of {len(pairs)} rows with a reported test accuracy {near} are"
        f" within the noise of it; ours less theirs is {fmean(differences):+.4f} on average, from"
        f" {min(differences):+.4f} to {max(differences):+.4f}."
    )


@dataclass(frozen=True)
class Compared:
    """Two rows beside each other. `limit` is the difference that noise explains, `reported` the report's, `seconds` are
    of each one's fastest run."""

    labels: tuple[str, str]
    samples: tuple[Sample, Sample]
    limit: float
    reported: float | None
    seconds: tuple[float, float]

    @property
    def difference(self) -> float:
        return self.samples[0].mean - self.samples[1].mean

    @property
    def verdict(self) -> int:
        """1 or -1 where the first is better or worse by more than the noise, 0 where that cannot be told."""
        if abs(self.difference) <= self.limit:
            return 0
        return 1 if self.difference > 0 else -1

    def __str__(self) -> str:
        one, other = (f"{label} {each.with_n}" for label, each in zip(self.labels, self.samples, strict=True))
        reported = "" if self.reported is None else f", reported {self.reported:+.3f}"
        return f"{one} against {other}: {self.difference:+.4f}, {_WORDS[self.verdict]} ({self.limit:.4f}){reported}"

    @property
    def with_seconds(self) -> str:
        mine, theirs = self.seconds
        return f"{self}; {mine:.0f} s against {theirs:.0f} s, {mine / theirs:.2g} times as long"


def _compare(one: Row, other: Row, found: dict[str, list[Record]], noise: Noise) -> Compared | None:
    """None where one of the two has no score."""
    first, second = sample(found[one.name]), sample(found[other.name])
    if not (first.values and second.values):
        return None
    theirs = [row.reported["test/acc"] for row in (one, other) if "test/acc" in row.reported]
    return Compared(
        labels=(one.label, other.label),
        samples=(first, second),
        limit=noise.limit(first, second),
        reported=theirs[0] - theirs[1] if len(theirs) == 2 else None,
        seconds=(min(sample(found[one.name], "seconds").values), min(sample(found[other.name], "seconds").values)),
    )


def _claim(claim: Claim, known: dict[str, Row], found: dict[str, list[Record]], noise: Noise | None) -> str:
    if noise is None:
        return f"**{claim.question}** Not run with several seeds yet."
    compared = [_compare(known[one], known[other], found, noise) for one, other in claim.pairs]
    told = [each for each in compared if each is not None]
    missing = f" ({len(compared) - len(told)} of {len(compared)} comparisons lack a score.)"
    answer = _answer([each.verdict for each in told]) + (missing if len(told) < len(compared) else "")
    lines = [each.with_seconds if claim.seconds else str(each) for each in told]
    return "\n".join([f"**{claim.question}** {answer}", "", *(f"- {line}" for line in lines)])


def _answer(verdicts: list[int]) -> str:
    better, worse, all_of_them = verdicts.count(1), verdicts.count(-1), len(verdicts)
    whole = "the one comparison" if all_of_them == 1 else f"all {all_of_them} comparisons"
    if not verdicts:
        return "Not run yet."
    if better == all_of_them:
        return f"Yes, in {whole}."
    if worse == all_of_them:
        return f"No, the opposite, in {whole}."
    if not better and not worse:
        return f"It cannot be told from the noise in {whole}."
    rest = all_of_them - better - worse
    counts = (("yes", better), ("the opposite", worse), ("within the noise", rest))
    return f"Of {all_of_them} comparisons {', '.join(f'{word} in {count}' for word, count in counts if count)}."
