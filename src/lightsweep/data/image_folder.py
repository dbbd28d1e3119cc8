"""Your own images, in class folders: listed, decoded once on all cores, then read through a memory map."""

import logging
import os
from pathlib import Path

import numpy as np
import torch

from lightsweep.core import checks, memory
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable
from lightsweep.data import decode, folders
from lightsweep.data.cache import DecodedCache
from lightsweep.data.decode import RESIZES
from lightsweep.data.module import ImageArrays, ImageDataModule, Traits
from lightsweep.data.split import BY_FILE, SPLITS, describe_counts, draw_by_file, find_seed, split
from lightsweep.data.transforms import symmetric_normalization
from lightsweep.runs import data_record

log = logging.getLogger(__name__)

_ORDER_SEED = _TEST_SEED = 0
_NAMED = 10  # bad files that are named one by one
_FEW = 2000  # files among which another split_seed is looked for
_PER_PIXEL = 8  # bytes while an image is decoded: Pillow's and ours, before and after it is resized, at the least


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
        checks.choice("data.resize", resize, RESIZES)
        checks.flag("data.grayscale", grayscale)
        checks.number("data.test_fraction", test_fraction, "[0, 1)")
        checks.choice("data.on_bad_file", on_bad_file, ("skip", "error"))
        self.root = Path(os.path.abspath(Path(root).expanduser()))  # noqa: PTH100  # resolve() would leave symlinks
        self.form = decode.Form(image_size, resize, grayscale)
        memory.require("data.image_size", image_size**2 * _PER_PIXEL, f"an image {list(self.form.shape)} needs")
        self.resize, self.test_fraction, self.on_bad_file = resize, test_fraction, on_bad_file
        self.store = DecodedCache(self.root, Path(data_dir).expanduser(), self.form)
        self.listed: folders.Listing | None = None

    @property
    def title(self) -> str:
        return printable(self.root)

    def foreseen(self) -> Traits | None:
        names = self._listing().class_names
        if self.store.stored(self._listing()) is not None:
            return None
        return Traits(self.form.shape, names, symmetric_normalization(), self.resize, torch.ones(len(names)))

    def setup(self, stage: str | None = None) -> None:
        """As of `ImageDataModule`; every class must be in each part, unless these are only to be scored (`test`)."""
        first = self.arrays is None
        super().setup(stage)
        if not first:
            return
        counts = {part: np.bincount(self.labels(part), minlength=self.num_classes) for part in folders.PARTS}
        for part in self._must_have_all() if stage != "test" else ():
            if not counts[part].all():
                raise ConfigError(self._lacks(self.class_names[int(counts[part].argmin())], part))
        log.info("%s", describe_counts(self.class_names, counts))

    def _must_have_all(self) -> tuple[str, ...]:
        """The parts in which no class may be missing: a test part of the user's own is as it is."""
        drawn = self.split == BY_FILE and not self._listing().divided and self.test_fraction > 0
        return folders.PARTS if drawn else (folders.TRAIN, folders.VAL)

    def _lacks(self, name: str, part: str) -> str:
        said = f"data.root: the class {name!r} has no image in {part}"
        if self.split != BY_FILE:
            few = "it has too few, or data.limit, data.val_fraction and data.split leave it none"
            return f"{said}; {few}"
        seed = self._other_seed()
        other = "another data.split_seed draws other parts" if seed is None else f"data.split_seed={seed} draws some"
        none = ", data.test_fraction=0 makes no test part" if part == folders.TEST else ""
        return f"{said}: {other}{none}, or it has too few images"

    def _other_seed(self) -> int | None:
        """A seed with which no part would lack a class, looked for where files are few."""
        listing = self._listing()
        pool = np.flatnonzero((listing.parts == 0) & ~self._is_bad)
        if len(pool) > _FEW or self.limit is not None or listing.has(folders.VAL):
            return None
        names = [listing.names[place] for place in pool]
        return find_seed(names, listing.labels[pool], self.num_classes, **self._shares(listing))

    def read(self) -> ImageArrays:
        listing = self._listing()
        arrays = self.store.get(listing)
        self._tell_bad(arrays["bad_files"].tolist(), len(listing.files))
        return self._divided(listing, arrays["images"], arrays["bad"])

    def fingerprint(self) -> data_record.Fingerprint:
        listing = self._listing()
        below = len(str(listing.root)) + 1
        names = [path[below:] for path in listing.files]
        source = f"{self._source()} {os.path.realpath(self.root)}"
        return data_record.fingerprint_files(
            source, names, listing.sizes, listing.labels, self.indices, listing.class_names
        )

    def _listing(self) -> folders.Listing:
        self.listed = self.listed or folders.list_images(self.root)
        return self.listed

    def _divided(self, listing: folders.Listing, images: np.ndarray, bad: np.ndarray) -> ImageArrays:
        """The parts, each in an order that is drawn once and for all: its first images are of any class."""
        self._is_bad = bad
        order = self._order(listing)
        order = order[~bad[order]]
        parts = {name: order[listing.parts[order] == place] for place, name in enumerate(folders.PARTS)}
        self._check_classes(listing, parts)
        if not listing.has(folders.VAL):
            del parts[folders.VAL]
            self._tell_of_places()
        if not listing.divided:
            parts |= self._test_split_off(listing, parts[folders.TRAIN])
        return ImageArrays(images, listing.labels, images, listing.labels, listing.class_names, parts)

    def _order(self, listing: folders.Listing) -> np.ndarray:
        """All files' places in an order of chance; by_file draws the parts along with it."""
        if self.split != BY_FILE:
            return np.random.default_rng(_ORDER_SEED).permutation(len(listing.files))
        self._drawn, order = draw_by_file(listing.names, self.split_seed, **self._shares(listing))
        return order

    def _shares(self, listing: folders.Listing) -> dict[str, float]:
        return {"test": 0.0 if listing.divided else self.test_fraction, "val": self.val_fraction}

    def _tell_of_places(self) -> None:
        if self.split != BY_FILE:
            log.warning(
                "data.split=%s: parts are drawn from the places of all files, so that one more or less moves others to"
                " another part; data.split=by_file, the default now, moves none",
                self.split,
            )

    def _test_split_off(self, listing: folders.Listing, pool: np.ndarray) -> dict[str, np.ndarray]:
        if self.split == BY_FILE:
            chosen = self._drawn[pool] == 2
            return {folders.TRAIN: pool[~chosen], folders.TEST: pool[chosen]}
        if round(len(pool) * self.test_fraction) == 0:
            return {}
        try:
            train, test = split("stratified", listing.labels[pool], self.test_fraction, _TEST_SEED)
        except ValueError as error:
            raise ConfigError(f"data.test_fraction={self.test_fraction}: {error}") from error
        return {folders.TRAIN: pool[train], folders.TEST: pool[test]}

    def _split(self, pool: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.split != BY_FILE:
            return super()._split(pool, labels)
        chosen = self._drawn[pool] == 1
        return pool[~chosen], pool[chosen]

    def _check_classes(self, listing: folders.Listing, parts: dict[str, np.ndarray]) -> None:
        """Every class folder must have an image that is one."""
        for place, (part, good) in enumerate(parts.items()):
            left = np.setdiff1d(listing.labels[listing.parts == place], listing.labels[good])
            if len(left):
                name = listing.class_names[left[0]]
                raise ConfigError(f"data.root: the class {name!r} has files in {part}, but none is an image")

    def _tell_bad(self, said: list[str], files: int) -> None:
        if not said:
            return
        if self.on_bad_file == "error":
            raise ConfigError(f"data.on_bad_file=error: {printable(said[0])} ({len(said)} of {files:,} files)")
        further = [f"and {len(said) - _NAMED:,} more"] if len(said) > _NAMED else []
        lines = "\n  ".join([*map(printable, said[:_NAMED]), *further])
        log.warning("%s of %s files are left out:\n  %s", f"{len(said):,}", f"{files:,}", lines)
