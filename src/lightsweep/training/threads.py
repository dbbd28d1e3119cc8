"""How many threads torch computes with on the CPU; with ``threads=auto`` as many as are faster here and now.

Threads wait for each other in each operation. Where another program has one of their cores, two threads can be ten
times slower than one. So steps are timed with one thread and with all, before training; and again where an epoch was
much slower than one before it, to say so.
"""

import copy
import logging
import time
from collections.abc import Callable, Generator
from functools import cache
from itertools import repeat
from math import log2
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from lightsweep.core import memory
from lightsweep.data.loader import TrainLoader
from lightsweep.training import optimization
from lightsweep.training.classifier import Batch, Classifier

log = logging.getLogger(__name__)

AUTO = "auto"
_GAIN = 1.2  # times as fast as one thread, or all of them are not worth a second core, and the risk
# Weights times batch size of an MLP, up to which a second thread gained less than 1.2 (docs/benchmarks.md). The limit
# of populations has the same value, and was measured by itself.
_SMALL = 2**24
_ROUNDS, _BLOCK = 5, 0.025  # turns of each number of threads, and about how many seconds one takes
_LONGEST = 0.3  # seconds; no round begins after them
_SLOW = 3.0  # times the seconds of the fastest epoch
_LOOKS = 3  # slow epochs after which steps are timed; more would not tell anything new
_FULL = 8  # times the bytes of the weights that must be free: a copy, its gradients, the optimizer's state

_chosen: dict[tuple, int] = {}  # by kind of network, in this process: the trials of a worker are timed once


@cache
def _threads_at_start() -> int:
    """torch's default, or the threads that a worker was started with; an earlier job may have set another number."""
    return torch.get_num_threads()


def set_threads(count: int | str | None) -> None:
    """Set the number of torch's threads on the CPU; None, and auto as long as nothing is chosen: that at the start."""
    at_start = _threads_at_start()
    torch.set_num_threads(count if isinstance(count, int) else at_start)


def most_threads() -> int:
    """All that ``threads=auto`` may choose: no more than cores, which OMP_NUM_THREADS and a worker's share reduce."""
    return min(_threads_at_start(), memory.available_cores())


def compare(most: int) -> Generator[int, float, float]:
    """How many times as fast a step is with `most` threads as with one.

    It yields the number of threads for the next step, and is sent the seconds that the step took. The times are those
    of blocks in turns; they are added up, not their median taken: threads that wait for each other do so now and then,
    for long.
    """
    yield 1  # the first step is not like the others
    once = yield 1
    first = yield most
    if first > max(_LONGEST, 4 * once):
        return once / first
    steps = max(1, int(_BLOCK / once))
    seconds = {1: 0.0, most: 0.0}
    for _ in range(_ROUNDS):
        for count in seconds:
            for _ in range(steps):
                seconds[count] += yield count
        if sum(seconds.values()) > _LONGEST or seconds[most] > 2 * seconds[1]:
            break
    return seconds[1] / seconds[most]


class Pace:
    """Sets the number of threads for each step until it is known which is faster: `begin`, then `step` after each.

    Args:
        most: instead of one.
    """

    def __init__(self, most: int) -> None:
        self.most, self.speedup = most, 0.0  # of most threads; 0: not known yet
        self._comparison = compare(most)
        self.count = next(self._comparison)

    @property
    def is_known(self) -> bool:
        return self.speedup > 0

    def begin(self) -> None:
        torch.set_num_threads(self.count)
        self._started = time.perf_counter()

    def step(self) -> None:
        if self.is_known:
            return
        try:
            self.count = self._comparison.send(time.perf_counter() - self._started)
        except StopIteration as end:
            self.speedup = end.value
            self.count = self.most if self.speedup > _GAIN else 1
        self.begin()


class Threads(Callback):
    """Chooses the number of threads when training starts, if that is left to it, and watches it.

    Args:
        wanted: the config's key `threads`.

    `chosen` is the number that was chosen; None before, and where that is not left to it.
    """

    def __init__(self, wanted: int | str | None) -> None:
        self.wanted = wanted
        self.chosen: int | None = None
        self.fastest, self.looks = 0.0, _LOOKS

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.wanted == AUTO and _is_on_one_cpu(trainer):
            self.chosen = _choose(trainer, cast(Classifier, pl_module))
            torch.set_num_threads(self.chosen)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        count = torch.get_num_threads()
        measured = trainer.callback_metrics.get("train/images_per_second")  # none in a learning-rate range test
        if measured is None or count == 1 or self.looks == 0 or not _is_on_one_cpu(trainer):
            return
        rate = float(measured)
        self.fastest = max(self.fastest, rate)
        if self.fastest < _SLOW * rate:
            return
        self.looks -= 1
        speedup = _time(trainer, cast(Classifier, pl_module), count)
        torch.set_num_threads(count)
        if speedup is not None and speedup * _GAIN < 1:
            self.looks = 0
            log.warning("%s", _describe_wait(trainer.current_epoch + 1, self.fastest / rate, count, 1 / speedup))


def _describe_wait(epoch: int, slower: float, count: int, speedup: float) -> str:
    return (
        f"epoch {epoch} took {slower:.1f} times as long as the fastest one: {count} threads wait for each other while"
        f" another program uses the processor; one thread is {speedup:.1f} times as fast now: threads=1"
    )


def _is_on_one_cpu(trainer: pl.Trainer) -> bool:
    """Several processes on the CPU have as many threads as Lightning gives each."""
    return trainer.strategy.root_device.type == "cpu" and trainer.world_size == 1


def _choose(trainer: pl.Trainer, classifier: Classifier) -> int:
    most, work = most_threads(), _count_work(trainer, classifier)
    if most == 1 or (_has_linear_layers_only(classifier) and work <= _SMALL):
        return 1
    shape = tuple(trainer.datamodule.input_shape)  # type: ignore[attr-defined]  # the work of a convolution
    kind = (type(classifier.net), round(log2(work)), shape, str(trainer.precision), most)
    if kind not in _chosen:
        speedup = _time(trainer, classifier, most)
        _chosen[kind] = most if speedup is None or speedup > _GAIN else 1
    return _chosen[kind]


def _count_work(trainer: pl.Trainer, classifier: Classifier) -> int:
    """Weights times batch size: for linear layers, a third of the multiplications in a training step."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return sum(each.numel() for each in classifier.net.parameters()) * data.batch_size


def _has_linear_layers_only(classifier: Classifier) -> bool:
    """Whether each weight is used once an image."""
    ours = type(classifier.net).__module__.startswith("lightsweep.nets.")
    return ours and all(each.ndim <= 2 for each in classifier.net.parameters())


def _time(trainer: pl.Trainer, classifier: Classifier, most: int) -> float | None:
    """How many times as fast a training step is with `most` threads as with one; None: it cannot be timed.

    The steps are those of a copy of the classifier, and the random numbers that they draw from torch are put back.
    """
    if _FULL * sum(each.nbytes for each in classifier.parameters()) > memory.available():
        return None
    pace = Pace(most)
    try:
        with torch.random.fork_rng(devices=[]):
            step = _training_step(trainer, copy.deepcopy(classifier))
            pace.begin()
            while not pace.is_known:
                step()
                pace.step()
    except Exception as error:  # a network of the user's own may hold anything, and take no random images
        log.debug("no step could be timed: %s", error)
        return None
    return pace.speedup


def _training_step(trainer: pl.Trainer, classifier: Classifier) -> Callable[[], None]:
    optimizer = optimization.build_optimizer(classifier.optimizer, classifier.net, decay_all=classifier.decay_all)
    batches = _batches(trainer)
    classifier.on_train_epoch_start()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        batch = trainer.precision_plugin.convert_input(next(batches))
        with trainer.precision_plugin.forward_context():
            loss = classifier.training_step(batch, 0)
        loss.backward()
        return loss

    def step() -> None:
        optimizer.step(closure)  # type: ignore[arg-type]  # as Lightning calls it

    return step


def _batches(trainer: pl.Trainer) -> Generator[Batch, None, None]:
    """Batches without an end: those of an epoch; of a data module of the user's own, whose loader may start processes,
    random ones."""
    loader: Any = trainer.train_dataloader
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(loader, TrainLoader):
        images = torch.randn(data.batch_size, *data.input_shape)
        yield from repeat((images, torch.randint(data.num_classes, (data.batch_size,))))
    while True:
        yield from loader
