"""A folder of images: which files it has, of which class, in which part. Files are only listed, not opened.

Either ROOT/train/CLASS/..., with or without ROOT/val and ROOT/test, or one ROOT/CLASS/...; parts may have other usual
names. Images may lie in folders below their class's. Hidden files and those of operating systems are skipped.
"""

import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import attrgetter
from pathlib import Path

import numpy as np

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable

log = logging.getLogger(__name__)

BY_FILE = "by_file"  # the split that draws the part of each file from its name
TRAIN, VAL, TEST = PARTS = ("train", "val", "test")
_WORDS = {
    TRAIN: ("train", "training"),
    VAL: ("val", "valid", "validation", "validate", "dev", "development", "eval", "evaluation"),
    TEST: ("test", "testing"),
}
_SKIPPED = {"thumbs.db", "desktop.ini", "__macosx"}
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
_LOOKED_AT = 100  # files of a folder, to see what it holds
_NAMED = 5  # folders in an error


@dataclass(frozen=True)
class Listing:
    """The files of an image folder, in a fixed order: part by part, class by class, by name.

    `names` are the files' paths within their class's folder, `labels` ``int64 [N]``, `parts` ``int64 [N]`` indices into
    `PARTS`. In one ROOT/CLASS/..., which is not `divided`, all files are in train. `fingerprint` covers all paths,
    sizes and times of change.
    """

    root: Path
    files: list[str]
    names: list[str]
    sizes: list[int]
    labels: np.ndarray
    parts: np.ndarray
    class_names: tuple[str, ...]
    divided: bool
    fingerprint: str

    def has(self, part: str) -> bool:
        return bool((self.parts == PARTS.index(part)).any())


def require_folder(root: object) -> None:
    """Raises: ConfigError: there is no such folder."""
    try:
        is_there = isinstance(root, str) and root != "" and Path(root).expanduser().is_dir()
    except OSError as error:
        raise _unreadable(str(root), error) from error
    checks.require(is_there, "data.root", "be a folder with a folder of images for each class", root)


def list_images(root: Path) -> Listing:
    """List the images of a folder, given by its absolute path.

    Raises:
        ConfigError: it is no folder of class folders, or one whose classes are not those of a data set.
    """
    try:
        require_folder(str(root))
        parts = find_parts(root)
        folders = {part: _class_folders(folder) for part, folder in (parts or {TRAIN: root}).items()}
        _check_classes(root, folders)
        _check_nested(folders[TRAIN])
        return _list_files(root, folders, divided=bool(parts))
    except OSError as error:
        raise _unreadable(error.filename or root, error) from error


def class_name(folder: Path) -> str:
    """A class has the name of its folder, as printable text."""
    return printable(unicodedata.normalize("NFC", folder.name))


def walk(folder: str | Path, above: frozenset[tuple[int, int]] = frozenset()) -> list[tuple[str, int, int]]:
    """Path, size and time of change of each file, also in folders below and behind links, but not in circles."""
    here = Path(folder).stat()
    with os.scandir(folder) as entries:
        visible = sorted([entry for entry in entries if not _is_skipped(entry.name)], key=attrgetter("name"))
    identity = (here.st_dev, here.st_ino)
    if identity in above:
        return []
    found = []
    for entry in visible:
        try:
            is_folder, stat = entry.is_dir(), entry.stat()
        except OSError:  # a link to nowhere or to itself; decoding reports it
            found.append((entry.path, -1, -1))
            continue
        if is_folder:
            found += walk(entry.path, above | {identity})
        else:
            found.append((entry.path, stat.st_size, stat.st_mtime_ns))
    return found


def _list_files(root: Path, folders: dict[str, dict[str, Path]], *, divided: bool) -> Listing:
    class_names = tuple(folders[TRAIN])
    rows: list[tuple[str, str, int, int, int]] = []
    digest = hashlib.blake2b(digest_size=16)
    for part, classes in folders.items():
        for name, folder in classes.items():
            found = walk(folder)
            if not found:
                raise ConfigError(f"data.root: the class folder {printable(folder)} is empty")
            text = [f"{path[len(str(root)) :]}\0{size}\0{time}\0" for path, size, time in found]
            digest.update(os.fsencode("".join(text)))
            label, number, within = class_names.index(name), PARTS.index(part), len(str(folder)) + 1
            rows += [(path, path[within:], size, label, number) for path, size, _ in found]
    files, names, sizes, labels, parts = map(list, zip(*rows, strict=True))
    arrays = np.array(labels, dtype=np.int64), np.array(parts, dtype=np.int64)
    return Listing(root, files, names, sizes, *arrays, class_names, divided, digest.hexdigest())


def _class_folders(folder: Path) -> dict[str, Path]:
    """The folders in a folder by class name, in the order of the names."""
    paths = _subfolders(folder)
    found = {class_name(path): path for path in sorted(paths, key=class_name)}
    if len(found) < len(paths):
        raise ConfigError(f"data.root: two class folders in {printable(folder)} have names that look the same")
    return found


def _check_classes(root: Path, folders: dict[str, dict[str, Path]]) -> None:
    """See that each part has the classes of train."""
    names = list(folders[TRAIN])
    if not names:
        raise ConfigError(f"data.root must have a folder of images for each class, {printable(root)} has none")
    if len(names) == 1:
        raise ConfigError(_one_class(folders[TRAIN][names[0]]))
    every = {name for part in folders.values() for name in part}
    for one, other in pairwise(sorted(every, key=lambda name: (name.casefold(), name))):
        if one.casefold() == other.casefold():
            raise ConfigError(
                f"data.root: the class folders {one!r} and {other!r} in {printable(root)} differ only in case;"
                " rename one, or put their images together"
            )
    for part in folders:
        for name in folders[part]:
            if name not in names:
                raise ConfigError(f"data.root: {part} has the class {name!r}, which train lacks")
    for name in names if VAL in folders else ():
        if name not in folders[VAL]:
            raise ConfigError(f"data.root: val lacks the class {name!r}, which train has")


def _one_class(folder: Path) -> str:
    """What is wrong with a single class: often an archive has a folder around those of the classes."""
    inner = _names(_subfolders(folder))
    problem = f"data.root must have at least two classes, {printable(folder.parent)} has only {class_name(folder)!r}"
    hint = f", a folder that holds {_format(inner)}: name that folder, or move them up" if len(inner) > 1 else ""
    return problem + hint


def _check_nested(classes: Mapping[str, Path]) -> None:
    """See that the folders of classes are not parts, or kinds of files, that hold the same classes."""
    seen: dict[frozenset[str], str] = {}
    for name, folder in classes.items():
        inner = _names(_subfolders(folder))
        has_parts = any(map(part_of_name, inner))
        if not has_parts and len(inner) < 2:
            continue
        other = seen.setdefault(frozenset() if has_parts else frozenset(inner), name)
        if other == name:
            continue
        both = f"data.root: the class folders {other!r} and {name!r} both hold the folders {_format(inner)}: "
        if has_parts:
            raise ConfigError(f"{both}a part holds the classes, {printable(inner[0])}/{name}, and no class the parts")
        raise ConfigError(
            f"{both}if these are the classes, rename the folders above them to train, val or test; if not, give them"
            " names that differ"
        )


def part_of_name(name: str) -> str | None:
    """The part that a folder of this name would be: ``Training_set`` is train. None for any other name."""
    bare = re.sub(r"[\W_]*(set|data|dataset|split|images)?$", "", name.casefold())
    return next((part for part, words in _WORDS.items() if bare in words), None)


def find_parts(root: Path) -> dict[str, Path]:
    """The folder of each part, in the order of `PARTS`; none where the folders in `root` are those of classes.

    Raises:
        ConfigError: some are named as parts but hold no class folders, two mean the same part, or a folder next to
            them is like one of them.
    """
    folders = _subfolders(root)
    named = {folder: part for folder in folders if (part := part_of_name(folder.name)) is not None}
    if not any(map(_subfolders, named)):
        _check_flat_classes(root, folders, named)
        return {}
    found: dict[str, Path] = {}
    for folder, part in named.items():
        if not _subfolders(folder):
            raise ConfigError(
                f"data.root: {printable(folder)} has no class folders: put the images of each class into"
                f" {printable(folder.name)}/CLASS, or move the folder elsewhere"
            )
        if (other := found.setdefault(part, folder)) != folder:
            raise ConfigError(
                f"data.root: {printable(other.name)} and {printable(folder.name)} in {printable(root)} both mean"
                f" {part}: rename one, put their images together, or move one elsewhere"
            )
    others = [folder for folder in folders if folder not in named]
    if TRAIN not in found:
        has = printable(found.get(VAL, found.get(TEST, root)).name)
        hint = f": rename {_format(_names(others))} to train, or the class {has}" if others else ""
        raise ConfigError(f"data.root: {printable(root)} has {has}, but no train with class folders next to it{hint}")
    _check_others(found, others)
    return {part: found[part] for part in PARTS if part in found}


def _check_flat_classes(root: Path, folders: Sequence[Path], named: Mapping[Path, str]) -> None:
    """One class may be called train, or several dev and test; but train and test are parts, also without classes."""
    meant = set(named.values())
    if not named or (len(named) < len(folders) and (TRAIN not in meant or len(meant) == 1)):
        return
    names = _names(named)
    raise ConfigError(
        f"data.root: {printable(root)} has {_format(names)} without class folders in {'them' if names[1:] else 'it'}:"
        f" put the images of each class into {printable(names[0])}/CLASS (a class of such a name needs another)"
    )


def _check_others(found: Mapping[str, Path], others: Sequence[Path]) -> None:
    """A folder next to the parts may be a part of an unknown name, or a class next to one that is called train."""
    classes = set(_names(_subfolders(found[TRAIN])))
    free = " or ".join(part for part in PARTS if part not in found) or "one of the parts"
    for other in others:
        if classes & set(_names(_subfolders(other))):
            raise ConfigError(
                f"data.root: {printable(other)} holds classes of {printable(found[TRAIN].name)}: rename it to {free},"
                " or move it elsewhere"
            )
        if len(found) == 1 and _holds_images(other):
            raise ConfigError(
                f"data.root: {printable(found[TRAIN])} holds folders, as train does, but {printable(other.name)} next"
                " to it holds images, as a class does: rename the one, or move the other elsewhere"
            )
        log.warning("data.root: %s is neither train, val nor test: what is in it is left out", printable(other))


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in _IMAGES for path in islice(folder.iterdir(), _LOOKED_AT))


def _subfolders(folder: Path) -> list[Path]:
    """The folders in a folder that are not skipped, in the order of their names."""
    found = [Path(entry.path) for entry in os.scandir(folder) if not _is_skipped(entry.name) and _is_folder(entry)]
    return sorted(found, key=attrgetter("name"))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, which counts as a bad file
        return False


def _is_skipped(name: str) -> bool:
    return name[0] == "." or name.lower() in _SKIPPED


def _names(folders: Iterable[Path]) -> list[str]:
    return [folder.name for folder in folders]


def _format(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(printable, names[:_NAMED])) + more


def _unreadable(folder: str | Path, error: OSError) -> ConfigError:
    return ConfigError(f"data.root: {printable(folder)} cannot be read: {error.strerror}")
