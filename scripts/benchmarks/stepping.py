"""Model-steps a second of a population's training, against a Trainer's: no sweep, no records; AdamW, cosine, BatchNorm.

On a CPU the seconds are those of the processor: with --threads 1, how long a core was used. Else they are the wall's.
"""

import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from benchmarks import common

_RECIPE = ("optimizer=adamw", "scheduler=cosine", "model.bn=true", "model.dropout=0.2", "logger=none", "callbacks=none")
_DEFAULT = ("data=digits", "model.hidden=[64,128]")


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where both train")
    parser.add_argument("--members", default="4,16,64", help="sizes of populations")
    parser.add_argument("--epochs", type=int, default=8, help="of the Trainer; a population trains as many in all")
    parser.add_argument("--graph", action="store_true", help="populations that replay CUDA graphs, too")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("overrides", nargs="*", help=f"of the config (default: {' '.join(_DEFAULT)})")
    common.add_out(parser, "steps")


def run(options: Namespace) -> None:
    import torch

    from lightsweep.training import trainer

    trainer.quiet_libraries()
    torch.set_num_threads(options.threads)
    sizes = [int(each) for each in options.members.split(",")]
    rates: dict[str, list[float]] = {}
    for number in range(options.repeats + 1):  # the first round warms up
        measured = {"Lightning": _alone(options), **{f"population={size}": _together(options, size) for size in sizes}}
        if options.graph:
            measured |= {f"population={size}, graph": _together(options, size, graph=True) for size in sizes}
        for name, rate in measured.items():
            print(f"round {number} of {options.repeats}  {name}: {rate:.0f} model-steps a second", file=sys.stderr)
            if number:
                rates.setdefault(name, []).append(rate)
    weights = sum(parameter.numel() for parameter in _made(options, 0)[1].net.parameters())
    batch = _made(options, 0)[0].data["batch_size"]
    facts = {
        "machine": common.describe_machine(options.device),
        "options": {name: str(value) for name, value in vars(options).items() if name != "run"},
        "weights x batch": weights * batch,
        "model_steps_per_second": rates,
    }
    _show(facts, options)
    common.write_facts("steps", facts, options.out)


def _made(options: Namespace, seed: int) -> tuple[Any, Any, Any]:
    """The config, the classifier and the data of a run."""
    from lightsweep.app import steps, validation

    chosen = options.overrides or _DEFAULT
    size = (f"trainer={'gpu' if options.device == 'cuda' else 'cpu'}", f"trainer.max_epochs={options.epochs}")
    composed = common.compose([*_RECIPE, *size, *chosen, f"seed={seed}", "run_dir=nowhere"])
    config = validation.plain_config(composed)
    data = steps.read_data(config)
    return config, steps.initial_classifier(config, data, data.fingerprint()), data


def _alone(options: Namespace) -> float:
    from lightsweep.runs.results import MetricsFile
    from lightsweep.training.trainer import build_trainer

    config, classifier, data = _made(options, 0)
    with tempfile.TemporaryDirectory(prefix="lightsweep-benchmark-") as scratch:
        folder = Path(scratch)
        metrics = MetricsFile(folder / "metrics.csv")
        fitting = build_trainer(config.trainer, folder=folder, metrics=metrics, seed=0, loggers={}, callbacks={})
        started = _now(options)
        fitting.fit(classifier, datamodule=data)
        seconds = _now(options) - started
    return fitting.global_step / seconds


def _together(options: Namespace, size: int, *, graph: bool = False) -> float:
    from lightning_fabric import Fabric

    from lightsweep.population.member import MemberSpec
    from lightsweep.population.population import Population

    made = [_made(options, seed) for seed in range(size)]
    specs = [
        MemberSpec(classifier=classifier, seed=seed, data_seed=seed, augment=data.augment, clip=None, average=None)
        for seed, (_, classifier, data) in enumerate(made)
    ]
    config, _, data = made[0]
    fabric = Fabric(accelerator=config.trainer["accelerator"], devices=1, precision=config.trainer["precision"])
    training = Population(specs[0], data, places=size, fabric=fabric, accumulate=1, graph=graph)
    for spec in specs:
        training.add(spec)
    epochs = max(1, options.epochs // size)
    started = _now(options)
    for _ in range(epochs):
        training.train_epoch()
    return size * epochs * training.batches / (_now(options) - started)


def _now(options: Namespace) -> float:
    return time.process_time() if options.device == "cpu" else time.perf_counter()


def _show(facts: dict[str, Any], options: Namespace) -> None:
    machine, rates = facts["machine"], facts["model_steps_per_second"]
    base, *_ = rates.values()
    rows = []
    for name, found in rates.items():
        each, ratio = (
            common.summarize(values)
            for values in (found, [one / other for one, other in zip(found, base, strict=True)])
        )
        rows.append(
            (name, f"{each['median']:,.0f}", f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
        )
    what = " ".join(options.overrides or _DEFAULT)
    common.show_table(
        title=f"{what}: weights x batch {facts['weights x batch']:,}, n = {options.repeats}",
        caption=f"{machine['device']}, torch {machine['versions']['torch']}",
        columns=("", "model-steps a second", "x Lightning"),
        rows=rows,
    )
