"""Options of the reporting commands."""

import argparse
from pathlib import Path


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
