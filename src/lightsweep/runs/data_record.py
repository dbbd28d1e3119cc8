"""Fingerprints of data sets, and data.json in a run's folder: the data a run started with, and how they changed."""

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
from lightsweep.runs.run_folder import find_initial_weights, is_follower

log = logging.getLogger(__name__)

FILE = "data.json"
ALLOW = "allow_changed_data=true"
Files = Mapping[str, Mapping[str, int]]  # by part and path below the root, the size in bytes

_MOST = 2**25  # bytes of a record
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
    files: None where images are numbered, or too many.
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
        classes, earlier = (set().union(*each.counts.values()) for each in (self, before))
        changes = _count_names("classes added", classes - earlier) + _count_names("classes removed", earlier - classes)
        if self.files is not None and before.files is not None:
            return changes + _changes_of_files(before.files, self.files) or ["other labels"]
        for part in _PARTS:
            now, was = sum(self.counts[part].values()), sum(before.counts[part].values())
            if now != was:
                changes.append(f"{part} has {now:,} images, had {was:,}")
            elif self.digests[part] != before.digests[part]:
                changes.append(f"{part} has other images, {now:,} as before")
        return changes or ["other labels"]

    def seen_in_training(self, part: str, trained: "Fingerprint") -> int:
        """How many images of a part a run with that fingerprint was trained on, as far as is known."""
        if self.files is None or trained.files is None:
            return 0
        return len(self.files[part].keys() & trained.files["train"].keys())

    def as_json(self) -> dict[str, Any]:
        parts = {part: {"digest": self.digests[part], "images": dict(self.counts[part])} for part in _PARTS}
        return {"version": _VERSION, "source": self.source, "parts": parts, "files": self.files}


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
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"{path} is no record of a run's data ({reason}): remove it to continue without") from error


def read_if_valid(folder: Path) -> Fingerprint | None:
    """As `read`; None if it is damaged."""
    try:
        return read(folder)
    except ConfigError:
        return None


def write(folder: Path, now: Fingerprint) -> None:
    """Write the record, unless it is there."""
    if not is_follower() and read_if_valid(folder) != now:
        write_atomic(folder / FILE, json.dumps(now.as_json(), separators=(",", ":")) + "\n")


def check(folder: Path, now: Fingerprint, *, resumed: bool, allow_change: bool) -> None:
    """Compare a run's data with those that it started with; nothing is written.

    Raises:
        ConfigError: they changed, and `allow_change` is false. Says what changed.
    """
    before = read(folder)
    if before is None:
        if resumed:
            log.info("this run has no record of its data, as in earlier versions: whether they changed is unknown")
        return
    if changes := now.changes(before):
        line = f"the data changed since this run started: {'; '.join(changes)}"
        if not allow_change:
            raise ConfigError(f"{line}. {ALLOW} continues with them")
        log.warning("%s", line)


def check_study(now: Fingerprint, digest: str, folder: Path) -> None:
    """Compare a job's data with those that its study was started with.

    Args:
        digest: of the study's data.
        folder: where the record of them is, perhaps.

    Raises:
        DataChanged: they differ; says what changed, where that is known here.
    """
    if now.digest == digest:
        return
    before = read_if_valid(folder)
    changes = now.changes(before) if before is not None and before.digest == digest else ["they are others"]
    raise DataChanged(
        f"the data changed since this study was started: {'; '.join(changes)}. Trials on them cannot be compared with"
        f" earlier ones: take another hydra.sweeper.study_name, or continue anyway with {ALLOW}"
    )


def warn_of_changes(source: Any, now: Fingerprint) -> None:
    """Warn if the data set of the run whose weights are used, ``init_from``, changed since that run was trained."""
    before = read_if_valid(find_initial_weights(source).parent.parent)
    if before is not None and before.source == now.source and (lines := describe_changes(before, now)):
        log.warning("init_from: %s", "; ".join(lines))


def describe_changes(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Of weights that were trained on a data set: how it changed, and which scores are too good for it."""
    changes = now.changes(before)
    lines = [f"the data changed since those weights were trained: {'; '.join(changes)}"] if changes else []
    for part in ("val", "test"):
        if seen := now.seen_in_training(part, before):
            count, were = sum(now.counts[part].values()), "was" if seen == 1 else "were"
            lines.append(f"of the {count:,} images of {part}, {seen:,} {were} trained on: its score means less")
    return lines


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
    digests, counts, files = {}, {}, {}
    few = sum(map(len, parts.values())) <= _LISTED
    for part, indices in parts.items():
        chosen = indices.tolist()
        digests[part] = _digest(
            f"{names[index]}\0{sizes[index]}\0".encode("utf-8", "surrogatepass") for index in chosen
        )
        counts[part] = _counts(labels[indices], class_names)
        files[part] = {names[index]: sizes[index] for index in chosen} if few else {}
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
            counts[part], digests[part] = {**content["parts"][part]["images"]}, content["parts"][part]["digest"]
            _require(all(type(count) is int and 0 <= count < _MOST_IMAGES for count in counts[part].values()))
            _require(isinstance(digests[part], str) and _DIGEST.fullmatch(digests[part]) is not None)
        files = content["files"]
        if files is not None:
            files = {part: {**files[part]} for part in _PARTS}
            _require(all(type(size) is int for sizes in files.values() for size in sizes.values()))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("it does not say what a data set is made of") from error
    return Fingerprint(content["source"], counts, digests, files)


def _require(right: bool) -> None:
    if not right:
        raise TypeError


def _changes_of_files(before: Files, now: Files) -> list[str]:
    old, new = (
        {name: (size, part) for part, sizes in files.items() for name, size in sizes.items()} for files in (before, now)
    )
    changes = _count_names("files added", new.keys() - old.keys())
    changes += _count_names("files removed", old.keys() - new.keys())
    both = new.keys() & old.keys()
    changes += _count_names("files changed in size", [name for name in both if new[name][0] != old[name][0]])
    moves = {name: (old[name][1], new[name][1]) for name in both if old[name][1] != new[name][1]}
    for move in sorted(set(moves.values())):
        names = [name for name in moves if moves[name] == move]
        changes += _count_names(f"files moved from {move[0]} to {move[1]}", names)
    return changes


def _count_names(what: str, names: Iterable[str]) -> list[str]:
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
