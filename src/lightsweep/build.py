"""From a node of the config to the object it names, under the whitelist, with errors that name the node's key."""

from collections.abc import Sequence
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from lightsweep.errors import ConfigError
from lightsweep.trust import WHITELIST


def build(node: DictConfig, key: str, whitelist: Sequence[str] = WHITELIST, **objects: Any) -> Any:
    """Call the node's ``_target_``, which must be on the whitelist, with its values and the given objects.

    Raises:
        ConfigError: the target may not be called, or refused its arguments.
    """
    try:
        return instantiate(node, **objects, _convert_="all", _execution_whitelist_=list(whitelist))
    except OSError:  # about a file, not about a value
        raise
    except Exception as error:  # each library has its own for an argument that it cannot use
        raise _config_error(error, key) from error


def explain(error: BaseException, key: str) -> ConfigError:
    """A library's complaint about its arguments, as one line that begins with the key."""
    return ConfigError(f"{key}: {_one_line(error)}")


def _config_error(error: BaseException, key: str) -> ConfigError:
    origin = error.__cause__ or error
    if isinstance(origin, OSError):
        raise origin
    return ConfigError(_one_line(origin)) if isinstance(origin, ConfigError) else explain(origin, key)


def _one_line(error: BaseException) -> str:
    said = str(error).partition("\nfull_key:")[0]  # Hydra's addition
    return " ".join(said.split())
