"""Two comparisons: a job's config with the app's defaults, for the file that runs it again; and what a study was
started with, config and data, with what is there now: trials can only be compared while that stays the same.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import read_regular, write_atomic
from lightsweep.core.moved import with_new_names
from lightsweep.core.overrides import is_below
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.constraints import KEY as _CONSTRAINTS
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.trials import folder_of

BEST_FILE = "best.yaml"  # of a study, the best trial
REPEAT_FILE = "repeat.yaml"  # of a job of a sweep, itself
_SPACE, CONFIG, _TYPED = "space", "config", "beside"  # attributes, as version 0.1 named them


def write_config(
    file: Path, comment: str, config: DictConfig, base: DictConfig, loader: ConfigLoader, application: Application
) -> None:
    """Write a config that one command runs: what differs from the defaults, and nothing else.

    Args:
        comment: its first line.
        config: composed for a job of the sweep.
        base: the sweep's own.
    """
    name, left_out = base.hydra.job.config_name, ("hydra", *map(str, base.hydra.sweeper.not_in_best))
    choices: dict[str, str | None] = {
        str(group): choice
        for group, choice in config.hydra.runtime.choices.items()
        if choice and not str(group).startswith("hydra/") and "@" not in group and group not in left_out
    }
    further = [f"hydra.searchpath={list(base.hydra.searchpath)}"] if base.hydra.searchpath else []
    added, defaults = _compose_chosen(loader, name, choices, further)
    ours = _contents(application.own_config(config), left_out)
    theirs = dict(_default_contents(loader, name, _typed(choices, added, further), application, left_out))
    for group in [group for group in defaults.hydra.runtime.choices if group in theirs]:
        if _lacks_key(ours.get(group), theirs[group]):
            choices[group] = None  # a config can add keys to a choice, not remove them: all of them are written
            del theirs[group]
    # Hydra wants overrides last.
    order: list[Any] = [*([name] if name else []), *({group: choices.pop(group)} for group in added)]
    order += [*({f"override {group}": choice} for group, choice in choices.items()), "_self_"]
    hydra = {
        **({"searchpath": paths} if (paths := _search_path(base)) else {}),
        **({"mode": "RUN"} if defaults.hydra.mode == RunMode.MULTIRUN else {}),  # a choice starts sweeps
    }
    content = {"defaults": order, **({"hydra": hydra} if hydra else {}), **_difference(ours, theirs)}
    write_atomic(file, f"# {comment}\n{OmegaConf.to_yaml(OmegaConf.create(content))}")


def _compose_chosen(
    loader: ConfigLoader, name: str | None, choices: Mapping[str, Any], further: Sequence[str]
) -> tuple[list[str], DictConfig]:
    """The groups that no defaults list has, which were added with ``+GROUP=CHOICE``, and the defaults under these
    choices.

    Args:
        further: overrides.
    """
    added, known = list[str](), list[str]()
    while True:
        chosen = {group: choices[group] for group in (*known, *added)}
        defaults = _compose_defaults(loader, name, _typed(chosen, added, further))
        found = [group for group in choices if group in defaults.hydra.runtime.choices and group not in added]
        if found != known:
            known = found  # a choice may bring further groups
        elif rest := [group for group in choices if group not in (*known, *added)]:
            added.insert(0, rest[0])  # Hydra lists what was added last first, a group before those that it brings
        else:
            return added, defaults


def _typed(choices: Mapping[str, Any], added: Sequence[str], further: Sequence[str]) -> tuple[str, ...]:
    """The overrides that make these choices."""
    known = [group for group in choices if group not in added]
    chosen = [f"{'+' if group in added else ''}{group}={choices[group]}" for group in (*known, *added)]
    return (*further, *chosen)


@lru_cache(maxsize=16)
def _default_contents(
    loader: ConfigLoader,
    name: str | None,
    overrides: tuple[str, ...],
    application: Application,
    left_out: tuple[str, ...],
) -> dict[str, Any]:
    """The app's part of a config as plain values."""
    return _contents(application.own_config(_compose_defaults(loader, name, overrides)), left_out)


@lru_cache(maxsize=16)  # composing takes 0.1 s, and most trials have the same choices
def _compose_defaults(loader: ConfigLoader, name: str | None, overrides: tuple[str, ...]) -> DictConfig:
    return loader.load_configuration(config_name=name, overrides=list(overrides), run_mode=RunMode.RUN)


def _search_path(config: DictConfig) -> list[str]:
    """The folders of ``--config-dir`` and ``hydra.searchpath``, where the sweep found choices too."""
    return [
        f"{source.schema}://{source.path}"
        for source in config.hydra.runtime.config_sources
        if source.provider == "command-line" or source.provider.startswith("hydra.searchpath")
    ]


def _lacks_key(one: Any, other: Any) -> bool:
    """Whether the other has a key that the one has not."""
    if not isinstance(other, dict) or not isinstance(one, dict):
        return isinstance(other, dict) and bool(other)
    return any(key not in one or _lacks_key(one[key], value) for key, value in other.items())


def _contents(config: DictConfig, left_out: Sequence[str]) -> dict[str, Any]:
    contents: Any = OmegaConf.to_container(config, resolve=False)
    return {str(key): value for key, value in contents.items() if key not in left_out}


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What of the one the other lacks, or has with another value."""
    different: dict[str, Any] = {}
    for key, value in one.items():
        if isinstance(value, dict) and isinstance(other.get(key), dict):
            if nested := _difference(value, other[key]):
                different[key] = nested
        elif key not in other or value != other[key]:
            different[key] = value
    return different


def fixed_settings(plan: Plan) -> dict[str, Any]:
    """What a sweep holds fixed: the space, the config outside it, and below a group that is searched, as the optimizer,
    what was typed; the rest there is each choice's own."""
    config = plan.compose(plan.space.fixed)
    searched = [parameter.key for parameter in plan.space.parameters]
    free = (*plan.settings.may_change, *(key.lstrip("+") for key in searched))
    typed = {
        each.key_or_group: "deleted" if each.is_delete() else each.value()
        for each in OverridesParser.create().parse_overrides(list(plan.space.fixed))
        if is_below(each.key_or_group, searched)
    }
    extension = {"hydra.sweeper.custom_search_space": plan.settings.custom_search_space}
    return {
        _SPACE: plan.space.describe(),
        CONFIG: {key: value for key, value in flatten("", config) if not is_below(key, free)}
        | {"hydra.sweeper.seeds": plan.settings.seeds}
        | ({_CONSTRAINTS: plan.settings.constraints} if plan.settings.constraints else {}),
        _TYPED: extension | typed,
    }


def check_unchanged(study: optuna.Study, now: Mapping[str, Any], plan: Plan) -> None:
    """Compare what is fixed with what a study was started with.

    Raises:
        ConfigError: something differs, and hydra.sweeper.allow_changed_space is false. Names what was, and what is.
    """
    before, free = _kept_settings(study, now, plan.application), plan.settings.may_change

    def must_stay(key: str, name: str) -> bool:
        return key in now[name] or key == _CONSTRAINTS or not is_below(key, free)

    changes = [
        f"{key} was {before[name].get(key, 'not there')}, is {now[name].get(key, 'not there')}"
        for name in now
        if before[name] is not None  # studies of earlier versions lack some
        for key in sorted(before[name].keys() | now[name].keys())
        if before[name].get(key) != now[name].get(key) and must_stay(key, name)
    ]
    if changes and not plan.settings.allow_changed_space:
        raise ConfigError(
            f"the study {study.study_name!r} was started with other settings: {'; '.join(changes[:5])}"
            f"{f'; and {len(changes) - 5} more' if len(changes) > 5 else ''}. Take another hydra.sweeper.study_name, or"
            " continue anyway with hydra.sweeper.allow_changed_space=true"
        )


def keep_settings(study: optuna.Study, now: Mapping[str, Any], application: Application) -> None:
    """Keep in the study what is fixed, and from which trial on."""
    before = _kept_settings(study, now, application)
    if any(before[name] not in (None, now[name]) for name in (CONFIG, _TYPED)):
        study.set_user_attr("changed_at", len(study.get_trials(deepcopy=False)))
    for name, value in now.items():
        if before[name] != value:
            study.set_user_attr(name, value)


def _kept_settings(study: optuna.Study, now: Mapping[str, Any], application: Application) -> dict[str, Any]:
    attributes = study.user_attrs
    kept = {name: with_new_names(attributes.get(name)) for name in (_SPACE, CONFIG, _TYPED)}
    if kept[CONFIG] is not None:
        later = application.later_keys(kept[CONFIG])
        kept[CONFIG] = {key: value for key, value in later.items() if key in now[CONFIG]} | kept[CONFIG]
    return kept


def flatten(prefix: str, node: Any) -> list[tuple[str, Any]]:
    contents = OmegaConf.to_container(node, resolve=False, enum_to_str=True) if OmegaConf.is_config(node) else node
    if not isinstance(contents, dict) or not contents:
        return [(prefix, json.loads(json.dumps(contents, default=str)))]  # a typed config holds paths and bytes
    return [
        entry for key, value in contents.items() for entry in flatten(f"{prefix}.{key}" if prefix else str(key), value)
    ]


class StudyData:
    """Which data a study was started with: a digest, an attribute of the study, and its record, in the sweep's folder.

    Both are taken from the first trial that has read its data. Nothing is kept where trials read different data.

    Args:
        folder: of the sweep.
        allow_change: trials may read other data than the first one did.
        is_same: whether all trials read the same data.
    """

    def __init__(
        self, study: optuna.Study, folder: Path, application: Application, *, allow_change: bool, is_same: bool
    ) -> None:
        self.study, self.folder, self.application = study, folder, application
        self.allow_change, self.is_same = allow_change, is_same

    def expected(self) -> tuple[str, str] | None:
        """The digest and the folder of the record; None where nothing is known yet, or the data may be any."""
        if self.allow_change or not self.is_same:
            return None
        if self._digest() is None:
            self._keep(sorted(self.folder.glob(f"trial-*/{self.application.data_file}"))[:1])
        digest = self._digest()
        return None if digest is None else (digest, str(self.folder.absolute()))

    def renew(self, number: int) -> bool:
        """Take the data of a trial that ended; True where they are not those that the study had."""
        before = self._digest()
        if not self.is_same:
            return False
        if before is None or self.allow_change:
            self._keep(sorted((self.folder / folder_of(number)).glob(f"**/{self.application.data_file}")))
        return before not in (None, self._digest())

    def _digest(self) -> str | None:
        return self.study.user_attrs.get("data")

    def _keep(self, records: Sequence[Path]) -> None:
        for record in records:
            digest = self.application.data_digest(record.parent)
            if digest is not None and digest != self._digest():
                write_atomic(self.folder / record.name, read_regular(record))
                self.study.set_user_attr("data", digest)
