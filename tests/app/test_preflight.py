"""Configs that are refused before anything is built."""

import pytest

from lightsweep.app import validation
from lightsweep.core.errors import ConfigError


@pytest.fixture
def check(compose):
    return lambda *overrides: validation.check_config(compose(*overrides), list(overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["trainer.max_epochs=-1"],
        ["threads=2"],
        ["threads=null"],
        ["score_with=last", "test=false"],
        ["monitor.metric=val/loss", "monitor.mode=min", "callbacks=default", "scheduler=plateau"],
        ["model.hidden=null", "model.width=64"],
        ["trainer.gradient_clip_val=1"],
        ["callbacks=none"],
        ["+trainer.max_steps=-1"],
        ["+trainer.max_time={milliseconds:1}"],
        ["+trainer.max_time=00:00:00:01"],
        ["+trainer.num_nodes=1"],
        ["+trainer.val_check_interval=0.5"],
        ["trainer.devices=2"],
        ["threads=1024"],
    ],
    ids=" ".join,
)
def test_valid_configs_are_accepted(check, overrides: list[str]) -> None:
    check(*overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=-1"], "seed must be an integer >= 0, got -1"),
        (["seed=1.5"], "seed must be an integer >= 0, got 1.5"),
        (["seed=null"], "seed must be an integer >= 0, got None"),
        (["score_with=worst"], "score_with must be one of best, last, got 'worst'"),
        (["test=maybe"], "test must be true or false, got 'maybe'"),
        (["compile=1"], "compile must be true or false, got 1"),
        (["threads=0"], "threads must be auto, null or an integer in [1, 1024], got 0"),
        (["threads=all"], "threads must be auto, null or an integer in [1, 1024], got 'all'"),
        (["threads=true"], "threads must be auto, null or an integer in [1, 1024], got True"),
        (["threads=100000"], "threads must be auto, null or an integer in [1, 1024], got 100000"),
        (["monitor.metric=val/accc"], "monitor.metric must be one of train/loss, train/acc, val/loss, val/acc, "),
        (["trainer.deterministic=foo"], "trainer.deterministic must be true, false or warn, got 'foo'"),
        (["lr_find=2"], "lr_find must be true or false, got 2"),
        (["monitor.mode=min"], "monitor.mode must be max for val/acc, got 'min'"),
        (
            ["callbacks=early_stopping", "callbacks.early_stopping.monitor=foo"],
            "callbacks.early_stopping.monitor must be one of train/loss, ",
        ),
        (["scheduler=plateau", "scheduler.mode=min"], "scheduler.mode must be max for val/acc, got 'min'"),
        (["trainer.max_epochs=abc"], "trainer.max_epochs must be an integer >= 1, got 'abc'"),
        (["trainer.max_epochs=0"], "trainer.max_epochs must be an integer >= 1, got 0"),
        (["trainer.max_epochs=2.5"], "trainer.max_epochs must be an integer >= 1, got 2.5"),
        (
            ["trainer.accumulate_grad_batches=0"],
            "trainer.accumulate_grad_batches must be an integer in [1, 1000000]",
        ),
        (["trainer.check_val_every_n_epoch=0"], "trainer.check_val_every_n_epoch must be an integer >= 1, got 0"),
        (
            ["trainer.accumulate_grad_batches=1000000000000000000000"],
            "trainer.accumulate_grad_batches must be an integer ",
        ),
        (["+trainer.max_steps=0"], "trainer.max_steps must be an integer >= 1, got 0"),
        (["+trainer.max_steps=-2"], "trainer.max_steps must be an integer >= 1, got -2"),
        (["+trainer.max_steps=1.5"], "trainer.max_steps must be an integer >= 1, got 1.5"),
        (["+trainer.min_epochs=-1"], "trainer.min_epochs must be an integer >= 0, got -1"),
        (
            ["+trainer.min_epochs=4", "trainer.max_epochs=3"],
            "trainer.min_epochs must be at most trainer.max_epochs=3, g",
        ),
        (
            ["+trainer.min_steps=9", "+trainer.max_steps=8"],
            "trainer.min_steps must be at most trainer.max_steps=8, got 9",
        ),
        (
            ["+trainer.overfit_batches=1"],
            "trainer.overfit_batches must be left out, got 1: data.limit=N trains on the ",
        ),
        (["+trainer.min_steps=x"], "trainer.min_steps must be an integer >= 0, got 'x'"),
        (["+trainer.max_time=0"], "trainer.max_time must be a time above 0, DD:HH:MM:SS or {hours: 1}, got 0"),
        (["+trainer.max_time=00:00:00:00"], "trainer.max_time must be a time above 0, "),
        (["+trainer.max_time={seconds:0}"], "trainer.max_time must be a time above 0, "),
        (["+trainer.max_time={minutes:-1}"], "trainer.max_time must be a time above 0, "),
        (["+trainer.max_time={seconds:nan}"], "trainer.max_time must be a time above 0, "),
        (["+trainer.max_time={days:1e308}"], "trainer.max_time must be a time above 0, "),
        (["+trainer.max_time={years:1}"], "trainer.max_time must be a time above 0, "),
        (["+trainer.max_time=soon"], "trainer.max_time must be a time above 0, "),
        (["+trainer.num_nodes=2"], "trainer.num_nodes must be 1 outside a cluster (Slurm, torchrun, or NODE_RANK and "),
        (["+trainer.num_nodes=0"], "trainer.num_nodes must be an integer >= 1, got 0"),
        (["trainer.devices=1000000"], "trainer.devices must be at most "),
        (["+trainer.val_check_interval=0"], "trainer.val_check_interval must be an integer >= 1, got 0"),
        (["+trainer.val_check_interval=1.5"], "trainer.val_check_interval must be in (0, 1], got 1.5"),
        (["trainer.num_sanity_val_steps=2"], "trainer.num_sanity_val_steps must be 0: the first epoch ends with a val"),
        (["+trainer.plugins=[]"], "trainer.plugins must be left out, got []: a run has its own plugin, which writes"),
        (["+trainer.callbacks=5"], "trainer.callbacks must be left out, got 5: callbacks=NAME chooses the callbacks"),
        (["+trainer.logger=false"], "trainer.logger must be left out, got False: logger=NAME chooses the loggers"),
        (["+trainer.default_root_dir=x"], "trainer.default_root_dir must be left out, got 'x': hydra.run.dir is the "),
        (["+trainer.use_distributed_sampler=true"], "trainer.use_distributed_sampler must be left out, got True: "),
        (["+trainer.enable_checkpointing=false"], "trainer.enable_checkpointing must be left out, got False: "),
        (["+trainer.barebones=true"], "trainer.barebones must be left out, got True: "),
        (["+trainer.fast_dev_run=true"], "trainer.fast_dev_run must be left out, got True: trainer=debug is for a "),
        (
            ["lr_find=true", "lr_find_range.steps=1000000000000"],
            "lr_find_range.steps must be an integer in [20, 100",
        ),
        (["lr_find=true", "+lr_find_range.stepz=3"], "lr_find_range.stepz must be one of low, high, steps, got 3"),
        (["+loss.l3=1"], "loss.l3 must be one of label_smoothing, l2, l2_head, got 1"),
        (["+monitor.metrik=val/acc"], "monitor.metrik must be one of metric, mode, got 'val/acc'"),
        (["trainer.gradient_clip_val=-1"], "trainer.gradient_clip_val must be >= 0, got -1"),
        (
            ["model.hidden=[8]", "model.width=16"],
            "model.width must not be set together with model.hidden, which replaces it (model.hidden=null makes room",
        ),
        (["model={hidden:[8],width:16}"], "model.width must not be set together with model.hidden"),
        (["model.hidden=[8]", "model.depth=2"], "model.depth must not be set together with model.hidden"),
        (["model.taper=0.5", "model.hidden=[8]"], "model.taper must not be set together with model.hidden"),
        (["model.hidden=[8]", "++model.depth=2"], "model.depth must not be set together with model.hidden"),
    ],
)
def test_invalid_configs_are_refused(check, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        check(*overrides)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("variable", ["SLURM_NTASKS", "TORCHELASTIC_RUN_ID", "NODE_RANK"])
def test_a_cluster_says_which_machine_a_process_is_on(check, monkeypatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    check("+trainer.num_nodes=2")
