"""The command line of a script that has options instead of overrides. It imports neither torch nor Lightning."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from lightsweep.core.text import printable

RUN_HELP = (
    "a run's folder or its name in outputs, latest (the newest one), a checkpoint file,"
    " or a sweep's folder or name (then its best trial)"
)
RUNS_HELP = "a folder with a run or several, a run's or a sweep's name in outputs, or latest (the newest run)"


class Parser(argparse.ArgumentParser):
    """A parser without abbreviated options; an error is one line, with exit code 2."""

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
        """Add the arguments that choose the weights."""
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


def print_written(*files: Path | str | None) -> None:
    """Name each file that was written, on stderr: the standard output may be one of them, ``-``."""
    for file in files:
        if file is not None and str(file) != "-":
            print(printable(f"written to {file}"), file=sys.stderr)
