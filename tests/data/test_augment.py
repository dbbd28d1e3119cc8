"""Augmentation: each image of a batch is changed on its own, and only in the way that was asked for."""

from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.data.transforms import Augment

OFF = {"flip": False, "crop": 0, "fill": "black", "cutout": 0, "mixup": 0.0, "noise": 0.0, "noise_redraw": True}
OFF |= dict.fromkeys(("shift", "scale", "rotate", "brightness", "contrast"), 0.0)
MEAN = torch.tensor([10.0, 20.0, 30.0]).reshape(3, 1, 1)
IMAGES = torch.randint(100, 256, (64, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def augment(**values) -> Augment:
    return Augment(**OFF | values)


def moved(images: Tensor = IMAGES, seed: int = 1, **values) -> Tensor:
    return change(augment(**values), images, seed).round().to(torch.uint8)


def change(changes: Augment, images: Tensor = IMAGES, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return changes.draw(len(images), (images.shape[2], images.shape[3]), generator).change(images, MEAN)


def test_off_by_default(compose) -> None:
    default = build(compose("data=cifar10").data, "data").augment
    assert torch.equal(change(default), IMAGES)
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


@pytest.mark.parametrize(("fill", "mode"), [("edge", "edge"), ("mirror", "symmetric")])
@pytest.mark.parametrize("values", [{"crop": 2}, {"crop": 2, "rotate": 1e-4}], ids=["crop", "with an affine change"])
def test_fill_says_what_lies_outside(fill: str, mode: str, values: dict) -> None:
    padded = torch.from_numpy(np.pad(IMAGES, ((0, 0), (0, 0), (2, 2), (2, 2)), mode=mode))
    offsets = set()
    for index, image in enumerate(moved(fill=fill, **values)):
        windows = {(y, x): padded[index, :, y : y + 6, x : x + 6] for y in range(5) for x in range(5)}
        offsets |= {offset for offset, window in windows.items() if torch.equal(window, image)}
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
        ("crop", -1, "be an integer >= 0, got -1"),
        ("crop", 1.5, "be an integer >= 0, got 1.5"),
        ("cutout", -8, "be an integer >= 0, got -8"),
        ("noise", -0.1, "be in [0, 100], got -0.1"),
        ("shift", 1, "be in [0, 1), got 1"),
        ("scale", -0.1, "be in [0, 1), got -0.1"),
        ("rotate", 181, "be in [0, 180], got 181"),
        ("fill", "white", "be one of black, edge, mirror, got 'white'"),
        ("brightness", 1.5, "be in [0, 1], got 1.5"),
        ("contrast", 1.5, "be in [0, 1], got 1.5"),
        ("mixup", -1, "be in [0, 1000], got -1"),
        ("noise_redraw", "once", "be true or false, got 'once'"),
    ],
)
def test_refuses_values_out_of_range(compose, key: str, value: object, rule: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build(compose(f"data.augment.{key}={value}").data, "data")
    assert str(refusal.value) == f"data.augment.{key} must {rule}"


SMOOTH = torch.arange(64.0).reshape(1, 1, 8, 8).mul(3).to(torch.uint8).expand(200, 3, 8, 8)
NEW = [{"shift": 0.2}, {"scale": 0.3}, {"rotate": 30.0}, {"brightness": 0.2}, {"contrast": 0.5}]


@pytest.mark.parametrize("values", NEW, ids=str)
def test_new_changes_are_drawn_for_each_image_and_follow_from_the_generator(values: dict) -> None:
    first, again, other = (moved(SMOOTH, seed, **values) for seed in (1, 1, 2))
    assert first.shape == SMOOTH.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(torch.unique(first, dim=0)) > 50


@pytest.mark.parametrize("values", NEW, ids=str)
def test_a_tiny_change_is_none(values: dict) -> None:
    tiny = {key: value * 1e-5 for key, value in values.items()}
    assert torch.equal(moved(**tiny), IMAGES)


def test_flip_and_crop_are_the_same_within_an_interpolation() -> None:
    wide = torch.randint(0, 256, (64, 3, 5, 9), dtype=torch.uint8)
    assert torch.equal(moved(wide, flip=True, crop=3, rotate=3e-4), moved(wide, flip=True, crop=3))


@pytest.fixture
def drawn(monkeypatch):
    """Let affine changes draw these of its four numbers in [-1, 1], and 0 for the others."""

    def draw(images: Tensor, shift: float, scale: float, rotate: float, **numbers: float) -> Tensor:
        names = ("angle", "factor", "across", "down")
        values = torch.tensor([[(numbers.get(name, 0.0) + 1) / 2] * len(images) for name in names])
        monkeypatch.setattr(torch, "rand", lambda *_, **__: values)
        return moved(images, shift=shift, scale=scale, rotate=rotate)

    return draw


def test_a_quarter_turn_is_a_quarter_turn_also_of_a_wide_image(drawn) -> None:
    wide = torch.randint(0, 256, (1, 3, 5, 9), dtype=torch.uint8)
    square = wide[..., 2:7]  # the middle square turns in place
    turned = drawn(wide, 0.0, 0.0, 90.0, angle=1.0)[..., 2:7]
    assert torch.equal(turned, square.rot90(1, (2, 3))) or torch.equal(turned, square.rot90(-1, (2, 3)))


def test_shift_moves_by_a_share_of_the_sides_and_leaves_black(drawn) -> None:
    right = drawn(IMAGES, 0.5, 0.0, 0.0, across=-1.0)  # from three pixels to the left of here
    assert torch.equal(right[..., 3:], IMAGES[..., :3])
    assert not right[..., :3].any()
    down = drawn(IMAGES, 0.5, 0.0, 0.0, down=-1.0)
    assert torch.equal(down[..., 3:, :], IMAGES[..., :3, :])


def test_scale_enlarges_about_the_middle(drawn) -> None:
    point = torch.zeros(1, 1, 40, 40)
    point[..., 14:26, 14:26] = 255
    larger, smaller = (
        drawn(point.to(torch.uint8), 0.0, 0.5, 0.0, factor=sign).float().sum() / point.sum() for sign in (1.0, -1.0)
    )
    assert larger.item() == pytest.approx(1.5**2, rel=0.05)
    assert smaller.item() == pytest.approx(0.5**2, rel=0.05)


def test_brightness_adds_a_share_of_the_full_range_within_what_a_pixel_holds() -> None:
    gray = torch.full((5000, 1, 1, 1), 128, dtype=torch.uint8)
    seen = moved(gray, brightness=0.25).flatten().int()
    assert (seen.min().item(), seen.max().item()) == (64, 192)
    assert moved(torch.full((500, 1, 1, 1), 250, dtype=torch.uint8), brightness=0.25).max() == 255


def test_contrast_stretches_about_each_images_mean() -> None:
    pair = torch.tensor([100, 140], dtype=torch.uint8).reshape(1, 1, 1, 2).expand(5000, 1, 1, 2)
    seen = moved(pair, contrast=0.5).float()
    assert (seen.mean(3) == 120).all()
    spread = (seen[..., 1] - seen[..., 0]) / 40
    assert (spread.min().item(), spread.max().item()) == pytest.approx((0.5, 1.5), abs=0.03)


@pytest.mark.parametrize("values", [{"flip": True}, {"crop": 2}, {"cutout": 3}, {"flip": True, "crop": 1, "cutout": 2}])
def test_results_of_the_older_changes_are_pinned(values: dict) -> None:
    generator = torch.Generator().manual_seed(1)
    expected = IMAGES
    if "flip" in values:
        chosen = torch.rand(64, generator=generator) < 0.5
        expected = torch.where(chosen[:, None, None, None], expected.flip(-1), expected)
    if "crop" in values:
        most = values["crop"]
        dy, dx = torch.randint(2 * most + 1, (2, 64), generator=generator)
        padded = F.pad(expected, (most,) * 4)
        expected = torch.stack([padded[i, :, dy[i] : dy[i] + 6, dx[i] : dx[i] + 6] for i in range(64)])
    if "cutout" in values:
        side, expected = values["cutout"], expected.clone()
        top, left = (torch.randint(6, (64, 1), generator=generator)[:, 0] - side // 2 for _ in range(2))
        for i in range(64):
            y, x = (slice(max(0, int(start[i])), int(start[i]) + side) for start in (top, left))
            expected[i, :, y, x] = MEAN.to(torch.uint8)
    assert torch.equal(moved(**values), expected)


def mixed(alpha: float, count: int = 1000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images that are their own class number in every pixel, mixed."""
    classes = torch.arange(count) % 10
    images = classes.float().reshape(count, 1, 1, 1).expand(count, 1, 2, 2)
    draws = augment(mixup=alpha).draw(count, (2, 2), torch.Generator().manual_seed(seed))
    return draws.mix(images, classes, 10)


def test_mixup_mixes_images_and_targets_by_the_same_share() -> None:
    images, targets = mixed(0.4)
    assert (targets.shape, targets.dtype) == ((1000, 10), torch.float32)
    torch.testing.assert_close(targets.sum(1), torch.ones(1000))
    torch.testing.assert_close(images[:, 0, 0, 0], targets @ torch.arange(10.0), atol=1e-4, rtol=0)
    assert (targets > 0).sum(1).max() == 2
    assert torch.equal(mixed(0.4)[1], targets)
    assert not torch.equal(mixed(0.4, seed=1)[1], targets)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 8.0])
def test_mixups_shares_are_drawn_from_beta_for_each_image(alpha: float) -> None:
    shares = mixed(alpha, 20_000)[1].gather(1, (torch.arange(20_000) % 10)[:, None])[:, 0]
    paired = shares[shares < 1]  # the others met an image of their own class, or drew 1
    assert torch.isfinite(shares).all()
    if alpha >= 0.2:
        assert paired.mean().item() == pytest.approx(0.5, abs=0.05)
        assert paired.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)


def test_without_mixup_targets_stay_numbers() -> None:
    classes = torch.arange(3)
    assert augment().draw(3, (6, 6), torch.Generator()).mix(IMAGES[:3].float(), classes, 10)[1] is classes
