"""A config is data: none of these, wherever they come from, touches a file; each is refused in one line."""

import pytest
from omegaconf import OmegaConf

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RUN = ("data=digits", "trainer=cpu", "trainer.max_epochs=1", "logger=none")

TYPED = {
    "callback of Hydra": ["+hydra.callbacks.evil={_target_:os.system,command:TOUCH}"],
    "environment": ["+hydra.job.env_set.LD_PRELOAD=/evil.so"],
    "path": ["+hydra.job.env_set.PATH=/evil"],
    "trust": ["+hydra.job.env_set.LIGHTSWEEP_TRUST=os.*", "model={_target_:os.system,command:TOUCH}"],
    "launcher": ["-m", "seed=1,2", "hydra.launcher._target_=os.system"],
    "sweeper": ["-m", "seed=1,2", "hydra.sweeper._target_=os.system"],
    "model": ["model={_target_:os.system,command:TOUCH}"],
    "model's target": ["model._target_=torch.load"],
    "alias of torch": ["model._target_=torch.nn.modules.module.torch.load"],
    "alias in our package": ["model._target_=lightsweep.nets.nn.modules.module.torch.hub.load"],
    "a shell in torch": ["optimizer._target_=torch.utils.collect_env.run"],
    "below a callback": ["+callbacks.early_stopping.x={_target_:os.system,command:TOUCH}"],
    "below a layer": ["model.width={_target_:os.system,command:TOUCH}"],
    "logger": ["+logger.evil={_target_:subprocess.getoutput,cmd:TOUCH}"],
    "data": ["data._target_=lightsweep.data.cifar10.os.system"],
}

IN_A_FILE = {
    "formatter": {"job_logging": {"formatters": {"evil": {"()": "os.system", "command": "TOUCH"}}}},
    "handler": {"job_logging": {"handlers": {"evil": {"class": "subprocess.Popen", "args": "TOUCH", "shell": True}}}},
    "filter": {"job_logging": {"filters": {"evil": {"()": "os.system", "command": "TOUCH"}}}},
    "of Hydra's own log": {"hydra_logging": {"formatters": {"evil": {"()": "os.system", "command": "TOUCH"}}}},
    "callback": {"callbacks": {"evil": {"_target_": "os.system", "command": "TOUCH"}}},
}


@pytest.mark.parametrize("typed", TYPED.values(), ids=TYPED)
def test_typed(train, tmp_path, typed):
    touched = tmp_path / "touched"
    ended = train(*RUN, *(argument.replace("TOUCH", f"'touch {touched}'") for argument in typed))

    assert ended.code == 1
    assert len(ended.lines) == 1, ended.err
    assert not touched.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "said"]


@pytest.mark.parametrize("node", IN_A_FILE.values(), ids=IN_A_FILE)
def test_in_a_file_of_somebody_else(train, tmp_path, node):
    touched = tmp_path / "touched"
    (tmp_path / "configs" / "experiment").mkdir(parents=True)
    text = "# @package _global_\n" + OmegaConf.to_yaml({"hydra": node}).replace("TOUCH", f"touch {touched}")
    (tmp_path / "configs" / "experiment" / "evil.yaml").write_text(text)

    ended = train(*RUN, "--config-dir", str(tmp_path / "configs"), "experiment=evil")

    assert ended.code == 1
    assert len(ended.lines) == 1, ended.err
    assert not touched.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["model", "optimizer", "scheduler", "data", "trainer", "logger.evil", "callbacks.evil"])
def test_in_a_run_that_is_resumed(train, tmp_path, key):
    assert train(*RUN).code == 0
    touched, config = tmp_path / "touched", tmp_path / "run" / "config.yaml"
    own = OmegaConf.load(config)
    OmegaConf.update(own, f"{key}._target_", "os.system", force_add=True)
    OmegaConf.update(own, f"{key}.command", f"touch {touched}", force_add=True)
    config.write_text(OmegaConf.to_yaml(own))

    ended = train(f"resume={tmp_path / 'run'}")

    assert ended.code == 1
    assert len(ended.lines) == 1, ended.err
    assert "whitelist" in ended.err
    assert not touched.exists()
    assert config.exists()
