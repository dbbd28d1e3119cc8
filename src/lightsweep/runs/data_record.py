"""Fingerprints of data sets, and data.json in a run's folder: which data a run began with, and how they changed."""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightsweep.core.errors import ConfigError, DataChanged
from lightsweep.core.files import read_json, write_atomic
from lightsweep.core.text import printable
from lightsweep.runs import run_folder
from lightsweep.runs.run_folder import find_initial_weights

log = logging.getLogger(__name__)

FILE = "data.json"
ALLOW = "allow_changed_data=true"
_MOST = 2**25  # bytes


Files = Mapping[str, tuple[int, str]]

_PARTS = ("train", "val", "test")
_VERSION = 1
_LISTED = 20_000  # files that are kept one by one: some 0.7 MB of JSON
_SAMPLED = 64  # images of a part of arrays whose pixels count
_MOST_IMAGES = 2**53
_DIGEST = re.compile("[0-9a-f]{32}")
_NAMED = 3  # files, or classes, of one kind in a message


@dataclass(frozen=True)
class Fingerprint:
    """Args:
    source: which data set it is, and of files in which folder; not compared, since a folder may be moved.
    counts: of each part, images by class.
    digests: of each part, of labels and indices, or of files and their sizes.
    files: by path below the root, each one's size and part; None where images are numbered, or too many.
    """

    source: str
    counts: Mapping[str, Mapping[str, int]]
    digests: Mapping[str, str]
    files: Files | None

    @property
    def digest(self) -> str:
        """One for all, 32 hexadecimal digits."""
        return _digest([f"{part} {self.digests[part]} {sorted(self.counts[part].items())}".encode() for part in _PARTS])

    def changes(self, before: "Fingerprint") -> list[str]:
        """What has changed, in a few words each; nothing if nothing has."""
        if self.digest == before.digest:
            return []
        classes, were = (set().union(*each.counts.values()) for each in (self, before))
        said = _names("classes added", classes - were) + _names("classes removed", were - classes)
        if self.files is not None and before.files is not None:
            said += _of_files(before.files, self.files)
        else:
            said += [line for part in _PARTS if (line := self._of_part(part, before))]
        return said or ["other labels"]

    def seen_in_training(self, part: str, trained: "Fingerprint") -> int:
        """How many images of a part a run with that fingerprint was trained on, as far as is known."""
        files, theirs = self.files or {}, trained.files or {}
        return sum(own == part and theirs.get(name, (0, ""))[1] == "train" for name, (_, own) in files.items())

    def as_json(self) -> dict[str, Any]:
        listed = None
        if self.files is not None:
            listed = {part: {name: size for name, (size, own) in self.files.items() if own == part} for part in _PARTS}
        parts = {part: {"digest": self.digests[part], "images": dict(self.counts[part])} for part in _PARTS}
        return {"version": _VERSION, "source": self.source, "parts": parts, "files": listed}

    def _of_part(self, part: str, before: "Fingerprint") -> str:
        now, were = sum(self.counts[part].values()), sum(before.counts[part].values())
        if now != were:
            return f"{part} has {now:,} images, had {were:,}"
        return f"{part} has other images, {now:,} as before" if self.digests[part] != before.digests[part] else ""


def read(folder: Path) -> Fingerprint | None:
    """The record in a folder, which is not trusted; None if there is none, as in folders of earlier versions.

    Raises:
        ConfigError: it is damaged.
    """
    path = folder / FILE
    try:
        if not path.exists():
            return None
        if path.stat().st_size > _MOST:
            raise ValueError(f"it is larger than {_MOST >> 20} MiB")
        return parse_fingerprint(read_json(path))
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"{path} is no record of a run's data ({said}): remove it to go on without") from error


def read_if_valid(folder: Path) -> Fingerprint | None:
    """As `read`; None if it is damaged."""
    try:
        return read(folder)
    except ConfigError:
        return None


def write(folder: Path, now: Fingerprint) -> None:
    """Write the record, unless it is there."""
    if not run_folder.is_follower() and read_if_valid(folder) != now:
        write_atomic(folder / FILE, json.dumps(now.as_json(), separators=(",", ":")) + "\n")


def check(folder: Path, now: Fingerprint, *, resumed: bool, allow_change: bool) -> None:
    """Compare a run's data with those that it began with; nothing is written.

    Raises:
        ConfigError: they changed, and `allow_change` is false. Says what changed.
    """
    before = read(folder)
    if before is None:
        if resumed:
            log.info("this run began before runs kept a record of their data: whether they changed cannot be told")
        return
    changes = now.changes(before)
    if changes and not allow_change:
        raise ConfigError(f"the data changed since this run began: {'; '.join(changes)}. {ALLOW} goes on with them")
    if changes:
        log.warning("the data changed since this run began: %s", "; ".join(changes))


def check_study(now: Fingerprint, digest: str, folder: Path) -> None:
    """Compare a job's data with those that its study was begun with.

    Args:
        digest: of the study's data.
        folder: where the record of them is, perhaps.

    Raises:
        DataChanged: they differ; says what changed, where that is known here.
    """
    if now.digest == digest:
        return
    before = read_if_valid(folder)
    known = before is not None and before.digest == digest
    changes = now.changes(before) if before is not None and known else ["they are others"]
    raise DataChanged(
        f"the data changed since this study was begun: {'; '.join(changes)}. Trials on them cannot be compared with"
        f" earlier ones: take another hydra.sweeper.study_name, or go on anyway with {ALLOW}"
    )


def warn_of_changes(source: Any, now: Fingerprint) -> None:
    """Say of a run whose weights are taken, ``init_from``, how the same data set changed since it was trained."""
    before = read_if_valid(find_initial_weights(source).parent.parent)
    if before is not None and before.source == now.source and (lines := describe_changes(before, now)):
        log.warning("init_from: %s", "; ".join(lines))


def describe_changes(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Of weights that were trained on a data set: how it changed, and which scores are too good for it."""
    changes = now.changes(before)
    said = [f"the data changed since those weights were trained: {'; '.join(changes)}"] if changes else []
    for part in ("val", "test"):
        if seen := now.seen_in_training(part, before):
            count = sum(now.counts[part].values())
            were = "was" if seen == 1 else "were"
            said.append(f"of the {count:,} images of {part}, {seen:,} {were} trained on: its score says less")
    return said


def fingerprint_arrays(
    source: str, parts: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], class_names: Sequence[str]
) -> Fingerprint:
    """Args:
    parts: of each part, the images ``uint8 [N, C, H, W]`` and labels ``int64 [N]`` among which its are, and where.
    """
    digests, counts = {}, {}
    for part, (images, labels, indices) in parts.items():
        chosen = indices[np.linspace(0, len(indices) - 1, min(len(indices), _SAMPLED)).astype(int)]
        numbers = (np.ascontiguousarray(each, dtype="<i8").tobytes() for each in (labels[indices], indices))
        digests[part] = _digest([str(images.shape).encode(), *numbers, images[chosen].tobytes()])
        counts[part] = _counts(labels[indices], class_names)
    return Fingerprint(source, counts, digests, None)


def fingerprint_files(
    source: str,
    names: Sequence[str],
    sizes: Sequence[int],
    labels: np.ndarray,
    parts: Mapping[str, np.ndarray],
    class_names: Sequence[str],
) -> Fingerprint:
    """Args:
    names: of all files, below the root; `sizes` in bytes, and `labels`.
    parts: of each part, which of the files it has.
    """
    digests, counts = {}, {}
    files: dict[str, tuple[int, str]] = {}
    few = sum(map(len, parts.values())) <= _LISTED
    for part, indices in parts.items():
        chosen = indices.tolist()
        digests[part] = _digest(
            f"{names[index]}\0{sizes[index]}\0".encode("utf-8", "surrogatepass") for index in chosen
        )
        counts[part] = _counts(labels[indices], class_names)
        if few:
            files |= {names[index]: (sizes[index], part) for index in chosen}
    return Fingerprint(source, counts, digests, files if few else None)


def parse_fingerprint(content: Any) -> Fingerprint:
    """What `as_json` returned, from a file that is not trusted.

    Raises:
        ValueError: it is none.
    """
    try:
        _require(content["version"] == _VERSION and isinstance(content["source"], str))
        counts, digests = {}, {}
        for part in _PARTS:
            counts[part], digests[part] = dict(content["parts"][part]["images"]), content["parts"][part]["digest"]
            _require(all(type(count) is int and 0 <= count < _MOST_IMAGES for count in counts[part].values()))
            _require(isinstance(digests[part], str) and _DIGEST.fullmatch(digests[part]) is not None)
        files = None
        if content["files"] is not None:
            files = {name: (size, part) for part in _PARTS for name, size in content["files"][part].items()}
            _require(all(type(size) is int for size, _ in files.values()))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("it does not say what a data set is made of") from error
    return Fingerprint(content["source"], counts, digests, files)


def _require(right: bool) -> None:
    if not right:
        raise TypeError


def _of_files(before: Files, now: Files) -> list[str]:
    both = now.keys() & before.keys()
    said = _names("files added", now.keys() - before.keys()) + _names("files removed", before.keys() - now.keys())
    said += _names("files changed in size", {name for name in both if now[name][0] != before[name][0]})
    moved: dict[tuple[str, str], set[str]] = {}
    for name in both:
        if now[name][1] != before[name][1]:
            moved.setdefault((before[name][1], now[name][1]), set()).add(name)
    return said + [
        line
        for (old, new), names in sorted(moved.items())
        for line in _names(f"files moved from {old} to {new}", names)
    ]


def _names(what: str, names: Iterable[str]) -> list[str]:
    """``3 files added (a/x.png, b/y.png, c/z.png)``; nothing where there are none."""
    few = sorted(names)
    if not few:
        return []
    more = ", …" if len(few) > _NAMED else ""
    what = what.replace("files ", "file ").replace("classes ", "class ") if len(few) == 1 else what
    return [f"{len(few):,} {what} ({', '.join(map(printable, few[:_NAMED]))}{more})"]


def _counts(labels: np.ndarray, class_names: Sequence[str]) -> dict[str, int]:
    return dict(zip(class_names, np.bincount(labels, minlength=len(class_names)).tolist(), strict=True))


def _digest(contents: Iterable[bytes]) -> str:
    total = hashlib.blake2b(digest_size=16)
    for content in contents:
        total.update(content)
    return total.hexdigest()
