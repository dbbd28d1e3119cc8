"""Errors of Hydra, OmegaConf and the operating system as one line for the user."""

import errno
import re
import sys
import traceback
from collections.abc import Sequence

import yaml
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from lightsweep.core import memory
from lightsweep.core.errors import ConfigError, Diverged, RunFailed
from lightsweep.core.paths import CONF

_NAMES = ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "ENOENT", "ENOTDIR", "EEXIST", "ENAMETOOLONG")
_EXTRAS = {
    "hydra/launcher=submitit_slurm": "slurm",
    "hydra/launcher=submitit_local": "slurm",
    "hydra/launcher=ray": "ray",
    "hydra/launcher=joblib": "joblib",
}  # which extra brings a choice
_TWICE = re.compile(r"Multiple values for ([\w/]+)\. To override a value use 'override [\w/]+: ([\w/.-]+)'")
_DISK = {getattr(errno, name) for name in _NAMES}


def describe_error(error: BaseException) -> str | None:
    """An error as one line, or None where it is a bug of ours whose trace is wanted."""
    if isinstance(error, ConfigError | Diverged | RunFailed):
        return str(error)
    if _raised_by_logging(error):
        reason = _one_line(error) or type(error).__name__
        return f"hydra.job_logging, hydra.hydra_logging or hydra.verbose cannot be used: {reason}"
    if isinstance(error, yaml.YAMLError):
        return f"a config file is no plain YAML: {_one_line(error)}"
    if isinstance(error.__cause__, OSError) and "Unable to configure" in str(error):
        return describe_error(error.__cause__)  # of a log file
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
    folder = CONF / top
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
