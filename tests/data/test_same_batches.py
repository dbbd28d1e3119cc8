"""The batches of a seed and an epoch, as they were when these fingerprints were taken: runs stay reproducible."""

from hashlib import sha256

import numpy as np
import pytest
import torch
from torch import Tensor

from lightsweep.data.loader import ImageStore, TrainLoader
from lightsweep.data.normalization import Normalization
from lightsweep.data.transforms import Augment

NUMBERS = np.random.default_rng(0)
IMAGES = torch.from_numpy(NUMBERS.integers(0, 256, (40, 3, 9, 7), dtype=np.uint8))
TARGETS = torch.from_numpy(np.arange(40) % 7 % 4)
WEIGHTS = NUMBERS.standard_normal(40 * (3 * 9 * 7 + 4))
AS_THEY_ARE = Normalization(torch.full((3, 1, 1), 3.0), torch.ones(1, 1, 1))
OFF = {"flip": False, "crop": 0, "fill": "black", "cutout": 0, "mixup": 0.0, "noise": 0.0, "noise_redraw": True}
OFF |= dict.fromkeys(("shift", "scale", "rotate", "brightness", "contrast"), 0.0)
AFFINE = {"shift": 0.1, "scale": 0.2, "rotate": 25.0}
JITTER = {"brightness": 0.2, "contrast": 0.3}


def epoch(augment: dict, **values) -> tuple[Tensor, Tensor]:
    settings = {"normalization": AS_THEY_ARE, "sampling": "shuffle", "classes": 4, "batch_size": 9} | values
    settings = {"drop_last": False, "seed": 5} | settings
    loader = TrainLoader(ImageStore(IMAGES, TARGETS), torch.arange(3, 40), augment=Augment(**OFF | augment), **settings)
    loader.set_epoch(2)
    images, targets = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(targets)


@pytest.mark.parametrize(
    ("augment", "settings", "expected"),
    [
        ({}, {}, "dcff365138a6655a"),
        ({}, {"sampling": "balanced"}, "9e36175d50aa5d1b"),
        ({"flip": True}, {"rank": 1, "world_size": 2}, "0a90909681f6ef30"),
        ({"crop": 2}, {}, "b65de21b412cbf91"),
        ({"cutout": 4}, {}, "f34ae23f3c42a0d1"),
        ({"flip": True, "crop": 3, "cutout": 3}, {"drop_last": True}, "b36adfc9ce80ac8b"),
        (AFFINE, {}, "b7654cdc101e4fdb"),
        (JITTER, {}, "aca498da3a072990"),
        ({"flip": True, "crop": 1, "cutout": 2, **AFFINE, **JITTER}, {"sampling": "balanced"}, "68cb5eb0e1e502cb"),
    ],
    ids=str,
)
def test_pixels_and_order(augment: dict, settings: dict, expected: str) -> None:
    images, targets = epoch(augment, **settings)
    pixels = AS_THEY_ARE.undo(images).contiguous().numpy()
    assert sha256(pixels.tobytes() + targets.numpy().tobytes()).hexdigest()[:16] == expected


@pytest.mark.parametrize(
    ("augment", "expected"),
    [
        ({"noise": 2.0}, 294.01932),
        ({"noise": 2.0, "noise_redraw": False}, 761.03402),
        ({"mixup": 0.4}, 2365.75466),
        ({"flip": True, "crop": 2, "cutout": 2, **AFFINE, **JITTER, "mixup": 1.5, "noise": 1.0}, -12269.27735),
    ],
    ids=str,
)
def test_mixup_and_noise(augment: dict, expected: float) -> None:
    values = np.concatenate([each.flatten().double().numpy() for each in epoch(augment)])
    assert values @ WEIGHTS[: len(values)] == pytest.approx(expected, rel=1e-5)
