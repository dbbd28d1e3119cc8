"""What the sweeper's process has and its workers may lack: a worker imports the script, and what only the script's main
part does, below ``if __name__ == "__main__"``, does not happen there."""

import pickle
import re
from collections.abc import Mapping
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import first_line

IN_THIS_PROCESS = "hydra.sweeper.n_jobs=0 runs trials in this process"
MAIN_ONLY = (
    "what runs only below `if __name__ == '__main__'` does not run in it; move it to the top of the module, or"
    f" {IN_THIS_PROCESS}"
)
_RESOLVERS = re.compile(r"\$\{([\w.]+):")


def registered(config: DictConfig) -> frozenset[str]:
    """What code has registered in this process: each ``config PATH`` of Hydra's ConfigStore, and each ``resolver NAME``
    of OmegaConf that a config uses."""
    resolvers = filter(OmegaConf.has_resolver, set(_RESOLVERS.findall(OmegaConf.to_yaml(config))))
    configs, groups = set[str](), [("", ConfigStore.instance().repo)]
    while groups:
        above, entries = groups.pop()
        for name, entry in entries.items():
            if isinstance(entry, dict):
                groups.append((f"{above}{name}/", entry))
            else:
                configs.add(f"config {above}{name.removesuffix('.yaml')}")
    return frozenset({f"resolver {name}" for name in resolvers} | configs)


def find_lost(needed: frozenset[str], config: DictConfig, error: str) -> str | None:
    """What an error is about that the sweeper's process has, and this one has not; None where it is another error.

    Args:
        needed: as `registered` there.
        error: its text.
    """
    lost = sorted(needed - registered(config))
    configs = [name for name in lost if name.startswith("config ") and f"'{name.removeprefix('config ')}'" in error]
    if configs:
        return f"the config store has the {configs[0]}"
    resolvers = [name for name in lost if error.endswith(f"nsupported interpolation type {name.rpartition(' ')[2]}")]
    return f"the config uses the {resolvers[0]}" if resolvers else None


def why_not_started(end: Exception | int) -> str:
    """Why no worker can start.

    Args:
        end: what a worker's imports have raised, or its exit code.
    """
    if isinstance(end, int):
        rule = "only below `if __name__ == '__main__'` may it start the app"
        return f"a worker ended with exit code {end} as it imported the script: {rule}; {IN_THIS_PROCESS}"
    hint = f": {MAIN_ONLY}" if isinstance(end, AttributeError) else f"; {IN_THIS_PROCESS}"  # of a pickle
    return f"a worker cannot start ({describe(end)}){hint}"


def check_pickles(named: Mapping[str, Any]) -> None:
    """See that workers can be given what they need, by the name that a message has for it.

    Raises:
        ConfigError: one cannot be pickled.
    """
    for name, value in named.items():
        try:
            pickle.dumps(value)
        except Exception as error:  # any that its own methods raise
            raise ConfigError(f"{name} cannot be sent to workers ({describe(error)}); {IN_THIS_PROCESS}") from error


def describe(error: BaseException) -> str:
    """The type and the first line of an error; the type alone where it says nothing."""
    return f"{type(error).__name__}: {first_line(str(error))}".removesuffix(": ")
