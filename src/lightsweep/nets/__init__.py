"""Networks: images -> logits. B is the batch, C, H, W an image's channels, height and width, K the classes.

Each takes `input_shape` (C, H, W) and `num_classes` K, which follow from the data, and keyword arguments without
defaults: conf/model/ has those. Its output layer is `head`.
"""

from lightsweep.nets.cnn import CNN
from lightsweep.nets.mlp import MLP, ResMLP

__all__ = ["CNN", "MLP", "ResMLP"]
