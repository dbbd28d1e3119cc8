"""Weights & Biases: everything that TensorBoard gets but the graph, in a run that is closed when ours ends."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from lightsweep.training.tracker import Tracker, final_scores, finite_values, outcome

_EXIT_CODES = {"success": 0, "stopped": 255, "failure": 1}  # 255 is what W&B calls killed


class WandbTracker(Tracker):
    """Lightning leaves a run of W&B open; the next one in the same process would go on in it."""

    logger: WandbLogger

    def scores(self, facts: Mapping[str, Any]) -> None:
        self.logger.experiment.summary.update(final_scores(facts))

    def figure(self, name: str, path: Path, epoch: int) -> None:
        import wandb

        self.logger.experiment.log({name: wandb.Image(str(path)), "trainer/global_step": epoch})

    def text(self, name: str, path: Path, epoch: int) -> None:
        import wandb

        page = wandb.Html(f"<pre>{escape(path.read_text(encoding='utf-8'))}</pre>", inject=False)
        self.logger.experiment.log({name: page, "trainer/global_step": epoch})

    def histogram(self, name: str, values: Tensor, epoch: int) -> None:
        import wandb

        if len(finite := finite_values(values)):
            self.logger.experiment.log({name: wandb.Histogram(finite.tolist()), "trainer/global_step": epoch})

    def close(self, status: str) -> None:
        self.logger.experiment.summary["status"] = status
        self.logger.experiment.finish(exit_code=_EXIT_CODES[outcome(status)])
