"""Less work around each training step: hooks and profiles that nothing uses are skipped.

A step of a small network takes as long as what surrounds it. None of this changes a result or a hook that is used.
"""

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.profilers import PassThroughProfiler

HOOKS = (  # of a batch
    *("on_train_batch_start", "on_train_batch_end", "on_validation_batch_start", "on_validation_batch_end"),
    *("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step"),
)


class NoProfiler(PassThroughProfiler):
    """Measures nothing, as Lightning's default, without making a generator for each of a step's 80 actions."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager:  # type: ignore[override]
        return self._nothing


class LeanModule(pl.LightningModule):
    """A LightningModule that sets its attributes faster."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the current hook, a text or None, some 40 times a step; a Module would look for parameters.
        if name in self.__dict__ and (value is None or type(value) is str):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


def skip_unused_hooks(callbacks: Iterable[Callback]) -> None:
    """Set the hooks of a batch that a callback only inherits to None, which Lightning skips: it would name, profile and
    call an empty function."""
    for callback in callbacks:
        for hook in HOOKS:
            if hook not in vars(callback) and getattr(type(callback), hook) is getattr(Callback, hook):
                setattr(callback, hook, None)


def hide_missing_gpus() -> None:
    """Let torch know where there is no GPU: each step of an optimizer asks, and each time torch would look for the
    driver's library on the disk."""
    if not torch.cuda.is_available():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
