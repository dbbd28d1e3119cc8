"""What a loader of the user's own yields, seen to be images and targets."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lightsweep.core.errors import ConfigError
from lightsweep.data.normalize import Normalization


class Batches:
    """A loader's batches as ``float32 [B, C, H, W]`` and targets, on the CPU unless a device is named."""

    def __init__(self, loader: Any, key: str, normalization: Normalization, device: torch.device | None = None) -> None:
        self.loader, self.key, self.normalization, self.device = loader, key, normalization, device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.loader:
            images, targets = checked(batch, self.key)
            if self.device is not None:  # to be scored, where each image counts once, for one class
                targets = targets if targets.ndim == 1 else targets.argmax(1)
                images, targets = images.to(self.device), targets.to(self.device)
            is_pixels = images.dtype == torch.uint8
            yield (self.normalization.to(images.device)(images) if is_pixels else images.float()), targets

    def set_epoch(self, epoch: int) -> None:
        """For a sampler that wants to know, as a distributed one."""
        for sampler in (getattr(self.loader, "sampler", None), getattr(self.loader, "batch_sampler", None)):
            if callable(tell := getattr(sampler, "set_epoch", None)):
                tell(epoch)


def checked(batch: Any, key: str) -> tuple[Tensor, Tensor]:
    """Images and targets, these as ``int64 [B]`` or ``float [B, K]``.

    Raises:
        ConfigError: a batch is something else.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        kind = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
        raise ConfigError(f"{key} must yield pairs (images, targets), got a {kind}")
    images, targets = batch
    image_like = isinstance(images, Tensor) and images.ndim == 4
    if not image_like or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise ConfigError(f"{key} must yield images float or uint8 [B, C, H, W], got {_form(images)}")
    numbers = isinstance(targets, Tensor) and targets.ndim == 1 and not targets.is_floating_point()
    shares = isinstance(targets, Tensor) and targets.ndim == 2 and targets.is_floating_point()
    if not (numbers or shares) or len(targets) != len(images):
        raise ConfigError(
            f"{key} must yield class numbers int64 [B] from 0, or shares float [B, K], got {_form(targets)}"
        )
    return images, targets.long() if numbers else targets.float()


def _form(value: Any) -> str:
    return (
        f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        if isinstance(value, Tensor)
        else repr(type(value).__name__)
    )
