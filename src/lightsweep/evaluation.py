"""A part of the data scored again, beside what training noted of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from lightsweep import environment, scoring
from lightsweep.checkpoints import Trained
from lightsweep.data.module import ImageDataModule
from lightsweep.inference import Place
from lightsweep.scoring import Score

METRICS = ("loss", "acc")


@dataclass(frozen=True)
class Evaluation:
    """The score of a part, and what training noted of it: metrics by name, none where it is other data or weights."""

    part: str
    score: Score
    noted: Mapping[str, float]

    @property
    def images(self) -> int:
        return int(self.score.confusion.sum())

    @property
    def differs(self) -> bool:
        return any(getattr(self.score, name) != value for name, value in self.noted.items())


def evaluate(trained: Trained, data: ImageDataModule, part: str, place: Place, noted: Mapping[str, Any]) -> Evaluation:
    """Score a part as train.py does it.

    Args:
        noted: what result.json says, if these are its weights and its data.
    """
    score = scoring.score(
        trained.net.to(place.device),
        data.eval_loader(part, place.device),
        num_classes=data.num_classes,
        precision=place.precision(),
        keep_probabilities=True,
    )
    return Evaluation(part, score, {name: noted[f"{part}/{name}"] for name in METRICS if f"{part}/{name}" in noted})


def show(evaluations: Sequence[Evaluation]) -> None:
    """A row a part, and beside it what training noted."""
    table = Table(box=None, header_style="bold")
    noted = any(evaluation.noted for evaluation in evaluations)
    for column in ("", "images", "loss", "accuracy", *(("in result.json: loss", "accuracy") if noted else ())):
        table.add_column(column, justify="right" if column else "left")
    for each in evaluations:
        before = [f"{each.noted[name]:.4f}" if name in each.noted else "" for name in METRICS] if noted else []
        now = [f"{getattr(each.score, name):.4f}" for name in METRICS]
        table.add_row(each.part, f"{each.images:,}", *now, *before)
    Console().print(table)


def comparison(evaluations: Sequence[Evaluation], result: Mapping[str, Any], place: Place) -> list[str]:
    """Whether the scores are those of result.json, and where they are not, what else is not as it was."""
    compared = [each for each in evaluations if each.noted]
    different = [each for each in compared if each.differs]
    if not compared:
        return []
    if not different:
        return ["equal to result.json, digit for digit"]
    said = [
        f"{each.part}/{name} is {getattr(each.score, name)!r} here and {value!r} in result.json"
        for each in different
        for name, value in each.noted.items()
        if getattr(each.score, name) != value
    ]
    return said + _changes(result, place)


def _changes(result: Mapping[str, Any], place: Place) -> list[str]:
    now = {"device": environment.device_name(place.device), **environment.versions()}
    then = {"device": result.get("device"), **result.get("versions", {})}
    return [
        f"  {name} was {then[name]}, is {value}" for name, value in now.items() if then.get(name) not in (None, value)
    ]
