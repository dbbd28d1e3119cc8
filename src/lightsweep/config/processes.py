"""In how many processes a run would train, told from its config before anything is built from it."""

from collections.abc import Callable

from omegaconf import DictConfig, ListConfig

from lightsweep.core.checks import require

_ONE_PROCESS = ("auto", "single_device", "single_xla", "single_tpu")  # of Lightning's strategies
_ALL = ("auto", "-1")


def check_single(trainer: DictConfig, gpus: Callable[[], int]) -> None:
    """Check that a trial trains in one process. Lightning starts a further one as the command that was typed, which
    would be another sweep.

    Args:
        trainer: the config's node.
        gpus: counts what ``devices=auto`` would take where it is no CPU.

    Raises:
        ConfigError: it would start further processes.
    """
    nodes, strategy = trainer.get("num_nodes", 1), trainer.strategy
    require(nodes == 1, "trainer.num_nodes", "be 1 in a sweep, where each trial trains in one process", nodes)
    alone = str(strategy).lower() in _ONE_PROCESS
    require(alone, "trainer.strategy", "be auto in a sweep, where each trial trains in one process", strategy)
    single = _devices(trainer, gpus) <= 1
    rule = "be one device in a sweep, where each trial trains in one process"
    require(single, "trainer.devices", rule, trainer.devices)


def is_single(trainer: DictConfig, gpus: Callable[[], int]) -> bool:
    """Whether a run with this trainer trains in one process, as far as its number of devices and nodes says."""
    return trainer.get("num_nodes", 1) == 1 and _devices(trainer, gpus) <= 1


def _devices(trainer: DictConfig, gpus: Callable[[], int]) -> int:
    """How many devices, as Lightning reads it: a number, a list of names, or all there are. A value that it will not
    understand counts as one: it is refused by its own name."""
    devices = trainer.devices
    if isinstance(devices, ListConfig | list | tuple):
        return len(devices)
    text = str(devices).strip()
    if text in _ALL:
        return 1 if trainer.accelerator in ("cpu", "mps") else gpus()
    if "," in text:
        return len([name for name in text.split(",") if name.strip()])
    return int(text) if text.isdecimal() else 1
