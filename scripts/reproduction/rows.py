"""The rows of the tables: one for each config in conf/experiment/, which holds the report's numbers in its comment."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from lightsweep.runs.run_folder import ROOT

CONFIGS = ROOT / "conf" / "experiment"
FOLDERS = ("reference", "next", ".")


@dataclass(frozen=True)
class Row:
    """One configuration, and what its report says of it.

    Args:
        name: of the config, without its folder if it has one.
        experiment: as it is typed behind ``experiment=``.
        title: in words.
        reported: the report's numbers, under the names that `result.json` has for them.
        assumed: what the report does not state.
        seeds: how many runs the table wants.
        threads: of a run, which then takes the places of so many.
        gpu: does it need one?
        table: the part of its report's family that it belongs to, where the report has several tables.
    """

    name: str
    experiment: str
    title: str
    reported: dict[str, float] = field(hash=False)
    assumed: str
    seeds: int
    threads: int = 1
    gpu: bool = False
    table: str = ""

    @property
    def label(self) -> str:
        """The name as the reports write it: A1."""
        return self.name[0].upper() + self.name[1:] if self.experiment.startswith("reference/") else self.name

    @property
    def family(self) -> str:
        folder = self.experiment.rpartition("/")[0]
        return self.name[0] if folder == "reference" else folder or "best"


def read_all(configs: Path = CONFIGS) -> list[Row]:
    """Every row, families in order and each family by number: a1, a2, ..., d2, d10."""
    files = [file for folder in FOLDERS for file in (configs / folder).glob("[!_]*.yaml")]
    rows = [read(file, configs) for file in files]
    return sorted(rows, key=lambda row: (FOLDERS.index(row.experiment.rpartition("/")[0] or "."), _by_number(row.name)))


def read(file: Path, configs: Path = CONFIGS) -> Row:
    """The row of a config: the comment's title, then ``reported:``, ``assumed:`` and the like."""
    comments = [line[2:] for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    title, *others = (comment for comment in comments if not comment.startswith("@package"))
    said = dict(
        line.split(": ", 1) for line in others if re.match(r"(reported|assumed|seeds|threads|gpu|table): ", line)
    )
    return Row(
        name=file.stem,
        experiment=str(file.relative_to(configs).with_suffix("")),
        title=title.partition(": ")[2].rstrip("."),
        reported=_numbers(said.get("reported", "")),
        assumed=said.get("assumed", ""),
        seeds=int(said.get("seeds", 1)),
        threads=int(said.get("threads", 1)),
        gpu="gpu" in said,
        table=said.get("table", ""),
    )


def _numbers(text: str) -> dict[str, float]:
    """``val/acc 0.59, params 820874`` as a dict; other words say that there are none."""
    pairs = re.findall(r"([a-z_/]+) ([0-9][0-9.e-]*)(?:, |$)", text)
    return {name: float(number) for name, number in pairs}


def _by_number(name: str) -> tuple[str, int, str]:
    letters, number, rest = re.fullmatch(r"([a-z]+)(\d*)(.*)", name).groups()  # type: ignore[union-attr]
    return letters, int(number or 0), rest
