"""The changes between two configurations of an app: which of their overrides belong together, and what each does.

Two configurations are two lists of overrides of one config. A config group and the keys below it are one change, as are
a key and those that are searched only where it has a certain value, and a node whose class differs with all its keys.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.core.overrides import format_value
from lightsweep.core.text import shorten
from lightsweep.sweeper.config_differences import flatten
from lightsweep.sweeper.leaderboard import format_short
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import is_same_value

_TARGET = "._target_"
_NOTHING = "nothing"
_SHOWN = 40  # letters of a value


@dataclass(frozen=True)
class Change:
    """What makes one configuration a bit more like another one.

    Args:
        name: the key, without what stands before its last dot where no other change has that name.
        before: the value at the start, in words.
        after: the value at the end.
        start: overrides of the start.
        end: overrides that replace them.
    """

    name: str
    before: str
    after: str
    start: tuple[str, ...]
    end: tuple[str, ...]


@dataclass(frozen=True)
class Division:
    """Two configurations: what they share, and the changes between them.

    Args:
        shared: overrides of both.
    """

    shared: tuple[str, ...]
    changes: tuple[Change, ...]

    def overrides(self, applied: Iterable[int]) -> tuple[str, ...]:
        """Those of the start with these changes applied, by index."""
        chosen = set(applied)
        parts = [each.end if index in chosen else each.start for index, each in enumerate(self.changes)]
        return (*self.shared, *(line for part in parts for line in part))


def divide(plan: Plan, start: Sequence[str], end: Sequence[str], depends: Mapping[str, str]) -> Division:
    """Divide what lies between two configurations.

    Args:
        start, end: overrides beside those that the plan holds fixed.
        depends: keys, each with the key without whose value it has no meaning.

    Raises:
        HydraException: one of the two cannot be composed.
        ConfigError: they differ in nothing that matters, read different data, or are judged by different metrics.
    """
    fixed = plan.space.fixed
    sides = [_by_key(lines) for lines in (start, end)]
    configs = [plan.compose((*fixed, *lines)) for lines in (start, end)]
    flat = [dict(flatten("", plan.application.own_config(config))) for config in configs]
    _check_comparable(plan, configs, flat)
    known = dict.fromkeys(key for side in sides for key in side)
    left_out = ("hydra", *plan.settings.changeable_keys, *_seed_keys(plan))
    typed = [key for key in known if _text_of(sides[0], key) != _text_of(sides[1], key)]
    typed = [key for key in typed if not _is_below(key, left_out)]
    differing = [key for key in typed if _differs(key, configs, flat)]
    groups: dict[str, list[str]] = {}
    for key in typed:  # what is only written differently belongs to nothing, unless what is above it differs
        if (root := _find_root(key, differing, depends)) is not None:
            groups.setdefault(root, []).append(key)
    if not groups:
        raise ConfigError("the two configurations differ in nothing that matters: there is nothing to measure")
    changes, names = [], _shorten_names(list(groups))
    for root, keys in groups.items():
        texts = [_describe(root, keys, side, config) for side, config in zip(sides, configs, strict=True)]
        lines = [tuple(str(side[key].input_line) for key in keys if key in side) for side in sides]
        changes.append(Change(names[root], texts[0], texts[1], lines[0], lines[1]))
    apart = {key for keys in groups.values() for key in keys}
    shared = [(sides[0] | {key: each for key, each in sides[1].items() if key not in sides[0]})[key] for key in known]
    lines_of_both = [str(each.input_line) for each in shared if each.key_or_group not in (*apart, *_seed_keys(plan))]
    return Division((*fixed, *lines_of_both), tuple(changes))


def _by_key(lines: Sequence[str]) -> dict[str, Override]:
    """The overrides by key, of two for one key the last."""
    return {each.key_or_group: each for each in OverridesParser.create().parse_overrides(list(lines))}


def _text_of(side: Mapping[str, Override], key: str) -> str | None:
    return side[key].input_line if key in side else None


def _seed_keys(plan: Plan) -> list[str]:
    return [plan.settings.seed_key.lstrip("+")] if plan.settings.seed_key else []


def _check_comparable(plan: Plan, configs: Sequence[DictConfig], flat: Sequence[Mapping[str, Any]]) -> None:
    application = plan.application
    if not application.same_data(*flat):
        keys = [key for key in flat[0].keys() & flat[1].keys() if flat[0][key] != flat[1][key]]
        named = sorted(key for key in keys if not application.same_data({key: flat[0][key]}, {key: flat[1][key]}))
        differ = "; ".join(f"{key} is {flat[0][key]} and {flat[1][key]}" for key in named[:3])
        raise ConfigError(f"the two configurations are judged on different images, so they do not compare: {differ}")
    metrics = [application.objective(config) for config in configs]
    if metrics[0] != metrics[1]:
        names = " and ".join(str(metric[0]) for metric in metrics)
        raise ConfigError(f"the two configurations are judged by different metrics, so they do not compare: {names}")


def _find_root(
    key: str, differing: Sequence[str], depends: Mapping[str, str], seen: frozenset[str] = frozenset()
) -> str | None:
    """The key that this one belongs to: the outermost node that differs, or that of the key which it depends on; None
    where it belongs to nothing that differs."""
    nodes = [_plain(each.removesuffix(_TARGET)) for each in differing]  # of a class that differs all keys do
    plain = _plain(key)
    found = min((node for node in nodes if _is_below(plain, [node])), key=len, default=None)
    needs = depends.get(plain)
    if needs is None or needs in seen:
        return found
    return _find_root(needs, differing, depends, seen | {needs}) or found


def _plain(key: str) -> str:
    """The node of a config group, ``db/engine@main``, is ``db.engine``."""
    return key.replace("/", ".").partition("@")[0]


def _differs(key: str, configs: Sequence[DictConfig], flat: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the two configs differ at a key, as far as one can say."""
    values = [_value_at(key, config) for config in configs]
    if all(value is ... for value in values):  # a choice of a group that belongs to the root of the config
        return flat[0] != flat[1]
    if any(value is ... for value in values):
        return True
    one, other = values
    scalar = not any(isinstance(value, dict | list) for value in values)
    return not (one == other or (scalar and is_same_value(one, other)))


def _value_at(key: str, config: DictConfig) -> Any:
    """A key's value without interpolations resolved, of a config group its choice; ... where there is none."""
    choices = config.hydra.runtime.choices
    if key in choices:
        return choices[key]
    group = next((name for name in choices if name.replace("/", ".") == key), None)
    if group is not None:
        return choices[group]
    try:
        node = OmegaConf.select(config, key, default=...)
    except Exception:  # an interpolation of a run that does not exist
        return ...
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node


def _describe(root: str, keys: Sequence[str], side: Mapping[str, Override], config: DictConfig) -> str:
    """A change's value in one of the two configurations: of a class or a group also the keys below it."""
    value = _value_at(root, config)
    if isinstance(value, dict) and "_target_" in value:
        value = str(value["_target_"]).rpartition(".")[2]
    text = _NOTHING if value is ... else _short(value)
    further = [
        key for key in keys if _plain(key) not in (root, root + _TARGET) and key in side and not side[key].is_delete()
    ]
    shown = [f"{key.rpartition('.')[2]} {_short(_value_at(key, config))}" for key in further]
    return f"{text} ({', '.join(shown)})" if shown else text


def _short(value: Any) -> str:
    if value is ...:
        return _NOTHING
    if isinstance(value, bool) or value is None:
        return format_value(value).lower()
    text = format_value(value) if isinstance(value, dict | list) else format_short(value)
    return shorten(text, _SHOWN)


def _shorten_names(keys: Sequence[str]) -> dict[str, str]:
    short = [key.rpartition(".")[2] for key in keys]
    return {key: name if short.count(name) == 1 else key for key, name in zip(keys, short, strict=True)}


def _is_below(key: str, roots: Sequence[str]) -> bool:
    return any(key == root or key.startswith((f"{root}.", f"{root}@")) for root in roots)
