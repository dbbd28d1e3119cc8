"""Where the project, its configs and its outputs lie, and whether a path stays inside a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from lightsweep.core.errors import ConfigError

JOURNAL = "study.journal"  # of a sweep without a database, in its folder
ROOT = Path(__file__).resolve().parents[3]
CONF = ROOT / "conf"
# Where runs, grids and sweeps lie. Moved by the environment only: a config from somebody else cannot.
OUTPUTS = Path(os.path.abspath(Path(os.environ.get("LIGHTSWEEP_OUTPUTS") or ROOT / "outputs").expanduser()))  # noqa: PTH100  # resolve() would leave symlinks


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or below it, symbolic links and ``..`` followed."""
    inner, outer = os.path.realpath(path), os.path.realpath(folder)
    return inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)


def check_links(folder: Path, *, within: Path, deep: bool = True) -> None:
    """See that what is written to a folder stays below `within`.

    Args:
        folder: `within` itself or below it; it need not exist.
        within: the run's, the sweep's or the data's folder, which may itself be reached through links.
        deep: look at everything below the folder, not only at what lies directly in it.

    Raises:
        ConfigError: a link leads out of `within`; names it.
    """
    if (link := find_escape(folder, within=within, deep=deep)) is not None:
        raise ConfigError(f"{link} is a symbolic link that leads out of {within}: it must be removed first")


def find_escape(folder: Path, *, within: Path, deep: bool = True) -> Path | None:
    """The first link that leads out of `within`, on the way to the folder, in it or below it; None where none does."""
    if not is_inside(folder, within):
        return folder
    return next((path for path in _find_links(folder, deep) if not is_inside(path, within)), None)


def _find_links(folder: Path, deep: bool) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # not there, or not ours to read: nothing can be written there either
        return
    for entry in entries:
        if entry.is_symlink():
            yield Path(entry.path)
        elif deep and entry.is_dir(follow_symlinks=False):
            yield from _find_links(Path(entry.path), deep)
