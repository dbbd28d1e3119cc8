"""Train one classifier: python src/train.py optimizer=adamw model.bn=true. With -m, a grid or a sweep."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports: no traceback

import math
import time
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lightsweep.app import cli, resolvers
from lightsweep.app.sweeping import TRAINING
from lightsweep.config import allowlist
from lightsweep.core.errors import ConfigError
from lightsweep.runs import run_folder, saved_config
from lightsweep.sweeper.application import sweepable
from lightsweep.sweeper.job import current_trial

resolvers.register()


@hydra.main(config_path="../conf", config_name="train", execution_whitelist=list(allowlist.HYDRA))
@sweepable(TRAINING)
def main(cfg: DictConfig) -> float:
    """One run in its folder; returns the best value of the monitored metric, which is what a sweep optimises."""
    from lightsweep.core import signals  # torch and Lightning wait until Hydra understood the command line
    from lightsweep.runs import saved_config

    hydra_cfg = HydraConfig.get()
    folder = Path(hydra_cfg.runtime.output_dir)
    typed = list(hydra_cfg.overrides.task)
    resumed = cfg.resume is not None
    began_as = run_folder.kind_of_run(folder) if resumed else "job" if hydra_cfg.mode == RunMode.MULTIRUN else "run"
    trial = current_trial()
    kind = trial.job.kind if trial.job else began_as
    fresh = not resumed and kind in ("run", "job")
    with signals.as_exceptions(), cli.job(folder, fresh=fresh), signals.restoring():
        if resumed:
            own = saved_config.read_config(folder)
            saved_config.add_missing_keys(own, cfg)
            cfg = saved_config.with_overrides(own, cfg, typed, set(hydra_cfg.runtime.choices))
            typed = list(cfg.overrides)
        if cli.is_left_to_the_first(cfg):
            return math.nan
        if str(cfg.run_dir) != str(folder):  # other paths follow from it
            raise ConfigError(
                f"run_dir must be left as it is, hydra.run.dir says where a run lies, got {cfg.run_dir!r}"
            )
        do = find_rate if cfg.lr_find else train
        return do(cfg, folder, kind=kind, overrides=typed)


def train(cfg: DictConfig, folder: Path, *, kind: str, overrides: list[str]) -> float:
    """Build, fit, score, save."""
    check(cfg, overrides)

    from pytorch_lightning.callbacks import LambdaCallback

    from lightsweep.core.job_state import JobState
    from lightsweep.reports import scored_run
    from lightsweep.runs import data_record, results, run_folder
    from lightsweep.runs.metrics import MetricsFile
    from lightsweep.training import checkpoints, display, footprint, trainer
    from lightsweep.training.callbacks import PruningCallback
    from lightsweep.training.display import StartSummary
    from lightsweep.training.tracking import tracking_run

    last = folder / "checkpoints" / run_folder.LAST_CHECKPOINT
    metrics = MetricsFile(folder / "metrics.csv")
    trial = current_trial()
    with results.Record(folder, cfg, metrics, kind=kind, overrides=overrides, publish=trial.record) as record:
        data = read_data(cfg)
        made_of = data.fingerprint()
        if trial.job and trial.job.data:
            digest, where = trial.job.data
            data_record.check_study(made_of, digest, Path(where))
        data_record.check(folder, made_of, resumed=last.exists(), allow_change=cfg.allow_changed_data)
        classifier = initial_classifier(cfg, data, warm=not last.exists())  # a resumed run has weights of its own
        parameters = footprint.count_parameters(classifier.net)
        record.add(**parameters)

        in_trial = kind in ("trial", "seed")
        begun = LambdaCallback(on_train_start=lambda *_: keep_beginning(cfg, folder, made_of))
        said = StartSummary(data, network=type(classifier.net).__name__, parameters=parameters["params"])
        further: list = [begun, said]
        if trial.reports:
            further.append(PruningCallback(trial.reports.report, monitor=cfg.monitor.metric))
        fitting = trainer.make(cfg, folder, metrics, further, in_trial=in_trial)
        record.device = fitting.strategy.root_device
        loggers = fitting.loggers if fitting.is_global_zero else []
        with tracking_run(loggers, cfg, overrides) as trackers:
            trainer.fit(fitting, classifier, data, last)
            keep_beginning(cfg, folder, made_of)  # of a run that had only scores to gather
            if not fitting.is_global_zero:  # one of several processes: the first does the rest
                return record.best_value

            chosen = run_folder.choose_checkpoint(folder / "checkpoints", cfg.score_with)
            trained = checkpoints.load(chosen)
            record.best_epoch = trained.epoch
            scores = score_parts(record, trained.net, data, fitting, data.scored_parts(test=cfg.test))
            record.complete()  # before anything is shown: no picture may cost a result
            trackers.scores(record.facts)
            content, of_best = record.content(JobState.COMPLETED), chosen.name == run_folder.BEST_CHECKPOINT
            display.print_scores(content, folder, of_best=of_best)
            best = metrics.best(cfg.monitor.metric, cfg.monitor.mode) or {"epoch": 0}
            loader = fitting.train_dataloader
            run = scored_run.ScoredRun(folder, metrics.rows, best["epoch"], scores, data, loader, trackers)
            scored_run.show_scored_run(run, fitting.callbacks, report=cfg.report)  # type: ignore[attr-defined]
    return record.best_value


def keep_beginning(cfg: DictConfig, folder: Path, made_of) -> None:
    """What a run goes on with, once it is sure that it does: its config, and a record of what its data are made of."""
    from lightsweep.runs import data_record

    saved_config.write_changes(cfg, folder)
    data_record.write(folder, made_of)


def find_rate(cfg: DictConfig, folder: Path, *, kind: str, overrides: list[str]) -> float:
    """A learning-rate range test instead of training; returns the rate that it suggests."""
    from lightsweep.core import checks

    checks.require(kind == "run", "lr_find", "be false in a grid or a sweep, since it tests one setting", True)
    check(cfg, overrides)

    from lightsweep.training import lr_find

    data = read_data(cfg)
    rate = lr_find.run(cfg, folder, initial_classifier(cfg, data, warm=True), data)
    options = saved_config.config_options(HydraConfig.get()) if HydraConfig.initialized() else []
    lr_find.show(rate, folder, overrides, options)
    return rate


def check(cfg: DictConfig, overrides: list[str]) -> None:
    """Refuse what can be seen to be wrong, and set the process up for what is right."""
    from lightsweep.app import validation

    validation.check_config(cfg, overrides)  # before the imports that take seconds

    import torch

    from lightsweep.config import processes
    from lightsweep.training import trainer

    trainer.quiet_libraries()
    if current_trial().job:
        processes.check_single(cfg.trainer, torch.cuda.device_count)
    elif cli.has_other_sweeper():
        with cli.ending_the_sweep():
            processes.check_single(cfg.trainer, torch.cuda.device_count)
    own = threads_at_start()
    torch.set_num_threads(own if cfg.threads is None else cfg.threads)


@cache
def threads_at_start() -> int:
    """How many torch takes by itself, or a worker was given: a job before this one may have had others."""
    import torch

    return torch.get_num_threads()


def read_data(cfg: DictConfig):
    """The data module, set up; what is wrong with the network is said before data is fetched."""
    from lightsweep.data import user_data

    data = user_data.build_data(cfg.data)
    if (traits := data.foreseen()) is not None:
        build_classifier(cfg, traits)
    data.setup()
    return data


def initial_classifier(cfg: DictConfig, data, *, warm: bool):
    """The classifier as training begins with it: with weights that follow from the seed, or, if `warm`, `init_from`."""
    from lightsweep.core.seeds import seed_everything
    from lightsweep.nets import building
    from lightsweep.runs import data_record
    from lightsweep.training import resuming

    seed_everything(cfg.seed)
    classifier = build_classifier(cfg, data)
    building.log_lightning_module(classifier.net)
    if warm and cfg.init_from is not None:
        resuming.load_initial_weights(cfg.init_from, classifier.net)
        data_record.warn_of_changes(cfg.init_from, data.fingerprint())
    return classifier


def build_classifier(cfg: DictConfig, data):
    """The network for such data, a data module or its `Traits`, with its loss, optimizer and schedule."""
    from omegaconf import OmegaConf

    from lightsweep.config.build import build
    from lightsweep.training import footprint
    from lightsweep.training.checkpoints import Description
    from lightsweep.training.classifier import Classifier
    from lightsweep.training.scoring import Objective

    model: Any = OmegaConf.to_container(cfg.model, resolve=True)
    description = Description(model, data.input_shape, data.class_names, data.normalization, data.resize)
    optimizer = build(cfg.optimizer, "optimizer")
    hardware = {"precision": cfg.trainer.precision, "accelerator": cfg.trainer.accelerator}
    footprint.check(description, optimizer, batches=data.batches, **hardware)
    net = description.build_net()
    if cfg.compile:
        net.compile()
    return Classifier(
        net,
        objective=Objective(net, **cfg.loss, class_weights=data.class_weights),
        optimizer=optimizer,
        schedule=build(cfg.scheduler, "scheduler"),
        decay_all=cfg.decay_all,
        max_epochs=cfg.trainer.max_epochs,
        description=description,
    )


def score_parts(record, net, data, fitting, parts: tuple[str, ...]) -> dict:
    """Score the trained network on each part, without augmentation and in the precision it was trained in."""
    from lightsweep.training import scoring

    started = time.perf_counter()
    scores = {}
    net.to(record.device)
    for part in parts:
        loader = data.eval_loader(part, record.device)
        precision = fitting.precision_plugin.forward_context()
        scores[part] = scoring.score(
            net,
            loader,
            device=record.device,
            num_classes=data.num_classes,
            precision=precision,
            keep_probabilities=part != "train",
        )
        record.add_score(part, scores[part].metrics, scores[part].confusion, data.class_names)
    record.add(score_seconds=time.perf_counter() - started)
    return scores


if __name__ == "__main__":
    cli.launch(main)
