"""Image folders: images decoded a second at a first start, seconds of a second start, and the peak memory of each.

JPEGs are generated in a scratch folder, which is removed. Each start is a new process; timed is reading
the data set, from the folder's name to arrays that are split, without Python's and torch's imports. The files have just
been written, so the first start reads them from memory, not from a disk.
"""

import logging
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common

_CLASSES, _DISTINCT = 10, 64


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=50_000, help="files, in ten classes")
    parser.add_argument("--side", type=int, default=256, help="pixels a side of the files, about")
    parser.add_argument("--size", type=int, default=64, help="data.image_size")
    parser.add_argument("--starts", type=int, default=5, help="second starts that are measured")
    common.add_out(parser, "data")


def run(options: Namespace) -> None:
    from lightsweep.core.memory import available_cores

    with tempfile.TemporaryDirectory(prefix="lightsweep-benchmark-") as scratch:
        root = Path(scratch) / "images"
        file_bytes = _write(root, options.images, options.side)
        cold, *warm = [_in_a_process(root, options.size) for _ in range(options.starts + 1)]
    seconds = [start["seconds"] for start in warm]
    facts = {
        "images": options.images,
        "side": options.side,
        "size": options.size,
        "mean_file_bytes": file_bytes // options.images,
        "processes": available_cores(),
        "machine": common.describe_machine(),
        "first_start": cold,
        "images_per_second": options.images / cold["seconds"],
        "second_starts": warm,
        "second_start_seconds": common.summarize(seconds) | {"n": len(warm)},
    }
    _show(facts)
    common.write_facts("data", facts, options.out)


def _write(root: Path, images: int, side: int) -> int:
    """Write the files, of some distinct contents with soft shapes and noise as in photographs; returns their bytes."""
    from PIL import Image

    draw = np.random.default_rng(0)
    contents = []
    for number in range(_DISTINCT):
        coarse = Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        soft = np.asarray(coarse.resize((side + number, side), Image.Resampling.BICUBIC)).astype(int)
        noisy = (soft + draw.normal(0, 6, soft.shape)).clip(0, 255).astype(np.uint8)
        buffer = BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=85)
        contents.append(buffer.getvalue())
    for label in range(_CLASSES):
        (root / f"class {label}").mkdir(parents=True)
    for number in range(images):
        (root / f"class {number % _CLASSES}" / f"{number:07}.jpg").write_bytes(contents[number % _DISTINCT])
    return sum(len(contents[number % _DISTINCT]) for number in range(images))


def _in_a_process(root: Path, size: int) -> dict[str, Any]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_read, str(root), size).result()


def _read(root: str, size: int) -> dict[str, Any]:
    """Seconds, and bytes of memory: before, at most in this process, and at most in all that decode together."""
    from lightsweep.config.build import build

    logging.getLogger("lightsweep").setLevel(logging.WARNING)
    cfg = common.compose(["data=image_folder", f"data.root='{root}'", f"data.image_size={size}"])
    data = build(cfg.data, "data")
    before, done = _peak(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        workers = pool.submit(_watch_descendants, done)
        started = time.perf_counter()
        data.setup()
        seconds = time.perf_counter() - started
        done.set()
    return {
        "seconds": seconds,
        "before": before,
        "peak": _peak(),
        "workers": workers.result(),
        "load": os.getloadavg()[0],
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _watch_descendants(done: threading.Event) -> int:
    """The most memory that this process's descendants held together, in bytes; looks five times a second, on Linux."""
    peak = 0
    while not done.wait(0.2):
        peak = max(peak, sum(map(_resident, _descendants(os.getpid()))))
    return peak


def _descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [each for child in children for each in (int(child), *_descendants(int(child)))]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _show(facts: dict[str, Any]) -> None:
    cold, warm = facts["first_start"], facts["second_start_seconds"]
    spread = f"{warm['median']:.2f} ({warm['min']:.2f} to {warm['max']:.2f}, n = {warm['n']})"
    rate = f"{facts['images'] / warm['median']:,.0f}"
    common.show_table(
        title=f"{facts['images']:,} JPEGs of about {facts['side']} x {facts['side']} pixels,"
        f" {facts['mean_file_bytes'] / 1000:.0f} kB each, to {facts['size']} x {facts['size']}",
        caption=f"{facts['machine']['device']}, {facts['processes']} processes; memory: at most, and the share that"
        " reading added",
        columns=("", "seconds", "images per second", "peak memory", "of decoding processes"),
        rows=[
            ("first start", f"{cold['seconds']:.1f}", f"{facts['images_per_second']:,.0f}", *_memory(cold)),
            ("second start", spread, rate, *_memory(facts["second_starts"][0])),
        ],
    )


def _memory(start: dict[str, Any]) -> tuple[str, str]:
    added = start["peak"] - start["before"]
    return f"{start['peak'] / 1e6:,.0f} MB (+{added / 1e6:,.0f})", f"{start['workers'] / 1e6:,.0f} MB"
