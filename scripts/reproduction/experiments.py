"""The reference experiments: docs/reference/experiments.yaml holds what is known of the configs in conf/experiment/."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lightsweep.core.files import ROOT

FILE = ROOT / "docs" / "reference" / "experiments.yaml"


@dataclass(frozen=True)
class Experiment:
    """One configuration, and the report about it.

    Args:
        name: of the config, without its folder.
        family: a to e, next or best.
        config: as it is typed after ``experiment=``.
        reported: the report's numbers, named as in `result.json`.
        assumed: what the report does not state.
        seeds: how many runs are wanted.
        threads: of a run, which then takes as many slots.
        gpu: whether it needs one.
        table: the table of the report that it belongs to, where the report has several.
    """

    name: str
    family: str
    config: str
    title: str
    reported: dict[str, float] = field(default_factory=dict, hash=False)
    assumed: tuple[str, ...] = ()
    seeds: int = 1
    threads: int = 1
    gpu: bool = False
    table: str = ""
    note: str = ""

    @property
    def label(self) -> str:
        """The name as the reports write it: A1."""
        return self.name[0].upper() + self.name[1:] if self.config.startswith("reference/") else self.name


@dataclass(frozen=True)
class Question:
    """A question of the reports, and pairs of experiments: yes where the first is better."""

    question: str
    pairs: tuple[tuple[str, str], ...]
    seconds: bool = False  # the answer compares the time too


@cache
def document() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def read_experiments() -> list[Experiment]:
    """Every experiment, in the order of the file."""
    return [
        _experiment(name, family, about["folder"], entry)
        for family, about in document()["families"].items()
        for name, entry in about["experiments"].items()
    ]


def read_questions() -> list[Question]:
    return [Question(**entry | {"pairs": tuple(map(tuple, entry["pairs"]))}) for entry in document()["questions"]]


def _experiment(name: str, family: str, folder: str, entry: dict[str, Any]) -> Experiment:
    config = str(Path(folder) / name)
    return Experiment(name, family, config, **entry | {"assumed": tuple(entry.get("assumed", ()))})
