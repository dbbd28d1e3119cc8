"""MLflow: a run's settings, scores and end through its client; pictures and reports as the run's artifacts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger

from lightsweep.training.hparams import Column
from lightsweep.training.tracker import Tracker, outcome

_STATUS = {"success": "FINISHED", "stopped": "KILLED", "failure": "FAILED"}


class MLFlowTracker(Tracker):
    """MLflow keeps the first value of a setting for ever: what a resumed run changed becomes a tag."""

    logger: MLFlowLogger

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        client, run = self.logger.experiment, self.logger.run_id
        client.update_run(run, status="RUNNING")
        before = client.get_run(run).data.params
        self.logger.log_hyperparams({key: value for key, value in params.items() if key not in before})
        for key, value in params.items():
            if before.get(key, str(value)) != str(value):
                client.set_tag(run, f"resumed.{key}", str(value))

    def figure(self, name: str, path: Path, epoch: int) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(path), "figures")

    def text(self, name: str, path: Path, epoch: int) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(path))

    def close(self, status: str) -> None:
        client, run = self.logger.experiment, self.logger.run_id
        client.set_tag(run, "status", status)
        client.set_terminated(run, _STATUS[outcome(status)])
