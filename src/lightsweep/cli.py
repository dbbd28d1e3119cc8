"""Around Hydra: arguments made ready for it, and errors as one line with an exit code.

Imported before Hydra has parsed anything, so it imports neither torch nor Lightning.
"""

import errno
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from lightsweep import run_folder
from lightsweep.errors import ConfigError, Diverged, Interrupted, RunFailed

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOTDIR, errno.EEXIST}


def launch(main: Callable[[], Any]) -> None:
    """Run a function decorated by ``hydra.main`` on ``sys.argv``; exit with one clear line where it fails.

    ``HYDRA_FULL_ERROR=1`` shows the whole trace instead.
    """
    whole_trace = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise, not print
    try:
        sys.argv[1:] = prepare(sys.argv[1:])
        main()
    except (Interrupted, KeyboardInterrupt) as error:
        sys.exit(128 + getattr(error, "signum", 2))
    except Exception as error:
        if whole_trace:
            raise
        line = describe(error)
        if line is None:
            raise
        if not getattr(error, "told", False):
            print(line, file=sys.stderr)
        sys.exit(1)


@contextmanager
def job(folder: Path, *, fresh: bool) -> Iterator[None]:
    """Around one job: remove the folder of one that was refused; in a grid, tell what is wrong at once."""
    try:
        yield
    except Exception as error:
        if fresh and isinstance(error, ConfigError) and not run_folder.is_follower():
            run_folder.discard(folder)
        if HydraConfig.get().mode == RunMode.MULTIRUN and (line := describe(error)):
            print(f"job {HydraConfig.get().job.num}: {line}", file=sys.stderr)
            error.told = True  # type: ignore[attr-defined]
        raise


def prepare(arguments: list[str]) -> list[str]:
    """Arguments as Hydra needs them: a resumed run works in its own folder, and nothing runs over another run.

    Raises:
        ConfigError: `resume` names no run, or `hydra.run.dir` one that is already there.
    """
    resumed = _last_value(arguments, "resume")
    if resumed in (None, "", "null"):
        _refuse_to_run_over(arguments)
        return arguments
    if {"-m", "--multirun"} & set(arguments):
        raise ConfigError("resume goes on with one run, it cannot be swept (drop -m)")
    folder = run_folder.find(resumed.strip("'\""))
    quoted = QuotedString(str(folder), Quote.single).with_quotes()
    others = [argument for argument in arguments if not argument.startswith(("resume=", "hydra.run.dir="))]
    return [*others, f"resume={quoted}", f"hydra.run.dir={quoted}"]


def describe(error: BaseException) -> str | None:
    """An error as one line, or None where it is a bug of ours whose trace is wanted."""
    if isinstance(error, ConfigError | Diverged | RunFailed):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = [option for option in error.options if not option.startswith("_")]
        return f"{group}={name}: there is no such choice; there is {', '.join(options)}"
    if isinstance(error, OSError) and error.errno in _DISK:
        return f"the run's folder (hydra.run.dir) cannot be written: {error.strerror} {error.filename or ''}".strip()
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _one_line(error)
    return None


def _one_line(error: BaseException) -> str:
    texts = [str(error)]
    if error.__cause__ is not None and str(error.__cause__) not in texts[0]:
        texts.append(str(error.__cause__))
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(("full_key:", "object_type=")))


def _last_value(arguments: list[str], key: str) -> str | None:
    values = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{key}=")]
    return values[-1] if values else None


def _refuse_to_run_over(arguments: list[str]) -> None:
    folder = _last_value(arguments, "hydra.run.dir")
    multirun = {"-m", "--multirun"} & set(arguments)
    if folder and not multirun and not run_folder.is_follower() and run_folder.is_run(Path(folder.strip("'\""))):
        raise ConfigError(
            f"hydra.run.dir must be a folder without a run, got {folder}; resume={shlex.quote(folder)} goes on with that run"
        )
