import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CONF = ROOT / "conf"
# Where runs, grids and sweeps lie. Moved by the environment only: a config from somebody else cannot.
OUTPUTS = Path(os.path.abspath(Path(os.environ.get("LIGHTSWEEP_OUTPUTS") or ROOT / "outputs").expanduser()))  # noqa: PTH100  # resolve() would leave symlinks


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or below it, symbolic links and ``..`` followed."""
    inner, outer = os.path.realpath(path), os.path.realpath(folder)
    return inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)
