"""A program with lightsweep's own configs and sweeper whose runs take milliseconds: they sleep and return a number.

python tests/toy.py sweep=quick … ; TOY_SECONDS is how long a run sleeps, TOY_FAIL which widths raise;
with TOY_EPOCHS it reports so often, and can be pruned.
"""

import json
import os
import sys
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from lightsweep.app import arguments, entry
from lightsweep.app.sweeping import TRAINING
from lightsweep.config import allowlist
from lightsweep.sweeper.application import sweepable
from lightsweep.sweeper.job import current_trial

arguments.register_resolvers()


@hydra.main(config_path="../conf", config_name="train", execution_whitelist=list(allowlist.HYDRA))
@sweepable(TRAINING)
def main(cfg: DictConfig) -> float:
    folder = Path(HydraConfig.get().runtime.output_dir)
    with (folder / "starts").open("a") as file:  # a folder that two runs have used has two lines
        file.write(f"{os.getpid()}\n")
    epochs = int(os.environ.get("TOY_EPOCHS", "1"))
    for epoch in range(1, epochs + 1):
        time.sleep(float(os.environ.get("TOY_SECONDS", "0.01")) / epochs)
        if epochs > 1:
            current_trial().report(_value(cfg), epoch)
    if str(cfg.model.width) in os.environ.get("TOY_FAIL", "").split(","):
        raise RuntimeError(f"width {cfg.model.width} is unlucky")
    value = _value(cfg)
    trial = current_trial()
    facts = {"val/acc": value, "params": 100 * cfg.model.width}
    trial.record(facts)
    kind = trial.job.kind if trial.job else "run"
    result = {"status": "completed", "kind": kind, **facts, "overrides": _typed()}
    (folder / "result.json").write_text(json.dumps(result))
    return value


def _value(cfg: DictConfig) -> float:
    return 1.0 - abs(cfg.model.dropout - 0.3) - abs(cfg.optimizer.lr - 0.003) + 0.001 * cfg.seed


def _typed() -> list[str]:
    return list(HydraConfig.get().overrides.task)


if __name__ == "__main__":
    entry.launch_app(main)
