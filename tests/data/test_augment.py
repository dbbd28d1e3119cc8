"""Augmentation: each image of a batch is changed on its own, and only in the way that was asked for."""

from math import sqrt

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lightsweep.build import build
from lightsweep.data.augment import Augment
from lightsweep.errors import ConfigError

OFF = {"flip": False, "crop": 0, "cutout": 0, "mixup": 0.0, "noise": 0.0, "noise_redraw": True}
OFF |= dict.fromkeys(("shift", "scale", "rotate", "brightness", "contrast"), 0.0)
MEAN = torch.tensor([10.0, 20.0, 30.0]).reshape(3, 1, 1)
IMAGES = torch.randint(100, 256, (64, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def augment(**values) -> Augment:
    return Augment(**OFF | values)


def moved(images: Tensor = IMAGES, seed: int = 1, **values) -> Tensor:
    return augment(**values).move(images, MEAN, torch.Generator().manual_seed(seed))


def test_off_by_default(compose) -> None:
    default = build(compose("data=cifar10").data, "data").augment
    assert torch.equal(default.move(IMAGES, MEAN, torch.Generator()), IMAGES)
    assert torch.equal(default.add_noise(torch.ones(2, 3, 4, 4), torch.Generator()), torch.ones(2, 3, 4, 4))
    assert default.fixed_noise(IMAGES.shape, torch.Generator()) is None


def test_flip_mirrors_about_every_second_image_left_to_right() -> None:
    flipped = [torch.equal(new, old.flip(-1)) for new, old in zip(moved(flip=True), IMAGES, strict=True)]
    kept = [torch.equal(new, old) for new, old in zip(moved(flip=True), IMAGES, strict=True)]
    assert all(one != other for one, other in zip(flipped, kept, strict=True))
    assert 16 < sum(flipped) < 48


def test_crop_takes_a_window_of_each_padded_image() -> None:
    padded = F.pad(IMAGES, (2, 2, 2, 2))
    offsets = set()
    for index, image in enumerate(moved(crop=2)):
        windows = {(y, x): padded[index, :, y : y + 6, x : x + 6] for y in range(5) for x in range(5)}
        matching = [offset for offset, window in windows.items() if torch.equal(window, image)]
        assert len(matching) == 1
        offsets.add(matching[0])
    assert {y for y, _ in offsets} == {x for _, x in offsets} == set(range(5))


@pytest.mark.parametrize("side", [1, 2, 3, 20])
def test_cutout_fills_a_square_around_a_point_of_the_image_with_the_mean(side: int) -> None:
    full = 0
    for new, old in zip(moved(cutout=side), IMAGES, strict=True):
        wiped = (new == MEAN).all(0)
        height, width = int(wiped.any(1).sum()), int(wiped.any(0).sum())
        assert wiped.sum() == height * width  # a rectangle
        assert min(height, width) >= 1
        assert max(height, width) <= side
        assert torch.equal(new[:, ~wiped], old[:, ~wiped])
        full += height == width == side
    assert full > 0 or side > 6


def test_cutout_is_about_zero_after_normalising() -> None:
    std = 50.0
    wiped = (moved(cutout=20)[:, :, 3, 3] - MEAN[:, 0, 0]) / std
    assert wiped.abs().max() <= 0.5 / std


@pytest.mark.parametrize("values", [{"flip": True}, {"crop": 2}, {"cutout": 3}], ids=str)
def test_is_drawn_for_each_image_and_follows_from_the_generator(values: dict) -> None:
    same_image = IMAGES[:1].expand(64, 3, 6, 6)
    first, again, other = (moved(same_image, seed, **values) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(torch.unique(first, dim=0)) > 1


def test_all_together_keep_shape_and_type_and_leave_the_originals() -> None:
    originals = IMAGES.clone()
    changed = moved(originals, flip=True, crop=2, cutout=2)
    assert (changed.shape, changed.dtype) == (IMAGES.shape, torch.uint8)
    assert torch.equal(originals, IMAGES)


def test_noise_has_its_sigma_in_normalised_units() -> None:
    noisy = augment(noise=0.3).add_noise(torch.full((500, 3, 8, 8), 2.0), torch.Generator().manual_seed(0))
    draws = noisy.numel()
    assert noisy.mean().item() == pytest.approx(2.0, abs=4 * 0.3 / sqrt(draws))
    assert noisy.std().item() == pytest.approx(0.3, rel=0.02)


def test_noise_once_and_for_all_is_a_table_and_not_drawn_again() -> None:
    fixed = augment(noise=0.3, noise_redraw=False)
    table = fixed.fixed_noise(torch.Size((5000, 3, 4, 4)), torch.Generator().manual_seed(0))
    assert table.float().std().item() == pytest.approx(0.3, rel=0.02)
    assert not torch.equal(table[0], table[4999])
    assert torch.equal(fixed.add_noise(torch.ones(2, 3, 4, 4), torch.Generator()), torch.ones(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("flip", 1, "be true or false, got 1"),
        ("crop", -1, "be a whole number >= 0, got -1"),
        ("crop", 1.5, "be a whole number >= 0, got 1.5"),
        ("cutout", -8, "be a whole number >= 0, got -8"),
        ("noise", -0.1, "be >= 0, got -0.1"),
        ("noise_redraw", "once", "be true or false, got 'once'"),
    ],
)
def test_refuses_values_out_of_range(compose, key: str, value: object, rule: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build(compose(f"data.augment.{key}={value}").data, "data")
    assert str(refusal.value) == f"data.augment.{key} must {rule}"
