"""A run's folder: where it is born, how it is found again, and how it goes when nothing was ever run in it.

This module is imported at every start, so it imports neither torch nor Lightning.
"""

import os
import re
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightsweep.config import interpolations, targets
from lightsweep.core.errors import ConfigError, Interrupted, RunFailed
from lightsweep.core.files import becoming, missing, remove_empty, sweep, sweep_folders, write_whole
from lightsweep.core.paths import OUTPUTS
from lightsweep.core.paths import ROOT as ROOT

CONFIG = "config.yaml"
_GRID = "multirun.yaml"
_JOB = re.compile(r"\d+(-(?!\d\d-\d\d).*)?")  # 0, 12-lr0.1; not 2026-11-21_10-52-37-957b
OVERRIDES = "overrides"  # its extra key: what was typed
_ONCE = ("resume", "allow_changed_data")  # what holds for one start, and is not the run's own
LR_FIND = "lr_find.csv"  # what a learning-rate range test leaves, which is no run


class ConfigFirst(Callback):
    """A Hydra callback: the run's own config.yaml is in its folder from the moment that the folder exists.

    So a run that is killed at any moment can be resumed. (Hydra's `.hydra/config.yaml` does not do for this: a run
    that resumes in the same folder writes over it.)
    """

    def __init__(self) -> None:
        self.unused: Path | None = None  # the folder made here, until a job works in it
        self.before: set[str] = set()  # what lay in a grid's folder
        self.made: list[Path] = []  # the folders that a grid has to make
        self.jobs = self.trained = 0  # of a grid: begun, and worth their folders

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.run.dir)
        if config.get("resume") is not None or is_follower() or folder.exists():
            return  # where the folder exists, `on_job_start` writes
        with suppress(OSError, OmegaConfBaseException):  # what is wrong comes up again, and is reported, in the run
            sweep_folders(folder.parent)
            with becoming(folder) as new:
                save_config(config, new)
            self.unused = folder.absolute()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        self.unused = None
        self.jobs += 1
        folder = Path(config.hydra.runtime.output_dir)
        if not is_follower():
            sweep(folder)
        if not is_run(folder) and not is_follower():
            with suppress(OmegaConfBaseException):
                save_config(config, folder)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        if self.unused is None:
            return
        if isinstance(sys.exception(), Interrupted):
            say_how_to_go_on(self.unused)
        else:  # Hydra itself failed
            discard(self.unused)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        self.trained += was_trained(Path(config.hydra.runtime.output_dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        self.made = missing(folder)
        self.before = {file.name for file in folder.glob("*")}

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Remove what a grid leaves that came to nothing. Its jobs' folders may lie elsewhere, `hydra.sweep.subdir`
        says; jobs of a launcher run in other processes, and are known by their folders only."""
        folder = Path(config.hydra.sweep.dir)
        left = {file.name for file in folder.glob("*")} - self.before
        if is_follower():
            if self.made and not self.trained:  # its name has the time in it: the first process has another one
                shutil.rmtree(folder, ignore_errors=True)
            return
        if self.trained or not left <= {_GRID} or _jobs_lie_elsewhere(config):
            return
        for name in left:
            (folder / name).unlink()
        remove_empty(self.made)
        if not self.jobs and config.hydra.runtime.choices.get("hydra/sweeper") == "basic":
            _refuse_no_job()


def _jobs_lie_elsewhere(config: DictConfig) -> bool:
    """Do a launcher's jobs have folders outside the grid's? Those without a launcher are counted."""
    if config.hydra.runtime.choices.get("hydra/launcher") == "basic":
        return False
    below = Path(str(OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"]))  # type: ignore[call-overload, index]
    return below.is_absolute() or ".." in below.parts


def _refuse_no_job() -> None:
    """End the process where a grid came to nothing without an error: Hydra itself would call that a success."""
    if sys.exc_info()[1] is None:
        print(
            "no job was run: a glob found no choice; it enters no folder, '+experiment/reference=glob(a*)' names one",
            file=sys.stderr,
        )
        sys.exit(1)  # an exception in a callback would be no more than a warning


def save_config(config: DictConfig, folder: Path) -> None:
    """Write the run's config, with what depends on the shell it was typed in resolved."""
    own = own_config(config)
    own.overrides = list(config.hydra.overrides.task)
    write_whole(folder / CONFIG, OmegaConf.to_yaml(own))


def keep_changes(config: DictConfig, folder: Path) -> None:
    """Write what was typed when a run was resumed into its config, so that whatever goes on with it again has it too;
    also the keys that a later version of the program brought.

    Only once it is sure that the run goes on so: a value that is refused changes nothing.

    Args:
        config: of a resumed run, as `with_overrides` made it; any other's stays as it was written at its birth.
    """
    if OVERRIDES not in config or is_follower():
        return
    file = folder / CONFIG
    text = OmegaConf.to_yaml(own_config(config))
    if text != file.read_text(encoding="utf-8"):
        born = file.stat()
        write_whole(file, text)
        os.utime(file, ns=(born.st_atime_ns, born.st_mtime_ns))  # `newest` goes by it


def own_config(config: DictConfig) -> DictConfig:
    """What of a composed config is the run's, with paths that hold wherever it is read."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("hydra", *_ONCE)])
    OmegaConf.set_struct(own, False)
    for node, key in ((own, "data_dir"), (own, "init_from"), (own.get("data"), "root")):
        if isinstance(node, DictConfig) and isinstance(node.get(key), str):
            node[key] = os.path.abspath(Path(node[key]).expanduser())  # noqa: PTH100  # resolve() would leave symlinks
    return own


def is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and not (folder / LR_FIND).exists()


def was_trained(folder: Path) -> bool:
    """Does the folder hold what a run leaves once it has begun?"""
    return any((folder / name).exists() for name in ("metrics.csv", "result.json", "checkpoints"))


def is_follower() -> bool:
    """Is this one of the further processes that Lightning starts for distributed training?"""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def find(name: str, runs: Path = OUTPUTS / "runs") -> Path:
    """The run's folder that ``resume=NAME`` means: a path, or ``latest``, the newest below `runs`.

    Raises:
        ConfigError: there is no such run, or its folder cannot be written.
    """
    folder = newest(runs, typed="resume=latest") if name == "latest" else _named(name, runs)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"resume: {folder} cannot be written, and a run goes on in its own folder")
    return folder


def _named(name: str, runs: Path) -> Path:
    folder = Path(name).expanduser()
    try:
        if not folder.exists() and len(folder.parts) == 1:
            folder = runs / name
        is_there = is_run(folder)
    except OSError as error:
        raise ConfigError(f"resume: {folder} cannot be read ({error.strerror})") from error
    if not is_there:
        raise ConfigError(f"resume must be a run's folder (one that holds {CONFIG}) or latest, got {name!r}")
    return folder.resolve()


def newest(runs: Path = OUTPUTS / "runs", *, typed: str = "latest") -> Path:
    """The newest run below `runs`.

    Raises:
        ConfigError: there is none.
    """
    folders = [folder for folder in sorted(runs.glob("*"), key=_born) if is_run(folder)]
    if not folders:
        raise ConfigError(f"{typed} found no run in {runs}")
    return folders[-1]


def load_config(folder: Path) -> DictConfig:
    """A run's own config, as it was started or last resumed; its extra key `overrides` lists what was typed.

    Raises:
        ConfigError: the file is damaged.
    """
    interpolations.restrict()
    try:
        config = OmegaConf.load(folder / CONFIG)
        if not isinstance(config, DictConfig):
            raise ValueError("no mapping")
        content: Any = OmegaConf.to_container(config, resolve=False)
        typed = content.get(OVERRIDES, [])
        if not (isinstance(typed, list) and all(isinstance(line, str) for line in typed)):
            raise ValueError(f"{OVERRIDES} must be a list of texts")
        targets.check(content)
    except ConfigError as error:
        raise ConfigError(f"{folder / CONFIG}: {error}") from error
    except Exception as error:  # YAML, Unicode, OmegaConf: each has its own
        raise ConfigError(f"{folder / CONFIG} cannot be read ({' '.join(str(error).split())})") from error
    return config


def has(config: DictConfig, key: str) -> bool:
    """Is there such a key, ``optimizer.lr``, whatever its value?"""
    node: Any = config
    for part in key.split("."):
        if isinstance(node, ListConfig) and part.isdecimal() and int(part) < len(node):
            node = node._get_node(int(part))
        elif isinstance(node, DictConfig) and part in node.keys():  # noqa: SIM118  # in itself resolves the value
            node = node._get_node(part)
        else:
            return False
    return True


def with_overrides(own: DictConfig, composed: DictConfig, overrides: list[str], groups: set[str]) -> DictConfig:
    """A resumed run's own config with what was typed now on top.

    Args:
        own: the run's config.
        composed: the config as Hydra composed it from the defaults and `overrides`, which is where values come from.
        groups: names of the config groups, ``optimizer`` and so on: choosing in one replaces its whole node.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from lightsweep.config import keys
    from lightsweep.config.config_files import Files

    own["allow_changed_data"] = composed._get_node("allow_changed_data")
    typed: dict[str, str] = {}  # as Hydra got it, as it was typed
    parsed = OverridesParser.create().parse_overrides(overrides)
    for override in sorted(parsed, key=lambda each: each.key_or_group not in groups):  # choices first, as in Hydra
        key, line = override.key_or_group, str(override.input_line)
        if key in (*_ONCE, "run_dir") or key.startswith("hydra"):
            continue
        if has(own, key):
            line = line.removeprefix("++")  # which `cli.prepare` may have put there
        if key in ("init_from", "lr_find"):
            raise ConfigError(f"{line}: a resumed run goes on with its own weights and rate")
        if override.is_delete() or key in ("experiment", "sweep"):
            raise ConfigError(f"{line}: a resumed run keeps its own; override single keys instead")
        if key not in groups and not has(own, key):
            keys.check([override], Files(OmegaConf.to_container(own, resolve=False), None))  # type: ignore[arg-type]
        node = composed._get_node(key) if key in groups else OmegaConf.select(composed, key)
        value = override.value()
        partly = isinstance(value, dict)  # loss={l2:0.1} leaves the others of its keys as they are, as in Hydra
        try:
            OmegaConf.update(own, key, value if partly else node, merge=partly, force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{line}: {' '.join(str(error).split())}") from error
        typed[str(override.input_line)] = line
    every = [*own.get(OVERRIDES, []), *(typed[line] for line in overrides if line in typed)]
    own[OVERRIDES] = list(dict.fromkeys(reversed(every)))[::-1]  # of equal lines the last
    return own


def kind(folder: Path) -> str:
    """What a run that lies there was started as: run, job (of a grid), trial, seed (of a trial) or confirmation."""
    if folder.parent.name == "confirm":
        return "confirmation"
    for name, meaning in ((folder.name, "trial"), (folder.parent.name, "seed")):
        if re.fullmatch(r"trial-\d+", name):
            return meaning
    # Hydra's grid leaves a multirun.yaml, the official Optuna sweeper does not; both number their jobs.
    return "job" if (folder.parent / "multirun.yaml").is_file() or _JOB.fullmatch(folder.name) else "run"


def is_set_aside(name: str) -> bool:
    """Is a folder of this name a confirmation's run that made room for a later one?"""
    return re.search(r"\.earlier-\d+$", name) is not None


def place(folder: str) -> tuple[str, str]:
    """The name of the sweep or grid that a run's folder belongs to, or runs, and the run's name in it."""
    parts = Path(folder).parts
    for index, part in enumerate(parts[1:], start=1):
        if re.fullmatch(r"trial-\d+|confirm", part):
            return parts[index - 1], "/".join(parts[index:])
    return (parts[-2], parts[-1]) if len(parts) > 1 and _JOB.fullmatch(parts[-1]) else ("runs", parts[-1])


def config_options(hydra: Any) -> list[str]:
    """``--config-dir`` and ``--config-name`` as they were typed, from Hydra's own config of a run.

    Raises:
        KeyError, TypeError: it is no such config.
    """
    sources, name = hydra["runtime"]["config_sources"], hydra["job"]["config_name"]
    places = [str(source["path"]) for source in sources if source["provider"] == "command-line"]
    options = [part for place in places for part in ("--config-dir", place)]
    return options if name == "train" else [*options, "--config-name", str(name)]


def say_how_to_go_on(folder: Path) -> None:
    """The one line at the end of a run that was interrupted."""
    print(f"interrupted: python src/train.py resume={shlex.quote(str(folder))} goes on", file=sys.stderr)


def discard(folder: Path) -> None:
    """Remove the folder of a run that never began: what Hydra and `ConfigFirst` wrote, and itself if that was all."""
    if was_trained(folder):
        return
    shutil.rmtree(folder / ".hydra", ignore_errors=True)
    for leftover in (folder / CONFIG, folder / "train.log", folder / "hparams.yaml", *folder.glob("events.out.*")):
        leftover.unlink(missing_ok=True)
    with suppress(OSError):  # it holds something of the user's
        folder.rmdir()


def explain_loss(folder: Path, error: Exception) -> Exception:
    """What ended a run, said plainly where that was the loss of its folder."""
    missing = isinstance(error, FileNotFoundError) or isinstance(error.__cause__, FileNotFoundError)
    if not missing or (folder / CONFIG).exists():
        return error
    return RunFailed(f"the folder of the run was removed while it ran: {folder}")


def _born(folder: Path) -> tuple[float, str]:
    config = folder / CONFIG
    return (config.stat().st_mtime if config.is_file() else 0.0), folder.name
