"""Images per second of a training epoch: our Trainer, bare PyTorch loops, the usual Lightning template.

All train the same MLP (3072-512-256-10, BatchNorm, dropout 0.3) on the same images, batch 128, with AdamW, in one
process and in turns: in a round each trains a fresh network, and is compared with the others of its round. What is
timed are complete epochs with their callbacks, loggers and checkpoints; not imports, setting up, reading the data set,
or validation.
"""

import logging
import os
import pickle
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import common
from lightsweep.core import memory

PLAIN, OURS = "plain loop", "lightsweep"
FAST = f"{PLAIN}, our AdamW and dropout"  # what is left of OURS without Lightning, metrics, and files


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--precision", default="32-true", choices=("32-true", "bf16-mixed"), help="arithmetic")
    parser.add_argument("--bf16", action="store_true", help="also measure ours in bf16-mixed")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where all of them train")
    parser.add_argument("--epochs", type=int, default=5, help="of a round; some callbacks work in each fifth only")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that are measured; one more goes before them")
    parser.add_argument("--images", type=int, default=45_000, help="in an epoch; CIFAR-10's training part has 45,000")
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own, one per core)")
    parser.add_argument(
        "--workers",
        type=int,
        nargs="*",
        default=[0, 2],
        help="of the template's DataLoader, in turns; none: without the template",
    )
    common.add_out(parser, "train")


def run(options: Namespace) -> None:
    """LIGHTSWEEP_DATA names a real CIFAR-10; without it images are generated."""
    with memory.importing_libraries():  # as src/train.py does
        import torch

        from benchmarks import contenders
        from lightsweep.training import trainer

    trainer.quiet_libraries()
    logging.getLogger("lightsweep.data").setLevel(logging.ERROR)  # generated files have other checksums
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="lightsweep-benchmark-") as scratch:
        real = os.environ.get("LIGHTSWEEP_DATA")
        data_dir = Path(real) if real else write_batch_files(Path(scratch), options.images)
        setting = contenders.Setting(
            data_dir, options.images, options.epochs, options.precision, options.device, Path(scratch)
        )
        data = contenders.read_data(setting)
        timed: dict[str, Callable[[], float]] = {
            OURS: partial(contenders.time_lightsweep, setting, data),
            PLAIN: partial(contenders.time_plain, setting, data),
            FAST: partial(contenders.time_plain, setting, data, fast=True),
        }
        if options.bf16:
            mixed = replace(setting, precision="bf16-mixed")
            timed[f"{OURS}, bf16"] = partial(contenders.time_lightsweep, mixed, data)
            timed[f"{FAST}, bf16"] = partial(contenders.time_plain, mixed, data, fast=True)
        timed |= {
            f"template, {workers} workers": partial(contenders.time_template, setting, workers)
            for workers in options.workers
        }
        seconds = common.measure_in_turns(timed, options.repeats)
    images = contenders.count_images(data)
    rates = {name: [images / each for each in times] for name, times in seconds.items()}
    facts = {
        "images": images,
        "epochs": options.epochs,
        "data": "CIFAR-10" if real else "generated",
        "precision": options.precision,
        "machine": common.describe_machine(options.device),
        "n": options.repeats,
        "summary": {name: _summary(values, rates[PLAIN]) for name, values in rates.items()},
        "images_per_second": rates,
    }
    _show(facts)
    common.write_facts("train", facts, options.out)


def write_batch_files(data_dir: Path, images: int) -> Path:
    """Write random images in the format of CIFAR-10: `images` of them for training, and a tenth more, which will
    validate. Returns `data_dir`."""
    import numpy as np

    from benchmarks.contenders import VAL_FRACTION

    folder = data_dir / "cifar-10-batches-py"
    folder.mkdir()
    draw = np.random.default_rng(0)
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    parts = np.array_split(np.arange(round(images / (1 - VAL_FRACTION))), 5)
    counts = {f"data_batch_{number}": len(part) for number, part in enumerate(parts, start=1)} | {"test_batch": 1000}
    for name, count in counts.items():
        pixels = draw.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
        batch = {"data": pixels, "labels": draw.integers(0, len(names), count).tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(names)}, protocol=2))
    return data_dir


def _summary(rates: list[float], base: list[float]) -> dict[str, float]:
    """Medians and ranges; ratios are taken round by round, so that a slow minute of the machine is in both."""
    ratios = common.summarize([rate / other for rate, other in zip(rates, base, strict=True)])
    named = {"ratio": ratios["median"], "ratio_min": ratios["min"], "ratio_max": ratios["max"]}
    return common.summarize(rates) | named


def _show(facts: dict[str, Any]) -> None:
    machine = facts["machine"]
    common.show_table(
        title=f"images per second in training, {facts['precision']}, median of n = {facts['n']} rounds of"
        f" {facts['epochs']} epochs of {facts['images']:,} images ({facts['data']})",
        caption=f"{machine['device']}, {machine['cores']} cores, torch {machine['versions']['torch']}",
        columns=("", "median", "min to max", f"x {PLAIN}", "min to max"),
        rows=[
            (
                name,
                f"{row['median']:,.0f}",
                f"{row['min']:,.0f} to {row['max']:,.0f}",
                f"{row['ratio']:.2f}",
                f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}",
            )
            for name, row in facts["summary"].items()
        ],
    )
