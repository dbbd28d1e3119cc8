"""Submitit's executors by the keys of Hydra's launchers, as these make them."""

import secrets
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.portable import search_path

_FIRST = ("max_num_timeout", "python")  # what an executor is made with
_TOKEN = secrets.token_hex(4)


def executor(cluster: str, keys: Any, where: Path | None = None) -> Any:
    """An executor with all that ``hydra.launcher`` says.

    Args:
        cluster: slurm or local.
        where: another folder than that of the keys.

    Raises:
        ConfigError: submitit does not take it, or is not installed.
    """
    try:
        import submitit
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
    except ImportError as error:
        raise ConfigError(f"hydra/launcher=submitit_{cluster} cannot be used: {error}") from error
    settings: Any = OmegaConf.to_container(keys, resolve=True)
    common = {each.name for each in fields(BaseQueueConf)}
    first = {f"{cluster}_{name}": settings[name] for name in _FIRST if name in settings}
    named = {
        name if name in common else f"{cluster}_{name}": value
        for name, value in settings.items()
        if name not in (*_FIRST, "submitit_folder", "_target_")
    }
    if cluster == "slurm":  # where a job is not handed the environment, it would not find this program
        path = ":".join(search_path())
        named["slurm_setup"] = [
            f"export PYTHONPATH={shlex.quote(path)}${{PYTHONPATH:+:$PYTHONPATH}}",
            "export PYTHONSAFEPATH=1",  # without it the working directory would come first
            "export SLURM_EXPORT_ENV=ALL",  # srun hands on what the job has
            *(settings["setup"] or []),
        ]
    try:
        made = submitit.AutoExecutor(folder=where or folder(keys), cluster=cluster, **first)
        made.update_parameters(**named)
    except Exception as error:  # submitit has no class of its own for what a user got wrong
        raise ConfigError(f"hydra.launcher cannot be used: {' '.join(str(error).split())[:300]}") from error
    return made


def submit(made: Any, jobs: Sequence[Any]) -> list[Any]:
    """Submit callables: several as one array."""
    if len(jobs) == 1:
        return [made.submit(jobs[0])]
    with made.batch():
        return [made.submit(job) for job in jobs]


def folder(keys: Any) -> Path:
    """Submitit's folder of a job (``%j``: its id), in one that only this process knows: a job runs what it finds there,
    and a sweep's folder may be somebody else's."""
    chosen = Path(str(keys.submitit_folder))
    return chosen.parent / _TOKEN / chosen.name if "%j" in chosen.name else chosen / _TOKEN


def places(keys: Any, sweep: Path) -> list[Path]:
    """Folders where the files of this sweep's jobs lie, whichever process submitted them."""
    from submitit.core.utils import JobPaths

    return [sweep.resolve(), JobPaths.get_first_id_independent_folder(Path(str(keys.submitit_folder))).resolve()]


def log(keys: Any, job_id: str) -> Path:
    """What a job of this process prints as an error, and all that it prints where the launcher is told to put both
    together."""
    from submitit.core.utils import JobPaths

    paths = JobPaths(folder(keys), job_id=job_id, task_id=0)
    return paths.stdout if keys.stderr_to_stdout else paths.stderr
