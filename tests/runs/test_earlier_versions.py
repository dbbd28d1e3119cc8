"""Runs of earlier versions: keys that their configs lack get the defaults, the others stay."""

import shutil
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from digits_runs import CONF
from lightsweep.runs.saved_config import add_missing_keys, with_overrides

DATA = sorted(path.stem for path in (CONF / "data").glob("[!_]*.yaml"))


def saved(cfg: DictConfig) -> DictConfig:
    return OmegaConf.create(OmegaConf.to_yaml(cfg))


@pytest.mark.parametrize("name", DATA)
def test_missing_keys_get_the_defaults_of_the_data_set(compose, name: str) -> None:
    today = compose(f"data={name}").data
    augment = {"_target_": today.augment._target_, "flip": True}
    own = OmegaConf.create({"seed": 42, "data_dir": "data", "data": {"_target_": today._target_, "augment": augment}})
    add_missing_keys(own.data)
    assert own.data.augment.flip is True
    own.data.augment.flip = False
    assert own.data.keys() == today.keys()
    assert {key: own.data[key] for key in today if key != "data_dir"} == {
        key: today[key] for key in today if key != "data_dir"
    }


def test_present_keys_keep_their_values(compose) -> None:
    own = saved(compose("data=digits", "data.batch_size=7", "data.split=random", "data.augment.noise=0.5"))
    before = OmegaConf.to_container(own)
    add_missing_keys(own)
    assert OmegaConf.to_container(own) == before


@pytest.mark.parametrize("node", [{"_target_": "mine.Data", "a": 1}, {"_target_": 3}, None, "text", [], "${nothing}"])
def test_nodes_of_other_programs_and_plain_values_are_not_changed(node) -> None:
    cfg = OmegaConf.create({"data": node})
    add_missing_keys(cfg)
    assert OmegaConf.to_container(cfg, resolve=False) == {"data": node}


def test_such_a_run_is_resumed(finished, launch, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished.folder, tmp_path / "run"))
    config = OmegaConf.load(run / "config.yaml")
    config.run_dir = str(run)
    for node, key in ((config.data, "sampler"), (config.data, "max_per_class"), (config.data.augment, "mixup")):
        del node[key]
    OmegaConf.save(config, run / "config.yaml")
    resumed = launch(f"resume={run}", "trainer.max_epochs=4", "callbacks=none", "logger=none", "data.augment.flip=true")
    assert resumed.code == 0, resumed.err
    assert len((run / "metrics.csv").read_text().splitlines()) == 5


def test_a_key_that_came_with_a_later_version_is_as_it_is_by_default(compose) -> None:
    own = saved(compose("seed=5"))
    for key in ("init_from", "lr_find", "lr_find_range", "report", "resume"):
        del own[key]
    with_overrides(own, compose(), [], set())
    assert (own.seed, own.init_from, own.lr_find, own.lr_find_range.steps) == (5, None, False, 200)
    assert own.report is False
    assert "resume" not in own


def test_an_argument_that_came_with_a_later_version_is_as_it_is_by_default(compose) -> None:
    own = saved(compose("data.augment.flip=true", "+trainer.profiler=null"))
    del own.data.augment.mixup
    del own.optimizer.weight_decay
    with_overrides(own, compose("optimizer.weight_decay=0.5", "logger=csv"), [], set())
    assert (own.data.augment.flip, own.data.augment.mixup) == (True, compose().data.augment.mixup)
    assert "weight_decay" not in own.optimizer  # torch has its own default


@pytest.mark.parametrize("name", ["mlp", "cnn", "resmlp"])
def test_a_network_gets_the_keys_that_its_file_has_now(compose, name: str) -> None:
    today = OmegaConf.load(CONF / "model" / f"{name}.yaml")
    own = saved(compose())
    own.model = {"_target_": today._target_, "width": 7}
    with_overrides(own, compose("model=mlp"), [], set())
    assert own.model == {**today, "width": 7}
