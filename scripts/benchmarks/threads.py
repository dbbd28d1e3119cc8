"""Images per second in training with one thread, with two, and with threads=auto, idle and beside a busy program.

The program multiplies matrices in a loop, as `--neighbour` threads of a process that the benchmark starts. Each
measurement trains a fresh network by our Trainer for some short epochs; they come in turns. Not timed are validation
and what precedes the first epoch; how long threads=auto takes for its choice is reported beside it.
"""

import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import common

_PLAIN = ("trainer=cpu", "logger=none", "callbacks=none")
# Short epochs: a step of two threads beside a busy program can take a second.
NETWORKS = {
    "digits": ("data=digits", "trainer.max_epochs=10"),
    "512-256": (
        *("model.hidden=[512,256]", "model.bn=true", "model.dropout=0.3", "optimizer=adamw", "data.batch_size=128"),
        *("data.limit=2200", "trainer.max_epochs=2"),
    ),
    "best_mlp": ("experiment=best_mlp", "data.limit=4600", "scheduler.warmup=0", "trainer.max_epochs=1"),
}
_THREADS = (1, 2, "auto")
_NEIGHBOUR = """
import sys, torch
torch.set_num_threads(int(sys.argv[1]))
factor = torch.randn(512, 512)
print("ready", flush=True)
while True:
    factor @ factor
"""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--networks", default=",".join(NETWORKS), help="which of these are trained")
    parser.add_argument("--neighbour", type=int, default=2, help="threads of the busy program; 0: idle only")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("overrides", nargs="*", help="of the config: another network instead of these")
    common.add_out(parser, "threads")


def run(options: Namespace) -> None:
    """LIGHTSWEEP_DATA names the folder of CIFAR-10."""
    from lightsweep.training import trainer

    trainer.quiet_libraries()
    typed = {" ".join(options.overrides): tuple(options.overrides)}
    networks = typed if options.overrides else {name: NETWORKS[name] for name in options.networks.split(",")}
    measured: dict[str, dict[str, list[Any]]] = {}
    for number in range(options.repeats + 1):  # the first round warms up
        for name, threads, found in _measure(networks, options.neighbour if number else 0):
            print(f"round {number} of {options.repeats}  {name}, threads={threads}: {found}", file=sys.stderr)
            if number:
                measured.setdefault(name, {}).setdefault(threads, []).append(found)
    facts = {"machine": common.describe_machine(), "neighbour": options.neighbour, "measured": measured}
    _show(facts, options)
    common.write_facts("threads", facts, options.out)


def _measure(networks: dict[str, tuple[str, ...]], neighbour: int) -> Iterator[tuple[str, str, dict[str, float]]]:
    """A round: the network and whether it was trained beside the program, `threads`, and what `_train` gives."""
    for name, overrides in networks.items():
        for beside in sorted({0, neighbour}):
            with _busy(beside):
                for threads in _THREADS:
                    yield f"{name}, {'busy' if beside else 'idle'}", str(threads), _train(overrides, threads)


@contextmanager
def _busy(threads: int) -> Iterator[None]:
    """Beside a program that computes with so many threads; 0: with none."""
    if threads == 0:
        yield
        return
    program = subprocess.Popen([sys.executable, "-c", _NEIGHBOUR, str(threads)], stdout=subprocess.PIPE)
    try:
        assert program.stdout is not None
        program.stdout.readline()
        yield
    finally:
        program.kill()
        program.wait()


def _train(overrides: tuple[str, ...], count: int | str) -> dict[str, float]:
    """Images per second, the number of threads, and the seconds that their choice took."""
    import torch
    from pytorch_lightning.callbacks import LambdaCallback

    from lightsweep.app import steps, validation
    from lightsweep.runs.results import MetricsFile
    from lightsweep.training import threads
    from lightsweep.training.trainer import build_trainer

    threads.set_threads(count)
    threads._chosen.clear()  # as in a new process
    config = validation.plain_config(common.compose([*_PLAIN, *overrides, "run_dir=nowhere"]))
    data = steps.read_data(config)
    classifier = steps.initial_classifier(config, data, data.fingerprint())
    clock: list[float] = []
    look = LambdaCallback(on_train_start=lambda *_: clock.append(time.perf_counter()))
    with tempfile.TemporaryDirectory(prefix="lightsweep-benchmark-") as scratch:
        metrics = MetricsFile(Path(scratch) / "metrics.csv")
        options: dict[str, Any] = {"loggers": {}, "callbacks": {}, "further": [look, threads.Threads(count), look]}
        fitting = build_trainer(config.trainer, folder=Path(scratch), metrics=metrics, seed=0, **options)
        fitting.fit(classifier, datamodule=data)
        rates = [row["images_per_second"] for row in metrics.rows]
    before, after = clock
    return {
        "images_per_second": len(rates) / sum(1 / each for each in rates),  # of all epochs
        "threads": torch.get_num_threads(),
        "seconds_of_choice": after - before,
    }


def _show(facts: dict[str, Any], options: Namespace) -> None:
    machine = facts["machine"]
    device = machine["device"].partition(",")[0]  # without the threads
    common.show_table(
        title=f"images per second in training, median (min to max) of n = {options.repeats}; busy: beside a program of"
        f" {options.neighbour} threads",
        caption=f"{device}, {machine['cores']} cores, torch {machine['versions']['torch']}",
        columns=("", *(f"threads={threads}" for threads in _THREADS), "chosen", "seconds of the choice"),
        rows=[_row(name, found) for name, found in facts["measured"].items()],
    )


def _row(name: str, found: dict[str, list[dict[str, float]]]) -> tuple[str, ...]:
    rates = [common.summarize([each["images_per_second"] for each in every]) for every in found.values()]
    chosen = ", ".join(f"{each['threads']}" for each in found["auto"])
    seconds = common.summarize([each["seconds_of_choice"] for each in found["auto"]])
    cells = [f"{each['median']:,.0f} ({each['min']:,.0f} to {each['max']:,.0f})" for each in rates]
    return name, *cells, chosen, f"{seconds['median']:.2f} ({seconds['min']:.2f} to {seconds['max']:.2f})"
