"""Test-time augmentation: an image's probabilities are the mean of those of several views of it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightsweep.data.normalization import Normalization

Views = Callable[[Tensor], list[Tensor]]  # images ``[B, C, H, W]`` -> several of the same shape


def mirrored(images: Tensor) -> list[Tensor]:
    """The images, and their mirror images."""
    return [images, images.flip(3)]


def shifted(images: Tensor) -> list[Tensor]:
    """Both of `mirrored`, where they are and by one pixel in each of eight directions, the edge repeated: 18 views."""
    height, width = images.shape[2:]
    rows, columns = (
        [(torch.arange(length, device=images.device) + step).clamp(0, length - 1) for step in (0, -1, 1)]
        for length in (height, width)
    )
    return [view[:, :, row][..., column] for view in mirrored(images) for row in rows for column in columns]


VIEWS: dict[str, Views] = {"flip": mirrored, "shift": shifted}  # as `--tta` names them


class AveragedNet(nn.Module):
    """A network's mean probabilities over views of its images, as logits.

    Args:
        normalization: of the network's inputs, since views are of pixels.
    """

    def __init__(self, net: nn.Module, normalization: Normalization, views: Views) -> None:
        super().__init__()
        self.net, self.normalization, self.views = net, normalization, views

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images ``float [B, C, H, W]`` -> ``float32 [B, K]``."""
        normalization = self.normalization.to(images.device)
        pixels = images * normalization.std + normalization.mean
        each = [self.net(normalization(view)).float().softmax(1) for view in self.views(pixels)]
        return torch.stack(each).mean(0).log()
