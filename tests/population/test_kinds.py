"""Which runs a population can hold, and which of them fit into one together."""

import pytest

from lightsweep.app import validation
from lightsweep.population.kinds import kind_of, why_alone

BASE = ("optimizer=sgd", "model.bn=true")


def config_of(compose, *overrides: str):
    return validation.plain_config(compose(*overrides))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("model=cnn",), "model: a population trains lightsweep.nets.MLP only, got lightsweep.nets.CNN"),
        (("model=resmlp",), "model: a population trains lightsweep.nets.MLP only, got lightsweep.nets.ResMLP"),
        (("data._target_=own.Birds",), "data: a population needs one of lightsweep's data sets, got own.Birds"),
        (("optimizer._target_=torch.optim.LBFGS",), "optimizer: a population does not support torch.optim.LBFGS"),
        (("compile=true",), "compile: a population does not support it, got true"),
        (("trainer.precision=16-mixed",), "trainer.precision: a population does not support '16-mixed'"),
        (("trainer.limit_train_batches=5",), "trainer.limit_train_batches: a population does not support 5"),
        (("trainer.limit_val_batches=1",), "trainer.limit_val_batches: a population does not support 1"),
        (("trainer.check_val_every_n_epoch=2",), "trainer.check_val_every_n_epoch: a population does not support 2"),
        (("+trainer.max_steps=9",), "trainer.max_steps: a population does not support it, got 9"),
        (("trainer.max_epochs=-1",), "trainer.max_epochs: a population trains a number of epochs, got -1"),
        (
            ("callbacks.checkpoint.keep_last=true",),
            "callbacks.checkpoint.keep_last: a population writes the best weights only, got true",
        ),
        (
            ("callbacks.histograms.in_trials=true",),
            "callbacks.histograms: lightsweep.training.loggers.Histograms needs a Trainer of its own",
        ),
        (
            ("logger=csv", "callbacks.lr_monitor.logging_interval=step"),
            "callbacks.lr_monitor.logging_interval: a population logs once an epoch, got step",
        ),
        (
            ("logger=mlflow",),
            "logger.mlflow: a population logs to TensorBoard and CSV, got lightsweep.training.loggers.mlflow_logger",
        ),
        (
            ("data.augment.noise=0.1", "data.augment.noise_redraw=false"),
            "data.augment.noise_redraw: a population draws noise anew for each batch, got false",
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_a_line_says_why_a_run_is_alone(compose, overrides: tuple[str, ...], reason: str) -> None:
    assert why_alone(config_of(compose, *overrides)) == reason


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        (
            "logger=[tensorboard,csv]",
            "callbacks=[default,ema]",
            "trainer.precision=bf16-mixed",
            "+trainer.min_epochs=2",
        ),
        ("optimizer=rmsprop_keras", "scheduler=plateau", "trainer.gradient_clip_val=1", "init_from=somewhere"),
        ("data=cifar10", "data.augment.mixup=0.2", "model.dct=8", "trainer.accumulate_grad_batches=2"),
    ],
)
def test_a_population_holds_an_mlp(compose, overrides: tuple[str, ...]) -> None:
    assert why_alone(config_of(compose, *overrides)) is None


@pytest.mark.parametrize(
    "override",
    [
        *("optimizer.lr=1", "optimizer.momentum=0.5", "optimizer.weight_decay=0.1", "model.dropout=0.5", "seed=7"),
        *("loss.label_smoothing=0.1", "loss.l2=0.1", "loss.l2_head=true", "scheduler=cosine", "scheduler=plateau"),
        *("trainer.max_epochs=9", "trainer.gradient_clip_val=1", "data.augment.noise=0.1", "model.init=he_normal"),
        *("callbacks.early_stopping.patience=3", "init_from=elsewhere", "monitor.metric=val/loss", "name=any"),
    ],
)
def test_members_may_differ_in_it(compose, override: str) -> None:
    assert kind_of(config_of(compose, *BASE)) == kind_of(config_of(compose, *BASE, override))


@pytest.mark.parametrize(
    "override",
    [
        *("model.width=32", "model.depth=2", "model.activation=gelu", "model.bn=false", "model.bn_momentum=0.2"),
        *("model.dct=4", "optimizer=adam", "optimizer.nesterov=false", "data.batch_size=32", "data.limit=500"),
        *("data.class_weights=balanced", "data.sampler=balanced", "data=fake", "data.augment.flip=true"),
        *("data.augment.mixup=0.3", "trainer.accumulate_grad_batches=2", "trainer.precision=bf16-mixed"),
        *("decay_all=true", "callbacks=[default,ema]", "threads=1", "trainer.deterministic=true"),
    ],
)
def test_members_have_it_in_common(compose, override: str) -> None:
    assert kind_of(config_of(compose, *BASE)) != kind_of(config_of(compose, *BASE, override))


def test_strengths_of_the_same_changes_may_differ(compose) -> None:
    one = config_of(compose, "data.augment.crop=1", "data.augment.mixup=0.2", "data.augment.shift=0.1")
    other = config_of(compose, "data.augment.crop=2", "data.augment.mixup=0.4", "data.augment.rotate=9")
    assert kind_of(one) == kind_of(other)
