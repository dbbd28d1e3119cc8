"""Lightning in a sweep, whether an app imports lightning.pytorch or pytorch_lightning: the callback that prunes, and
what distributed training starts further processes with, and leaves behind."""

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, read_write

from lightsweep.core.files import write_atomic
from lightsweep.sweeper.job import current_trial

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
_RANK = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
_OBSERVER = "child-process-observer"  # Lightning's thread: it kills this process when a further one has failed
_ENDING = 30.0  # seconds that further processes have to end in order


class _Pruning:
    """Reports a metric each epoch, and ends the trial where the pruner says so; outside a sweep it does nothing.

    The step that is reported is the epoch, from 1; where a metric is validated within epochs, it is the count of
    validations. Each rank ends where the first one is told to.

    Args:
        monitor: the name under which the metric is logged, in validation or in training, such as ``val/acc``.
        measured: gives a Trainer's metrics, looked at once an epoch; None for those that Lightning keeps, as float32.

    Raises:
        optuna.TrialPruned: the trial ends here.
        ValueError: the metric was never logged, or another instance reports for the same trial.
    """

    def __init__(self, monitor: str, measured: Callable[[Any], Mapping[str, Any]] | None = None) -> None:
        super().__init__()
        self.monitor, self.measured = monitor, measured
        self.validations = self.last_step = 0
        self._seen: Any = None  # the tensor that was logged last: each time that a metric is logged makes another

    @property
    def state_key(self) -> str:
        return f"PruningCallback{{'monitor': {self.monitor!r}}}"

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self.validations, "last_step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.validations, self.last_step = state_dict["validations"], state_dict["last_step"]

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        monitors = [each.monitor for each in trainer.callbacks if isinstance(each, _Pruning)]
        if len(monitors) > 1 and current_trial().reports is not None:
            raise ValueError(f"a trial reports one metric, but there are PruningCallbacks of {' and '.join(monitors)}")

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._seen_before = trainer.callback_metrics.get(self.monitor)  # of training, or an earlier validation

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.validations += 1
        if self.measured is not None or (trainer.val_check_batch or 0) >= trainer.num_training_batches:  # None: by time
            return
        if trainer.callback_metrics.get(self.monitor) is not self._seen_before:
            self._look(trainer, self.validations)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._look(trainer, trainer.current_epoch + 1)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._look(trainer, trainer.current_epoch)  # what the module itself logged at the end of the epoch before

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._look(trainer, trainer.current_epoch)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        if current_trial().reports is not None and self.monitor not in trainer.callback_metrics:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ValueError(f"PruningCallback: monitor={self.monitor} was never logged; logged: {logged}")

    def _look(self, trainer: Any, step: int) -> None:
        """Report the metric, if it has been logged since the last look."""
        metrics = trainer.callback_metrics if self.measured is None else self.measured(trainer)
        value, trial, message = metrics.get(self.monitor), current_trial(), None
        is_new, self._seen = value is not None and value is not self._seen, value
        if is_new and step > self.last_step:
            self.last_step = step
            try:
                trial.report(value, step)  # further ranks are processes of their own, which know of no trial
            except Exception as error:
                if not trial.is_pruned:
                    raise
                message = str(error)
        if message := trainer.strategy.broadcast(message):
            if not trainer.is_global_zero:
                sys.exit(0)  # Lightning would kill the first process because this one failed
            from optuna import TrialPruned

            raise TrialPruned(message)


@cache
def _with_bases(*bases: type) -> type:
    made = type("PruningCallback", (_Pruning, *bases), {"__doc__": _Pruning.__doc__, "__module__": "lightsweep"})
    made.__qualname__ = "PruningCallback"
    return made


def pruning_callback() -> type:
    """The class for the Lightning that this process uses: the one that is imported, both, else the one that is there.

    Raises:
        ImportError: neither is installed.
    """
    used = [name for name in _PACKAGES if name in sys.modules] or [_installed()]
    return _with_bases(*(importlib.import_module(name).Callback for name in used))


def _installed() -> str:
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        return name
    raise ImportError("lightsweep.PruningCallback needs Lightning: pip install lightning (or pytorch-lightning)")


def program() -> tuple[str, str | None]:
    """The script that this process runs, and the name of its module where it was started with ``python -m``."""
    spec = sys.modules["__main__"].__spec__
    return str(Path(sys.argv[0]).absolute()), None if spec is None else spec.name


@contextmanager
def as_plain_run(cfg: DictConfig, started_as: tuple[str, str | None]) -> Iterator[None]:
    """In the block ``sys.argv``, the main module's name and ``hydra.run.dir`` are those of a plain run of a job's
    config, in the job's folder; afterwards none of its processes is left.

    Lightning starts the further processes of ddp with these: they would sweep too, or run what a launcher has started
    this process with. What it leaves in this process would keep a warm worker from starting them again.

    Args:
        cfg: of the job; written, where Hydra does not.
        started_as: the sweeper's `program`.
    """
    hydra_cfg: Any = HydraConfig.get()
    folder = Path(hydra_cfg.runtime.output_dir, hydra_cfg.output_subdir or ".hydra")
    if hydra_cfg.output_subdir is None:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "config.yaml", OmegaConf.to_yaml(cfg))
    with read_write(hydra_cfg):
        hydra_cfg.run.dir = hydra_cfg.runtime.output_dir
    chdir = [] if hydra_cfg.job.chdir is None else [f"hydra.job.chdir={hydra_cfg.job.chdir}"]
    argv, environment, is_distributed = sys.argv, {name: os.environ.get(name) for name in _RANK}, _has_group()
    script, module = started_as
    sys.argv = [script, f"--config-path={folder}", "--config-name=config", *chdir]
    main = sys.modules["__main__"]
    spec, main.__spec__ = main.__spec__, None if module is None else ModuleSpec(module, None)
    try:
        yield
    except BaseException:
        _end_processes(0.0)
        raise
    else:
        _end_processes(_ENDING)
    finally:
        sys.argv, main.__spec__ = argv, spec
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if _has_group() and not is_distributed:
            sys.modules["torch.distributed"].destroy_process_group()


def _end_processes(seconds: float) -> None:
    """End what Lightning has started in this process.

    Args:
        seconds: that it has to end in order.
    """
    processes: list[Popen] = []
    for thread in threading.enumerate():
        if thread.name == _OBSERVER:
            watched = getattr(thread, "_child_processes", [])
            processes += watched
            watched.clear()  # with nothing to watch it ends
    for process in processes:
        with suppress(TimeoutExpired):
            process.wait(seconds)
        process.kill()
        process.wait()


def _has_group() -> bool:
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()
