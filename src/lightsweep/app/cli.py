"""Around Hydra: arguments made ready for it, and errors as one line with an exit code.

Imported before Hydra has parsed anything, so it imports neither torch nor Lightning.
"""

import errno
import os
import platform
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, TextIO

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lightsweep.config import loader, mistakes, processes, typed
from lightsweep.core import memory, paths, secrets, signals
from lightsweep.core.errors import ConfigError, DataChanged, Diverged, Interrupted, RunFailed, SweepRefused
from lightsweep.core.text import printable
from lightsweep.runs import folder_hooks, run_folder, saved_config
from lightsweep.sweeper.portable import search_path

_NAMES = ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "ENOENT", "ENOTDIR", "EEXIST", "ENAMETOOLONG")
_EXTRAS = {
    "hydra/launcher=submitit_slurm": "slurm",
    "hydra/launcher=submitit_local": "slurm",
    "hydra/launcher=ray": "ray",
    "hydra/launcher=joblib": "joblib",
}  # which extra brings a choice
_TWICE = re.compile(r"Multiple values for ([\w/]+)\. To override a value use 'override [\w/]+: ([\w/.-]+)'")
_DISK = {getattr(errno, name) for name in _NAMES}


def launch(main: Callable[[], Any]) -> None:
    """Run a function decorated by ``hydra.main`` on ``sys.argv``; exit with one clear line where it fails.

    ``HYDRA_FULL_ERROR=1`` shows the whole trace instead.
    """
    # What distributed training starts further inherits the next line's setting, which is not the user's.
    whole_trace = os.environ.get("HYDRA_FULL_ERROR", "0") == "1" and not run_folder.is_follower()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise, not print
    shown = sys.stderr if whole_trace else _WithoutHydrasLine(sys.stderr)
    try:
        with signals.as_exceptions(to_the_end=True):
            loader.install()
            _let_jobs_find_modules()
            mistakes.check_arguments(sys.argv[1:])
            sys.argv[1:] = prepare(sys.argv[1:])
            typed.declare(said := typed.read(sys.argv[1:]))
            _check_links(said)
            with redirect_stderr(shown):
                main()
    except Interrupted as error:
        sys.exit(128 + error.signum)
    except BrokenPipeError:  # the reader has seen enough, as in --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if whole_trace:
            raise
        line = describe(error)
        if line is None:
            raise
        if isinstance(error, Diverged) and run_folder.is_follower():
            sys.exit(0)  # so has the first process, which says so; Lightning would kill it for another code of ours
        if getattr(error, "told", None) != _this_process():  # not by a launcher's job elsewhere, which nobody reads
            which = f"job {error.job}: " if hasattr(error, "job") else ""  # of a grid, run by a launcher
            print(printable(secrets.redact(which + line)), file=sys.stderr)  # it may quote what no terminal should obey
        sys.exit(1)


class _WithoutHydrasLine:
    """stderr less the line that Hydra writes before it raises a job's error: `launch` says what is wrong."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith("Error executing job with overrides: ") else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def job(folder: Path, *, fresh: bool) -> Iterator[None]:
    """Around one job: remove the folder of one that was refused; in a grid, tell what is wrong at once."""
    try:
        if fresh and run_folder.was_trained(folder) and not run_folder.is_follower():
            raise ConfigError(f"{folder} holds a run already: choose another hydra.run.dir or hydra.sweep.dir")
        yield
    except Interrupted:
        if HydraConfig.get().mode == RunMode.RUN and not run_folder.is_follower():
            folder_hooks.print_how_to_resume(folder)
        raise
    except Exception as caught:
        error = folder_hooks.explain_lost_folder(folder, caught)
        refused = isinstance(error, ConfigError | HydraException | OmegaConfBaseException)
        if fresh and refused and not run_folder.is_follower():
            folder_hooks.discard_folder(folder)
        if isinstance(error, SweepRefused):
            print(error, file=sys.stderr)
            sys.exit(1)  # another sweeper would take an exception for one job's, and run the next
        said_elsewhere = isinstance(error, DataChanged)  # by the sweep, once
        if HydraConfig.get().mode == RunMode.MULTIRUN and not said_elsewhere and (line := describe(error)):
            error.job = HydraConfig.get().job.num  # type: ignore[attr-defined]
            error.told = _this_process()  # type: ignore[attr-defined]
            print(printable(f"job {error.job}: {secrets.redact(line)}"), file=sys.stderr)  # type: ignore[attr-defined]
        if error is caught:
            raise
        raise error from caught


def _this_process() -> tuple[str, int]:
    return platform.node(), os.getpid()


def _let_jobs_find_modules() -> None:
    """What this process starts elsewhere, a launcher's jobs, finds the modules that this one finds."""
    folders = [*search_path(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
    os.environ["PYTHONSAFEPATH"] = "1"  # and none of the working directory, which may be somebody else's


def has_other_sweeper() -> bool:
    """Does this job belong to a sweeper that is not ours, such as Optuna's official one?"""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return False
    return HydraConfig.get().runtime.choices.get("hydra/sweeper") not in ("basic", "lightsweep")


@contextmanager
def ending_the_sweep() -> Iterator[None]:
    """What is refused in the block is wrong with every job of the sweep."""
    try:
        yield
    except ConfigError as error:
        raise SweepRefused(str(error)) from error


def is_left_to_the_first(cfg: DictConfig) -> bool:
    """Does this process have no part in a job? Of a grid whose jobs train in several processes, each process runs the
    whole command; a job in between that trains in one process is the first one's."""
    if not run_folder.is_follower() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return False
    from torch.cuda import device_count

    return processes.is_single(cfg.trainer, device_count)


def prepare(arguments: list[str]) -> list[str]:
    """Arguments as Hydra needs them: a resumed run works in its own folder, nothing runs over another run, and
    ``sweep=NAME`` sweeps.

    Raises:
        ConfigError: `resume` names no run, or `hydra.run.dir` one that is already there.
    """
    _refuse_no_choice(arguments)
    _refuse_rerun(arguments)
    arguments = secrets.move_to_environment(arguments)
    resumed = _last_value(arguments, "resume")
    sweep = _last_value(arguments, "sweep")
    multirun = bool({"-m", "--multirun"} & set(arguments))
    if (multirun or sweep not in (None, "null")) and str(_last_value(arguments, "lr_find")).lower() == "true":
        raise ConfigError("lr_find=true tests one setting, it cannot be swept (drop -m and sweep=)")
    if resumed in (None, "null"):
        _refuse_to_run_over(arguments)
        # A sweep file cannot say by itself that it is a sweep: Hydra wants that before it composes.
        return arguments if multirun or sweep in (None, "null") else [*arguments, "hydra.mode=MULTIRUN"]
    if multirun or sweep not in (None, "null"):
        raise ConfigError("resume goes on with one run, it cannot be swept (drop -m)")
    folder = run_folder.find_run(resumed.strip("'\""))
    quoted = QuotedString(str(folder), Quote.single).with_quotes()
    own = saved_config.read_config(folder)
    others = [argument for argument in arguments if _key(argument) not in ("resume", "hydra.run.dir")]
    return [*(_known(argument, own) for argument in others), f"resume={quoted}", f"hydra.run.dir={quoted}"]


def _known(argument: str, own: DictConfig) -> str:
    """An argument as Hydra takes it although it composes the defaults, which may lack a key that the run's own config
    has: ``scheduler.patience=5`` of a run with ``scheduler=plateau``."""
    key, is_value, _ = argument.partition("=")
    is_group = (run_folder.ROOT / "conf" / key).is_dir()
    of_the_run = key != saved_config.OVERRIDES and saved_config.has_key(own, key)
    return f"++{argument}" if is_value and not is_group and of_the_run else argument


def describe(error: BaseException) -> str | None:
    """An error as one line, or None where it is a bug of ours whose trace is wanted."""
    if isinstance(error, ConfigError | Diverged | RunFailed):
        return str(error)
    if _raised_by_logging(error):
        reason = _one_line(error) or type(error).__name__
        return f"hydra.job_logging, hydra.hydra_logging or hydra.verbose cannot be used: {reason}"
    if isinstance(error, yaml.YAMLError):
        return f"a config file is no plain YAML: {_one_line(error)}"
    if isinstance(error.__cause__, OSError) and "Unable to configure" in str(error):
        return describe(error.__cause__)  # of a log file
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        return _no_such_choice(error.missing_cfg_file, error.options)
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" ({error.filename})" if error.filename else ""
        sweeping = {"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(sys.argv)
        folder = "sweep's folder (hydra.sweep.dir)" if sweeping else "run's folder (hydra.run.dir)"
        return f"the {folder} cannot be written: {error.strerror}{where}"
    if memory.is_exhausted(error):
        return ": ".join(filter(None, ("there is not enough memory", " ".join(str(error).split())[:300])))
    if twice := _TWICE.match(str(error)):
        return f"+{twice[1]}={twice[2]}: {twice[1]} has a choice already; type {twice[1]}={twice[2]}"
    if isinstance(error, HydraException | OmegaConfBaseException):
        text = _one_line(error)
        key = getattr(error, "full_key", None)
        return f"{key}: {text}" if key and key not in text else text
    return _one_line(error) if _raised_by_hydra(error) else None


def _no_such_choice(file: str, options: Sequence[str]) -> str:
    """The line for a choice that is not there. `options` are those of its group, less what lies in folders of it."""
    group, _, name = file.rpartition("/")
    choices = [option for option in options if not option.startswith("_")]
    top, _, below = file.partition("/")
    folder = run_folder.ROOT / "conf" / top
    nested = [str(path.relative_to(folder).with_suffix("")) for path in sorted(folder.rglob("[!_]*.yaml"))]
    if top != "hydra" and any("/" in each for each in nested):  # as experiment=reference/a1 has it
        group, name, choices = top, below, nested
    extra = _EXTRAS.get(f"{group}={name}")
    needs = f" (it comes with pip install -e '.[{extra}]')" if extra else ""
    return f"{group}={name}: there is no such choice{needs}; there is {', '.join(choices) or 'none'}"


def _raised_by_logging(error: BaseException) -> bool:
    """While a config's own logging was set up."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    configured = any(frame.f_code.co_name in ("configure_log", "configure_logging") for frame in frames)
    return configured and isinstance(error, AssertionError | AttributeError | LookupError | TypeError | ValueError)


def _raised_by_hydra(error: BaseException) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").startswith("hydra.")


def _one_line(error: BaseException) -> str:
    texts = [str(error)]
    if error.__cause__ is not None and str(error.__cause__) not in texts[0]:
        texts.append(str(error.__cause__))
    return "; ".join(" ".join(_lines(text)) for text in texts)


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("full_key:", "object_type=", "reference_type="))]


def _last_value(arguments: list[str], key: str) -> str | None:
    values = [argument.partition("=")[2] for argument in arguments if _key(argument) == key]
    return values[-1] if values else None


def _key(argument: str) -> str:
    return argument.partition("=")[0].lstrip("+")


def _refuse_no_choice(arguments: list[str]) -> None:
    """GROUP=null, for which Hydra has an error without a name."""
    for argument in arguments:
        group, _, choice = argument.partition("=")
        folder = run_folder.ROOT / "conf" / group
        if choice == "null" and group and folder.is_dir():
            options = sorted(file.stem for file in folder.glob("*.yaml") if not file.name.startswith("_"))
            raise ConfigError(
                f"{argument}: there is no such choice; there is {', '.join(options) or 'none'} ('~{group}': without)"
            )


def _check_links(said: typed.Typed) -> None:
    """Hydra writes into the folder that is typed before a run or a grid begins, and it may be somebody else's."""
    for key in ("hydra.run.dir", "hydra.sweep.dir"):
        for value in said.values.get(key, ()):
            if isinstance(value, str) and "${" not in value:
                paths.check_links(Path(value), within=Path(value))
    for value in said.values.get("hydra.sweep.dir", ()):
        ours = {"sweep", "hydra/sweeper"} & said.values.keys()  # whose jobs have folders that nobody could foresee
        if not ours and (Path(str(value)) / ".submitit").exists():
            raise ConfigError(f"hydra.sweep.dir: {value} holds jobs of submitit, which could run: take a new folder")


def _refuse_rerun(arguments: list[str]) -> None:
    """Hydra's own rerun of a folder takes what that folder says was typed for what is typed now."""
    if any(argument.startswith("--e") for argument in arguments):  # the parser takes abbreviations
        raise ConfigError("--experimental-rerun is not supported: resume=FOLDER goes on with a run")


def _refuse_to_run_over(arguments: list[str]) -> None:
    typed = _last_value(arguments, "hydra.run.dir")
    if typed is None or {"-m", "--multirun"} & set(arguments) or run_folder.is_follower():
        return
    folder = Path(typed.strip("'\""))
    if run_folder.is_run(folder):
        raise ConfigError(
            f"hydra.run.dir must be a folder without a run, got {typed};"
            f" resume={shlex.quote(typed)} goes on with that run"
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"hydra.run.dir must be a new or an empty folder, got {typed!r}")
