"""Write a part of CIFAR-10 as photos of all sizes in class folders: python scripts/write_photos.py [FOLDER].

FOLDER/train/CLASS and FOLDER/test/CLASS: the first class has the most images, each further one fewer than the last.
The sides of each JPEG file are drawn from 48 to 96 pixels. The images are the same every time, and so are the bytes
with one version of Pillow.
"""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # the package, installed or not

from benchmarks.common import compose
from lightsweep.core.files import ROOT

NAME = "cifar10-photos"
SIDES = (48, 96)  # pixels, of the width and of the height
QUALITY = 90  # of the JPEG, at most 95
LARGEST = {"train": 1000, "test": 400}  # images of the first class
SMALLEST = 0.1  # the last class has this share of the first one's


def main() -> None:
    parser = ArgumentParser(description=str(__doc__).splitlines()[0])
    data_dir = default_data_dir()
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=data_dir / NAME, help="(%(default)s)")
    parser.add_argument("--data-dir", type=Path, default=data_dir, help="folder of CIFAR-10 (%(default)s)")
    options = parser.parse_args()
    if options.folder.exists():
        parser.error(f"FOLDER must not exist yet, got {options.folder}")
    print(f"{write(options.folder, options.data_dir):,} images in {options.folder}")


def default_data_dir() -> Path:
    """As in conf/train.yaml."""
    return Path(os.environ.get("LIGHTSWEEP_DATA") or ROOT / "data")


def write_once() -> None:
    """Write it where conf/experiment/reference/ looks for it, unless it is there."""
    folder = default_data_dir() / NAME
    if not folder.exists():
        print(f"writing {folder}", flush=True)
        write(folder, default_data_dir())


def write(folder: Path, data_dir: Path, largest: Mapping[str, int] = LARGEST) -> int:
    """Write all images, or nothing; `largest` has the images of the first class. Returns the number of files."""
    data = _read(data_dir)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    written = 0
    for part, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        counts = sizes(largest[part], len(data.class_names))
        for label, (name, count) in enumerate(zip(data.class_names, counts, strict=True)):
            written += _write_class(unfinished / part / name, images[labels == label][:count])
    unfinished.rename(folder)
    return written


def sizes(largest: int, classes: int) -> list[int]:
    """Images of each class, from the largest down to a tenth of it in equal ratios."""
    ratio = SMALLEST ** (1 / max(1, classes - 1))
    return [round(largest * ratio**number) for number in range(classes)]


def _read(data_dir: Path):
    """CIFAR-10 as `data=cifar10` reads it, images ``uint8 [N, 3, 32, 32]``."""
    from lightsweep.config.build import build

    cfg = compose(["data=cifar10"])
    cfg.data_dir = str(data_dir)
    return build(cfg.data, "data").read()


def _write_class(folder: Path, images) -> int:
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    draw = np.random.default_rng(len(images))
    for number, pixels in enumerate(images.transpose(0, 2, 3, 1)):
        width, height = draw.integers(*SIDES, 2, endpoint=True).tolist()
        enlarged = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        enlarged.save(folder / f"{number:04d}.jpg", quality=QUALITY)
    return len(images)


if __name__ == "__main__":
    main()
