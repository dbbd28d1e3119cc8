"""Normalisations against their definitions, measured on the training part alone."""

import numpy as np
import pytest
import torch

from lightsweep.data.normalization import NORMALIZATIONS, fit_normalization

IMAGES = np.random.default_rng(0).integers(0, 256, (5000, 3, 4, 5), dtype=np.uint8)
IMAGES[:, 1] //= 2
TRAIN = np.arange(0, 5000, 2)


def normalized(method: str, images: np.ndarray = IMAGES) -> torch.Tensor:
    return fit_normalization(method, images, TRAIN)(torch.from_numpy(images))


def test_symmetric_maps_0_to_255_onto_minus_1_to_1() -> None:
    ends = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
    assert fit_normalization("symmetric", IMAGES, TRAIN)(ends).flatten().tolist() == [-1, 1]


@pytest.mark.parametrize(("method", "axes"), [("channel", (0, 2, 3)), ("feature", (0,))])
def test_training_part_has_mean_0_and_variance_1(method: str, axes: tuple[int, ...]) -> None:
    train = normalized(method)[TRAIN]
    means, variances = train.mean(axes), train.var(axes, unbiased=False)
    torch.testing.assert_close(means, torch.zeros_like(means), atol=1e-5, rtol=0)
    torch.testing.assert_close(variances, torch.ones_like(variances), atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["channel", "feature"])
def test_other_images_have_no_say(method: str) -> None:
    changed = IMAGES.copy()
    changed[1::2] = 0
    before, after = fit_normalization(method, IMAGES, TRAIN), fit_normalization(method, changed, TRAIN)
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.std, after.std)


@pytest.mark.parametrize("method", ["channel", "feature"])
def test_a_pixel_that_never_changes_is_only_centred(method: str) -> None:
    images = IMAGES.copy()
    images[:, 2] = 7
    assert normalized(method, images)[:, 2].abs().max() == 0


@pytest.mark.parametrize("method", NORMALIZATIONS)
def test_undo_gives_the_pixels_back(method: str) -> None:
    normalization = fit_normalization(method, IMAGES, TRAIN)
    assert torch.equal(normalization.undo(normalized(method)), torch.from_numpy(IMAGES))


def test_images_stay_as_they_are() -> None:
    images = torch.from_numpy(IMAGES.copy())
    result = fit_normalization("symmetric", IMAGES, TRAIN)(images)
    assert result.dtype == torch.float32
    assert torch.equal(images, torch.from_numpy(IMAGES))
