"""Images per second of a training epoch: our Trainer, a bare PyTorch loop, the usual Lightning template.

All train the same MLP (3072-512-256-10, BatchNorm, dropout 0.3) on the same images, batch 128, with AdamW, in one
process and in turns: in a round each trains a fresh network, and is compared with the others of its round. What is
timed are whole epochs with their callbacks, loggers and checkpoints; not imports, setting up, reading the data set, or
validation.
"""

import logging
import os
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

PLAIN, OURS = "plain loop", "lightsweep"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--precision", default="32-true", choices=("32-true", "bf16-mixed"), help="arithmetic")
    parser.add_argument(
        "--bf16", action="store_true", help="measure ours in bf16-mixed too, beside the others' arithmetic"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where all of them train")
    parser.add_argument("--epochs", type=int, default=5, help="of a round; some callbacks work in each fifth only")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that are measured; one more goes before them")
    parser.add_argument("--images", type=int, default=45_000, help="in an epoch; CIFAR-10's training part has 45,000")
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own, one per core)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="of the template's DataLoader, in turns")
    parser.add_argument("--out", type=Path, help="JSON file (default: outputs/benchmarks/train-TIME.json)")


def run(options: Namespace) -> None:
    """Measure, print the table, write the file. LIGHTSWEEP_DATA names a real CIFAR-10; else images are generated."""
    import torch

    from benchmarks import generated, ours, plain, report, template
    from benchmarks.setting import Setting
    from lightsweep.training import trainer

    trainer.quiet_libraries()
    logging.getLogger("lightsweep.data").setLevel(logging.ERROR)  # generated files have checksums of their own
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="lightsweep-benchmark-") as scratch:
        real = os.environ.get("LIGHTSWEEP_DATA")
        data_dir = Path(real) if real else generated.write(Path(scratch), options.images)
        setting = Setting(data_dir, options.images, options.epochs, options.precision, options.device, Path(scratch))
        data = ours.read(setting)
        contenders: dict[str, Callable[[], float]] = {
            OURS: partial(ours.an_epoch, setting, data),
            PLAIN: partial(plain.an_epoch, setting, data),
        }
        if options.bf16:
            contenders[f"{OURS}, bf16"] = partial(ours.an_epoch, replace(setting, precision="bf16-mixed"), data)
        contenders |= {
            f"template, {workers} workers": partial(template.an_epoch, setting, workers) for workers in options.workers
        }
        seconds = report.in_turns(contenders, options.repeats)
    images = ours.images_in_an_epoch(data)
    rates = {name: [images / each for each in times] for name, times in seconds.items()}
    facts = {
        "images": images,
        "epochs": options.epochs,
        "data": "CIFAR-10" if real else "generated",
        "precision": options.precision,
        "machine": report.machine(options.device),
    }
    report.publish("train", rates, PLAIN, facts, options.out)
