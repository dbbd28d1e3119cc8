"""How a script starts, `begin`, and runs, `launch_app` or `launch_command`; and the parser of command-line options.

Imported before everything else, so it imports nothing slow.
"""

import argparse
import atexit
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, TextIO

from lightsweep.core import secrets, signals
from lightsweep.core.errors import ConfigError, Diverged, Interrupted, RunFailed
from lightsweep.core.text import printable

RUN_HELP = (
    "a run's folder or its name in outputs, latest (the newest one), a checkpoint file, an ensemble's folder,"
    " or a sweep's folder or name (then its best trial)"
)
RUNS_HELP = "a folder with a run or several, a run's or a sweep's name in outputs, or latest (the newest run)"


class Parser(argparse.ArgumentParser):
    """A parser without abbreviated options; an error is one line, with exit code 2."""

    def __init__(self, description: str = "", epilog: str = "", prog: str | None = None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help shows the options)\n")

    def add_run(self) -> None:
        """Add the arguments that choose the weights."""
        self.add_argument("run", metavar="RUN", help=RUN_HELP)
        self.add_argument(
            "--checkpoint", choices=("best", "last"), help="which of a run's (default: the one that training scored)"
        )

    def add_tta(self) -> None:
        self.add_argument(
            "--tta",
            choices=("flip", "shift"),
            help="average probabilities over views of an image: it and its mirror image (flip), and each of these moved"
            " by a pixel in eight directions, too (shift)",
        )

    def add_device(self, default: str) -> None:
        self.add_argument(
            "--device", metavar="NAME", help=f"auto, cpu, cuda, cuda:1, mps and so on (default: {default})"
        )


def positive_integer(text: str) -> int:
    """An option's value, an integer >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return int(text)


def new_file(text: str) -> Path:
    """An option's value, a file that can be made, or be replaced."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file in a folder that exists, got {text!r}")
    return path


def print_written(*files: Path | str | None) -> None:
    """Name each file that was written, on stderr: the standard output may be one of them, ``-``."""
    for file in files:
        if file is not None and str(file) != "-":
            print(printable(f"written to {file}"), file=sys.stderr)


_BROKEN_PIPE = 141  # as of a program that SIGPIPE ended
_LIBRARIES = (  # of the extra train, as they are imported
    *("hydra", "torch", "torchvision", "pytorch_lightning", "torchmetrics", "numpy", "scipy", "sklearn"),
    *("PIL", "matplotlib", "plotly", "jinja2", "tensorboard"),
)
_HYDRA = (1, 4)  # at least


def begin(module: str) -> None:
    """Say in one line what a script lacks, and let Ctrl-C end it without a traceback while its imports last.

    A module that is imported changes nothing.

    Args:
        module: the caller's ``__name__``.
    """
    if module == "__main__":
        atexit.register(_leave)  # before those of our libraries, so that it is called after them
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if lacking := find_lacking(_LIBRARIES):
            sys.exit(f"{lacking}: pip install -e '.[train]' in lightsweep's folder installs what its scripts need")


_TRUSTED = "LIGHTSWEEP_TRUST"  # of the environment: which code of the user's own a config may call
_NOT_WRITTEN = 120  # as Python's own exit code where the standard output could not be written
_exit_codes: list[int] = []  # the last one is that of the process; empty until it is known


@contextmanager
def _noting_exit_code() -> Iterator[None]:
    _exit_codes.clear()
    try:
        yield
        _exit_codes.append(0)
    except SystemExit as end:
        _exit_codes.append(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise


def _leave() -> None:
    """Leave it to the system to release the memory: Python would take a second or two to free each object that torch
    and Lightning created.

    Python ends the process as usual after a bug, whose trace is printed; where code of the user's own may have left a
    file open, which Python would still write; and where coverage was measured, which is saved later.
    """
    if not _exit_codes or os.environ.get(_TRUSTED) or "coverage" in sys.modules:
        gc.unfreeze()
        return
    logging.shutdown()
    code = _exit_codes[-1]
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (BrokenPipeError, ValueError):  # its reader is gone, or it is closed
            pass
        except OSError:  # the disk is full
            code = code or _NOT_WRITTEN
    os._exit(code)


def find_lacking(libraries: Sequence[str]) -> str | None:
    """What a script cannot run without: libraries that are missing, or a newer Hydra; None: all is there."""
    if missing := [name for name in libraries if find_spec(name) is None]:
        return f"not installed: {', '.join(missing)}"
    hydra = version("hydra-core")
    return None if tuple(map(int, hydra.split(".")[:2])) >= _HYDRA else f"hydra-core {hydra} is too old"


@_noting_exit_code()
def launch_app(main: Callable[[], Any]) -> None:
    """Run a function decorated by ``hydra.main`` on ``sys.argv``; exit with one clear line where it fails.

    ``HYDRA_FULL_ERROR=1`` shows the full trace instead.
    """
    from lightsweep.app import arguments, jobs
    from lightsweep.config.mistakes import describe_error
    from lightsweep.runs.run_folder import is_follower

    # The followers of distributed training inherit the next line's setting, which is not the user's.
    full_trace = _wants_full_trace() and not is_follower()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise, not print
    shown = sys.stderr if full_trace else _WithoutHydrasLine(sys.stderr)
    try:
        with signals.as_exceptions(to_the_end=True):
            sys.argv[1:] = arguments.read_command_line(sys.argv[1:])
            with redirect_stderr(shown):
                main()
    except Interrupted as error:
        sys.exit(128 + error.signum)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        _close_stdout()
        sys.exit(1)
    except Exception as error:
        line = None if full_trace else describe_error(error)
        if line is None:  # a bug
            raise
        if isinstance(error, Diverged) and is_follower():
            sys.exit(0)  # the first process prints it; Lightning would kill that one for another exit code of this one
        if not jobs.is_printed(error):
            _print_line(f"job {error.job}: {line}" if hasattr(error, "job") else line)  # of a grid, run by a launcher
        sys.exit(1)


@_noting_exit_code()
def launch_command(main: Callable[[], int]) -> None:
    """Run a command's function and exit with the code that it returns; 1 and one clear line where it fails.

    ``HYDRA_FULL_ERROR=1`` shows the full trace instead, as for train.py.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed
        stream.reconfigure(errors="replace")  # a terminal without UTF-8
    try:
        with signals.as_exceptions(to_the_end=True):
            code = main()
            if sys.stdout is not None:
                sys.stdout.flush()
    except Interrupted as error:
        code = 128 + error.signum
    except BrokenPipeError:  # the reader, such as head, has seen enough
        _close_stdout()
        code = _BROKEN_PIPE
    except (ConfigError, RunFailed, OSError) as error:
        if _wants_full_trace():
            raise
        _print_line(_describe(error))
        code = 1
    sys.exit(code)


def _print_line(line: str) -> None:
    print(printable(secrets.redact(line)), file=sys.stderr)  # it may quote control characters


def _describe(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or ' '.join(str(error).split())}"


def _wants_full_trace() -> bool:
    return os.environ.get("HYDRA_FULL_ERROR", "0") == "1"


def _close_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _WithoutHydrasLine:
    """stderr without the line that Hydra writes before it raises a job's error: `launch_app` prints the error."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith("Error executing job with overrides: ") else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
