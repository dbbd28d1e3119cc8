"""lightsweep: a sweeper for any Hydra app, and the parts of the pipeline that src/train.py runs.

What an app may import: `current_trial`, for its own training loop, `PruningCallback`, for Lightning's, and `Batch`, for
a function that trains several trials at once. Nothing is imported before it is used.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Batch", "PruningCallback", "current_trial"]


def __getattr__(name: str) -> Any:
    if name == "current_trial":
        from lightsweep.sweeper.job import current_trial

        return current_trial
    if name == "PruningCallback":
        from lightsweep.sweeper.lightning import pruning_callback

        return pruning_callback()
    if name == "Batch":
        from lightsweep.sweeper.batch import Batch

        return Batch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
