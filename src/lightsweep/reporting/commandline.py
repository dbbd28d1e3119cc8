"""Around a reporting command: one line for what is wrong, and a clean end where a person or a pipe stops it."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lightsweep.errors import ConfigError
from lightsweep.reporting.text import plain


def launch(main: Callable[[Sequence[str]], None]) -> None:
    """Run a command on ``sys.argv``; exit with one clear line where it fails."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without UTF-8
    sys.stderr.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ConfigError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(plain(_line(error)), file=sys.stderr)
        sys.exit(1)


class FileOrStandardOutput(argparse.Action):
    """``--csv FILE``, or ``--csv`` for standard output; ``--csv outputs`` does not take the folder for the file."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values, option=None) -> None:
        if values and Path(values).is_dir():
            namespace.paths = [*(namespace.paths or []), Path(values)]
            values = self.const
        setattr(namespace, self.dest, values)


class Paths(argparse.Action):
    """Positional folders, added to those that an option had swallowed."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values, option=None) -> None:
        namespace.paths = [*(namespace.paths or []), *values]


def _line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the output'}: {error.strerror or error}"
    return str(error)
