"""Which overrides belong together, and what each of the changes between two configurations is called."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.config_changes import Division, divide

FILES = {
    "config.yaml": "defaults: [{optimizer: adam}, {db/engine: small}, {preset: null}, _self_]\n"
    "seed: 0\nname: null\ndepth: 2\nbn: false\nwidth: 32\nnoise: 0.0\nshape: [1, 2]\n"
    "head: {_target_: a.One, size: 1}\n",
    "optimizer/adam.yaml": "kind: adam\nlr: 0.001\n",
    "optimizer/sgd.yaml": "kind: sgd\nlr: 0.1\nmomentum: 0.9\n",
    "db/engine/small.yaml": "size: 1\n",
    "db/engine/large.yaml": "size: 9\n",
    "preset/wide.yaml": "# @package _global_\nwidth: 512\n",
}

Divide = Callable[..., Division]


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Divide:
    folder: Path = tmp_path_factory.mktemp("conf")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    loader = ConfigLoaderImpl(create_config_search_path(str(folder)))  # of another app: without lightsweep's checks

    @cache
    def composed(overrides: tuple[str, ...]) -> Any:
        return loader.load_configuration("config", list(overrides), run_mode=RunMode.RUN)

    def compose(overrides: Sequence[str]) -> Any:
        return composed(tuple(overrides))

    def made(start: Sequence[str], end: Sequence[str], fixed: Sequence[str] = (), **depends: str) -> Division:
        settings = SimpleNamespace(changeable_keys=["name"], seed_key="seed")
        space = SimpleNamespace(fixed=tuple(fixed))
        plan: Any = SimpleNamespace(settings=settings, space=space, compose=compose, application=Application())
        return divide(plan, start, end, depends)

    return made


def named(division: Division) -> dict[str, tuple[str, str]]:
    return {each.name: (each.before, each.after) for each in division.changes}


def test_each_key_is_a_change_with_its_values(divided: Divide) -> None:
    division = divided([], ["width=64", "noise=0.123456", "bn=true", "shape=[3]"], fixed=["depth=3"])

    assert named(division) == {
        "width": ("32", "64"),
        "noise": ("0", "0.1235"),
        "bn": ("false", "true"),
        "shape": ("[1,2]", "[3]"),
    }
    assert division.overrides([]) == ("depth=3",)
    assert division.overrides([0, 2]) == ("depth=3", "width=64", "bn=true")


def test_a_group_and_its_keys_are_one_change(divided: Divide) -> None:
    division = divided(
        ["optimizer=adam", "optimizer.lr=0.01", "width=64"],
        ["width=64", "optimizer=sgd", "optimizer.lr=0.2", "optimizer.momentum=0.5"],
    )

    assert named(division) == {"optimizer": ("adam (lr 0.01)", "sgd (lr 0.2, momentum 0.5)")}
    assert division.overrides([]) == ("width=64", "optimizer=adam", "optimizer.lr=0.01")
    assert division.overrides([0]) == ("width=64", "optimizer=sgd", "optimizer.lr=0.2", "optimizer.momentum=0.5")


def test_of_one_choice_each_key_is_a_change(divided: Divide) -> None:
    division = divided([], ["optimizer=adam", "optimizer.lr=0.01", "optimizer.kind=b"])

    assert list(named(division)) == ["lr", "kind"]
    assert division.overrides([0]) == ("optimizer=adam", "optimizer.lr=0.01")


def test_a_nested_group_is_one_change(divided: Divide) -> None:
    assert named(divided([], ["db/engine=large", "db.engine.size=7"])) == {"engine": ("small", "large (size 7)")}


def test_a_key_is_one_change_with_what_it_depends_on(divided: Divide) -> None:
    lines = ["bn=true", "noise=0.5", "width=64"]

    assert named(divided([], lines, noise="bn")) == {"bn": ("false", "true (noise 0.5)"), "width": ("32", "64")}
    assert list(named(divided(["bn=true"], lines, noise="bn"))) == ["noise", "width"]  # which is true in both
    assert list(named(divided([], lines, noise="depth"))) == ["bn", "noise", "width"]


def test_dependencies_that_lead_in_a_circle_end(divided: Divide) -> None:
    division = divided([], ["bn=true", "noise=0.5"], noise="bn", bn="noise")

    assert {line for each in division.changes for line in each.end} == {"bn=true", "noise=0.5"}


def test_a_class_and_its_keys_are_one_change(divided: Divide) -> None:
    division = divided([], ["++head._target_=b.Two", "++head.rate=3", "~head.size", "width=1"])

    assert named(division) == {"head": ("One", "Two (rate 3)"), "width": ("32", "1")}
    assert division.overrides([0]) == ("++head._target_=b.Two", "++head.rate=3", "~head.size")


def test_a_choice_for_the_whole_config_is_one_change(divided: Divide) -> None:
    assert named(divided([], ["preset=wide", "depth=5"])) == {"preset": ("null", "wide"), "depth": ("2", "5")}


def test_what_is_written_differently_is_no_change(divided: Divide) -> None:
    assert list(named(divided(["noise=1e-1", "width=32"], ["noise=0.1", "bn=true"]))) == ["bn"]


def test_neither_the_seed_nor_a_name_is_a_change(divided: Divide) -> None:
    division = divided(["seed=1", "name=a"], ["seed=2", "name=b", "bn=true"])

    assert list(named(division)) == ["bn"]
    assert not any(line.startswith("seed") for line in (*division.overrides([]), *division.overrides([0])))


def test_a_key_that_only_one_of_them_has(divided: Divide) -> None:
    division = divided(["+extra=3"], ["bn=true"])

    assert named(division) == {"extra": ("3", "nothing"), "bn": ("false", "true")}
    assert division.overrides([0]) == ()


def test_keys_of_one_last_name_are_named_in_full(divided: Divide) -> None:
    assert list(named(divided([], ["optimizer.lr=1", "+head.lr=2", "width=3"]))) == ["optimizer.lr", "head.lr", "width"]


def test_configurations_that_do_not_differ_are_refused(divided: Divide) -> None:
    with pytest.raises(ConfigError, match="differ in nothing that matters"):
        divided(["width=32"], ["seed=4"])


def test_configurations_of_different_data_or_metrics_are_refused(divided: Divide, monkeypatch) -> None:
    monkeypatch.setattr(Application, "same_data", lambda self, one, other: one.get("depth") == other.get("depth"))
    with pytest.raises(ConfigError, match="judged on different images, so they do not compare: depth is 2 and 7"):
        divided([], ["depth=7"])
    monkeypatch.undo()
    monkeypatch.setattr(Application, "objective", lambda self, config: (f"of width {config.width}", None))
    with pytest.raises(ConfigError, match="by different metrics, so they do not compare: of width 32 and of width 7"):
        divided([], ["width=7"])
