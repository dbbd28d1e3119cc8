"""Where the images of a set lie while it is trained on."""

import math

import numpy as np
import torch
from torch import Tensor

_SHARE = 0.5  # of the device's free memory; the rest is the network's


def place(images: np.ndarray, device: torch.device) -> Tensor:
    """The images as a tensor: on the device where they fit beside the network, else, and on the CPU always, as they
    are, without a copy. A set larger than memory is then read through its memory map, batch by batch."""
    tensor = torch.from_numpy(images)
    return tensor.to(device) if images.nbytes <= _SHARE * free_memory(device) else tensor


def free_memory(device: torch.device) -> float:
    """Bytes that are free on an accelerator; no end of them where nobody can say."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf
