"""Averaged weights: they are what is validated, kept and scored, and a resumed run continues with them exactly."""

import pytest
import torch

from lightsweep.core.errors import ConfigError
from lightsweep.training import checkpoints
from lightsweep.training.callbacks import WeightAverage

EMA = (
    "callbacks=[default,ema]",
    "callbacks.ema.decay=0.9",
    "model.bn=true",
    "monitor.metric=val/loss",
    "monitor.mode=min",
)


def weights(run, name: str, part: str = "state_dict") -> dict[str, torch.Tensor]:
    return run.checkpoint(name)[part]


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    from digits_runs import trained

    return trained(tmp_path_factory.mktemp("averaged"), *EMA, "trainer.max_epochs=3")


def test_the_average_lags_behind_the_weights(averaged) -> None:
    average, current = weights(averaged, "last.ckpt"), weights(averaged, "last.ckpt", "current_model_state")
    assert average.keys() == current.keys()
    assert not torch.equal(average["net.head.weight"], current["net.head.weight"])
    assert not torch.equal(average["net.body.2.running_mean"], current["net.body.2.running_mean"])


def test_the_average_is_what_is_validated_kept_and_scored(averaged) -> None:
    epoch = averaged.result["best_epoch"]
    assert averaged.result["val/acc"] == float(averaged.rows[epoch - 1]["val/acc"])
    assert averaged.result["val/loss"] == pytest.approx(float(averaged.rows[epoch - 1]["val/loss"]), rel=1e-5)


def test_the_best_checkpoint_holds_averaged_weights_alone(averaged) -> None:
    assert averaged.result["best_epoch"] == 3  # so best and last are of one epoch
    for name, weight in weights(averaged, "last.ckpt").items():
        assert torch.equal(weights(averaged, "best.ckpt")[name], weight)
    assert not {"current_model_state", "averaging_state", "optimizer_states"} & averaged.checkpoint("best.ckpt").keys()
    path = averaged.folder / "checkpoints"
    best, last = (checkpoints.load(path / name).net.state_dict() for name in ("best.ckpt", "last.ckpt"))
    assert all(torch.equal(best[name], last[name]) for name in best)


def test_the_average_follows_the_formula(run) -> None:
    """One batch an epoch: the average of two steps is 2/11 of the first weights and 9/11 of the second."""
    batch = (*EMA, "data.batch_size=100000", "data.drop_last=false")
    first = weights(run(*batch, "trainer.max_epochs=1", name="one"), "last.ckpt", "current_model_state")
    two = run(*batch, "trainer.max_epochs=2", name="two")
    second = weights(two, "last.ckpt", "current_model_state")
    expected = (2 * first["net.head.weight"] + 9 * second["net.head.weight"]) / 11
    torch.testing.assert_close(weights(two, "last.ckpt")["net.head.weight"], expected)


def test_decay_grows_to_the_given_value() -> None:
    average = WeightAverage(decay=0.9, every=2, start=3, use_buffers=True)
    decays = []
    for step in range(200):
        if average.should_update(step_idx=step):
            kept, fresh = [torch.ones(1)], [torch.zeros(1)]
            average._average(kept, fresh, 0)
            decays.append(kept[0].item())
    assert decays[1:4] == pytest.approx([2 / 11, 3 / 12, 4 / 13])
    assert len(decays) == 99
    assert decays[-1] == pytest.approx(0.9)


def test_a_resumed_run_is_the_same_bit_for_bit(averaged, run) -> None:
    run(*EMA, "trainer.max_epochs=1")
    resumed = run(*EMA, "trainer.max_epochs=3")
    assert resumed.measured == averaged.measured
    for part in ("state_dict", "current_model_state"):
        before, after = weights(averaged, "last.ckpt", part), weights(resumed, "last.ckpt", part)
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_before_it_starts_the_average_equals_the_weights(run) -> None:
    plain = run("callbacks=default", "model.bn=true", name="plain")
    late = run(*EMA, "callbacks.ema.start=1000", name="late")
    assert late.measured == plain.measured
    assert torch.equal(weights(late, "best.ckpt")["net.head.weight"], weights(plain, "best.ckpt")["net.head.weight"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("decay=1", "callbacks.ema.decay must be in [0, 1), got 1"),
        ("every=0", "callbacks.ema.every must be an integer >= 1, got 0"),
        ("start=-1", "callbacks.ema.start must be an integer >= 0, got -1"),
        ("use_buffers=2", "callbacks.ema.use_buffers must be true or false, got 2"),
    ],
)
def test_refuses_values_out_of_range(run, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        run(*EMA, f"callbacks.ema.{override}")
    assert str(refusal.value) == message
