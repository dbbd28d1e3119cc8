"""Running what is missing: a process a run, several at a time, each in a folder of its own."""

import json
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lightsweep.runs.run_folder import ROOT, is_run

from . import records
from .rows import Row

OUTPUTS = ROOT / "outputs" / "reference"
FIRST_SEED = 42
_POLL = 0.5  # seconds


@dataclass(frozen=True)
class Task:
    """A row with one seed, and the folder of its run."""

    row: Row
    seed: int
    outputs: Path

    @property
    def folder(self) -> Path:
        return self.outputs / self.row.name / f"seed-{self.seed}"

    @property
    def log(self) -> Path:
        """What the process says. Beside the folder: a run wants an empty one."""
        return self.folder.with_suffix(".log")

    @property
    def command(self) -> list[str]:
        """Starts the run, or goes on with it."""
        script = [sys.executable, str(ROOT / "src" / "train.py")]
        if is_run(self.folder):
            return [*script, f"resume={self.folder}"]
        small = [f"threads={self.row.threads}", "logger=none"]
        return [
            *script,
            f"experiment={self.row.experiment}",
            f"seed={self.seed}",
            f"hydra.run.dir={self.folder}",
            *small,
        ]

    def __str__(self) -> str:
        return f"{self.row.name} seed {self.seed}"


def plan(rows: Iterable[Row], seeds: int | None, outputs: Path = OUTPUTS) -> list[Task]:
    """The first seed of every row, then the second of those that want one, and so on."""
    tasks = [Task(row, FIRST_SEED + n, outputs) for row in rows for n in range(row.seeds if seeds is None else seeds)]
    return sorted(tasks, key=lambda task: task.seed)


def missing(tasks: Iterable[Task], results: Path) -> list[Task]:
    """Those without a record of a finished run."""

    def is_there(task: Task) -> bool:
        file = records.path(task.row, task.seed, results)
        return file.is_file() and records.finished(json.loads(file.read_text()))

    return [task for task in tasks if not is_there(task)]


def run_all(tasks: Iterable[Task], jobs: int, ended: Callable[[Task], None]) -> None:
    """Run tasks, `jobs` at a time, and call `ended` after each. One with several threads counts as so many, or runs
    alone. Ctrl-C and SIGTERM stop them in order."""
    waiting = deque(tasks)
    running: dict[Task, subprocess.Popen] = {}
    with _stopping(running):
        while waiting or running:
            while waiting and (not running or _places([*running, waiting[0]]) <= jobs):
                task = waiting.popleft()
                running[task] = _start(task)
            time.sleep(_POLL)
            for task in [task for task, process in running.items() if process.poll() is not None]:
                del running[task]
                ended(task)


def _places(tasks: list[Task]) -> int:
    return sum(task.row.threads for task in tasks)


def _start(task: Task) -> subprocess.Popen:
    print(f"{'resumed' if is_run(task.folder) else 'started'} {task}", flush=True)
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("a") as log:
        return subprocess.Popen(task.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@contextmanager
def _stopping(running: dict[Task, subprocess.Popen]) -> Iterator[None]:
    """However the block ends, no process outlives it: each is asked to stop, writes its record, and is waited for."""
    for signum in (signal.SIGINT, signal.SIGTERM):  # in the background a shell has SIGINT ignored
        signal.signal(signum, signal.default_int_handler)
    try:
        yield
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
