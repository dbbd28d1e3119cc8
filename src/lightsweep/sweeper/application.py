"""What the sweeper asks of the program that it sweeps: `Application`, whose answers suit any Hydra app.

A program with other answers marks its job's function: ``@sweepable(application)`` below ``@hydra.main``. Imported
at every start, so neither Optuna nor torch is.
"""

import logging
import os
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import first_line
from lightsweep.sweeper.references import Portable

if TYPE_CHECKING:
    from lightsweep.sweeper.plan import Plan
    from lightsweep.sweeper.space import Space

_ATTRIBUTE = "lightsweep_application"
_OF_OPTUNA = re.compile(
    r"optuna\.(samplers\.[A-Za-z]+Sampler|pruners\.[A-Za-z]+Pruner)|lightsweep\.sweeper\.auto\.Auto(Sampler|Pruner)"
)


class Application:
    """The program that is swept: what is code, not a setting of ``hydra.sweeper``. This class is any Hydra app's.

    Any app gets: all that its trials record as columns, and all numbers of its results in a confirmation; minimize
    where no direction is set; samplers, pruners and functions of any importable name, as in Hydra; no check of the
    config beyond Hydra's own and the function ``hydra.sweeper.validate``; trials that may each read other data.

    Attributes:
        columns: recorded names that the leaderboard shows, in this order; none for all that trials have recorded.
        scores: entries of a job's result that a confirmation keeps, the most telling first; none for all numbers.
        result_file: in a job's folder, a JSON object with the job's result: ``status``, as a `JobState` is written,
            ``overrides`` and what was recorded, by name. The sweeper writes one where the program has not.
        records: further files of that folder that come back from another machine.
        data_file: the one of them that describes the data which the job has read; None where there is none.
        copies_jobs: a worker makes the config of a job from that of an earlier one where they differ in plain values
            alone, as `job_copies` does; else Hydra composes each anew.
    """

    columns: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    result_file: str = "job_result.json"
    records: tuple[str, ...] = ()
    data_file: str | None = None
    copies_jobs = False

    @property
    def program(self) -> str:
        """The command that runs it, without arguments."""
        script, spec = sys.argv[0], sys.modules["__main__"].__spec__
        if spec is not None and spec.origin == script:
            return f"python -m {spec.name.removesuffix('.__main__')}"
        if Path(script).suffix == ".py" or not os.access(script, os.X_OK):
            return f"python {shlex.quote(script)}"
        is_on_path = shutil.which(Path(script).name) == script  # of an installed package
        return shlex.quote(Path(script).name if is_on_path else script)

    def report_command(self, folder: Path, storage: str | None) -> str | None:
        """The command that writes a page of a sweep; None where there is none.

        Args:
            storage: the study's, where it is not in the folder.
        """
        return None

    def objective(self, config: DictConfig) -> tuple[str, str | None]:
        """The name of the value that a job returns, where ``hydra.sweeper.metric`` has none, and minimize or maximize,
        where the config decides it; in any app "value", and None: only the user can say."""
        return "value", None

    def foresee(self, name: str) -> Callable[[DictConfig], float] | None:
        """The function of a trial's config that gives a recorded value before training; None where only training
        tells, or ``hydra.sweeper.foresee`` names one."""
        return None

    def measures(self, config: DictConfig) -> Mapping[str, str | None] | None:
        """What each trial with this config returns or records, by name, with minimize or maximize where only one makes
        sense; in any app None: only the first trial shows it."""
        return None

    def build(self, node: DictConfig, key: str) -> Any:
        """The sampler or pruner that a node describes; in any app whatever the node names.

        Raises:
            ConfigError: it cannot be built; names the key.
        """
        try:
            with warnings.catch_warnings():  # Hydra 1.4 warns where the app gives `hydra.main` no execution whitelist
                warnings.filterwarnings("ignore", message=r"[\s\S]*_execution_whitelist_", category=UserWarning)
                return instantiate(node, _convert_="all", **_allowance(node))
        except Exception as error:  # Hydra 1.4 passes on what a class raises, Hydra 1.3 wraps it
            raise ConfigError(f"{key}: {first_line(str(error.__cause__ or error))}") from error

    def find_function(self, name: str, key: str) -> Callable[..., Any]:
        """The function of this name, which the user gave under a key of ``hydra.sweeper``.

        Raises:
            ConfigError: there is none, or it must not be called.
        """
        log = logging.getLogger(get_method.__module__)
        log.disabled = True  # it would print the error, too
        try:
            return get_method(name)
        except (ImportError, ValueError) as error:
            reason = first_line(str(error.__cause__ or error)).rstrip(":")
            raise ConfigError(f"{key}: there is no function {name} ({reason})") from error
        finally:
            log.disabled = False

    def takes_list(self, config: Mapping[str, Any], key: str) -> bool:
        """Whether a list can be the value of this key, which has none in the config."""
        return True

    def places(self, plan: "Plan") -> int:
        """How many trials a worker is best given at once, for ``hydra.sweeper.population=auto``, as far as speed and
        memory go; in any app 1."""
        return 1

    def check_population(self, plan: "Plan") -> None:
        """Refuse a search none of whose trials ``hydra.sweeper.batch_function`` can train together with others.

        Raises:
            ConfigError: names ``hydra.sweeper.population``.
        """

    def check_space(self, space: "Space", metric: str) -> None:
        """Refuse a search space, before any config is composed.

        Raises:
            ConfigError: trials could not be compared, or keys exclude each other.
        """

    def check_config(self, config: DictConfig, overrides: Sequence[str], *, in_this_process: bool) -> None:
        """Refuse the config that all trials share.

        Args:
            overrides: that were typed for it.
            in_this_process: the jobs run in the sweeper's process.

        Raises:
            ConfigError: names the key.
        """

    def check_drawn(self, config: DictConfig, overrides: Sequence[str]) -> None:
        """Refuse a drawn trial's config.

        Args:
            overrides: of the trial.

        Raises:
            ConfigError: names the key.
        """

    def check_plan(self, plan: "Plan", *, in_this_process: bool) -> None:
        """Refuse what shows only over many trials, such as a choice that a config group does not have; the last check
        before the study is opened.

        Raises:
            ConfigError: names the key.
        """
        for parameter in plan.space.parameters:
            group = parameter.key.lstrip("+").partition("@")[0]
            if not (known := plan.context.config_loader.get_group_options(group)):
                continue
            for choice in getattr(parameter.distribution, "choices", ()):
                if isinstance(choice, str) and "/" not in choice and choice not in known:
                    raise ConfigError(f"{parameter.key} must be one of {', '.join(known)}, got {choice}")

    def kept_overrides(
        self, started_with: Mapping[str, Any], config: DictConfig, typed: Sequence[str]
    ) -> tuple[str, ...]:
        """Overrides with which a study keeps the values that it was started with, where a default has changed since.

        Args:
            started_with: what was fixed then, by key.
        """
        return ()

    def own_config(self, config: DictConfig) -> DictConfig:
        """The part of a composed config that does not depend on the run's folder."""
        return config

    def later_keys(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a later version of the app added to a config, both by key, with the values that change nothing.

        Args:
            config: of a study that an earlier version may have started.
        """
        return {}

    def reads_same_data(self, space: "Space", config: DictConfig) -> bool:
        """Whether all trials read the same data, so that `data_digest` can be compared."""
        return False

    def same_data(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether trials with these configs, by key, read the same data as far as the configs say."""
        return True

    def allows_changed_data(self, config: DictConfig) -> bool:
        """Whether a study may be resumed where the data have changed."""
        return False

    def data_digest(self, folder: Path) -> str | None:
        """The digest of the data that the run in a folder has read, from its `data_file`; None where it is unknown."""
        return None


def _allowance(node: DictConfig) -> dict[str, Any]:
    """What lets Optuna's own classes pass a whitelist that the app gives `hydra.main`. Hydra 1.3 has none."""
    targets, name = list(targets_of(OmegaConf.to_container(node))), "_execution_whitelist_"
    allowed = name in signature(instantiate).parameters and all(map(_OF_OPTUNA.fullmatch, targets))
    return {name: targets} if allowed else {}


def targets_of(node: Any) -> Iterator[str]:
    """Of a node and all below it: samplers and pruners may wrap others."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from targets_of(value)


def without_hydra(config: DictConfig) -> DictConfig:
    """A composed config as a job's function gets it."""
    own = config.copy()
    OmegaConf.set_readonly(own, False)
    with open_dict(own):
        own.pop("hydra", None)
    return own


def sweepable(application: Application) -> Callable[[Callable[[DictConfig], Any]], Portable]:
    """Give the sweeper this application with a job's function. Use it below ``hydra.main``."""

    def mark(function: Callable[[DictConfig], Any]) -> Portable:
        setattr(function, _ATTRIBUTE, application)
        return Portable(function)

    return mark


def application_of(function: Callable[..., Any]) -> Application:
    """The application that a job's function was marked with, whatever its decorators."""
    return getattr(function, _ATTRIBUTE, None) or Application()
