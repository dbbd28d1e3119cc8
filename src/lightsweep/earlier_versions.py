"""Runs of earlier versions, whose config.yaml lacks keys that came later."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightsweep.run_folder import ROOT

_DATA = ROOT / "conf" / "data"
_SHARED = "_common.yaml"


def fill_up_data(config: DictConfig) -> None:
    """Give a run's own node data, in place, what it lacks of the keys that its file in conf/data has now.

    By default such keys change nothing. A data set of somebody else's is left alone.
    """
    node = config.get("data")
    if not isinstance(node, DictConfig):
        return
    for defaults in _files(node.get("_target_")):
        node = OmegaConf.merge(defaults, node)
        config.data = node


def _files(target: Any) -> Iterator[DictConfig]:
    """The defaults of the data set with this ``_target_``: first its own, then those that all share."""
    for path in sorted(_DATA.glob("[!_]*.yaml")):
        own = OmegaConf.load(path)
        if isinstance(own, DictConfig) and own.get("_target_") == target:
            own.pop("defaults", None)
            shared = OmegaConf.load(_DATA / _SHARED)
            assert isinstance(shared, DictConfig)
            yield own
            yield shared
            return
