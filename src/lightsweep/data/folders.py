"""Class folders: which images there are, of which class, in which part. Nothing is opened here, only listed.

Either ROOT/train/CLASS/..., with ROOT/val and ROOT/test or without, or one ROOT/CLASS/...; `layout` knows other names
of the parts. Images may lie in folders below their class's. Names that begin with a dot are passed over, as is what
systems leave behind.
"""

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable
from lightsweep.data import layout
from lightsweep.data.layout import PARTS, TEST, TRAIN, VAL, is_litter, listed

__all__ = ["PARTS", "TEST", "TRAIN", "VAL", "Listing", "class_name", "scan", "walk"]


@dataclass(frozen=True)
class Listing:
    """The files of an image folder, in a fixed order: part by part, class by class, by name.

    `parts` has each file's part as a place in `PARTS`; where they are not `divided`, in one ROOT/CLASS/..., all are in
    train. `labels` ``int64 [N]``. `names` are the files' paths within their class's folder.
    """

    root: Path
    files: list[str]
    names: list[str]
    sizes: list[int]
    labels: np.ndarray
    parts: np.ndarray
    class_names: tuple[str, ...]
    divided: bool
    fingerprint: str  # of all paths, sizes and times of change

    def has(self, part: str) -> bool:
        return bool((self.parts == PARTS.index(part)).any())


def require_folder(root: object) -> None:
    """See that there is such a folder, whatever is in it.

    Raises:
        ConfigError: there is none.
    """
    is_path = isinstance(root, str) and root != ""
    try:
        is_there = is_path and Path(str(root)).expanduser().is_dir()
    except OSError as error:
        raise _unreadable(str(root), error) from error
    checks.require(is_there, "data.root", "be a folder with a folder of images for each class", root)


def scan(root: Path) -> Listing:
    """List the images of a folder, given by its absolute path.

    Raises:
        ConfigError: it is no folder of class folders, or one whose classes are not those of a data set.
    """
    try:
        return _scan(root)
    except OSError as error:
        raise _unreadable(error.filename or root, error) from error


def _scan(root: Path) -> Listing:
    require_folder(str(root))
    parts = layout.find_parts(root)
    folders = {part: _subfolders(folder) for part, folder in (parts or {TRAIN: root}).items()}
    class_names = _classes(root, folders)
    layout.check_nested(folders[TRAIN])
    return _listing(root, folders, class_names, bool(parts))


def _subfolders(folder: Path) -> dict[str, Path]:
    """The folders in a folder by class name, in the order of the names."""
    paths = layout.subfolders(folder)
    found = {class_name(path): path for path in sorted(paths, key=class_name)}
    if len(found) < len(paths):
        raise ConfigError(f"data.root: two class folders in {printable(folder)} have names that look the same")
    return found


def class_name(folder: Path) -> str:
    """A class is called as its folder, as text that can be shown."""
    return printable(unicodedata.normalize("NFC", folder.name))


def _classes(root: Path, folders: dict[str, dict[str, Path]]) -> tuple[str, ...]:
    """The names of the classes, which are those of train."""
    names = tuple(folders[TRAIN])
    if not names:
        raise ConfigError(f"data.root must have a folder of images for each class, {printable(root)} has none")
    if len(names) == 1:
        raise ConfigError(_one_class(folders[TRAIN][names[0]]))
    _check_case(root, {name for part in folders.values() for name in part})
    for part in folders:
        unknown = [name for name in folders[part] if name not in names]
        if unknown:
            raise ConfigError(f"data.root: {part} has the class {unknown[0]!r}, which train lacks")
    missing = [name for name in names if VAL in folders and name not in folders[VAL]]
    if missing:
        raise ConfigError(f"data.root: val lacks the class {missing[0]!r}, which train has")
    return names


def _one_class(folder: Path) -> str:
    """What is wrong with a single class: often the folder of an archive lies around those of the classes."""
    held = [each.name for each in layout.subfolders(folder)]
    said = f"data.root must have at least two classes, {printable(folder.parent)} has only {class_name(folder)!r}"
    return f"{said}, a folder that holds {listed(held)}: name that folder, or move them up" if len(held) > 1 else said


def _check_case(root: Path, names: set[str]) -> None:
    seen: dict[str, str] = {}
    for name in sorted(names):
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise ConfigError(
                f"data.root: the class folders {other!r} and {name!r} in {printable(root)} differ only in case;"
                " rename one, or put their images together"
            )


def _listing(root: Path, folders: dict[str, dict[str, Path]], class_names: tuple[str, ...], divided: bool) -> Listing:
    files: list[str] = []
    names: list[str] = []
    sizes: list[int] = []
    labels: list[np.ndarray] = []
    parts: list[np.ndarray] = []
    below = len(str(root))
    digest = hashlib.blake2b(digest_size=16)
    for part, classes in folders.items():
        for name, folder in classes.items():
            found = walk(folder)
            if not found:
                raise ConfigError(f"data.root: the class folder {printable(folder)} is empty")
            files += [path for path, _, _ in found]
            names += [path[len(str(folder)) + 1 :] for path, _, _ in found]
            sizes += [size for _, size, _ in found]
            digest.update(os.fsencode("".join([f"{path[below:]}\0{size}\0{time}\0" for path, size, time in found])))
            labels.append(np.full(len(found), class_names.index(name)))
            parts.append(np.full(len(found), PARTS.index(part)))
    arrays = np.concatenate(labels), np.concatenate(parts)
    return Listing(root, files, names, sizes, *arrays, class_names, divided, digest.hexdigest())


def walk(folder: str | Path, above: frozenset[tuple[int, int]] = frozenset()) -> list[tuple[str, int, int]]:
    """Path, size and time of change of each file, also in folders below; through links, but not in circles."""
    here = Path(folder).stat()
    with os.scandir(folder) as entries:
        visible = sorted([entry for entry in entries if not is_litter(entry.name)], key=attrgetter("name"))
    place = (here.st_dev, here.st_ino)
    if place in above:
        return []
    found = []
    for entry in visible:
        try:
            is_folder, stat = entry.is_dir(), entry.stat()
        except OSError:  # a link to nowhere or to itself; reading it says so
            found.append((entry.path, -1, -1))
            continue
        if is_folder:
            found += walk(entry.path, above | {place})
        else:
            found.append((entry.path, stat.st_size, stat.st_mtime_ns))
    return found


def _unreadable(folder: str | Path, error: OSError) -> ConfigError:
    return ConfigError(f"data.root: {printable(folder)} cannot be read: {error.strerror}")
