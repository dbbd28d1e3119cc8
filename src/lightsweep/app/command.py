"""Around a command with options of its own: what goes wrong as one line, with an exit code.

Imported before the command line is parsed, so it imports neither torch nor Lightning.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lightsweep.core import secrets, signals
from lightsweep.core.errors import ConfigError, Interrupted, RunFailed
from lightsweep.core.text import printable

RUN_HELP = (
    "a run's folder or its name in outputs, latest (the newest one), a checkpoint file,"
    " or a sweep's folder or name (then its best trial)"
)
RUNS_HELP = "a folder with a run or several, a run's or a sweep's name in outputs, or latest (the newest run)"
_BROKEN_PIPE = 141  # as of a program that SIGPIPE ended


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line, with exit code 2; no abbreviated options."""

    def __init__(self, description: str, epilog: str = "") -> None:
        super().__init__(
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help shows the options)\n")

    def add_run(self) -> None:
        """The arguments that say which weights are used, and where."""
        self.add_argument("run", metavar="RUN", help=RUN_HELP)
        self.add_argument(
            "--checkpoint", choices=("best", "last"), help="which of a run's (default: the one that training scored)"
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


def say_written(*files: Path | str | None) -> None:
    """Name each file that was written, on stderr: the standard output may be one of them, ``-``."""
    for file in files:
        if file is not None and str(file) != "-":
            print(printable(f"written to {file}"), file=sys.stderr)


def launch(main: Callable[[], int]) -> None:
    """Run a command's function and exit with the code that it returns; 1 and one clear line where it fails.

    ``HYDRA_FULL_ERROR=1`` shows the whole trace instead, as for train.py.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without UTF-8
    try:
        with signals.as_exceptions(to_the_end=True):
            code = main()
            sys.stdout.flush()
    except Interrupted as error:
        code = 128 + error.signum
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _BROKEN_PIPE
    except (ConfigError, RunFailed, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR", "0") == "1":
            raise
        line = secrets.redact(describe(error))
        print(printable(line), file=sys.stderr)  # it may quote a name that no terminal should obey
        code = 1
    sys.exit(code)


def describe(error: Exception) -> str:
    """An error as one line."""
    if not isinstance(error, OSError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or ' '.join(str(error).split())}"
