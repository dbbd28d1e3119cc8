"""What a sweep says when it ends: what came of it, and what to type next."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from lightsweep.core import secrets
from lightsweep.core.text import printable
from lightsweep.sweeper.ledger import ended
from lightsweep.sweeper.storage import Address, is_server
from lightsweep.sweeper.time_left import in_words
from lightsweep.sweeper.view import counted

_ADDED = ("hydra.mode=MULTIRUN",)  # by `cli.prepare`, not by the user


def summary(trials: Sequence[FrozenTrial], before: int, seconds: float) -> str:
    """How the trials ended.

    Args:
        before: how many had ended when this sweep began.
        seconds: that this sweep took.
    """
    counts = ", ".join(f"{count} {state}" for state, count in counted(trials).items())
    done = ended(trials)
    new = f"; {done - before} of them now" if before else ""
    return f"{done} trial{'s' * (done != 1)}: {counts}{new}, in {in_words(seconds)}"


def page_command(folder: Path, address: Address) -> str:
    """The command that writes the page of the sweep."""
    where = shlex.quote(str(folder))
    storage = f" --storage {shlex.quote(address.place)}" if is_server(address) and "://" in address.place else ""
    return f"python src/report.py {where} --html {shlex.quote(str(folder / 'report.html'))}{storage}"


def say_how_to_go_on(trials: Sequence[FrozenTrial], n_trials: int, typed: Sequence[str]) -> None:
    """The one line at the end of a sweep that was interrupted.

    Args:
        typed: the command's arguments.
    """
    again = sum(trial.state == TrialState.WAITING and "retry_of" in trial.user_attrs for trial in trials)
    rest = f", {again} {'is' if again == 1 else 'are'} to be run again" if again else ""
    line = f"interrupted: {ended(trials)} of {n_trials} trials have ended{rest}; {command(typed)} goes on"
    print(printable(secrets.redacted(line)), file=sys.stderr, flush=True)


def command_with(key: str, value: object, typed: Sequence[str]) -> str:
    """What was typed, with another value of a key."""
    others = [part for part in typed if not part.lstrip("+").startswith(f"{key}=")]
    return secrets.redacted(command([*others, f"{key}={value}"]))


def command(typed: Sequence[str]) -> str:
    """What was typed, ready to be typed again; an address that was taken out of it belongs into the environment."""
    kept = [part for part in typed if part not in _ADDED and secrets.INTERPOLATION not in part]
    given = f"{secrets.VARIABLE}=… " if any(secrets.INTERPOLATION in part for part in typed) else ""
    return f"{given}python src/train.py {shlex.join(kept)}"
