"""Runs of earlier versions, whose config.yaml lacks keys that came later."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightsweep.runs.metrics import mode_of
from lightsweep.runs.run_folder import ROOT

_SHARED = "_common.yaml"


def fill_up(own: DictConfig, composed: DictConfig) -> None:
    """Give a run's own config, in place, the keys that came with a later version.

    Args:
        composed: today's config, as Hydra composes it, where those keys have their defaults.
    """
    for key in composed.keys() - own.keys() - {"resume"}:
        own[key] = composed._get_node(key)
    for group in ("data", "model"):
        own[group] = whole(group, own.get(group))
    _fill_up_classes(own, composed)
    _let_mode_follow(own, composed)


def _let_mode_follow(own: DictConfig, composed: DictConfig) -> None:
    """Runs of earlier versions noted the monitor's mode, which follows from its metric: another may be typed."""
    noted = own.get("monitor")
    if isinstance(noted, DictConfig) and noted.get("mode") == mode_of(str(noted.get("metric"))):
        noted["mode"] = composed.monitor._get_node("mode")


def whole(group: str, node: Any) -> Any:
    """A run's own node data or model, with what it lacks of the keys that its file in conf/ has now.

    By default such keys change nothing. A class of somebody else's, and what is no node, is as it was.
    """
    if isinstance(node, DictConfig):
        for defaults in _files(ROOT / "conf" / group, node.get("_target_")):
            node = OmegaConf.merge(defaults, node)
    return node


def _files(group: Path, target: Any) -> Iterator[DictConfig]:
    """The defaults of what has this ``_target_``: first its own, then those that its group shares."""
    for path in sorted(group.glob("[!_]*.yaml")):
        own = OmegaConf.load(path)
        if isinstance(own, DictConfig) and own.get("_target_") == target:
            own.pop("defaults", None)
            yield own
            if (group / _SHARED).is_file():
                shared = OmegaConf.load(group / _SHARED)
                assert isinstance(shared, DictConfig)
                yield shared
            return


def _fill_up_classes(own: DictConfig, composed: DictConfig) -> None:
    """Give our own classes the arguments that came with a later version: they have no defaults of their own.

    torch's and Lightning's have, so that a key which a run left out is left out.
    """
    target = own["_target_"] if "_target_" in own else None  # noqa: SIM401  # a node may be null
    if str(target).startswith("lightsweep.") and target == composed.get("_target_"):
        for key in composed.keys() - own.keys():
            own[key] = composed._get_node(key)
    for key in own.keys() & composed.keys():
        mine, theirs = own._get_node(key), composed._get_node(key)
        if isinstance(mine, DictConfig) and isinstance(theirs, DictConfig):
            _fill_up_classes(mine, theirs)
