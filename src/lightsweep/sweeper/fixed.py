"""What a study holds fixed: its trials can only be compared while this stays the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import read_regular, write_atomic
from lightsweep.core.moved import with_new_names
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.trials import folder_of

_SPACE, _CONFIG, _BESIDE = "space", "config", "beside"


def fixed_settings(plan: Plan) -> dict[str, Any]:
    """What a sweep holds fixed."""
    config = plan.compose(plan.space.fixed)
    return {
        _SPACE: plan.space.describe(),
        _CONFIG: _fixed(config, plan) | {"hydra.sweeper.seeds": plan.settings.seeds},
        _BESIDE: _beside(config, plan.space),  # apart: a study that was begun before it was kept has none
    }


def check_unchanged(study: optuna.Study, now: Mapping[str, Any], plan: Plan) -> None:
    """Compare what is fixed with what a study was begun with; nothing is written.

    Raises:
        ConfigError: something differs, and hydra.sweeper.allow_changed_space is false. Names what was, and what is.
    """
    before = _before(study)
    derived = plan.application.derived_keys
    changes = [
        change for name in now if before[name] is not None for change in _changes(before[name], now[name], derived)
    ]
    if changes and not plan.settings.allow_changed_space:
        raise ConfigError(
            f"the study {study.study_name!r} was begun with other settings: {'; '.join(changes[:5])}"
            f"{f'; and {len(changes) - 5} more' if len(changes) > 5 else ''}. Take another hydra.sweeper.study_name, or"
            " go on anyway with hydra.sweeper.allow_changed_space=true"
        )


def kept_overrides(study: optuna.Study, plan: Plan) -> tuple[str, ...]:
    """Overrides with which the study keeps what it was begun with, where a default has changed since."""
    return plan.application.kept_overrides(study.user_attrs.get(_CONFIG) or {}, plan.config, plan.space.fixed)


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


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], derived: Sequence[str]) -> list[str]:
    return [
        f"{key} was {before.get(key, 'not there')}, is {now.get(key, 'not there')}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in derived
    ]


def _fixed(config: DictConfig, plan: Plan) -> dict[str, Any]:
    searched = tuple(parameter.key.lstrip("+") for parameter in plan.space.parameters)
    left_out = (*plan.application.free_keys, *searched)
    return {key: value for key, value in _flat("", config) if not _below(key, left_out)}


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


class StudyData:
    """Which data a study was begun with: a digest, an attribute of the study, and the record of it, in its folder.

    Both are taken from the first trial that has read its data. Nothing is kept where trials read different data.
    """

    def __init__(self, study: optuna.Study, plan: Plan) -> None:
        self.study, self.folder, self.application = study, plan.folder, plan.application
        self.allow_change = plan.application.allows_changed_data(plan.config)
        self.is_same = plan.application.reads_same_data(plan.space, plan.config)

    def expected(self) -> tuple[str, str] | None:
        """For a `Job`; None where nothing is known yet, or the data may be any."""
        if self.allow_change or not self.is_same:
            return None
        if self._digest() is None:
            self._take(sorted(self.folder.glob(f"trial-*/{self.application.data_file}"))[:1])
        digest = self._digest()
        return None if digest is None else (digest, str(self.folder.absolute()))

    def renew(self, number: int) -> bool:
        """Look at the data of a trial that ended; True where they are not those that the study had."""
        before = self._digest()
        if not self.is_same:
            return False
        if before is None or self.allow_change:
            self._take(sorted((self.folder / folder_of(number)).glob(f"**/{self.application.data_file}")))
        return before not in (None, self._digest())

    def _digest(self) -> str | None:
        return self.study.user_attrs.get("data")

    def _take(self, records: Sequence[Path]) -> None:
        for record in records:
            digest = self.application.data_digest(record.parent)
            if digest is not None and digest != self._digest():
                write_atomic(self.folder / record.name, read_regular(record))
                self.study.set_user_attr("data", digest)
