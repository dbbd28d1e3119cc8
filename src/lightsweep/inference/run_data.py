"""The data that a trained network is scored on, its own or others, with its classes, input shape and normalisation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

from lightsweep.config import mistakes, permissions
from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import CONF
from lightsweep.core.text import printable
from lightsweep.data.decode import NO_PIXELS, fit_image
from lightsweep.data.module import ImageDataModule
from lightsweep.data.user_data import UserData, build_data
from lightsweep.inference.trained_runs import Weights
from lightsweep.runs import data_record, saved_config
from lightsweep.training.checkpoints import Description
from lightsweep.training.threads import AUTO

_FEW = 32  # images to check an export with
_NAMED = 10  # classes in an error


@dataclass(frozen=True)
class DataSettings:
    """Which data are scored, and on what.

    Args:
        cfg: of its nodes data, trainer and threads are used.
        label: a short name of other data, "" for the run's own.
    """

    cfg: DictConfig
    label: str

    @property
    def own(self) -> bool:
        return not self.label

    @property
    def data(self) -> Any:
        """The data's node as plain values."""
        return OmegaConf.to_container(self.cfg.data, resolve=True)

    @property
    def device(self) -> str:
        return str(OmegaConf.select(self.cfg, "trainer.accelerator", default="auto"))

    def use_threads(self) -> None:
        """As many as in training: sums in another order differ in the last digits."""
        threads = OmegaConf.select(self.cfg, "threads")
        if threads not in (AUTO, None):  # on a GPU, in a population, or torch's default
            checks.integer("threads", threads, "[1, inf)")
            torch.set_num_threads(threads)


def data_settings(weights: Weights, typed: Sequence[str]) -> DataSettings:
    """The run's own data, or what is typed of others.

    Args:
        typed: ``data=NAME``, ``data.KEY=VALUE``, ``data_dir=PATH``. Without the first they change the run's own.

    Raises:
        ConfigError: they are not about data, there is no such choice, key or value, or the run's config has no data.
    """
    permissions.declare_typed(permissions.read_typed(typed))
    try:
        overrides = OverridesParser.create().parse_overrides(list(typed))
        for override in overrides:
            if override.key_or_group.partition(".")[0] not in ("data", "data_dir"):
                line = override.input_line
                raise ConfigError(f"--data takes data=NAME, data.KEY=VALUE and data_dir=PATH, got {line}")
        if chosen := [str(override.value()) for override in overrides if override.key_or_group == "data"]:
            settings = DataSettings(_compose_other(weights, typed), Path(chosen[-1]).name)
        else:  # a data_dir is another folder with the same data
            same = all(override.key_or_group == "data_dir" for override in overrides)
            settings = DataSettings(_change_own(weights.config, overrides), "" if same else "changed")
        if not isinstance(settings.cfg.get("data"), DictConfig):
            raise ConfigError(
                "the run's config.yaml must have a node data with keys of its own; --data data=NAME chooses"
            )
        _ = settings.data  # so that what cannot be resolved raises here
        return settings
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"--data: {mistakes.describe_error(error)}") from error


def _compose_other(weights: Weights, typed: Sequence[str]) -> DictConfig:
    with hydra.initialize_config_dir(str(CONF)):
        # Train is only scored here. In halves, each class can be in both parts, however few its images are.
        cfg = hydra.compose("train", ["data.val_fraction=0.5", *typed])
    if weights.run is not None:
        cfg.trainer, cfg.threads = weights.config.trainer, weights.config.threads
    return cfg


def _change_own(cfg: DictConfig, overrides: Sequence[Override]) -> DictConfig:
    if isinstance(cfg.get("data"), DictConfig):
        saved_config.add_missing_keys(cfg.data)
    OmegaConf.set_struct(cfg, True)  # a key that is not there is a mistake
    for override in overrides:
        OmegaConf.update(cfg, override.key_or_group, override.value())
    return cfg


def read_data(settings: DataSettings, description: Description) -> ImageDataModule:
    """The data, read and cut, with the classes in the network's order, its input's shape and its normalisation.

    Raises:
        ConfigError: the classes are others.
    """
    cfg: Any = settings.cfg
    if not settings.own:  # what follows from the trained network, or would refuse a small data set
        known = {
            "image_size": max(description.image_size),
            "resize": description.resize,
            "grayscale": description.grayscale,
            "normalize": "symmetric",  # measures nothing; `match_data` sets the network's own
            "drop_last": False,
            "class_weights": None,
        }
        cfg = OmegaConf.merge(cfg, {"data": {key: value for key, value in known.items() if key in cfg.data}})
    data: ImageDataModule = build_data(cfg.data)
    if not settings.own and (isinstance(data, UserData) or description.resize == NO_PIXELS):
        raise ConfigError("--data: with a user data module, weights are scored on the run's own data only")
    data.setup(None if settings.own else "test")  # other data may have few images: they are only scored
    if not isinstance(data, UserData):
        match_data(data, description)
        return data
    for name in ("class_names", "input_shape"):
        trained, found = getattr(description, name), getattr(data, name)
        if trained != found:
            raise ConfigError(f"data: {data.name} must give the {name} of the network, {trained}, got {found}")
    return data


def describe_changes(weights: Weights, settings: DataSettings, data: ImageDataModule) -> list[str]:
    """Remarks on scores on these data: how the run's own changed since training, and which images it has seen."""
    before = data_record.read(weights.run) if weights.run else None
    if before is None:  # a run of an earlier version
        return []
    now = data.fingerprint()
    return data_record.describe_changes(before, now) if settings.own or before.source == now.source else []


def sample_images(weights: Weights, description: Description) -> np.ndarray:
    """Some images of the run's own data, ``uint8 [N, C, H, W]``; none (N = 0) where the data cannot be read at once."""
    none = np.empty((0, *description.input_shape), dtype=np.uint8)
    if weights.run is None:
        return none
    try:
        data = build_data(data_settings(weights, []).cfg.data)
        if isinstance(data, UserData) or data.preview() is not None:  # read only without a download
            return none
        images = data.read().test_images[:_FEW]
    except (ConfigError, OSError):
        return none
    return np.array(images) if images.shape[1:] == description.input_shape else none


def match_data(data: ImageDataModule, description: Description) -> None:
    """Bring data that were set up to what the network was trained on.

    Raises:
        ConfigError: their classes are others.
    """
    assert data.arrays is not None, "call setup first"
    arrays = data.arrays
    numbers = class_numbers(arrays.class_names, description.class_names)
    data.arrays = replace(
        arrays,
        train_images=_fit_images(arrays.train_images, description),
        train_labels=numbers[arrays.train_labels],
        test_images=_fit_images(arrays.test_images, description),
        test_labels=numbers[arrays.test_labels],
    )
    data.class_names = description.class_names
    data.input_shape = description.input_shape
    data.normalization = description.normalization


def class_numbers(names: Sequence[str], trained: Sequence[str]) -> np.ndarray:
    """The network's class number of each class of the data, ``int64 [K]``."""
    missing, unknown = sorted(set(trained) - set(names)), sorted(set(names) - set(trained))
    parts = [f"the network knows {_format_names(missing)}, which the data lack"] if missing else []
    parts += [f"the data have {_format_names(unknown)}, which it does not know"] if unknown else []
    if parts:
        raise ConfigError(f"the data must have the classes of the network: {'; '.join(parts)}")
    return np.array([trained.index(name) for name in names])


def _format_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(printable, names[:_NAMED])) + more


def _fit_images(images: np.ndarray, description: Description) -> np.ndarray:
    """Images of another size, or with other channels, brought to the input's shape as image files are."""
    if images.shape[1:] == description.input_shape:
        return images
    size, resize, grayscale = description.image_size, description.resize, description.grayscale
    fitted = np.empty((len(images), *description.input_shape), dtype=np.uint8)
    for number, pixels in enumerate(images):
        picture = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)  # [C, H, W] -> [H, W, C]
        fitted[number] = fit_image(Image.fromarray(picture), image_size=size, resize=resize, grayscale=grayscale)
    return fitted
