"""Loggers of services that are no part of the installation, set up so that nothing leaves this machine unasked."""

import hashlib
import importlib
import os
from pathlib import Path
from typing import Any

from filelock import FileLock

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError

_DATABASE = "mlflow.db"


def mlflow(*, store: str, experiment: str, name: str, run_dir: str) -> Any:
    """Lightning's MLFlowLogger. A run that is resumed goes on in its own run of MLflow.

    Args:
        store: a folder, made if it is not there, or the address of a server (or a database).
        experiment: made if it is not there.
        name: of the run.
        run_dir: the run's folder, by which it is found again.

    Raises:
        ConfigError: MLflow is not installed.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    _need("mlflow")
    import logging

    from mlflow.tracking import MlflowClient
    from pytorch_lightning.loggers import MLFlowLogger

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # a page about each table that it makes
    logging.getLogger("alembic").setLevel(logging.WARNING)
    checks.require(isinstance(store, str) and store != "", "logger.mlflow.store", "be a folder or an address", store)
    if "://" in store:
        client, uri = MlflowClient(store), store
        return MLFlowLogger(experiment, name, uri, tags=_tags(run_dir), run_id=_run_of(client, experiment, run_dir))
    folder = Path(store).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    uri = f"sqlite:///{folder / _DATABASE}"
    # MLflow's own making of tables and experiments is no single step. The lock's file stays: a process that waits for
    # a removed one would not see a third that makes it anew.
    with FileLock(folder / f".{_DATABASE}.lock"):
        client = MlflowClient(uri)
        if client.get_experiment_by_name(experiment) is None:
            client.create_experiment(experiment, artifact_location=(folder / "artifacts").as_uri())
    return MLFlowLogger(experiment, name, uri, tags=_tags(run_dir), run_id=_run_of(client, experiment, run_dir))


def wandb(*, project: str, group: str, name: str, run_dir: str, offline: bool) -> Any:
    """Lightning's WandbLogger. A run that is resumed goes on in its own run of W&B.

    Args:
        offline: keep everything in `run_dir`/wandb; ``wandb sync`` uploads it.

    Raises:
        ConfigError: W&B is not installed.
    """
    checks.flag("logger.wandb.offline", offline)
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    _need("wandb")
    from pytorch_lightning.loggers import WandbLogger

    settings = Path(run_dir) / "wandb" / "settings"  # W&B would read another server from it
    checks.require(not settings.exists(), "logger.wandb.run_dir", f"be a folder without {settings}", run_dir)
    identity = _identity(run_dir)
    logger = WandbLogger(name, save_dir=run_dir, offline=offline, id=identity, project=project, group=group)
    logger._wandb_init.pop("anonymous", None)  # Lightning always hands it on, and W&B warns of it
    return logger


def _identity(run_dir: str) -> str:
    """The same for a run whenever it is gone on with."""
    return hashlib.sha256(run_dir.encode()).hexdigest()[:16]


def _tags(run_dir: str) -> dict[str, str]:
    return {"folder": run_dir, "lightsweep": _identity(run_dir)}


def _run_of(client: Any, experiment: str, run_dir: str) -> str | None:
    """The run of MLflow that a run's folder has already."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    runs = client.search_runs([found.experiment_id], f"tags.lightsweep = '{_identity(run_dir)}'", max_results=1)
    return runs[0].info.run_id if runs else None


def _need(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"logger={package} needs the package {package} ({error}): pip install -e '.[{package}]'"
        ) from None
