"""From a node of the config to the object it names, under the whitelist, with errors that name the node's key."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from lightsweep.errors import ConfigError
from lightsweep.trust import WHITELIST

# What Hydra advises is for programmers; a person at the command line can do this.
_ADVICE = {
    r"Pass _execution_whitelist_ from trusted code to allow expected targets\.": (
        "LIGHTSWEEP_TRUST names code of your own that a config may call (README: a network of your own)"
    ),
    r"(No module named .*?\)) Are you sure that module .* is installed\?": (
        r"\1: is it installed? PYTHONPATH=. finds the modules of this folder"
    ),
}


def build(node: DictConfig, key: str, whitelist: Sequence[str] = WHITELIST, **objects: Any) -> Any:
    """Call the node's ``_target_``, which must be on the whitelist, with its values and the given objects.

    Raises:
        ConfigError: the target may not be called, or refused its arguments.
    """
    with _naming(key):
        return instantiate(node, **objects, _convert_="all", _execution_whitelist_=list(whitelist))


def finish(deferred: partial, key: str, **objects: Any) -> Any:
    """Call what was built with ``_partial_`` with the objects that it lacks.

    Raises:
        ConfigError: it refused its arguments, or made something that is not on the whitelist.
    """
    with _naming(key):
        return deferred(**objects)


@contextmanager
def _naming(key: str) -> Iterator[None]:
    try:
        yield
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
    said = " ".join(str(error).partition("\nfull_key:")[0].split())  # without Hydra's addition
    for advice, ours in _ADVICE.items():
        said = re.sub(advice, ours, said)
    return said
