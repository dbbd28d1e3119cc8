"""What a member can have of its own, and what all share, each against the run that Lightning trains."""

import pytest
import torch

from members import alone, difference, together

SGD = ("optimizer=sgd",)
EMA = ("callbacks=[default,ema]", "callbacks.ema.decay=0.9", "model.bn=true", *SGD)


@pytest.mark.parametrize(
    "configs",
    [
        [(*SGD, "trainer.gradient_clip_val=0.2"), (*SGD, "seed=2"), (*SGD, "seed=3", "trainer.gradient_clip_val=1.5")],
        [(*SGD, "trainer.accumulate_grad_batches=3", "model.bn=true", f"seed={seed}") for seed in (1, 2)],
        [EMA, (*EMA, "callbacks.ema.use_buffers=false"), (*EMA, "callbacks.ema.start=6", "callbacks.ema.every=2")],
        [
            (*SGD, "model.width=8", "model.depth=3", "model.dropout=[0.3,0.0,0.5]"),
            (*SGD, "model.width=8", "model.depth=3"),
        ],
        [(*SGD, "data.augment.mixup=0.2", "loss.label_smoothing=0.1"), (*SGD, "data.augment.mixup=0.4", "seed=5")],
        [(*SGD, "data.augment.crop=1", "data.augment.noise=0.2"), (*SGD, "data.augment.crop=2", "data.seed=7")],
        [
            (*SGD, "data.class_weights=balanced", "data.sampler=balanced", "loss.label_smoothing=0.1", "loss.l2=1e-3"),
            (*SGD, "data.class_weights=balanced", "data.sampler=balanced", "loss.l2=1e-2", "loss.l2_head=true"),
        ],
        [
            (*SGD, "model.dct=4", "model.bn=true", "model.bn_position=after"),
            (*SGD, "model.dct=4", "model.bn=true", "model.bn_position=after", "seed=2"),
        ],
        [(*SGD, "decay_all=true", "optimizer.weight_decay=0.1", f"optimizer.momentum={m}") for m in (0.5, 0.9)],
        [
            (*SGD, "data.drop_last=false", "model.activation=gelu", f"model.init={init}")
            for init in ("torch", "he_normal")
        ],
        [("optimizer=adam", "optimizer.eps=1e-4", "+optimizer.amsgrad=true", f"seed={seed}") for seed in (1, 2)],
        [("optimizer=adam", "optimizer.eps=1e-4", f"optimizer.betas=[{beta},0.99]") for beta in (0.5, 0.9)],
    ],
    ids=[
        "clip",
        "accumulate",
        "ema",
        "dropout",
        "mixup",
        "crop-noise",
        "classes",
        "dct",
        "decay-all",
        "rest",
        "amsgrad",
        "betas",
    ],
)
def test_a_setting_does_what_it_does_in_a_run_of_its_own(configs: list[tuple[str, ...]]) -> None:
    members, records = together(configs, epochs=2)
    for overrides, member, own in zip(configs, members, records, strict=True):
        rows, trained = alone(overrides, epochs=2)
        assert max(difference(record, rows) for record in own) < 1e-5
        expected, found = trained.net.state_dict(), member.current()
        assert list(found) == list(expected)
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
