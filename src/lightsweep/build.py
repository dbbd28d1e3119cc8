"""From a node of the config to the object it names, under the whitelist, with errors that name the node's key."""

from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lightsweep.errors import ConfigError
from lightsweep.trust import WHITELIST


def build(node: DictConfig, key: str, **objects: Any) -> Any:
    """Call the node's ``_target_`` with its values and the given objects.

    Raises:
        ConfigError: the target may not be called, or refused its arguments.
    """
    try:
        return instantiate(node, **objects, _convert_="all", _execution_whitelist_=list(WHITELIST))
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, TypeError, ValueError) as error:
        raise _config_error(error, key) from error


def explain(error: BaseException, key: str) -> ConfigError:
    """A library's complaint about its arguments, as one line that begins with the key."""
    return ConfigError(f"{key}: {' '.join(str(error).split())}")


def _config_error(error: BaseException, key: str) -> ConfigError:
    cause = error.__cause__
    if isinstance(cause, ConfigError):
        return cause
    return explain(cause or error, key)
