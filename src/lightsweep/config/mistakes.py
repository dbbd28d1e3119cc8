"""Mistakes as one line for the user: errors of Hydra, OmegaConf and the system, and what is wrong on a command line.

The shell splits what is not quoted, and Hydra has its own grammar of values. Each proposal has been parsed, so that
Hydra reads it as it was meant.
"""

import errno
import re
import shlex
import sys
import traceback
from collections.abc import Sequence

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, Sweep
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from lightsweep.config.keys import root_keys
from lightsweep.core import memory
from lightsweep.core.errors import ConfigError, Diverged, RunFailed
from lightsweep.core.files import CONF
from lightsweep.core.overrides import (
    DASHES,
    SPACES,
    find_key,
    find_unclosed,
    is_readable,
    quote,
    repair_override,
    translate_call,
)

_NAMES = ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "ENOENT", "ENOTDIR", "EEXIST", "ENAMETOOLONG")
_EXTRAS = {"submitit_slurm": "slurm", "submitit_local": "slurm", "ray": "ray", "joblib": "joblib"}  # of hydra/launcher
_ADDED = re.compile(r"^\s*(full_key:|object_type=|reference_type=).*$", re.MULTILINE)
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
    """The line for a missing choice. `options` are those of its group, without those in subfolders."""
    group, _, name = file.rpartition("/")
    choices = [option for option in options if not option.startswith("_")]
    top, _, below = file.partition("/")
    folder = CONF / top
    nested = [str(path.relative_to(folder).with_suffix("")) for path in sorted(folder.rglob("[!_]*.yaml"))]
    if top != "hydra" and any("/" in each for each in nested):  # as experiment=reference/a1 has it
        group, name, choices = top, below, nested
    extra = _EXTRAS.get(name) if group == "hydra/launcher" else None
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
    """The error and its cause, without the lines that OmegaConf adds."""
    texts = [str(error)]
    if error.__cause__ is not None and str(error.__cause__) not in texts[0]:
        texts.append(str(error.__cause__))
    return "; ".join(" ".join(_ADDED.sub("", text).split()) for text in texts)


_NAMED = re.compile(r"([A-Za-z_][\w-]*)(?:\.[\w-]+)*($|[:=!])?")  # as a key is, alone or before a sign
_NUMBER = re.compile(r"[-+.\deE_, ]*\d[-+.\deE_, ]*")
_SPECIAL = re.compile(r"[^\w/\\+.$%*@?|:, \t-]|[^\x00-\x7f]")  # what needs quotes
_VALUE = re.compile(r"[-+.\d\[({'\"]|(?i:true|false|null)$")


def check_arguments(arguments: Sequence[str]) -> None:
    """See that each argument is an option of Hydra or a readable override.

    Raises:
        ConfigError: one is not; names what to type instead.
    """
    known, unknown = get_args_parser().parse_known_intermixed_args(list(arguments))
    overrides = {*known.overrides, *unknown}  # which are no options of Hydra
    pieces = [argument for argument in arguments if argument in overrides]
    if all(map(_is_override, pieces)):
        return
    for group in _groups(pieces):
        if len(group) > 1 or not _is_override(group[0]):
            raise ConfigError(_message(group))


def check_single(overrides: Sequence[Override]) -> None:
    """See that no override of a single run has several values.

    Raises:
        ConfigError: one has; shows how to try them all, and how to write a list or a text.
    """
    for override in overrides:
        line, value = str(override.input_line), override.value()
        if not isinstance(value, Sweep):
            continue
        if isinstance(value, IntervalSweep):
            raise ConfigError(f"{line} is an interval: sweep=custom searches it")
        if not isinstance(value, ChoiceSweep) or not value.simple_form:
            raise ConfigError(f"{line} tries several values: add -m for a grid, or sweep=custom for a search")
        key, _, text = line.partition("=")
        as_list, as_text = repair_override(f"{key}=[{text}]"), f"{key}={quote(text)}"
        ways = [f"{shlex.quote(each)} is one {kind}" for each, kind in ((as_list, "list"), (as_text, "text")) if each]
        raise ConfigError(f"{line} is several values: add -m for a grid of them; {', '.join(ways)}")


def check_grid(lines: Sequence[str]) -> None:
    """See that all overrides of a grid list their values.

    Raises:
        ConfigError: one is an interval, which only a search draws from.
    """
    for line in lines:
        if isinstance(OverridesParser.create().parse_override(line).value(), IntervalSweep):
            raise ConfigError(
                f"{line}: a grid has no intervals; sweep=custom searches one, and"
                f" {shlex.quote(line.partition('=')[0] + '=range(LOW,HIGH,STEP)')} lists values"
            )


def _is_override(piece: str) -> bool:
    """Is it readable? `app.arguments` quotes the folder of ``resume=``."""
    return is_readable(piece) or (piece.startswith("resume=") and not piece.endswith("\r"))


def _groups(pieces: Sequence[str]) -> list[list[str]]:
    """The pieces, grouped by the override that was meant."""
    groups: list[list[str]] = []
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
        if groups and _continues(_join(groups[-1]), piece, following):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _continues(text: str, piece: str, following: str) -> bool:
    """Is a piece the continuation of the text before it, rather than another override?"""
    if find_key(piece) or (piece.startswith(("~", *DASHES)) and not find_unclosed(text)):
        return False
    if find_unclosed(text) or not piece.strip() or text.endswith("=") or "=" not in text:
        return True
    named = _NAMED.match(piece)
    if named and (named[1] in root_keys() or following.startswith("=") or (not named[2] and _VALUE.match(following))):
        return False
    value = text.partition("=")[2]  # of a path, or a list whose brackets are missing
    return "/" in value or "\\" in value or bool(_NUMBER.fullmatch(value) and _NUMBER.fullmatch(piece))


def _join(group: Sequence[str]) -> str:
    """``optimizer.lr``, ``=`` and ``0.01`` as one override; pieces of a value with the spaces between them."""
    text = ""
    for piece in group:
        if not piece.strip():
            continue
        if not text or text.endswith("=") or piece.startswith("="):
            text += piece
        else:
            text += f" {piece}" if "=" in text else f"={piece}"
    return text


def _message(group: Sequence[str]) -> str:
    typed = " ".join(group).strip()
    proposal = _propose(_join(group))
    if proposal is None:
        return f"{typed}: {_reason(group)}, an override is KEY=VALUE, or ~KEY to delete{_hydras_reason(group[0])}"
    return f"{typed}: {_reason(group)}; type {proposal}"


def _propose(text: str) -> str | None:
    """The proposal, quoted for a shell; None where there is none."""
    parts = SPACES.sub(" ", text).split()
    if len(parts) > 1 and all(find_key(part) and is_readable(part) for part in parts) and SPACES.search(text):
        return shlex.join(parts)
    if re.fullmatch(rf"[{''.join(DASHES)}]+(m|multirun)", text):
        return "-m"
    key, _, value = text.partition("=")
    if ours := translate_call(value):  # another tool's name of a range or a choice
        text = f"{key}={ours}"
    if " " in value.strip() and _NUMBER.fullmatch(value):
        text = f"{key}=[{','.join(value.replace(',', ' ').split())}]"
    found = repair_override(text)
    return None if found is None else shlex.quote(found)


def _reason(group: Sequence[str]) -> str:
    if any(piece.endswith("\r") for piece in group):
        return "it ends in a carriage return, as in a script with Windows line ends (sed -i 's/\\r$//' SCRIPT)"
    if group[0].startswith(DASHES):
        return "there is no such option, and an override has no dashes"
    if len(group) > 1:
        return "the shell splits at spaces"
    if any(SPACES.search(piece) for piece in group):
        return "it holds a space of another kind, as text from a page or a document does"
    key, sign, value = group[0].partition("=")
    if not sign:
        return "it has no ="
    if value.startswith("choice") and repair_override(group[0]) == f"{key}={value.partition('(')[2][:-1]}":
        return "choice() takes no null, a list of choices does"
    if translate_call(value):
        return "that is no function of this grammar"
    if (special := _SPECIAL.search(value)) and repair_override(group[0]) == f"{key}={quote(value)}":
        return f"{special[0]} needs quotes"
    return "it cannot be read"


def _hydras_reason(text: str) -> str:
    """Hydra's reason, where it is readable."""
    try:
        OverridesParser.create().parse_override(text)
    except HydraException as error:
        reason = " ".join(str(error).split())
        return f" ({reason})" if "while evaluating" in reason or "nknown function" in reason else ""
    return ""
