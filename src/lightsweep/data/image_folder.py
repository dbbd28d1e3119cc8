"""The user's own images, in class folders: listed, decoded once on all cores, then read through a memory map."""

import hashlib
import logging
import os
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from lightsweep.core import checks, memory
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable
from lightsweep.data import decode
from lightsweep.data.arrays import ImageArrays, Traits
from lightsweep.data.cache import DecodedCache
from lightsweep.data.folders import BY_FILE, PARTS, TEST, TRAIN, VAL, Listing, list_images
from lightsweep.data.module import ImageDataModule
from lightsweep.data.splits import SPLITS, split
from lightsweep.runs import data_record

log = logging.getLogger(__name__)

_ORDER_SEED = _TEST_SEED = 0
_NAMED = 10  # bad files that are named one by one
_FEW = 2000  # files among which another split_seed is looked for
_PER_PIXEL = 8  # bytes at the least while an image is decoded: Pillow's and ours, before and after it is resized
_SEEDS_TRIED = 200  # to find one that leaves no class out
_CLASSES_NAMED = 10  # in a line of counts
_FEWEST_NAMED = 5  # of more classes than that, those with the fewest training images


class ImageFolderDataModule(ImageDataModule):
    """ROOT/train/CLASS/..., ROOT/val, ROOT/test, or one ROOT/CLASS/... that is split; see `folders` and `decode`.

    Args:
        root: the folder.
        data_dir: where the decoded images are kept if not in the folder itself.
        image_size: pixels a side.
        resize: how an image of any shape becomes a square, a name from `decode.RESIZES`.
        grayscale: one channel.
        split: of `ImageDataModule`, or by_file, see there; it draws the test part too.
        test_fraction: of all images of one ROOT/CLASS/...; 0: no test part.
        on_bad_file: skip or error. Further arguments: see `ImageDataModule`.
    """

    splits = (BY_FILE, *SPLITS)

    def __init__(
        self,
        *,
        root: str,
        data_dir: str,
        image_size: int,
        resize: str,
        grayscale: bool,
        test_fraction: float,
        on_bad_file: str,
        **shared,
    ) -> None:
        super().__init__(**shared)
        rule = "be a folder with a folder of images for each class"
        checks.require(isinstance(root, str) and root != "", "data.root", rule, root)
        checks.integer("data.image_size", image_size, "[1, inf)")
        checks.choice("data.resize", resize, decode.RESIZES)
        checks.flag("data.grayscale", grayscale)
        checks.number("data.test_fraction", test_fraction, "[0, 1)")
        checks.choice("data.on_bad_file", on_bad_file, ("skip", "error"))
        self.root = Path(os.path.abspath(Path(root).expanduser()))  # noqa: PTH100  # resolve() would leave symlinks
        self.form = decode.Form(image_size, resize, grayscale)
        memory.require("data.image_size", image_size**2 * _PER_PIXEL, f"an image {list(self.form.shape)} needs")
        self.resize, self.test_fraction, self.on_bad_file = resize, test_fraction, on_bad_file
        self.cache = DecodedCache(self.root, Path(data_dir).expanduser(), self.form)

    @property
    def title(self) -> str:
        return printable(self.root)

    @cached_property
    def listing(self) -> Listing:
        """The files, listed when they are first needed."""
        return list_images(self.root)

    def preview(self) -> Traits | None:
        class_names = self.listing.class_names
        return None if self.cache.read(self.listing) else Traits(self.form.shape, class_names, self.resize)

    def setup(self, stage: str | None = None) -> None:
        """As of `ImageDataModule`; every class must be in each part, unless these are only to be scored (`test`)."""
        if self.arrays is not None:
            return
        super().setup(stage)
        counts = {part: np.bincount(self.labels(part), minlength=self.num_classes) for part in PARTS}
        draws_test = self.split == BY_FILE and not self.listing.divided and self.test_fraction > 0
        required = PARTS if draws_test else (TRAIN, VAL)  # the user's own test part may lack classes
        for part in required if stage != "test" else ():
            if not counts[part].all():
                raise ConfigError(self._lacks(self.class_names[int(counts[part].argmin())], part))
        log.info("%s", describe_counts(self.class_names, counts))

    def _lacks(self, name: str, part: str) -> str:
        problem = f"data.root: the class {name!r} has no image in {part}"
        if self.split != BY_FILE:
            return f"{problem}; it has too few, or data.limit, data.val_fraction and data.split leave it none"
        seed = self._other_seed()
        other = "another data.split_seed draws other parts" if seed is None else f"data.split_seed={seed} draws some"
        none = ", data.test_fraction=0 makes no test part" if part == TEST else ""
        return f"{problem}: {other}{none}, or it has too few images"

    def _other_seed(self) -> int | None:
        """A seed with which no part would lack a class, looked for where files are few."""
        pool = np.flatnonzero((self.listing.parts == 0) & ~self._bad)
        if len(pool) > _FEW or self.limit is not None or self.listing.has(VAL):
            return None
        names = [self.listing.names[index] for index in pool]
        return find_seed(names, self.listing.labels[pool], self.num_classes, **self._shares())

    def read(self) -> ImageArrays:
        arrays = self.cache.get(self.listing)
        self._report_bad(arrays["bad_files"].tolist())
        self._bad = arrays["bad"]
        labels = self.listing.labels
        return ImageArrays(arrays["images"], labels, arrays["images"], labels, self.listing.class_names, self._parts())

    def fingerprint(self) -> data_record.Fingerprint:
        listing = self.listing
        names = [path[len(str(listing.root)) + 1 :] for path in listing.files]
        source = f"{self._source()} {os.path.realpath(self.root)}"
        return data_record.fingerprint_files(
            source, names, listing.sizes, listing.labels, self.indices, listing.class_names
        )

    def _parts(self) -> dict[str, np.ndarray]:
        """The parts, each in an order that is drawn once: its first images are of any class."""
        listing = self.listing
        if self.split == BY_FILE:
            self._drawn, order = draw_by_file(listing.names, self.split_seed, **self._shares())
        else:
            order = np.random.default_rng(_ORDER_SEED).permutation(len(listing.files))
        order = order[~self._bad[order]]
        parts = {name: order[listing.parts[order] == number] for number, name in enumerate(PARTS)}
        self._check_classes(parts)
        if not listing.has(VAL):
            del parts[VAL]
            if self.split != BY_FILE:
                log.warning(
                    "data.split=%s: parts are drawn from the positions of all files, so that one file more or less"
                    " moves others to another part; data.split=by_file, the default now, moves none",
                    self.split,
                )
        return parts if listing.divided else parts | self._split_off_test(parts[TRAIN])

    def _shares(self) -> dict[str, float]:
        return {"test": 0.0 if self.listing.divided else self.test_fraction, "val": self.val_fraction}

    def _split_off_test(self, pool: np.ndarray) -> dict[str, np.ndarray]:
        if self.split == BY_FILE:
            in_test = self._drawn[pool] == 2
            return {TRAIN: pool[~in_test], TEST: pool[in_test]}
        if round(len(pool) * self.test_fraction) == 0:
            return {}
        try:
            train, test = split("stratified", self.listing.labels[pool], self.test_fraction, _TEST_SEED)
        except ValueError as error:
            raise ConfigError(f"data.test_fraction={self.test_fraction}: {error}") from error
        return {TRAIN: pool[train], TEST: pool[test]}

    def _split(self, pool: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.split != BY_FILE:
            return super()._split(pool, labels)
        in_val = self._drawn[pool] == 1
        return pool[~in_val], pool[in_val]

    def _check_classes(self, parts: dict[str, np.ndarray]) -> None:
        """Every class folder must have a file that is an image."""
        labels = self.listing.labels
        for number, (part, good) in enumerate(parts.items()):
            left = np.setdiff1d(labels[self.listing.parts == number], labels[good])
            if len(left):
                name = self.listing.class_names[left[0]]
                raise ConfigError(f"data.root: the class {name!r} has files in {part}, but none is an image")

    def _report_bad(self, lines: list[str]) -> None:
        if not lines:
            return
        count = len(self.listing.files)
        if self.on_bad_file == "error":
            raise ConfigError(f"data.on_bad_file=error: {printable(lines[0])} ({len(lines)} of {count:,} files)")
        further = [f"and {len(lines) - _NAMED:,} more"] if len(lines) > _NAMED else []
        named = "\n  ".join([*map(printable, lines[:_NAMED]), *further])
        log.warning("%s of %s files are left out:\n  %s", f"{len(lines):,}", f"{count:,}", named)


def draw_by_file(names: Sequence[str], seed: int, *, test: float, val: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw the part of each file from its own name: a file more, less or damaged moves no other to another part.

    A hash of the name and the seed decides, so that a fraction is an expected share, not an exact one. The class does
    not count: an image whose label is corrected stays in its part.

    Args:
        names: paths within the folders of the classes. Unicode letters may be composed or not, as systems differ.
        test: the expected share of all.
        val: the expected share of those that are not in test.

    Returns:
        Each file's part, 0 train, 1 val, 2 test, ``int64 [N]``, and a random order of the files, ``int64 [N]``.
    """
    start = hashlib.blake2b(f"{seed}\n".encode(), digest_size=24)
    digests = []
    for name in names:
        each = start.copy()
        each.update(unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape"))
        digests.append(each.digest())
    numbers = np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 3) / 2**64
    in_test, in_val = numbers[:, 0] < test, numbers[:, 1] < val
    return np.where(in_test, 2, np.where(in_val, 1, 0)), np.argsort(numbers[:, 2], kind="stable")


def find_seed(names: Sequence[str], labels: np.ndarray, classes: int, *, test: float, val: float) -> int | None:
    """The first seed with which each part that is drawn has each class; None if none of the first ones does."""
    wanted = [0, *([1] if val else []), *([2] if test else [])]
    for seed in range(_SEEDS_TRIED):
        parts, _ = draw_by_file(names, seed, test=test, val=val)
        if all(len(np.unique(labels[parts == part])) == classes for part in wanted):
            return seed
    return None


def describe_counts(class_names: Sequence[str], counts: Mapping[str, np.ndarray]) -> str:
    """How many images of each class are in each part, in a line; `counts` ``int64 [K]`` of each part, train first."""
    parts = [part for part in counts if counts[part].any()]
    table = np.stack([counts[part] for part in parts], 1)
    few = len(class_names) <= _CLASSES_NAMED
    named = range(len(class_names)) if few else table[:, 0].argsort(kind="stable")[:_FEWEST_NAMED]
    rows = "; ".join(f"{class_names[row]} {', '.join(f'{count:,}' for count in table[row])}" for row in named)
    if few:
        return f"images of each class in {', '.join(parts)}: {rows}"
    ranges = ", ".join(
        f"{low:,} to {high:,} in {part}" for part, low, high in zip(parts, table.min(0), table.max(0), strict=True)
    )
    return f"images of each of {len(class_names):,} classes: {ranges}; fewest {rows}"
