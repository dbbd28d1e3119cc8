"""What a study holds fixed: its trials can only be compared while this stays the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.core.moved import with_new_names
from lightsweep.data import split
from lightsweep.runs import data_record
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.trials import folder_of

_SPLIT, _BY_PLACE = "data.split", ("first", "random", "stratified")
_SPACE, _CONFIG, _BESIDE = "space", "config", "beside"
# Where a run is, what it prints, and what it runs on may change while a study goes on.
_FREE = (
    "hydra",
    "name",
    "run_dir",
    "resume",
    "data_dir",
    "allow_changed_data",
    "threads",
    "test",
    "lr_find",
    "lr_find_range",
    "logger",
    "callbacks.progress",
    "callbacks.lr_monitor",
    "callbacks.figures",
    "callbacks.histograms",
    "callbacks.graph",
    "report",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.strategy",
)
# They follow from the metric beside them; configs of earlier versions say them.
_FOLLOWING = ("monitor.mode", "scheduler.mode", "callbacks.early_stopping.mode", "callbacks.checkpoint.mode")


def fixed_settings(space: Space, config: DictConfig, seeds: Sequence[int] | None) -> dict[str, Any]:
    """What a sweep holds fixed."""
    return {
        _SPACE: space.describe(),
        _CONFIG: _fixed(config, space) | {"hydra.sweeper.seeds": seeds and list(seeds)},
        _BESIDE: _beside(config, space),  # apart: a study that was begun before it was kept has none
    }


def check_unchanged(study: optuna.Study, now: Mapping[str, Any], *, allow_change: bool) -> None:
    """Compare what is fixed with what a study was begun with; nothing is written.

    Raises:
        ConfigError: something differs, and `allow_change` is false. Names what was, and what is.
    """
    before = _before(study)
    changes = [change for name in now if before[name] is not None for change in _changes(before[name], now[name])]
    if changes and not allow_change:
        raise ConfigError(
            f"the study {study.study_name!r} was begun with other settings: {'; '.join(changes[:5])}"
            f"{f'; and {len(changes) - 5} more' if len(changes) > 5 else ''}. Take another hydra.sweeper.study_name, or"
            " go on anyway with hydra.sweeper.allow_changed_space=true"
        )


def earlier_split(study: optuna.Study, config: DictConfig, typed: Sequence[str]) -> tuple[str, ...]:
    """The override with which a study that was begun before image folders were split by file keeps its split."""
    before = (study.user_attrs.get(_CONFIG) or {}).get(_SPLIT)
    said = any(line.partition("=")[0].lstrip("+") == _SPLIT for line in typed)
    if said or before not in _BY_PLACE or OmegaConf.select(config, _SPLIT) != split.BY_FILE:
        return ()
    return (f"{_SPLIT}={before}",)


def keep_settings(study: optuna.Study, now: Mapping[str, Any]) -> None:
    """Keep what is fixed in the study, and from which trial on it holds."""
    before = _before(study)
    if any(before[name] not in (None, now[name]) for name in (_CONFIG, _BESIDE)):
        study.set_user_attr("changed_at", len(study.get_trials(deepcopy=False)))
    for name, value in now.items():
        if before[name] != value:
            study.set_user_attr(name, value)


def _before(study: optuna.Study) -> dict[str, Any]:
    attributes = study.user_attrs
    return {name: with_new_names(attributes.get(name)) for name in (_SPACE, _CONFIG, _BESIDE)}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} was {before.get(key, 'not there')}, is {now.get(key, 'not there')}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in _FOLLOWING
    ]


def _fixed(config: DictConfig, space: Space) -> dict[str, Any]:
    searched = tuple(parameter.key.lstrip("+") for parameter in space.parameters)
    return {key: value for key, value in _flat("", config) if not _below(key, (*_FREE, *searched))}


def _beside(config: DictConfig, space: Space) -> dict[str, Any]:
    """What is fixed beside what is searched: the user's own function, and below a group that is searched, as the
    optimizer, what was typed; the rest there is each choice's own."""
    searched = [parameter.key for parameter in space.parameters]
    typed = OverridesParser.create().parse_overrides(list(space.fixed))
    below = {
        each.key_or_group: "deleted" if each.is_delete() else each.value()
        for each in typed
        if _below(each.key_or_group, searched)
    }
    return {
        "hydra.sweeper.custom_search_space": OmegaConf.select(config, "hydra.sweeper.custom_search_space"),
        **below,
    }


def _flat(prefix: str, node: Any) -> list[tuple[str, Any]]:
    contents = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node
    if not isinstance(contents, dict) or not contents:
        return [(prefix, contents)]
    return [
        entry for key, value in contents.items() for entry in _flat(f"{prefix}.{key}" if prefix else str(key), value)
    ]


def _below(key: str, roots: Sequence[str]) -> bool:
    return any(key == root or key.startswith(f"{root}.") for root in roots)


_DIGEST = "data"  # an attribute of the study


class StudyData:
    """The digest is an attribute of the study, the whole record a file in its folder, both from the first trial that
    had read its data.

    Args:
        allow_change: take whatever the trials find from now on.
        is_one: all trials have the same data; else nothing is kept and nothing is compared.
    """

    def __init__(self, study: optuna.Study, folder: Path, *, allow_change: bool, is_one: bool) -> None:
        self.study, self.folder, self.allow_change, self.is_one = study, folder, allow_change, is_one

    def expected(self) -> tuple[str, str] | None:
        """For an `Assignment`; None where nothing is known yet, or any data will do."""
        if self.allow_change or not self.is_one:
            return None
        if self._digest() is None:
            for record in sorted(self.folder.glob(f"trial-*/{data_record.FILE}")):
                self._take(record.parent)
                break
        digest = self._digest()
        return None if digest is None else (digest, str(self.folder.absolute()))

    def renew(self, number: int) -> bool:
        """Look at what a trial that ended has found; True where it is not what the study had."""
        before = self._digest()
        if not self.is_one:
            return False
        if before is None or self.allow_change:
            for record in sorted((self.folder / folder_of(number)).glob(f"**/{data_record.FILE}")):
                self._take(record.parent)
        return before not in (None, self._digest())

    def _digest(self) -> str | None:
        return self.study.user_attrs.get(_DIGEST)

    def _take(self, folder: Path) -> None:
        found = data_record.read_if_valid(folder)
        if found is not None and found.digest != self._digest():
            data_record.write(self.folder, found)
            self.study.set_user_attr(_DIGEST, found.digest)
