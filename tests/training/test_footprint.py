"""What a network takes of memory, known before anything is allocated."""

from functools import partial

import pytest
import torch
from torch import nn

from lightsweep.core.errors import ConfigError
from lightsweep.data.normalization import symmetric_normalization
from lightsweep.training import summary
from lightsweep.training.checkpoints import Description

SHAPE = (3, 16, 16)
ADAM = partial(torch.optim.Adam, lr=1e-3, fused=True)


@pytest.fixture
def described(compose):
    """The network of these overrides, for ten classes."""

    def made(*overrides: str) -> Description:
        cfg = compose(*overrides)
        return Description(dict(cfg.model), SHAPE, tuple("0123456789"), symmetric_normalization(), "squash")

    return made


@pytest.fixture
def measured(described):
    def made(*overrides: str, optimizer: partial = ADAM) -> summary.Footprint:
        with torch.device("meta"):
            return summary.measure_footprint(described(*overrides).build_net(), optimizer, input_shape=SHAPE)

    return made


@pytest.mark.parametrize("model", ["mlp", "cnn", "resmlp"])
def test_weights_are_those_of_the_network(described, measured, model: str) -> None:
    net = described(f"model={model}").build_net()
    found = measured(f"model={model}")
    assert found.parameters == sum(parameter.numel() for parameter in net.parameters())
    assert found.weights == sum(tensor.nbytes for tensor in [*net.parameters(), *net.buffers()])
    assert found.gradients == 4 * found.parameters


@pytest.mark.parametrize(
    ("optimizer", "numbers"),
    [
        (ADAM, 2),
        (partial(torch.optim.Adam, lr=1e-3, amsgrad=True), 3),
        (partial(torch.optim.SGD, lr=0.1), 0),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9), 1),
        (partial(torch.optim.RMSprop, lr=0.1, momentum=0.9, centered=True), 3),
        (partial(torch.optim.LBFGS), 0),  # which cannot be tried so
    ],
    ids=lambda item: str(getattr(item, "func", item)),
)
def test_states_are_those_of_the_optimizer(measured, optimizer: partial, numbers: int) -> None:
    found = measured(optimizer=optimizer)
    assert found.states == pytest.approx(numbers * found.gradients, rel=1e-4)


def test_features_are_at_most_what_a_step_keeps(measured) -> None:
    """A linear layer keeps its input for its gradient, the activation its output, which is the next one's input."""
    found = measured("model.width=32", "model.depth=2", "model.activation=relu")
    assert found.kept == 4 * (768 + 32 + 32)
    assert found.largest == 4 * 768
    wider = measured("model=cnn", "model.width=64").kept
    assert wider > 64 * 16 * 16 * 4


@pytest.mark.parametrize("model", ["mlp model.dct=[8,4]", "mlp model.bn=true model.dropout=0.5", "resmlp", "cnn"])
def test_measuring_draws_no_random_numbers(measured, model: str) -> None:
    before = torch.get_rng_state()
    measured(*f"model={model}".split())
    assert torch.equal(torch.get_rng_state(), before)


HOW = {"batches": (128, 1000), "precision": "32-true", "accelerator": "cpu"}


@pytest.mark.parametrize(
    ("overrides", "changed", "line"),
    [
        (["model.width=1000000"], {}, "model must fit into memory: 1,000,780,000,010 parameters (weights 4.0 TB, the "),
        (["model.width=1000000", "model.depth=1000"], {}, "model must fit into memory: "),
        (["model=resmlp", "model.width=500000"], {}, "model must fit into memory: "),
        (["model=cnn", "model.width=1000000", "model.depth=5", "model.convs=9"], {}, "model must fit into memory: "),
        (
            [],
            {"batches": (10**10, 1)},
            "data.batch_size must fit into memory: the network and the features of ",
        ),
        (
            [],
            {"batches": (1, 10**10)},
            "data.eval_batch_size must fit into memory: the network and the features of ",
        ),
    ],
)
def test_what_cannot_fit_is_refused(described, overrides: list[str], changed: dict, line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        summary.check_memory(described("model.depth=2", *overrides), ADAM, **{**HOW, **changed})
    assert str(refusal.value).startswith(line)
    assert str(refusal.value).endswith(" are available") or "64 bits" in str(refusal.value)


def test_counts_of_classes_must_fit(described) -> None:
    many = Description(described().model, SHAPE, ("a",) * 100_000_000, symmetric_normalization(), "squash")
    with pytest.raises(
        ConfigError, match=r"^data must fit into memory: counts of 100,000,000 true by 100,000,000 pred"
    ):
        summary.check_memory(many, ADAM, **HOW)


def test_half_the_bits_need_half_the_memory(described, measured, memory_left) -> None:
    found = measured()
    memory_left(2 * found.permanent - 1)
    for precision in ("16-true", "bf16-true"):
        summary.check_memory(described(), ADAM, **{**HOW, "batches": (1, 1), "precision": precision})
    for precision in ("32-true", "64-true"):
        with pytest.raises(ConfigError, match=r"^model must fit"):
            summary.check_memory(described(), ADAM, **{**HOW, "batches": (1, 1), "precision": precision})


def test_a_network_of_the_user_is_not_measured() -> None:
    users = Description({"_target_": "missing.Net"}, SHAPE, ("a", "b"), symmetric_normalization(), "squash")
    summary.check_memory(users, ADAM, **HOW)  # building it would raise


def test_a_value_out_of_range_is_refused(described) -> None:
    with pytest.raises(ConfigError, match=r"^model\.dropout must be in \[0, 1\), got 2$"):
        summary.check_memory(described("model.dropout=2"), ADAM, **HOW)


def test_the_measured_layer_is_large_compared_with_constant_state() -> None:
    layer = nn.Linear(summary._STAND_IN, 1, device="meta")
    assert layer.weight.numel() * summary._STAND_IN > 100_000
