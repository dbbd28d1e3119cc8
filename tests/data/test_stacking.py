"""Batches of several loaders at once are those that each of them yields alone."""

import dataclasses

import pytest
import torch
from torch import Tensor

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.data import stacking
from lightsweep.data.loader import TrainLoader
from lightsweep.data.module import ImageDataModule
from lightsweep.data.stacking import stacked_batches
from lightsweep.data.transforms import Augment

CPU = torch.device("cpu")
SEEDS = (3, 1, 8)
EPOCHS = (0, 4, 2)
COUNTED = ("crop", "cutout")  # changes with a strength in whole pixels


@pytest.fixture
def open_data(compose):
    def opened(*overrides: str) -> ImageDataModule:
        small = ("data=fake", "data.shape=[3,9,7]", "data.train_images=60", "data.test_images=10", "data.batch_size=16")
        data = build(compose(*small, "data.drop_last=false", *overrides).data, "data")
        data.setup()
        return data

    return opened


def loaders_of(data: ImageDataModule) -> list[TrainLoader]:
    """One for each seed; all changes of the k-th are weaker by some."""
    return [
        data.train_loader(CPU, seed=seed, augment=weaker(data.augment, 1 - 0.2 * member))
        for member, seed in enumerate(SEEDS)
    ]


def weaker(augment: Augment, share: float) -> Augment:
    strengths = {name: value for name, value in dataclasses.asdict(augment).items() if type(value) in (int, float)}
    return dataclasses.replace(
        augment,
        **{name: round(value * share) if name in COUNTED else value * share for name, value in strengths.items()},
    )


def alone(loader: TrainLoader, epoch: int) -> list[tuple[Tensor, Tensor]]:
    loader.set_epoch(epoch)
    return list(loader)


CHANGES = [
    [],
    ["data.augment.flip=true"],
    ["data.augment.crop=3"],
    ["data.augment.crop=3", "data.augment.fill=mirror"],
    ["data.augment.cutout=4"],
    ["data.augment.shift=0.2", "data.augment.scale=0.1", "data.augment.rotate=20"],
    ["data.augment.brightness=0.3", "data.augment.contrast=0.3"],
    ["data.augment.mixup=0.4"],
    ["data.augment.noise=0.5"],
    ["data.augment.noise=0.5", "data.augment.noise_redraw=false"],
]
EVERYTHING = [change for changes in CHANGES[:-1] for change in changes]


@pytest.mark.parametrize("changes", [*CHANGES, EVERYTHING, [*EVERYTHING, "data.sampler=balanced"]], ids=str)
def test_each_loaders_batches_are_its_own(open_data, changes: list[str]) -> None:
    loaders = loaders_of(open_data(*changes))
    together = list(stacked_batches(loaders, EPOCHS))
    assert [images.shape for images, _ in together] == [(3, 16, 3, 9, 7)] * 3 + [(3, 6, 3, 9, 7)]
    for member, (loader, epoch) in enumerate(zip(loaders, EPOCHS, strict=True)):
        for (images, targets), (own_images, own_targets) in zip(together, alone(loader, epoch), strict=True):
            assert torch.equal(images[member], own_images)
            assert torch.equal(targets[member], own_targets)


def test_noise_can_be_off_for_some(open_data) -> None:
    data = open_data("data.augment.noise=0.5")
    without = dataclasses.replace(data.augment, noise=0.0)
    loaders = [data.train_loader(CPU, augment=augment) for augment in (without, data.augment)]
    expected = [alone(loader, 0) for loader in loaders]
    for (images, _), (quiet, _), (noisy, _) in zip(stacked_batches(loaders, (0, 0)), *expected, strict=True):
        assert torch.equal(images, torch.stack([quiet, noisy]))
        assert not torch.equal(quiet, noisy)


@pytest.mark.parametrize("members", [1, 2])
def test_large_batches_are_made_for_some_loaders_after_the_others(open_data, monkeypatch, members: int) -> None:
    monkeypatch.setattr(stacking, "_VALUES", members * 16 * 3 * 9 * 7)
    loaders = loaders_of(open_data(*EVERYTHING))
    expected = [alone(loader, epoch) for loader, epoch in zip(loaders, EPOCHS, strict=True)]
    addresses = set()
    for (images, targets), *own in zip(stacked_batches(loaders, EPOCHS), *expected, strict=True):
        assert torch.equal(images, torch.stack([own_images for own_images, _ in own]))
        assert torch.equal(targets, torch.stack([own_targets for _, own_targets in own]))
        addresses.add(images.data_ptr())
    assert len(addresses) < 4  # full batches use the same memory


def test_a_loader_draws_the_same_in_other_company(open_data) -> None:
    loaders = loaders_of(open_data(*EVERYTHING))
    three = [images[1] for images, _ in stacked_batches(loaders, EPOCHS)]
    two = [images[0] for images, _ in stacked_batches(loaders[1:], EPOCHS[1:])]
    assert all(torch.equal(one, other) for one, other in zip(three, two, strict=True))


def test_members_have_orders_and_changes_of_their_own(open_data) -> None:
    data = open_data("data.augment.noise=0.5")
    (images, targets), *_ = stacked_batches(loaders_of(data), (1, 1, 1))
    assert not torch.equal(targets[0], targets[1])
    assert not torch.equal(images[1], images[2])


def test_incomplete_batches_are_left_out(open_data) -> None:
    batches = list(stacked_batches(loaders_of(open_data("data.drop_last=true")), EPOCHS))
    assert [len(targets[0]) for _, targets in batches] == [16, 16, 16]


def test_a_seed_and_changes_of_its_own_are_as_from_the_config(open_data) -> None:
    configured = open_data("data.augment.crop=2", "seed=9")
    other = open_data().train_loader(CPU, seed=9, augment=configured.augment)
    for one, another in zip(configured.train_loader(CPU), other, strict=True):
        assert torch.equal(one[0], another[0])


def test_changes_that_do_not_fit_the_images_are_refused(open_data) -> None:
    data = open_data()
    with pytest.raises(ConfigError, match=r"^data.augment.crop must be smaller than the image's side, 7, got 7$"):
        data.train_loader(CPU, augment=dataclasses.replace(data.augment, crop=7))
