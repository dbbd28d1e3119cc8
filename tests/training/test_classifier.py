"""The LightningModule on single batches: class numbers or probabilities, and sums that weigh every image the same."""

import pytest
import torch
from torch.nn import functional as F

from lightsweep.app import steps
from lightsweep.app.validation import plain_config
from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.training.classifier import Classifier, Loss, Sums

CPU = torch.device("cpu")


@pytest.fixture
def classifier(compose):
    def made(*overrides: str) -> Classifier:
        cfg = compose(*overrides)
        data = build(cfg.data, "data")
        data.setup()
        return steps.build_classifier(plain_config(cfg), data)

    return made


IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([3, 1, 4, 1, 5, 9])
PROBABILITIES = torch.softmax(torch.randn(6, 10, generator=torch.Generator().manual_seed(1)), 1)


@pytest.mark.parametrize(
    "targets", [CLASSES, PROBABILITIES, F.one_hot(CLASSES, 10).float()], ids=["int", "soft", "one-hot"]
)
def test_a_batch_has_class_numbers_or_probabilities(classifier, targets: torch.Tensor) -> None:
    model = classifier("loss.label_smoothing=0.1")
    model.on_train_epoch_start()
    loss = model.training_step((IMAGES, targets), 0)
    logits = model(IMAGES)
    torch.testing.assert_close(loss, F.cross_entropy(logits, targets, label_smoothing=0.1))
    loss.backward()
    means = model.train_sums.means(lambda sums: sums)
    labels = targets if targets.ndim == 1 else targets.argmax(1)
    assert means["loss"] == pytest.approx(F.cross_entropy(logits, targets).item())
    assert means["acc"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())


def test_one_hot_probabilities_are_class_numbers(classifier) -> None:
    model = classifier()
    model.on_train_epoch_start()
    hard, soft = (model.training_step((IMAGES, t), 0) for t in (CLASSES, F.one_hot(CLASSES, 10).float()))
    torch.testing.assert_close(hard, soft)


def test_sums_weigh_every_image_the_same() -> None:
    sums = Sums(CPU, 10)
    for size, loss in [(4, 1.0), (1, 6.0)]:
        one = Loss(torch.tensor(loss + 1), torch.tensor(loss))
        sums.add(one, torch.eye(10)[:size], torch.zeros(size, dtype=torch.int64))
    means = sums.means(lambda values: values)
    assert means == pytest.approx({"objective": 3.0, "loss": 2.0, "acc": 2 / 5, "f1": 1 / 7, "balanced_acc": 2 / 5})


def test_sums_are_added_over_the_processes() -> None:
    sums = Sums(CPU, 2)
    sums.add(Loss(torch.tensor(2.0), torch.tensor(1.0)), torch.eye(2), torch.tensor([0, 0]))
    # Another process: 2 images, loss 5, none right.
    elsewhere = {1: torch.tensor([12.0, 10.0]), 2: torch.tensor([[0, 1], [1, 0]])}
    means = sums.means(lambda values: values + elsewhere[values.ndim])
    expected = {"objective": 4, "loss": 3, "acc": 1 / 4, "f1": 0.2, "balanced_acc": 1 / 6}
    assert means == pytest.approx(expected)


def test_an_empty_batch_changes_nothing(classifier) -> None:
    model = classifier("model.bn=true").eval()
    model.on_validation_epoch_start()
    model.validation_step((IMAGES, CLASSES), 0)
    before = model.val_sums.losses.clone(), model.val_sums.confusion.clone()
    model.validation_step((IMAGES[:0], CLASSES[:0]), 1)
    assert torch.equal(model.val_sums.losses, before[0])
    assert torch.equal(model.val_sums.confusion, before[1])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.lr=-1"], "optimizer.lr must be > 0, got -1"),
        (["optimizer=sgd", "optimizer.momentum=0"], "optimizer: Nesterov momentum requires a momentum"),
        (["scheduler=step", "scheduler.every=0"], "scheduler.every must be an integer >= 1, got 0"),
        (["decay_all=1"], "decay_all must be true or false, got 1"),
        (["loss.l2=-1"], "loss.l2 must be >= 0, got -1"),
    ],
)
def test_refuses_invalid_values_when_it_is_built(classifier, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        classifier(*overrides)
    assert str(refusal.value).startswith(message)
