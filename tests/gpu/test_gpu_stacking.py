"""Batches of several loaders at once on a GPU: whatever the company, a loader draws what it draws alone."""

import dataclasses

import pytest
import torch

from lightsweep.config.build import build
from lightsweep.data import loader
from lightsweep.data.stacking import stacked_batches

from .conftest import TYPE

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(180)]

CHANGES = (
    *("flip=true", "crop=2", "shift=0.1", "rotate=20", "brightness=0.2", "contrast=0.2", "cutout=3"),
    *("mixup=0.4", "noise=0.1"),
)


@pytest.mark.parametrize("share", [0.5, 0.0], ids=["images on the device", "images in main memory"])
@pytest.mark.parametrize("changes", [(), ("flip=true", "crop=2", "cutout=3"), CHANGES], ids=str)
def test_each_loaders_batches_are_its_own(compose, monkeypatch, share: float, changes: tuple[str, ...]) -> None:
    monkeypatch.setattr(loader, "_MEMORY_SHARE", share)
    data = build(compose("data=digits", *(f"data.augment.{change}" for change in changes)).data, "data")
    data.setup()
    device = torch.device(TYPE, 0) if TYPE == "cuda" else torch.device(TYPE)
    weaker = dataclasses.replace(data.augment, crop=data.augment.crop // 2, noise=data.augment.noise / 2)
    loaders = [
        data.train_loader(device, seed=seed, augment=augment) for seed, augment in ((1, data.augment), (2, weaker))
    ]
    expected = [list(each) for each in loaders]
    for (images, targets), *alone in zip(stacked_batches(loaders, (0, 0)), *expected, strict=True):
        assert images.device.type == targets.device.type == TYPE
        for member, (own_images, own_targets) in enumerate(alone):
            torch.testing.assert_close(
                images[member], own_images, atol=0.02, rtol=0
            )  # a pixel value may be rounded apart
            torch.testing.assert_close(targets[member], own_targets)
