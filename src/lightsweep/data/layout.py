"""Which folders of an image folder are its parts, whatever data sets and exports call them, and which are classes."""

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable

log = logging.getLogger(__name__)

TRAIN, VAL, TEST = PARTS = ("train", "val", "test")
_WORDS = {
    TRAIN: ("train", "training"),
    VAL: ("val", "valid", "validation", "validate", "dev", "development", "eval", "evaluation"),
    TEST: ("test", "testing"),
}
_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
_LOOKED_AT = 100  # files of a folder, to see what it holds
_NAMED = 5  # folders in an error


def is_litter(name: str) -> bool:
    """Is it hidden, or one of those files that systems leave behind?"""
    return name[0] == "." or name.lower() in _LITTER


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, less litter, in the order of their names."""
    found = [Path(entry.path) for entry in os.scandir(folder) if not is_litter(entry.name) and _is_folder(entry)]
    return sorted(found, key=lambda path: path.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, which is a bad file
        return False


def meaning(name: str) -> str | None:
    """The part that a folder of this name would be: ``Training_set`` is train. None for any other name."""
    bare = re.sub(r"[\W_]*(set|data|dataset|split|images)?$", "", name.casefold())
    return next((part for part, words in _WORDS.items() if bare in words), None)


def find_parts(root: Path) -> dict[str, Path]:
    """The folder of each part, in the order of `PARTS`; none where the folders in `root` are those of classes.

    Raises:
        ConfigError: some are named as parts, but are no folders of classes, or two mean the same part, or another
            folder beside them is as one of them.
    """
    folders = subfolders(root)
    named = {folder: part for folder in folders if (part := meaning(folder.name)) is not None}
    inside = {folder: subfolders(folder) for folder in named}
    if not any(inside.values()):
        _check_flat_classes(root, folders, named)
        return {}
    for folder in named:
        if not inside[folder]:
            raise ConfigError(
                f"data.root: {printable(folder)} has no class folders: put the images of each class into"
                f" {printable(folder.name)}/CLASS, or move the folder elsewhere"
            )
    _check_once(root, named)
    found = {part: folder for part in PARTS for folder, meant in named.items() if meant == part}
    if TRAIN not in found:
        raise ConfigError(_lacks_train(root, folders, found))
    _check_beside(found, [folder for folder in folders if folder not in named])
    return found


def check_nested(classes: Mapping[str, Path]) -> None:
    """See that the folders of classes are not parts, or kinds of files, that hold the same classes.

    Raises:
        ConfigError: two of them hold the same folders, or both hold parts.
    """
    seen: dict[frozenset[str], str] = {}
    for name, folder in classes.items():
        held = [each.name for each in subfolders(folder)]
        has_parts = any(map(meaning, held))
        if not has_parts and len(held) < 2:
            continue
        other = seen.setdefault(frozenset() if has_parts else frozenset(held), name)
        if other == name:
            continue
        both = f"data.root: the class folders {other!r} and {name!r} both hold the folders {listed(held)}: "
        if has_parts:
            raise ConfigError(f"{both}a part holds the classes, {printable(held[0])}/{name}, and no class the parts")
        raise ConfigError(
            f"{both}if these are the classes, rename the folders above them to train, val or test; if not, give them"
            " names that differ"
        )


def listed(names: Iterable[str]) -> str:
    """A few names as they can be shown."""
    names = [*names]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(printable, names[:_NAMED])) + more


def _check_flat_classes(root: Path, folders: Sequence[Path], named: Mapping[Path, str]) -> None:
    """One class may be called train, or several dev and test; but train and test are parts, also without classes."""
    meant = set(named.values())
    if not named or (len(named) < len(folders) and (TRAIN not in meant or len(meant) == 1)):
        return
    names = listed(folder.name for folder in named)
    raise ConfigError(
        f"data.root: {printable(root)} has {names} without class folders in {'it' if len(named) == 1 else 'them'}: put"
        f" the images of each class into {printable(next(iter(named)).name)}/CLASS (a class of such a name needs"
        " another)"
    )


def _check_once(root: Path, named: Mapping[Path, str]) -> None:
    first: dict[str, Path] = {}
    for folder, part in named.items():
        other = first.setdefault(part, folder)
        if other != folder:
            raise ConfigError(
                f"data.root: {printable(other.name)} and {printable(folder.name)} in {printable(root)} both mean"
                f" {part}: rename one, put their images together, or move one elsewhere"
            )


def _lacks_train(root: Path, folders: Sequence[Path], found: Mapping[str, Path]) -> str:
    names = [folder.name for folder in folders if folder not in found.values()]
    hint = f": rename {listed(names)} to train, or the class {printable(next(iter(found.values())).name)}"
    has = printable(next(iter(found.values())).name)
    return f"data.root: {printable(root)} has {has}, but no train with class folders beside it{hint if names else ''}"


def _check_beside(found: Mapping[str, Path], others: Sequence[Path]) -> None:
    """A folder beside the parts is a part with a name that nobody knows, or a class beside one called train, or
    neither: that is said."""
    classes = {folder.name for folder in subfolders(found[TRAIN])}
    free = " or ".join(part for part in PARTS if part not in found) or "one of the parts"
    for other in others:
        if classes & {folder.name for folder in subfolders(other)}:
            raise ConfigError(
                f"data.root: {printable(other)} holds classes of {printable(found[TRAIN].name)}: rename it to {free},"
                " or move it elsewhere"
            )
        if len(found) == 1 and _holds_images(other):
            raise ConfigError(
                f"data.root: {printable(found[TRAIN])} holds folders, as train does, but {printable(other.name)} beside"
                " it holds images, as a class does: rename the one, or move the other elsewhere"
            )
        log.warning("data.root: %s is neither train, val nor test: what is in it is left out", printable(other))


def _holds_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        few = [entry.name for entry, _ in zip(entries, range(_LOOKED_AT), strict=False)]
    return any(name.lower().endswith(_IMAGES) for name in few)
