"""A run's folder: its name, what lies in it, and which folder a name on the command line means.

It is imported at every start, so it imports neither torch nor Lightning.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightsweep.core.errors import ConfigError, RunFailed
from lightsweep.core.files import JOURNAL, OUTPUTS

CONFIG = "config.yaml"
LR_FIND = "lr_find.csv"  # what a learning-rate range test leaves, which is no run
ENSEMBLE = "ensemble.json"  # the record of an ensemble, whose folder is no run's
MOST_MEMBERS = 100  # networks of an ensemble, and picks
LAST_CHECKPOINT = "last.ckpt"
BEST_CHECKPOINT = "best.ckpt"
LAST_DELETED = "a trial of a sweep deletes it when it has ended, unless callbacks.checkpoint.keep_last=true"
LATEST = "latest"
_JOB = re.compile(r"\d+(-(?!\d\d-\d\d).*)?")  # 0, 12-lr0.1; not 2026-11-21_10-52-37-957b
_REPEATS = {"confirm": "confirmation", "ablation": "ablation"}  # folders of a sweep, and what their runs are
_BELOW = ("runs", "sweeps", "grids", "ensembles", "")  # of the outputs' folder, in this order
_LISTED = 10  # names in an error
_MOST_LETTERS = 60  # letters, and bytes of a folder's name, which also has the time or the job's number
# What changes where and how a run computes, or what is kept of it, but not what it is.
_NOT_IN_NAME = ("hydra", "logger", "callbacks", "sweep")
_KEYS_NOT_IN_NAME = {
    *("name", "run_dir", "data_dir", "resume", "test", "report", "threads", "compile", "score_with", "data.root"),
    *("trainer", "trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.num_nodes"),
    "allow_changed_data",
}


def name_run(name: object, overrides: Sequence[str]) -> str:
    """The name that was given, or else one made of what was typed; an empty text where nothing was.

    Args:
        overrides: what was typed, ``key=value`` each.
    """
    if name is not None:
        return str(name)
    parts: list[str] = []
    for override in _last_of_each_key(overrides):
        key = override.key_or_group
        unnamed = key in _KEYS_NOT_IN_NAME or re.split(r"[./]", key)[0] in _NOT_IN_NAME
        if not (unnamed or override.is_delete() or override.is_sweep_override()):
            parts.append(_part(key, override.value()))
    while len("-".join(parts)) > _MOST_LETTERS:
        parts.pop()  # no part is cut
    return "-".join(parts)


def folder_suffix(name: object, overrides: Sequence[str]) -> str:
    """The same as a part of a folder's name: a hyphen, then letters, digits and ``. _ - + =`` only."""
    plain = re.sub(r"[^\w.+=-]+", "-", name_run(name, overrides))
    plain = plain.strip("-.").encode()[:_MOST_LETTERS].decode(errors="ignore").strip("-.")
    return f"-{plain}" if plain else ""


def _last_of_each_key(overrides: Sequence[str]) -> Iterable[Any]:
    """Of a key that was typed twice, as for a resumed run, the last value counts."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser, found = OverridesParser.create(), dict[str, Any]()
    for line in overrides:
        with suppress(HydraException):  # it is refused elsewhere
            override = parser.parse_override(line)
            found[override.key_or_group] = override
    return found.values()


def _part(key: str, value: Any) -> str:
    last = re.split(r"[./@]", key)[-1]
    if isinstance(value, bool):
        return last if value else f"no-{last}"
    if isinstance(value, int | float):
        return f"{last}{'-' if last[-1:].isdecimal() else ''}{_number(value)}"
    if isinstance(value, list):
        return f"{last}{'-'.join(map(_text, value))}"
    if isinstance(value, dict):
        return "-".join(_part(f"{key}.{name}", item) for name, item in value.items())
    return _text(value) if "." not in key else f"{last}-{_text(value)}"  # a choice of a group says what it is


def _text(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _number(value) if is_number else str(value).strip("'\"").replace("/", "-")


def _number(value: float) -> str:
    """The shorter of ``0.003`` and ``3e-3``."""
    plain = repr(value)
    digits, _, exponent = f"{value:e}".partition("e")
    if not exponent:  # inf, nan
        return plain
    short = f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
    return min(plain, short, key=len) if float(short) == value else plain


def print_how_to_resume(folder: Path) -> None:
    """The one line at the end of a run that was interrupted."""
    print(f"interrupted: python src/train.py resume={shlex.quote(str(folder))} continues the run", file=sys.stderr)


def discard_folder(folder: Path) -> None:
    """Remove the folder of a run that never started: what Hydra and `ConfigFirst` wrote, and itself if that was all."""
    if was_trained(folder):
        return
    shutil.rmtree(folder / ".hydra", ignore_errors=True)
    for leftover in (folder / CONFIG, folder / "train.log", folder / "hparams.yaml", *folder.glob("events.out.*")):
        leftover.unlink(missing_ok=True)
    with suppress(OSError):  # it holds something of the user's
        folder.rmdir()


def explain_lost_folder(folder: Path, error: Exception) -> Exception:
    """The error that ended a run; a plain one if its folder was removed."""
    missing = isinstance(error, FileNotFoundError) or isinstance(error.__cause__, FileNotFoundError)
    if not missing or (folder / CONFIG).exists():
        return error
    return RunFailed(f"the folder of the run was removed while it ran: {folder}")


def is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and not any((folder / other).exists() for other in (LR_FIND, ENSEMBLE))


def was_trained(folder: Path) -> bool:
    """Whether the folder holds what a run leaves once it has started."""
    return any((folder / name).exists() for name in ("metrics.csv", "result.json", "checkpoints"))


def is_follower() -> bool:
    """Whether this is one of the further processes that Lightning starts for distributed training."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def newest_run(runs: Path) -> Path:
    """The newest run below `runs`.

    Raises:
        ConfigError: there is none.
    """
    folders = [folder for folder in runs.glob("*") if is_run(folder)]
    if not folders:
        raise ConfigError(f"{LATEST}: there is no run in {runs}")
    return max(folders, key=lambda folder: ((folder / CONFIG).stat().st_mtime, folder.name))


def kind_of_run(folder: Path) -> str:
    """What a run that lies there was started as: run, job (of a grid), trial, seed (of a trial), confirmation or
    ablation."""
    if folder.parent.name in _REPEATS:
        return _REPEATS[folder.parent.name]
    for name, kind in ((folder.name, "trial"), (folder.parent.name, "seed")):
        if re.fullmatch(r"trial-\d+", name):
            return kind
    # Hydra's grid leaves a multirun.yaml, the official Optuna sweeper does not; both number their jobs.
    return "job" if (folder.parent / "multirun.yaml").is_file() or _JOB.fullmatch(folder.name) else "run"


def split_name(folder: str) -> tuple[str, str]:
    """The name of the sweep or grid that a run's folder belongs to, or runs, and the run's name in it."""
    parts = Path(folder).parts
    for index, part in enumerate(parts[1:], start=1):
        if re.fullmatch(r"trial-\d+|confirm|ablation", part):
            return parts[index - 1], "/".join(parts[index:])
    return (parts[-2], parts[-1]) if len(parts) > 1 and _JOB.fullmatch(parts[-1]) else ("runs", parts[-1])


def find_path(name: str) -> Path:
    """The folder or file that NAME means. A path that is there counts first, and stays as it was typed.

    Raises:
        ConfigError: it means nothing.
    """
    if name == LATEST:
        return newest_run(OUTPUTS / "runs")
    typed = Path(name).expanduser()
    try:
        if typed.exists():
            return typed
        if not typed.is_absolute() and ".." not in typed.parts:  # below the outputs' folder, and nowhere else
            return next(path for folder in _BELOW if (path := OUTPUTS / folder / typed).exists())
    except (OSError, StopIteration):
        pass
    raise ConfigError(
        f"{name}: there is no such file or folder, and no run, sweep or grid of this name in {OUTPUTS}"
        f" (sweeps: {_join_names(list_sweeps())}; {LATEST} means the newest run)"
    )


def find_folder(name: str) -> Path:
    """The same, and of a checkpoint file the folder of its run.

    Raises:
        ConfigError: it means nothing.
    """
    found = find_path(name)
    run = found.parent.parent
    return run if found.is_file() and is_run(run) else found


def find_resumable(name: str) -> Path:
    """The folder of the run that ``resume=NAME`` means, found as `find_folder` does.

    Raises:
        ConfigError: there is no such run, its folder cannot be written, or it has nothing to continue from.
    """
    try:
        folder = find_folder(name).resolve()
    except ConfigError as error:
        raise ConfigError(f"resume={error}") from error
    if not is_run(folder):
        raise ConfigError(f"resume must be a run's folder (one that holds {CONFIG}) or {LATEST}, got {name!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"resume: {folder} cannot be written, and a run is resumed in its own folder")
    if (folder / "checkpoints" / BEST_CHECKPOINT).exists() and not (folder / "checkpoints" / LAST_CHECKPOINT).exists():
        instead = f"init_from={shlex.quote(str(folder))} starts from its best weights"
        raise ConfigError(f"resume: {folder} has no {LAST_CHECKPOINT}: {LAST_DELETED}; {instead}")
    return folder


def list_sweeps() -> list[str]:
    """The names of the sweeps, the newest last."""
    found = [folder for folder in (OUTPUTS / "sweeps").glob("*") if folder.is_dir()]
    return [folder.name for folder in sorted(found, key=lambda folder: (folder.stat().st_mtime, folder.name))]


def find_journal(name: str | None) -> Path:
    """The journal of a sweep, that NAME or without one the newest.

    Raises:
        ConfigError: there is none.
    """
    known = list_sweeps()
    wanted = name or (known[-1] if known else None)
    if wanted is None:
        raise ConfigError(f"there is no sweep in {OUTPUTS / 'sweeps'}")
    try:
        file = find_path(f"sweeps/{wanted}" if wanted in known else wanted) / JOURNAL
    except ConfigError as error:
        raise ConfigError(f"there is no sweep {wanted!r}; there is {_join_names(known)}") from error
    if not file.is_file():
        raise ConfigError(f"{file} is not there: if the study is in a database, STORAGE names its URL")
    return file


def _join_names(names: list[str]) -> str:
    return ", ".join(names[-_LISTED:]) or "none"


def choose_checkpoint(folder: Path, score_with: str) -> Path:
    """Which checkpoint of a run is scored: the best one, or the last where that is asked for or no best was kept."""
    best = folder / BEST_CHECKPOINT
    return best if score_with == "best" and best.exists() else folder / LAST_CHECKPOINT


def find_initial_weights(source: Any) -> Path:
    """The checkpoint file that ``init_from=SOURCE`` means: itself, or the best one of a run's folder.

    Raises:
        ConfigError: there is none.
    """
    path = Path(str(source)).expanduser()
    try:
        if path.is_file():
            return path
        if not is_run(path):
            rule = f"a run's folder (one that holds {CONFIG}) or a checkpoint file"
            raise ConfigError(f"init_from must be {rule}, got {str(path)!r}")
        chosen = choose_checkpoint(path / "checkpoints", "best")
        if not chosen.is_file():
            raise ConfigError(f"init_from: no epoch of {path} was finished, it has no checkpoint")
        return chosen
    except OSError as error:
        raise ConfigError(f"init_from: {path} cannot be read ({error.strerror})") from error
