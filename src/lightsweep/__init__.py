"""lightsweep: a sweeper for any Hydra app, and the parts of the pipeline that src/train.py runs.

What an app may import: `current_trial`, for its own training loop, and `PruningCallback`, for Lightning's. Nothing is
imported before it is used.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["PruningCallback", "current_trial"]


def __getattr__(name: str) -> Any:
    if name == "current_trial":
        from lightsweep.sweeper.job import current_trial

        return current_trial
    if name == "PruningCallback":
        from lightsweep.sweeper.lightning import pruning_callback

        return pruning_callback()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
