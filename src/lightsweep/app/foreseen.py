"""What is known of a training run before it: the data's traits, and the size of its network."""

from functools import lru_cache
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from lightsweep.data import user_data
from lightsweep.nets import build_network
from lightsweep.training.summary import count_parameters


def count_trainable(config: DictConfig) -> int:
    """The number of trainable parameters, ``params`` in result.json; the network is built on torch's meta device.

    Raises:
        ConfigError: it cannot be built.
    """
    traits = data_traits(config)
    model: Any = OmegaConf.to_container(config.model, resolve=True)
    with torch.device("meta"):
        net = build_network(model, traits.input_shape, len(traits.class_names))
    return count_parameters(net)["params"]


def data_traits(config: DictConfig) -> Any:
    """What the network follows from: the data module, or what it foresees where data must be fetched first."""
    return _traits(OmegaConf.to_yaml(config.data, resolve=True))


@lru_cache(maxsize=16)  # a data module that foresees nothing reads its data
def _traits(data: str) -> Any:
    module = user_data.build_data(OmegaConf.create(data))
    if (traits := module.preview()) is not None:
        return traits
    module.setup()
    return module
