"""Batches: every image once, in an order and with changes that follow from (seed, epoch)."""

import pytest
import torch
from torch import Tensor

from lightsweep.data.loader import EvalLoader, ImageStore, TrainLoader
from lightsweep.data.normalization import Normalization
from lightsweep.data.transforms import Augment

COUNT = 23
IMAGES = torch.arange(30, dtype=torch.uint8).reshape(30, 1, 1, 1).expand(30, 1, 4, 4).contiguous()  # image i is all i
TARGETS = torch.arange(30) + 100
INDICES = torch.arange(30)[7:]  # the last 23 of them
AS_THEY_ARE = Normalization(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
OFF = {"flip": False, "crop": 0, "fill": "black", "cutout": 0, "mixup": 0.0, "noise": 0.0, "noise_redraw": True}
OFF |= dict.fromkeys(("shift", "scale", "rotate", "brightness", "contrast"), 0.0)
STORE = ImageStore(IMAGES, TARGETS)


def train_loader(augment: dict | None = None, **values) -> TrainLoader:
    settings = {
        "normalization": AS_THEY_ARE,
        "batch_size": 5,
        "drop_last": False,
        "seed": 1,
        "sampling": "shuffle",
        "classes": 130,
    } | values
    changes = Augment(**OFF | (augment or {}))
    return TrainLoader(STORE, INDICES, augment=changes, **settings)


def eval_loader(**values) -> EvalLoader:
    return EvalLoader(STORE, INDICES, normalization=AS_THEY_ARE, **{"batch_size": 5} | values)


def epoch(loader: TrainLoader, number: int = 0) -> tuple[Tensor, Tensor]:
    loader.set_epoch(number)
    images, targets = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(targets)


@pytest.mark.parametrize("make", [train_loader, eval_loader])
def test_yields_every_chosen_image_once_with_its_target(make) -> None:
    batches = list(make())
    assert [len(targets) for _, targets in batches] == [5, 5, 5, 5, 3]
    assert len(make()) == 5
    targets = torch.cat([targets for _, targets in batches])
    images = torch.cat([images for images, _ in batches])
    assert sorted(targets.tolist()) == list(range(107, 130))
    assert torch.equal(images[:, 0, 0, 0] + 100, targets)
    assert (images.dtype, targets.dtype) == (torch.float32, torch.int64)


def test_evaluation_goes_in_order() -> None:
    assert torch.cat([targets for _, targets in eval_loader()]).tolist() == list(range(107, 130))


def test_drop_last_leaves_out_the_incomplete_batch() -> None:
    loader = train_loader(drop_last=True)
    assert [len(targets) for _, targets in loader] == [5, 5, 5, 5]
    assert len(loader) == 4


def test_order_follows_from_seed_and_epoch() -> None:
    first = epoch(train_loader(), 3)[1]
    assert torch.equal(epoch(train_loader(), 3)[1], first)
    assert not torch.equal(epoch(train_loader(), 4)[1], first)
    assert not torch.equal(epoch(train_loader(seed=2), 3)[1], first)
    assert first.tolist() != sorted(first.tolist())


CHANGES = [{"flip": True, "crop": 2}, {"cutout": 2}, {"noise": 0.1}, {"rotate": 20.0}, {"contrast": 0.5}, {"mixup": 1}]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_changes_follow_from_seed_and_epoch_whatever_came_before(changes: dict) -> None:
    used = train_loader(changes)
    epoch(used, 0)
    later = epoch(used, 5)[0]
    assert torch.equal(epoch(train_loader(changes), 5)[0], later)
    assert not torch.equal(epoch(train_loader(changes), 6)[0], later)


@pytest.mark.parametrize("redrawn", [True, False])
def test_noise_is_drawn_each_time_or_once_per_image(redrawn: bool) -> None:
    loader = train_loader({"noise": 1.0, "noise_redraw": redrawn})

    def noise_of_image_7(number: int) -> Tensor:
        images, targets = epoch(loader, number)
        return images[targets == 107] - 7

    assert noise_of_image_7(0).abs().max() > 0
    torch.testing.assert_close(noise_of_image_7(0), noise_of_image_7(0))
    assert torch.allclose(noise_of_image_7(0), noise_of_image_7(1)) == (not redrawn)


def test_normalises_before_it_adds_noise() -> None:
    far = Normalization(torch.full((1, 1, 1), 1000.0), torch.full((1, 1, 1), 1000.0))
    images, targets = epoch(train_loader({"noise": 0.01}, normalization=far, batch_size=23))
    noise = images - (targets.reshape(-1, 1, 1, 1) - 1100) / 1000
    assert noise.std().item() == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_an_epoch_without_overlap_and_in_equal_parts(world_size: int) -> None:
    shares = [epoch(train_loader(rank=rank, world_size=world_size))[1].tolist() for rank in range(world_size)]
    assert {len(share) for share in shares} == {COUNT // world_size}
    together = [target for share in shares for target in share]
    assert len(set(together)) == len(together)


def test_processes_draw_different_changes() -> None:
    noises = []
    for rank in range(2):
        images, targets = epoch(train_loader({"noise": 1.0}, rank=rank, world_size=2))
        noises.append(images - (targets.reshape(-1, 1, 1, 1) - 100))
    assert not torch.allclose(noises[0], noises[1], atol=1e-3)


def test_processes_evaluate_every_image_once_in_as_many_batches() -> None:
    loaders = [eval_loader(batch_size=4, rank=rank, world_size=3) for rank in range(3)]
    assert {len(list(loader)) for loader in loaders} == {len(loaders[0])} == {2}
    yielded = [target for loader in loaders for _, targets in loader for target in targets.tolist()]
    assert sorted(yielded) == list(range(107, 130))


def test_a_share_can_end_in_an_empty_batch() -> None:
    sizes = [[len(targets) for _, targets in eval_loader(batch_size=6, rank=rank, world_size=2)] for rank in range(2)]
    assert sizes == [[6, 6], [6, 5]]
    last = [len(list(eval_loader(batch_size=11, rank=rank, world_size=2))[-1][1]) for rank in range(2)]
    assert last == [1, 0]


def test_mixup_gives_probabilities_that_go_with_the_images() -> None:
    images, targets = epoch(train_loader({"mixup": 0.5}))
    assert targets.shape == (COUNT, 130)
    torch.testing.assert_close(images[:, 0, 0, 0], targets @ torch.arange(130.0) - 100, atol=1e-3, rtol=0)


def test_a_balanced_epoch_shows_a_rare_class_as_often() -> None:
    store = ImageStore(IMAGES, torch.tensor([0] * 27 + [1] * 3))
    settings = {"batch_size": 5, "drop_last": False, "seed": 1, "classes": 2, "normalization": AS_THEY_ARE}
    loader = TrainLoader(store, INDICES, augment=Augment(**OFF), sampling="balanced", **settings)
    counts = torch.bincount(epoch(loader)[1])
    assert sorted(counts.tolist()) == [11, 12]
    assert len(loader) == 5


def test_images_that_lie_elsewhere_are_taken_from_there() -> None:
    elsewhere = ImageStore(IMAGES, TARGETS.to("meta"))
    images, targets = elsewhere.take(torch.tensor([3, 4]))
    assert images.device == targets.device == torch.device("meta")
    assert images.shape == (2, 1, 4, 4)
