"""The connection to Ray, and what a trial takes of its nodes."""

import importlib.util
import logging
import os
import socket
import warnings
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightsweep.core import checks, secrets, signals
from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.application import search_path
from lightsweep.sweeper.plan import Plan

_ANSWER_SECONDS = 10.0  # seconds that a cluster's head may take to answer


def check_ray(plan: Plan) -> None:
    """Connect to Ray.

    Raises:
        ConfigError: it is not installed, cannot be reached, or has no room for a trial.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("hydra.sweeper.executor=ray needs the package ray (pip install -e '.[ray]')")
    import ray

    _check_wanted(plan)
    connect_to_ray(plan)
    if _address(plan) is None and not has_room(wanted(plan), ray.nodes()):
        needs, there = describe_resources(wanted(plan)), describe_resources(ray.cluster_resources())
        raise ConfigError(
            f"{_key(plan)}: a trial takes {needs}, and this machine has {there} for Ray (RAY_ADDRESS names a cluster)"
        )


def connect_to_ray(plan: Plan) -> None:
    """Connect to Ray, or start one here; once a process, in its main thread.

    Raises:
        ConfigError: it cannot be reached, or its keys make no sense.
    """
    import ray

    if ray.is_initialized():
        return
    _check_answers(_address(plan))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings = {"log_to_driver": False, "logging_level": logging.ERROR, **_launcher(plan, "init")}
    runtime = settings.get("runtime_env") or {}
    settings["runtime_env"] = {**runtime, "env_vars": {**_variables(), **runtime.get("env_vars", {})}}
    if _address(plan) is None:
        settings.setdefault("include_dashboard", False)
    try:
        # Ray lets its workers find modules in the working directory, which may be somebody else's: this is src.
        with signals.keeping_handlers(), chdir(Path(__file__).parents[3]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(**settings)
    except Exception as error:  # a cluster that does not answer, a version of Ray or Python that is another there
        where = _address(plan) or "this machine"
        raise ConfigError(f"Ray cannot be used on {where}: {' '.join(str(error).split())[:300]}") from error


def _check_answers(address: str | None) -> None:
    """See that a cluster answers: Ray would try for minutes.

    Raises:
        ConfigError: none does, or it is no head's address.
    """
    if address in (None, "auto", "local"):
        return
    host, _, port = str(address).rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise ConfigError(f"RAY_ADDRESS must be HOST:PORT of a cluster's head, seen from a node of it, got {address!r}")
    try:
        socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError, ValueError) as error:
        raise ConfigError(f"RAY_ADDRESS={address}: no cluster of Ray answers ({error})") from error


def _address(plan: Plan) -> str | None:
    """Of the cluster; None for one that is started here."""
    return _launcher(plan, "init").get("address") or os.environ.get("RAY_ADDRESS") or None


def _variables() -> dict[str, str]:
    """The environment that tasks get from here: a node has only its own. No address with a password is among it."""
    ours = {
        name: value for name, value in os.environ.items() if name.startswith("LIGHTSWEEP_") and name != secrets.VARIABLE
    }
    return {**ours, "PYTHONPATH": os.pathsep.join(search_path()), "PYTHONSAFEPATH": "1"}


def _launcher(plan: Plan, node: str) -> dict[str, Any]:
    """``hydra.launcher.ray.NODE``, with the launcher of Ray."""
    if plan.config.hydra.runtime.choices.get("hydra/launcher") != "ray":
        return {}
    settings: Any = OmegaConf.to_container(plan.config.hydra.launcher.ray[node], resolve=True)
    return settings or {}


def wanted(plan: Plan) -> dict[str, Any]:
    """What a trial takes of a node, as Ray's options."""
    if plan.settings.executor == "ray":
        return dict(plan.settings.ray)
    return _launcher(plan, "remote")


def _check_wanted(plan: Plan) -> None:
    """See that Ray takes its options.

    Raises:
        ConfigError: it does not.
    """
    import ray

    for name in ("num_cpus", "num_gpus"):
        checks.number(f"{_key(plan)}.{name}", wanted(plan).get(name) or 0, "[0, inf)")
    try:
        ray.remote(**{"max_retries": 0, **wanted(plan)})(connect_to_ray)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{_key(plan)} cannot be used: {' '.join(str(error).split())[:300]}") from error


def _key(plan: Plan) -> str:
    return "hydra.sweeper.ray" if plan.settings.executor == "ray" else "hydra.launcher.ray.remote"


def has_room(options: dict[str, Any], nodes: Sequence[dict[str, Any]]) -> bool:
    """Whether one of the nodes is large enough for a task with these options."""
    needs = {"CPU": options.get("num_cpus", 1), "GPU": options.get("num_gpus", 0)}
    return any(all(node["Resources"].get(name, 0.0) >= amount for name, amount in needs.items()) for node in nodes)


def describe_resources(resources: dict[str, Any]) -> str:
    cpus = resources.get("num_cpus", resources.get("CPU", 0))
    gpus = resources.get("num_gpus", resources.get("GPU", 0))
    return f"{cpus:g} CPUs and {gpus:g} GPUs"
