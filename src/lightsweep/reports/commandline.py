"""Options of the reporting commands."""

import argparse
from pathlib import Path

CONF = Path(__file__).resolve().parents[3] / "conf"  # not by run_folder: --help does not wait for Hydra


class FileOrStandardOutput(argparse.Action):
    """``--csv FILE``, or ``--csv`` for standard output; ``--csv outputs`` does not take the folder for the file.

    What ``--group-by data`` names is a config group, though a folder be called so too.
    """

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values, option=None) -> None:
        is_group = self.dest == "group_by" and values in {folder.name for folder in CONF.iterdir() if folder.is_dir()}
        if values and Path(values).is_dir() and not is_group:
            namespace.paths = [*(namespace.paths or []), Path(values)]
            values = self.const
        setattr(namespace, self.dest, values)


class Paths(argparse.Action):
    """Positional folders, added to those that an option had swallowed."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values, option=None) -> None:
        namespace.paths = [*(namespace.paths or []), *values]
