"""Running what is missing: one process a run, several at a time, each in its own folder."""

import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightsweep.core.files import ROOT
from lightsweep.runs.run_folder import is_run

from .experiments import Experiment
from .records import is_finished, read_records

OUTPUTS = ROOT / "outputs" / "reference"
FIRST_SEED = 42


@dataclass(frozen=True)
class Task:
    """An experiment with one seed, and the folder of its run."""

    experiment: Experiment
    seed: int
    outputs: Path

    @property
    def folder(self) -> Path:
        return self.outputs / self.experiment.name / f"seed-{self.seed}"

    @property
    def log(self) -> Path:
        """The output of the process, next to the folder: a run needs an empty one."""
        return self.folder.with_suffix(".log")

    @property
    def command(self) -> list[str]:
        """Starts the run, or resumes it."""
        script = [sys.executable, str(ROOT / "src" / "train.py")]
        if is_run(self.folder):
            return [*script, f"resume={self.folder}"]
        chosen = [f"experiment={self.experiment.config}", f"seed={self.seed}", f"hydra.run.dir={self.folder}"]
        return [*script, *chosen, f"threads={self.experiment.threads}", "logger=none"]

    def __str__(self) -> str:
        return f"{self.experiment.name} seed {self.seed}"


def plan(experiments: Iterable[Experiment], seeds: int | None, outputs: Path) -> list[Task]:
    """The first seed of every experiment, then the second of those that need one, and so on."""
    numbers = ((each, n) for each in experiments for n in range(each.seeds if seeds is None else seeds))
    tasks = [Task(each, FIRST_SEED + n, outputs) for each, n in numbers]
    return sorted(tasks, key=lambda task: task.seed)


def find_missing(tasks: list[Task], file: Path) -> list[Task]:
    """Those without a record of a finished run."""
    found = read_records({task.experiment for task in tasks}, file)
    done = {(name, record["seed"]) for name, records in found.items() for record in records if is_finished(record)}
    return [task for task in tasks if (task.experiment.name, task.seed) not in done]


def start_process(task: Task) -> subprocess.Popen:
    print(f"{'resumed' if is_run(task.folder) else 'started'} {task}", flush=True)
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("a") as log:
        return subprocess.Popen(task.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def run_all(
    tasks: Iterable[Task],
    jobs: int,
    ended: Callable[[Task], None],
    start: Callable[[Task], Any] = start_process,
    poll_seconds: float = 0.5,
) -> None:
    """Run tasks in `jobs` slots, and call `ended` after each. A run takes as many slots as it has threads; if they are
    more than there are, it runs alone. Ctrl-C and SIGTERM stop the runs in order."""
    waiting = deque(tasks)
    running: dict[Task, subprocess.Popen] = {}
    with _stopping(running):
        while waiting or running:
            while waiting and (not running or _slots([*running, waiting[0]]) <= jobs):
                task = waiting.popleft()
                running[task] = start(task)
            time.sleep(poll_seconds)
            for task in [task for task, process in running.items() if process.poll() is not None]:
                del running[task]
                ended(task)


def _slots(tasks: list[Task]) -> int:
    return sum(task.experiment.threads for task in tasks)


@contextmanager
def _stopping(running: dict[Task, subprocess.Popen]) -> Iterator[None]:
    """However the block ends, no process outlives it: each is asked to stop, writes its result, and is waited for."""
    for signum in (signal.SIGINT, signal.SIGTERM):  # a shell ignores SIGINT for commands in the background
        signal.signal(signum, signal.default_int_handler)
    try:
        yield
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
