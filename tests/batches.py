"""A sweep's batch without a sweeper: jobs whose configs are composed here, in folders of this test."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from digits_runs import CONF, SMALL, composed
from lightsweep.app import populations
from lightsweep.config import permissions
from lightsweep.core import signals
from lightsweep.runs import run_folder
from lightsweep.sweeper.job import Job, TrialContext, _current

BARE = ("~callbacks.figures", "~callbacks.histograms", "~callbacks.graph", "data.limit=300", "test=false")


@cache
def hydra_node() -> DictConfig:
    with hydra.initialize_config_dir(str(CONF)):
        return hydra.compose("train", list(SMALL), return_hydra_config=True).hydra


class Reports:
    """What a pruner is told: `prunes` decides after each report."""

    def __init__(self, prunes: Callable[[int, float], bool]) -> None:
        self.prunes, self.values = prunes, dict[int, float]()

    def report(self, step: int, value: float) -> bool:
        self.values[step] = value
        return self.prunes(step, value)


class FakeJob:
    """As `sweeper.batch.BatchJob`; `end` says how it was closed."""

    def __init__(self, batch: "FakeBatch", folder: Path, overrides: Sequence[str], *, number: int, kind: str) -> None:
        self.batch, self.folder, self.overrides, self.number, self.kind = batch, folder, overrides, number, kind
        self.config = composed(folder, "data.limit=300", *overrides)
        self.config.run_dir = "${hydra:runtime.output_dir}"  # as in a sweep
        OmegaConf.set_struct(self.config.callbacks, False)
        for name in ("histograms", "graph") + (() if batch.shown else ("figures",)):
            self.config.callbacks.pop(name, None)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / run_folder.CONFIG)
        self.reports = Reports(batch.prunes)
        self.trial = TrialContext(Job(kind, tuple(overrides), folder.name, number, self.reports, batch.data))
        self.hydra = OmegaConf.create({"hydra": hydra_node()})
        with open_dict(self.hydra):
            self.hydra.hydra.runtime.output_dir = str(folder)
            self.hydra.hydra.overrides.task = list(overrides)
            self.hydra.hydra.mode, self.hydra.hydra.job.num = RunMode.MULTIRUN, number
        self.end: Any = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        instance, token = HydraConfig.instance(), _current.set(self.trial)
        before, instance.cfg = instance.cfg, self.hydra
        try:
            yield
        finally:
            instance.cfg = before
            _current.reset(token)

    def close(self, end: Any) -> None:
        assert self.end is None, "closed before"
        self.end = end
        self.batch.open.remove(self)

    def complete(self, returned: Any) -> None:
        self.close(returned)

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.close(str(signals.state_of(error)))

    def put_back(self, reason: str) -> None:
        self.close(f"put back: {reason}")

    def run_alone(self) -> None:
        self.close("alone")

    @property
    def result(self) -> dict[str, Any]:
        return json.loads((self.folder / "result.json").read_text())


class FakeBatch:
    """As `sweeper.batch.Batch`, with a job for each list of overrides."""

    def __init__(
        self,
        folder: Path,
        jobs: Sequence[Sequence[str]],
        *,
        places: int = 8,
        staggered: bool = False,
        prunes: Callable[[int, float], bool] = lambda step, value: False,
        kind: str = "trial",
        shown: bool = False,
        data: tuple[str, str] | None = None,
    ) -> None:
        self.folder, self.places, self.staggered, self.prunes = folder, places, staggered, prunes
        self.kind, self.shown, self.data = kind, shown, data
        self.waiting, self.open, self.jobs = list(jobs), list[FakeJob](), list[FakeJob]()
        self.asked: list[int] = []  # how many came, each time
        self.lines: list[str] = []
        self.images = 0

    @property
    def is_over(self) -> bool:
        return not self.waiting

    def next(self, most: int | None = None) -> list[FakeJob]:
        count = self.places - len(self.open)
        chosen, self.waiting = self.waiting[: (wanted := min(count, most or count))], self.waiting[wanted:]
        for overrides in chosen:
            number = len(self.jobs)
            job = FakeJob(self, self.folder / f"trial-{number:04}", overrides, number=number, kind=self.kind)
            self.jobs.append(job)
            self.open.append(job)
        self.asked.append(len(chosen))
        return self.jobs[len(self.jobs) - len(chosen) :]

    def count(self, images: int) -> None:
        self.images += images

    def say(self, line: str) -> None:
        self.lines.append(line)

    def halve(self, reason: str) -> None:
        self.places = max(1, self.places // 2)


def trained_together(folder: Path, *jobs: Sequence[str], batch: FakeBatch | None = None, **options: Any) -> FakeBatch:
    """Train the jobs, a list of overrides each, with the batch function."""
    batch = batch or FakeBatch(folder, jobs, **options)
    typed = [line for overrides in jobs for line in overrides]
    permissions.declare_typed(permissions.read_typed(typed))
    with signals.as_exceptions():
        populations.train_batch(batch)
    assert not batch.open
    return batch
