"""What is refused before anything is built."""

import pytest

from lightsweep import preflight
from lightsweep.errors import ConfigError


@pytest.fixture
def check(compose):
    return lambda *overrides: preflight.check(compose(*overrides), list(overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["trainer.max_epochs=-1"],
        ["threads=2"],
        ["score_with=last", "test=false"],
        ["monitor.metric=val/loss", "monitor.mode=min", "callbacks=default", "scheduler=plateau"],
        ["model.hidden=null", "model.width=64"],
        ["trainer.gradient_clip_val=1"],
        ["callbacks=none"],
    ],
    ids=" ".join,
)
def test_lets_through_what_can_be(check, overrides: list[str]) -> None:
    check(*overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=-1"], "seed must be a whole number >= 0, got -1"),
        (["seed=1.5"], "seed must be a whole number >= 0, got 1.5"),
        (["seed=null"], "seed must be a whole number >= 0, got None"),
        (["score_with=worst"], "score_with must be one of best, last, got 'worst'"),
        (["test=maybe"], "test must be true or false, got 'maybe'"),
        (["compile=1"], "compile must be true or false, got 1"),
        (["threads=0"], "threads must be a whole number >= 1, got 0"),
        (["monitor.metric=val/accc"], "monitor.metric must be one of train/loss, train/acc, val/loss, val/acc, "),
        (["trainer.deterministic=foo"], "trainer.deterministic must be true, false or warn, got 'foo'"),
        (["lr_find=2"], "lr_find must be true or false, got 2"),
        (["monitor.mode=min"], "monitor.mode must be max for val/acc, got 'min'"),
        (
            ["callbacks=early_stopping", "callbacks.early_stopping.monitor=foo"],
            "callbacks.early_stopping.monitor must be one of train/loss, ",
        ),
        (["scheduler=plateau", "scheduler.mode=min"], "scheduler.mode must be max for val/acc, got 'min'"),
        (["trainer.max_epochs=abc"], "trainer.max_epochs must be a whole number >= 1, got 'abc'"),
        (["trainer.max_epochs=0"], "trainer.max_epochs must be a whole number >= 1, got 0"),
        (["trainer.max_epochs=2.5"], "trainer.max_epochs must be a whole number >= 1, got 2.5"),
        (["trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches must be a whole number >= 1, got 0"),
        (["trainer.check_val_every_n_epoch=0"], "trainer.check_val_every_n_epoch must be a whole number >= 1, got 0"),
        (["trainer.gradient_clip_val=-1"], "trainer.gradient_clip_val must be >= 0, got -1"),
        (
            ["model.hidden=[8]", "model.width=16"],
            "model.width must not be set beside model.hidden, which replaces it (model.hidden=null makes room",
        ),
        (["model={hidden:[8],width:16}"], "model.width must not be set beside model.hidden"),
        (["model.hidden=[8]", "model.depth=2"], "model.depth must not be set beside model.hidden"),
        (["model.taper=0.5", "model.hidden=[8]"], "model.taper must not be set beside model.hidden"),
        (["model.hidden=[8]", "++model.depth=2"], "model.depth must not be set beside model.hidden"),
    ],
)
def test_refuses_what_cannot_be(check, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        check(*overrides)
    assert str(refusal.value).startswith(message)
