"""What must be the same in all trials of a study: their values are compared with each other."""

from collections.abc import Sequence

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.space import Space

# What a trial's value measures.
_MEASURE = ("monitor", "test", "lr_find")
# Which images it is measured on.
_IMAGES = (
    "data_dir",
    "data._target_",
    "data.data_dir",
    "data.root",
    "data.val_fraction",
    "data.test_fraction",
    "data.split",
    "data.split_seed",
    "data.limit",
    "data.on_bad_file",
    "data.classes",
    "data.shape",
    "data.train_images",
    "data.test_images",
    "data.data_seed",
    "trainer.limit_val_batches",
)
# Which images are trained on; it may be searched.
_TRAINING = "data.max_per_class"
_OBJECTIVE = "val/objective"
# What the objective adds to the cross-entropy, or weighs it by.
_IN_OBJECTIVE = ("loss", "data.class_weights")


def check(space: Space, metric: str) -> None:
    """Refuse a space in which trials would be judged by different measures, or on different images.

    Args:
        metric: the monitored one.

    Raises:
        ConfigError: names the key that is searched.
    """
    for key in dict.fromkeys(parameter.key.lstrip("+") for parameter in space.parameters):
        if _below(key, _MEASURE):
            raise ConfigError(f"{key} must not be searched: the values of trials would mean different things")
        if key == "data" or _below(key, _IMAGES):
            raise ConfigError(f"{key} must not be searched: trials would be validated on different images")
        if metric == _OBJECTIVE and _below(key, _IN_OBJECTIVE):
            raise ConfigError(f"{key} must not be searched with monitor.metric={metric}, which it is a part of")


def has_one_training_part(space: Space, data: str) -> bool:
    """Whether all trials are trained on the same images. A data module of the user's own may make others of any of its
    arguments: a loader that drops the last batch does of its size.

    Args:
        data: the name of the data module's class.
    """
    keys = [parameter.key.lstrip("+") for parameter in space.parameters]
    own = not data.startswith("lightsweep.")
    return not any(key == _TRAINING or (own and _below(key, ("data",))) for key in keys)


def _below(key: str, roots: Sequence[str]) -> bool:
    return any(key == root or key.startswith(f"{root}.") for root in roots)
