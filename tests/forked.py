"""Runs a script of src/ in a process that has the slow imports behind it: forked from a server that made them once.

What such a process does from its first line on is what `python src/train.py` does; only torch's ten seconds are saved.
"""

import multiprocessing
import os
import resource
import runpy
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "src" / "train.py"

_PRELOADED = [
    "pytorch_lightning",
    "torch.utils.tensorboard",
    "torchmetrics.functional.classification",
    "sklearn.datasets",
]


@dataclass(frozen=True)
class Ended:
    """A process that has ended: its exit code (negative: the signal that killed it), and what it said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


class Forked:
    """A running `python src/train.py ARGUMENTS`.

    Args:
        script: another one.
        environment: what differs from this process's; None removes a variable.
        largest_file: bytes; a longer one cannot be written, as on a full disk.
    """

    def __init__(
        self,
        arguments: list[str],
        *,
        cwd: Path,
        said: Path,
        environment: dict[str, str | None],
        largest_file: int = resource.RLIM_INFINITY,
        script: Path = SCRIPT,
    ) -> None:
        wanted = {**os.environ, **environment}
        own = {name: value for name, value in wanted.items() if value is not None}
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        said.mkdir(parents=True)
        self.said = said
        typed = [str(script), *arguments]
        self.process = context.Process(target=_run, args=(typed, str(cwd), str(said), own, largest_file))
        self.process.start()

    def send(self, signum: int) -> None:
        pid = self.process.pid
        assert pid is not None
        with suppress(ProcessLookupError):  # it may have ended by now
            os.kill(pid, signum)

    def wait(self, timeout: float = 120.0) -> Ended:
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError(f"still running after {timeout} s")
        code = self.process.exitcode
        assert code is not None
        return Ended(code, (self.said / "out").read_text(), (self.said / "err").read_text())

    def wait_for(self, path: Path, timeout: float = 60.0) -> None:
        """Until a file is there."""
        end = time.monotonic() + timeout
        while not path.exists():
            assert time.monotonic() < end, f"no {path} after {timeout} s"
            assert self.process.is_alive(), f"it ended before {path} was there: {(self.said / 'err').read_text()}"
            time.sleep(0.005)


def _run(typed: list[str], cwd: str, said: str, environment: dict[str, str], largest_file: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    for stream, name in ((0, os.devnull), (1, f"{said}/out"), (2, f"{said}/err")):
        os.dup2(os.open(name, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT), stream)
    for stream, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        setattr(sys, stream, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
        setattr(sys, f"__{stream}__", getattr(sys, stream))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()  # the server has those of the first test that needed it
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = typed
    sys.path[:0] = [str(Path(typed[0]).parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    runpy.run_path(typed[0], run_name="__main__")
