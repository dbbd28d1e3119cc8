"""What to type to train a run again."""

import re
import shlex
from pathlib import Path

from lightsweep.config import table
from lightsweep.core.files import read_regular
from lightsweep.reports import yaml_file
from lightsweep.reports.runs import Run
from lightsweep.reports.text import plain
from lightsweep.runs import saved_config
from lightsweep.sweeper import best_config

_BEST = re.compile(r"# trial (\d+) of the sweep")
_OF_A_SWEEP = ("trial", "seed", "confirmation")


def command(run: Run) -> tuple[str | None, str]:
    """The command, and what is to be known of it; none where it cannot be said."""
    if run.row.get("kind") not in _OF_A_SWEEP:
        kept = [line for line in run.overrides if not _is_of_a_place(line)]
        left_out = [line.partition("=")[0] for line in run.overrides if _is_of_a_place(line)]
        note = f"Left out, to be typed by you: {', '.join(map(plain, left_out))}." if left_out else ""
        return "python src/train.py " + shlex.join(plain(part) for part in [*_config_options(run.folder), *kept]), note
    if _is_best(run):
        return _with_config(run.folder.parent, best_config.FILE), ""
    first = (run.seeds or (run,))[0]
    if not (first.folder / best_config.REPEAT).is_file():
        return None, "Its sweep has left no config that trains it again."
    note = "This is its first seed." if run.seeds else ""
    return _with_config(first.folder, best_config.REPEAT), note


def _with_config(folder: Path, file: str) -> str:
    where = shlex.quote(plain(folder.resolve()))
    return f"python src/train.py --config-dir {where} --config-name {file.removesuffix('.yaml')}"


def _is_best(run: Run) -> bool:
    """Is it the trial that its sweep's best.yaml holds?"""
    try:
        named = _BEST.match(read_regular(run.folder.parent / best_config.FILE))
    except (OSError, ValueError):
        return False
    return named is not None and f"trial-{int(named[1]):04d}" == run.folder.name


def _is_of_a_place(line: str) -> bool:
    """Is it about where a run lies, or could it lead elsewhere? A record may be somebody else's, and what is typed may
    do more than a file."""
    key, _, value = line.lstrip("+~").partition("=")
    return (
        re.fullmatch(r"[A-Za-z_][\w./-]*", key) is None
        or key.startswith(("hydra", "run_dir", "resume"))
        or key.rpartition(".")[2] in table.GUARDED
        or value.lstrip().startswith("{")
        or "${" in value
    )


def _config_options(folder: Path) -> list[str]:
    noted = yaml_file.load(folder / ".hydra" / "hydra.yaml")
    try:
        return saved_config.config_options(noted["hydra"])
    except (KeyError, TypeError):  # missing, damaged, or of another program
        return []
