"""An app with a batch function: many trials as one computation, here as numbers that fall."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore

import lightsweep


@dataclass
class Config:
    lr: float = 1.0
    width: int = 64
    epochs: int = 3
    kind: str = "member"
    seed: int = 0


ConfigStore.instance().store(name="config", node=Config)


def loss_after(cfg: Config, epoch: int) -> float:
    return abs(cfg.lr - 0.3) + abs(cfg.width - 128) / 1000 + cfg.seed / 100 + 1 / epoch


@hydra.main(version_base=None, config_path=None, config_name="config")
def main(cfg: Config) -> float:
    note_start("alone")
    trial = lightsweep.current_trial()
    for epoch in range(1, cfg.epochs + 1):
        time.sleep(float(os.environ.get("EPOCH_SECONDS", "0.001")))
        trial.report(loss_after(cfg, epoch), epoch)
    return loss_after(cfg, cfg.epochs)


def train_batch(batch: lightsweep.Batch) -> None:
    running: dict = {}
    while not batch.is_over:
        for job in batch.next():
            if job.config.kind == "alone":
                batch.say("what is alone runs by itself")
                job.run_alone()
                continue
            with job.entered():
                note_start("member")
            running[job] = 0
        time.sleep(float(os.environ.get("EPOCH_SECONDS", "0.001")))
        batch.count(100 * len(running))
        for job in list(running):
            running[job] += 1
            advance(job, running[job])
        if len(running) > int(os.environ.get("MEMORY", "1000")):  # too many for it
            batch.halve("out of memory")
            for job in running:
                job.put_back("out of memory")
        running = {job: epoch for job, epoch in running.items() if job.is_open}


def advance(job, epoch: int) -> None:
    """One epoch of a member."""
    cfg = job.config
    if cfg.kind == "broken":
        job.fail(RuntimeError("this kind does not work"))
    elif cfg.kind == "deadly":
        os.kill(os.getpid(), 9)
    elif cfg.kind == "buggy":
        raise RuntimeError("the batch function has a bug")
    elif job.report(loss_after(cfg, epoch), epoch):
        pass
    elif epoch == cfg.epochs:
        job.complete({"loss": loss_after(cfg, epoch), "width": cfg.width})


def note_start(how: str) -> None:
    folder = Path(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    with (folder / "starts").open("a") as file:
        file.write(f"{how} {os.getpid()}\n")


if __name__ == "__main__":
    main()
