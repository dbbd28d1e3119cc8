"""Train one classifier: python src/train.py optimizer=adamw model.bn=true. With -m, a grid or a sweep.

A run from top to bottom: Hydra composes its config; `main` opens its folder; `run` checks the config and makes plain
values of it; `train` reads the data, builds the classifier, fits, scores and saves. Each step is explained in
lightsweep/app/steps.py.
"""

from lightsweep.app import entry

entry.begin(__name__)

import math
from functools import partial
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from lightsweep.app import arguments, jobs
from lightsweep.app.sweeping import TRAINING
from lightsweep.config import allowlist
from lightsweep.core import memory
from lightsweep.sweeper.application import sweepable

if TYPE_CHECKING:
    from lightsweep.app.validation import RunConfig

arguments.register_resolvers()


@hydra.main(config_path="../conf", config_name="train", execution_whitelist=list(allowlist.HYDRA))
@sweepable(TRAINING)
def main(cfg: DictConfig) -> float:
    """One run in its folder; returns the best value of the monitored metric, which is what a sweep optimises."""
    with jobs.open_run(cfg) as (cfg, opened):
        return math.nan if jobs.is_left_to_first_process(cfg) else run(cfg, opened)


def run(cfg: DictConfig, opened: jobs.Run) -> float:
    """Check the config; then train, or look for a learning rate."""
    from lightsweep.app import validation

    config = validation.validate(cfg, opened)  # before torch and Lightning are imported, which takes seconds

    with memory.importing_libraries():
        import lightsweep.app.steps  # noqa: F401  # for `train`
        from lightsweep.training import threads, trainer

    trainer.quiet_libraries()
    threads.set_threads(config.threads)
    return find_rate(config, opened) if config.lr_find else train(config, opened)


def train(config: "RunConfig", opened: jobs.Run) -> float:
    """Read the data, build the classifier, fit, score, save; returns the best monitored value."""
    from lightsweep.app import steps
    from lightsweep.app.shared import shared_by_run
    from lightsweep.runs.run_folder import LAST_CHECKPOINT
    from lightsweep.training import summary, trainer
    from lightsweep.training.loggers import tracking_run
    from lightsweep.training.threads import Threads

    last = opened.folder / "checkpoints" / LAST_CHECKPOINT
    resumed = last.exists()
    with steps.dropping_last(config, opened.folder), steps.new_record(config, opened) as record:
        shared = shared_by_run()
        data, fingerprint = shared.data(config)
        steps.check_data(fingerprint, opened.folder, resumed=resumed, allow_change=config.allow_changed_data)
        classifier = shared.classifier(config, data, fingerprint, resumed=resumed)
        counts = summary.count_parameters(classifier.net)
        record.add(**counts)
        threads = Threads(config.threads)
        save_start = partial(steps.save_start, opened, record, fingerprint, threads)
        callbacks = steps.callbacks_of_every_run(
            config, data, classifier, parameters=counts["params"], threads=threads, on_start=save_start
        )
        fitting = steps.build_trainer(config, opened, record, callbacks)
        loggers = fitting.loggers if fitting.is_global_zero else []
        with tracking_run(loggers, vars(config), opened.overrides) as trackers:
            trainer.fit(fitting, classifier, data, last)
            save_start()  # of a run that was trained already, and only has to be scored
            if fitting.is_global_zero:  # of several processes the first does the rest
                scored = steps.score(config, record, data, fitting, trackers)
                result = record.complete()  # before anything is shown: no picture may cost a result
                trackers.scores(result.scores)
                steps.show(config, result, scored, fitting.callbacks)  # type: ignore[attr-defined]
    return record.best_value


def find_rate(config: "RunConfig", opened: jobs.Run) -> float:
    """A learning-rate range test instead of training; returns the rate that it suggests."""
    from lightsweep.app import steps
    from lightsweep.training import lr_find

    data = steps.read_data(config)
    classifier = steps.initial_classifier(config, data, data.fingerprint())
    rate = lr_find.run(
        classifier,
        data,
        folder=opened.folder,
        seed=config.seed,
        span=config.lr_find_range,
        trainer=config.trainer,
        threads=config.threads,
    )
    lr_find.show(rate, opened.folder, opened.overrides, opened.options)
    return rate


if __name__ == "__main__":
    entry.launch_app(main)
