"""Starting from an earlier run's weights: what fits is copied, the rest is logged."""

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.nets import MLP
from lightsweep.runs.run_folder import CONFIG
from lightsweep.training import checkpoints


@pytest.fixture
def net(compose):
    """As the finished run's network, with the given keys."""

    def built(*overrides: str, classes: int = 10) -> MLP:
        cfg = compose("model.bn=true", "model.dropout=0.1", *overrides)
        return build(cfg.model, "model", input_shape=(1, 8, 8), num_classes=classes)

    return built


@pytest.fixture
def folder(finished, tmp_path: Path) -> Path:
    """The finished run, as train.py leaves it."""
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / CONFIG).touch()
    (tmp_path / "earlier" / "checkpoints").symlink_to(finished.folder / "checkpoints")
    return tmp_path / "earlier"


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(one.state_dict()[name], weight) for name, weight in other.state_dict().items())


def test_all_best_weights_of_a_run_are_copied(net, folder: Path, caplog) -> None:
    fresh = net()
    with caplog.at_level(logging.INFO):
        checkpoints.load_initial_weights(folder, fresh)
    assert same(fresh, checkpoints.load(folder / "checkpoints" / "best.ckpt").net)
    assert caplog.messages == [f"init_from: 9 of 9 tensors from {folder}/checkpoints/best.ckpt"]


def test_a_head_of_another_size_keeps_its_initial_weights_and_is_logged(net, folder: Path, caplog) -> None:
    other = net(classes=7)
    before = other.head.weight.clone()
    with caplog.at_level(logging.INFO):
        checkpoints.load_initial_weights(folder / "checkpoints" / "last.ckpt", other)
    trained = checkpoints.load(folder / "checkpoints" / "last.ckpt").net
    assert same(other.body, trained.body)
    assert torch.equal(other.head.weight, before)
    assert caplog.messages[0].endswith(
        "last.ckpt; not used: head.weight [10, 16], head.bias [10];"
        " keeps its initial values: head.weight [7, 16], head.bias [7]"
    )


@pytest.mark.parametrize("prefix", ["", "net.", "_orig_mod.", "net._orig_mod."])
def test_a_state_dict_of_a_wrapped_network_is_accepted(net, tmp_path: Path, prefix: str) -> None:
    one, other = net(), net()
    torch.save({prefix + name: weight for name, weight in one.state_dict().items()}, tmp_path / "weights.pth")
    checkpoints.load_initial_weights(tmp_path / "weights.pth", other)
    assert same(other, one)


def test_no_fitting_weight_is_an_error(net, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^init_from: no weight in .*best.ckpt has the name and the shape of one of"):
        checkpoints.load_initial_weights(folder, nn.Linear(3, 3))


@pytest.mark.parametrize("content", [b"", b"\x80\x02]q\x00."], ids=["empty", "list"])
def test_the_error_names_a_file_that_is_no_checkpoint(net, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^init_from: .*x.ckpt is no checkpoint"):
        checkpoints.load_initial_weights(tmp_path / "x.ckpt", net())


def test_a_missing_run_is_refused_before_training(run, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^init_from must be a run's folder \(one that holds config.yaml\) or a chec"
    ):
        run(f"init_from={tmp_path}/nothing")
    with pytest.raises(ConfigError, match=r"^init_from: .*xxx cannot be read \(File name too long\)"):
        run(f"init_from={tmp_path}/{'x' * 300}")
    (tmp_path / CONFIG).touch()
    with pytest.raises(ConfigError, match=r"^init_from: no epoch of .* was finished, it has no checkpoint"):
        run(f"init_from={tmp_path}")


def test_a_run_starts_from_it_and_a_resumed_run_from_its_own_weights(run, folder: Path) -> None:
    keys = ("model.bn=true", "model.dropout=0.1", "optimizer=sgd", "optimizer.lr=1e-12", f"init_from={folder}")
    done = run(*keys, "trainer.max_epochs=1")
    trained = checkpoints.load(folder / "checkpoints" / "best.ckpt").net
    head = done.checkpoint("last.ckpt")["state_dict"]["net.head.weight"]
    torch.testing.assert_close(head, trained.head.weight.detach())
    (folder / "checkpoints").unlink()
    (folder / "checkpoints").symlink_to(done.folder / "checkpoints")
    assert len(run(*keys, "trainer.max_epochs=2").rows) == 2
