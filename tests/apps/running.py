"""Run an app of this folder as its user would: a process in a copy of its folder."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

APPS = Path(__file__).parent
SWEEP = ("-m", "hydra/sweeper=lightsweep")


@dataclass
class App:
    """A copy of an app.

    Args:
        script: relative to the folder.
        python: the interpreter; lightsweep is installed there, or on `path`.
        path: PYTHONPATH of its processes.
    """

    folder: Path
    script: str
    python: str = sys.executable
    path: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def copy(cls, name: str, script: str, to: Path, **options: str) -> "App":
        folder = to / name
        shutil.copytree(APPS / name, folder)
        return cls(folder, script, **options)

    def run(self, *arguments: str, code: int | None = 0, timeout: float = 500) -> str:
        """Run it to its end; returns what it printed."""
        done = subprocess.run(
            self._command(arguments),
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout
        return done.stdout

    def run_until(self, *arguments: str, ended: int, study: Path, signum: int = signal.SIGKILL) -> tuple[int, str]:
        """Run it until so many trials have ended, then send a signal to it alone; returns its exit code, and what it
        printed."""
        output = self.folder / "printed.txt"
        with output.open("w") as stream:
            process = subprocess.Popen(
                self._command(arguments),
                cwd=self.folder,
                env=self._environment(),
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + 500
            while len(ended_trials(study)) < ended:
                assert process.poll() is None, f"it ended before it was to be stopped: {output.read_text()}"
                assert time.monotonic() < deadline, f"too few trials ended: {output.read_text()}"
                time.sleep(0.05)
        finally:
            process.send_signal(signum)
            process.wait(30)
        return process.returncode, output.read_text()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [self.python, self.script, *arguments]

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        path = {"PYTHONPATH": self.path} if self.path else {}
        return {**kept, **path, "OMP_NUM_THREADS": "1", "COLUMNS": "160", **self.environment}


def trials(study: Path) -> list[FrozenTrial]:
    """Those of the only study in a sweep's folder; none where there is none yet."""
    journal = study / "study.journal"
    if not journal.is_file() or not journal.read_text():
        return []
    storage = JournalStorage(JournalFileBackend(str(journal)))
    names = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=names[0], storage=storage).get_trials(deepcopy=False) if names else []


def ended_trials(study: Path) -> list[FrozenTrial]:
    return [trial for trial in trials(study) if trial.state.is_finished()]
