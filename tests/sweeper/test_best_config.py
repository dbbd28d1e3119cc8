"""best.yaml is one run of the app, whatever the app's own configs ask for."""

from pathlib import Path

import hydra
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from lightsweep.sweeper.application import Application
from lightsweep.sweeper.config_differences import write_config

CONFIG = """
lr: 0.01
width: 64
defaults:
  - override hydra/sweeper: lightsweep
  - _self_
"""


@pytest.fixture(autouse=True)
def loader_of_a_foreign_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's own, without the checks of src/train.py, which another test may have installed in this process."""
    monkeypatch.setattr("hydra._internal.hydra.ConfigLoaderImpl", ConfigLoaderImpl)


def best_of(folder: Path, text: str, *typed: str) -> dict[str, object]:
    """What is written of an app whose config is this text."""
    (folder / "config.yaml").write_text(text)
    with hydra.initialize_config_dir(str(folder)):
        loader = GlobalHydra.instance().config_loader()
        base, config = (
            loader.load_configuration("config", overrides=list(overrides), run_mode=RunMode.MULTIRUN)
            for overrides in ((), typed)
        )
        write_config(folder / "best.yaml", "the best", config, base, loader, Application())
    contents = OmegaConf.to_container(OmegaConf.load(folder / "best.yaml"))
    assert isinstance(contents, dict)
    return {str(key): value for key, value in contents.items()}


def test_it_holds_what_differs_from_the_defaults(tmp_path: Path) -> None:
    assert best_of(tmp_path, CONFIG, "lr=0.5") == {"defaults": ["config", "_self_"], "lr": 0.5}


def test_it_starts_no_sweep_where_the_apps_config_does(tmp_path: Path) -> None:
    best = best_of(tmp_path, f"{CONFIG}\nhydra:\n  mode: MULTIRUN\n", "lr=0.5")
    assert best == {"defaults": ["config", "_self_"], "hydra": {"mode": "RUN"}, "lr": 0.5}


def test_an_app_needs_no_config_of_its_own(tmp_path: Path) -> None:
    with hydra.initialize_config_dir(str(tmp_path)):
        loader = GlobalHydra.instance().config_loader()
        base = loader.load_configuration(None, overrides=["hydra/sweeper=lightsweep"], run_mode=RunMode.MULTIRUN)
        config = loader.load_configuration(None, overrides=["+lr=0.5"], run_mode=RunMode.MULTIRUN)
        write_config(tmp_path / "best.yaml", "the best", config, base, loader, Application())
        assert hydra.compose("best") == {"lr": 0.5}


def test_a_group_that_was_added_is_added_again(tmp_path: Path) -> None:
    """With the groups that it brings, above those that the defaults list has."""
    for file, text in {
        "opt/a": "x: 1",
        "opt/b": "x: 2",
        "search/wide": "# @package _global_\ndefaults:\n  - /data: big\n  - override /opt: b\nwidth: 512",
        "data/big": "n: 9",
        "extra/c": "y: 3",
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / f"{file}.yaml").write_text(text)
    text = CONFIG.replace("  - override", "  - opt: a\n  - override")
    typed = ("+search=wide", "+extra=c", "lr=0.5")
    best = best_of(tmp_path, text, *typed)
    added, overridden = [{"search": "wide"}, {"extra": "c"}], [{"override data": "big"}, {"override opt": "b"}]
    assert best == {"defaults": ["config", *added, *overridden, "_self_"], "lr": 0.5}
    with hydra.initialize_config_dir(str(tmp_path)):
        again, meant = (hydra.compose(name, overrides=[*given]) for name, given in (("best", ()), ("config", typed)))
        assert again == meant
        assert (again.width, again.opt.x, again.data.n, again.extra.y) == (512, 2, 9, 3)
