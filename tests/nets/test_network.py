"""Networks of users: their arguments, and the errors where they do not fit the data."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from lightsweep.config.allowlist import read_trusted
from lightsweep.core.errors import ConfigError
from lightsweep.nets import build_network

DIGITS = (1, 8, 8)
RESNET = "torchvision.models.resnet18"


class Tiny(nn.Sequential):
    def __init__(self, num_classes: int, hidden: int) -> None:
        super().__init__(nn.Flatten(), nn.LazyLinear(hidden), nn.Dropout(0.5), nn.Linear(hidden, num_classes))


class Shaped(nn.Sequential):
    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        channels, height, width = input_shape
        super().__init__(nn.Flatten(), nn.Linear(channels * height * width, num_classes))


class Same(nn.Identity):
    def __init__(self, num_classes: int) -> None:
        super().__init__()


class NoClasses(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()


def no_network(num_classes: int) -> int:
    return num_classes


@pytest.fixture
def trusting(trust):
    """These are trusted; a test can trust others instead."""
    trust(f"{__name__}.*", "gone.*")
    return trust


def ours(name: str, **keys: object) -> dict[str, object]:
    return {"_target_": f"{__name__}.{name}", **keys}


def test_gets_the_number_of_classes_and_the_shape_only_where_it_asks_for_it(trusting) -> None:
    assert build_network(ours("Tiny", hidden=3), DIGITS, 10)[3].out_features == 10
    assert build_network(ours("Shaped"), DIGITS, 7)[1].weight.shape == (7, 64)


def test_torchvisions_resnet_is_one_line(trusting) -> None:
    trusting(RESNET, "torchvision.models.resnet.ResNet")
    net = build_network({"_target_": RESNET}, (3, 32, 32), 10)
    assert (type(net).__name__, net.fc.out_features, net.training) == ("ResNet", 10, True)
    assert net.bn1.num_batches_tracked == 0


def test_the_look_at_two_images_changes_no_random_number(trusting) -> None:
    torch.manual_seed(0)
    net = build_network(ours("Shaped"), DIGITS, 10)
    after = torch.rand(1)
    torch.manual_seed(0)
    torch.testing.assert_close(net[1].weight, Shaped(DIGITS, 10)[1].weight)
    assert torch.rand(1) == after


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ours("Tiny", hidden=3, num_classes=4), "model.num_classes must be left out or 10, as in the data, got 4"),
        (ours("Tiny"), "model: Tiny.__init__() missing 1 required positional argument: 'hidden'"),
        (ours("no_network"), "model must be a network, a torch.nn.Module, got 'int'"),
        (ours("Gone"), f"model: Error loading '{__name__}.Gone'"),
        (
            ours("NoClasses", hidden=3),
            f"model: {__name__}.NoClasses must take num_classes, and may take input_shape; it takes hidden",
        ),
        (
            {"_target_": "gone.Net"},
            "model: Error loading 'gone.Net': ModuleNotFoundError(\"No module named 'gone'\"): is it installed?",
        ),
        ({"hidden": 3}, "model must name a network by _target_, got {'hidden': 3}"),
        (ours("Same"), f"model: {__name__}.Same must give logits [B, 10], got [B, 1, 8, 8]"),
        ({"_target_": RESNET}, f"model._target_ must be in the allowlist of this key, got '{RESNET}'"),
        ({"_target_": "torch.nn.Identity"}, "model._target_ must be in the allowlist of this key"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(trusting, model: dict, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build_network(model, DIGITS, 10)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_images_that_it_cannot_see_are_named(trusting) -> None:
    trusting(RESNET, "torchvision.models.resnet.ResNet")
    with pytest.raises(
        ConfigError, match=r"^model: torchvision.*ResNet cannot see images \[B, 1, 8, 8\]: Given groups"
    ):
        build_network({"_target_": RESNET}, DIGITS, 10)


class WithTrainingStep(pl.LightningModule):
    """Nobody calls its training step."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(64, num_classes)

    def forward(self, images):
        return self.layer(images.flatten(1))

    def training_step(self, *arguments):
        raise AssertionError("called")

    configure_optimizers = training_step


def test_of_a_lightning_module_the_forward_is_used_and_the_log_names_it(trusting, run, caplog) -> None:
    trusting(f"{__name__}.WithTrainingStep")
    node = {"_target_": f"{__name__}.WithTrainingStep"}
    with caplog.at_level("INFO"):
        done = run("callbacks=checkpoint", edit=lambda cfg: cfg.update(model=node))
    assert done.result["status"] == "completed"
    assert [line for line in caplog.messages if "is a LightningModule: its forward is used; loss, optimizer" in line]


def test_a_function_alone_does_not_make_its_result_trusted(trusting) -> None:
    trusting(RESNET)
    value = f"{RESNET},torchvision.models.resnet.ResNet"
    with pytest.raises(ConfigError, match=rf"^model: torchvision.models.resnet.ResNet .*LIGHTSWEEP_TRUST={value} in"):
        build_network({"_target_": RESNET}, DIGITS, 10)


@pytest.mark.parametrize(
    ("text", "entries"),
    [("", ()), ("mine.*", ("mine.*",)), (" mine.* , torchvision.models.resnet18,", ("mine.*", RESNET))],
)
def test_trust_is_a_list_of_names(text: str, entries: tuple[str, ...]) -> None:
    assert read_trusted(text) == entries


@pytest.mark.parametrize("text", ["*", "mine", "my*.Net", "mine.*.Net", "a b", "mine..Net"])
def test_trust_without_bounds_is_refused(text: str) -> None:
    with pytest.raises(SystemExit, match=r"^LIGHTSWEEP_TRUST must be names such as mypackage.\* or mypackage.Net, got"):
        read_trusted(text)
