"""Configs that the tests compose from cached files of conf/ equal what Hydra composes."""

from collections.abc import Iterator

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

import composing


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    yield
    composing.install()


def composed(overrides: tuple[str, ...]) -> DictConfig:
    with hydra.initialize_config_dir(str(composing.CONF)):
        return hydra.compose("train", list(overrides), return_hydra_config=True)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("data=digits", "model=cnn", "optimizer=sgd", "optimizer.lr=0.1", "~scheduler", "seed=7", "+model.bn=true"),
        ("experiment=reference/a4", "callbacks=[default,ema]", "callbacks.ema.decay=0.5", "logger=none"),
        ("sweep=quick", "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=3", "hydra.sweeper.sampler.seed=1"),
        ("model={width: 8}", "trainer=cpu", "~trainer.log_every_n_steps"),
    ],
)
def test_the_composed_config_is_the_same_each_time(overrides: tuple[str, ...]) -> None:
    composing.uninstall()
    plain = composed(overrides)
    composing.install()
    for _ in range(2):
        again = composed(overrides)
        assert OmegaConf.to_container(again) == OmegaConf.to_container(plain)
        assert again.model._get_flag("struct") == plain.model._get_flag("struct")
        again.seed = 12345  # the cache is not shared with what is returned


def test_a_users_config_folder_is_not_cached(tmp_path) -> None:
    for width in (8, 9):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "own.yaml").write_text(f"defaults: [mlp, _self_]\nwidth: {width}\n")
        where = ("model=own", f"hydra.searchpath=['file://{tmp_path}']")
        assert composed(where).model.width == width
