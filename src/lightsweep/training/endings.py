"""Why training ended before `trainer.max_epochs`, or why a resumed run trained nothing, in one line."""

from collections.abc import Iterator

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, Timer

from lightsweep.runs.metrics import MetricsFile

_KEY = "callbacks.early_stopping"


def has_run_out(stopper: EarlyStopping, metrics: MetricsFile) -> bool:
    """Has the metric not improved for as long as the callback waits, or reached a bound that the callback has?"""
    return stopper.wait_count >= stopper.patience or _bound(stopper, metrics) is not None


def told(trainer: pl.Trainer, metrics: MetricsFile, *, before: int) -> str | None:
    """Which setting ended the run, and, where it trained nothing, what would let it go on.

    Args:
        before: how many epochs the run had trained when this process began with it.

    Returns:
        None for a run that has now trained all its epochs.
    """
    now = trainer.current_epoch
    reason = next(_reasons(trainer, metrics), None)
    if now > before:
        return reason and f"{reason[0]}; training ended after epoch {now}"
    what, way_on = reason or (f"trainer.max_epochs={trainer.max_epochs}", f"trainer.max_epochs={now + 1} or more")
    return f"nothing was trained, the run had ended after epoch {now} ({what}); {way_on} goes on"


def _reasons(trainer: pl.Trainer, metrics: MetricsFile) -> Iterator[tuple[str, str]]:
    """All that could have ended the run by now, each with what to type to go on."""
    if trainer.should_stop:
        stoppers = [each for each in trainer.early_stopping_callbacks if has_run_out(each, metrics)]
        yield from (_of_stopper(each, metrics) for each in stoppers)
        for timer in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(timer, Timer) and (left := timer.time_remaining()) is not None and left <= 0:
                yield f"trainer.max_time: {timer.time_elapsed():.0f} s of training are over", "a longer max_time"
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        yield f"trainer.max_steps={trainer.max_steps}", f"trainer.max_steps={trainer.max_steps + 1} or more"


def _of_stopper(stopper: EarlyStopping, metrics: MetricsFile) -> tuple[str, str]:
    metric = stopper.monitor
    if (bound := _bound(stopper, metrics)) is not None:
        value = getattr(stopper, bound)
        return f"early stopping: {metric} passed {value:g}, its {bound}", f"another {_KEY}.{bound}"
    best = metrics.best(metric, stopper.mode)
    than = f" than {best[metric]:.4f} of epoch {best['epoch']}" if best else ""
    unit = "epoch" if stopper._check_on_train_epoch_end else "validation"
    count = f"{stopper.wait_count} {unit}{'s' * (stopper.wait_count != 1)}"
    return f"early stopping: no better {metric}{than} for {count}", f"{_KEY}.patience={stopper.wait_count + 1} or more"


def _bound(stopper: EarlyStopping, metrics: MetricsFile) -> str | None:
    """The name of the bound that the metric's last value has passed."""
    last = next((row[stopper.monitor] for row in reversed(metrics.rows) if stopper.monitor in row), None)
    if last is None:
        return None
    sign = 1 if stopper.mode == "max" else -1
    if stopper.stopping_threshold is not None and sign * last > sign * stopper.stopping_threshold:
        return "stopping_threshold"
    if stopper.divergence_threshold is not None and sign * last < sign * stopper.divergence_threshold:
        return "divergence_threshold"
    return None
