"""Lightning's distributed training under a sweep: what it starts further processes with, and what it leaves behind."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, read_write

from lightsweep.core.files import write_atomic

_RANK = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
_OBSERVER = "child-process-observer"  # Lightning's thread: it kills this process when a further one has failed
_ENDING = 30.0  # seconds that further processes have to end in order


@contextmanager
def as_plain_run(cfg: DictConfig) -> Iterator[None]:
    """In the block ``sys.argv`` and ``hydra.run.dir`` are those of a plain run of a job's config, in the job's folder;
    afterwards none of its processes is left.

    Lightning starts the further processes of ddp with both: they would sweep too. What it leaves in this process would
    keep a warm worker from starting them again.

    Args:
        cfg: of the job; written, where Hydra does not.
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
    sys.argv = [argv[0], f"--config-path={folder}", "--config-name=config", *chdir]
    try:
        yield
    except BaseException:
        _end_processes(0.0)
        raise
    else:
        _end_processes(_ENDING)
    finally:
        sys.argv = argv
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
