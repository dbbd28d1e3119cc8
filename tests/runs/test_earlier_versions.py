"""Runs of earlier versions: what their configs lack has its default, what they have stays."""

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from digits_runs import CONF
from lightsweep.runs import saved_config

DATA = sorted(path.stem for path in (CONF / "data").glob("[!_]*.yaml"))


@pytest.mark.parametrize("name", DATA)
def test_what_is_missing_is_as_the_data_sets_file_has_it(compose, name: str) -> None:
    today = compose(f"data={name}").data
    own = saved_config.add_missing_keys_of(
        "data", OmegaConf.create({"_target_": today._target_, "augment": {"flip": True}})
    )
    assert own.augment.flip is True
    own.augment.flip = False
    assert own == today


def test_what_is_there_stays(compose) -> None:
    data = compose("data=digits", "data.batch_size=7", "data.split=random", "data.augment.noise=0.5").data
    assert saved_config.add_missing_keys_of("data", data) == data


@pytest.mark.parametrize("node", [{"_target_": "mine.Data", "a": 1}, {"_target_": 3}, None, "text", []])
@pytest.mark.parametrize("group", ["data", "model"])
def test_what_is_somebody_elses_and_what_is_no_node_are_left_alone(group, node) -> None:
    cfg = OmegaConf.create({"key": node})
    assert saved_config.add_missing_keys_of(group, cfg.key) == node


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


def test_the_monitors_mode_that_a_run_noted_follows_another_metric(compose) -> None:
    own = OmegaConf.create(OmegaConf.to_yaml(compose()))
    own.monitor.mode = "max"  # as earlier versions wrote it
    saved_config.add_missing_keys(own, compose())
    assert own.monitor.mode == "max"
    own.monitor.metric = "val/objective"
    assert own.monitor.mode == "min"

    own.monitor.mode = "max"  # which is wrong for it, and is refused later
    saved_config.add_missing_keys(own, compose())
    assert own.monitor.mode == "max"


def test_a_key_that_came_with_a_later_version_is_as_it_is_by_default(compose) -> None:
    own = OmegaConf.create(OmegaConf.to_yaml(compose("seed=5")))
    for key in ("init_from", "lr_find", "lr_find_range", "report", "resume"):
        del own[key]
    saved_config.add_missing_keys(own, compose())
    assert (own.seed, own.init_from, own.lr_find, own.lr_find_range.steps) == (5, None, False, 200)
    assert own.report is False
    assert "resume" not in own


def test_an_argument_that_came_with_a_later_version_is_as_it_is_by_default(compose) -> None:
    own = OmegaConf.create(OmegaConf.to_yaml(compose("data.augment.flip=true", "+trainer.profiler=null")))
    del own.data.augment.mixup
    del own.optimizer.weight_decay
    saved_config.add_missing_keys(own, compose("optimizer.weight_decay=0.5", "logger=csv"))
    assert (own.data.augment.flip, own.data.augment.mixup) == (True, compose().data.augment.mixup)
    assert "weight_decay" not in own.optimizer  # torch has its own default


@pytest.mark.parametrize("name", ["mlp", "cnn", "resmlp"])
def test_a_network_gets_the_keys_that_its_file_has_now(compose, name: str) -> None:
    today = OmegaConf.load(CONF / "model" / f"{name}.yaml")
    own = compose()
    own.model = {"_target_": today._target_, "width": 7}
    saved_config.add_missing_keys(own, compose("model=mlp"))
    assert own.model == {**today, "width": 7}
