"""Several trained networks as one, whose probabilities are the mean of theirs: its folder, written and read."""

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightsweep.core import memory
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import is_inside, read_json
from lightsweep.core.text import printable_line
from lightsweep.data.normalization import Normalization
from lightsweep.runs.run_folder import ENSEMBLE, MOST_MEMBERS
from lightsweep.training import checkpoints
from lightsweep.training.checkpoints import Description, Trained

_VERSION = 1
_FILE = re.compile(r"members/(?!\.)[\w.+=-]{1,200}\.ckpt", re.ASCII)
_COPIES = 2  # of the weights in memory, while they are read


class Ensemble(nn.Module):
    """Images -> log of the weighted mean of the members' probabilities, ``float32 [B, K]``: its softmax is that mean.

    Args:
        members: networks in eval mode, which give logits ``[B, K]``.
        weights: positive, of any sum.
        normalizations: of the members, where they differ: then images are pixels as ``float [B, C, H, W]``. None:
            images are normalised already, for all alike.
    """

    log_weights: Tensor

    def __init__(
        self, members: Sequence[nn.Module], weights: Sequence[float], normalizations: Sequence[Normalization] | None
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        shares = torch.tensor(weights, dtype=torch.float64) / sum(weights)
        self.register_buffer("log_weights", shares.log().float()[:, None, None])
        self.normalizes = normalizations is not None
        for index, each in enumerate(normalizations or ()):
            self.register_buffer(f"mean_{index}", each.mean)
            self.register_buffer(f"std_{index}", each.std)

    def forward(self, images: Tensor) -> Tensor:
        logits = [net(self._normalized(images, index)) for index, net in enumerate(self.members)]
        shares = torch.stack([torch.log_softmax(each.float(), 1) for each in logits])
        return torch.logsumexp(shares + self.log_weights, 0)

    def _normalized(self, images: Tensor, index: int) -> Tensor:
        if not self.normalizes:
            return images
        mean, std = getattr(self, f"mean_{index}"), getattr(self, f"std_{index}")
        return (images - mean) * (1 / std)  # to the bit what `Normalization` gives, which changes images in place


@dataclass(frozen=True)
class Member:
    """A checkpoint in an ensemble's folder, and how often it was picked."""

    file: Path
    count: int


def combine(members: Sequence[Trained], counts: Sequence[int]) -> Trained:
    """Trained networks as one. Its epoch is 0, its precision theirs, or 32-true where they differ.

    Raises:
        ConfigError: their classes or inputs differ.
    """
    first = members[0].description
    for each in members[1:]:
        check_alike(first, each.description, "members of an ensemble")
    normalizations = [each.description.normalization for each in members]
    alike = all(same_normalization(normalizations[0], each) for each in normalizations)
    pixels = Normalization(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))  # as they are
    net = Ensemble([each.net for each in members], counts, None if alike else normalizations)
    description = replace(first, model={}, normalization=normalizations[0] if alike else pixels)
    precisions = {each.precision for each in members}
    return Trained(net.eval(), description, 0, precisions.pop() if len(precisions) == 1 else "32-true")


def check_alike(one: Description, other: Description, who: str) -> None:
    """Check that two networks take the same images and know the same classes.

    Raises:
        ConfigError: they do not; begins with `who`.
    """
    for name, title in (("class_names", "classes"), ("input_shape", "size of images"), ("resize", "data.resize")):
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine != theirs:
            shown = [
                printable_line(", ".join(map(str, each)) if isinstance(each, tuple) else each)[:60]
                for each in (mine, theirs)
            ]
            raise ConfigError(f"{who} must have the same {title}, got {shown[0]} and {shown[1]}")


def same_normalization(one: Normalization, other: Normalization) -> bool:
    return torch.equal(one.mean, other.mean) and torch.equal(one.std, other.std)


def load(folder: Path) -> Trained:
    """The ensemble in a folder, which may be from somebody else.

    Raises:
        ConfigError: its record or a checkpoint is missing, damaged or none of ours, or leads out of the folder.
    """
    members = read_members(folder)
    need = _COPIES * sum(each.file.stat().st_size for each in members)
    memory.require("RUN", need, f"the weights of {len(members)} networks need")
    return combine([checkpoints.load(each.file) for each in members], [each.count for each in members])


def read_members(folder: Path) -> list[Member]:
    """The checkpoints that an ensemble's record names.

    Raises:
        ConfigError: as `load`.
    """
    path = folder / ENSEMBLE
    try:
        content = read_json(path)
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            raise ValueError(f"version must be {_VERSION}")
        listed = content.get("members")
        if not isinstance(listed, list) or not 0 < len(listed) <= MOST_MEMBERS:
            raise ValueError(f"members must be a list of 1 to {MOST_MEMBERS}")
        members = [_read_member(folder, each) for each in listed]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or printable_line(error)
        raise ConfigError(f"{path} is no ensemble ({reason})") from error
    for member in members:
        if not member.file.is_file():
            raise ConfigError(f"{path}: {member.file} is missing")
    return members


def _read_member(folder: Path, entry: Any) -> Member:
    name, count = (entry.get("file"), entry.get("count")) if isinstance(entry, dict) else (None, None)
    if not isinstance(name, str) or not _FILE.fullmatch(name):
        raise ValueError(f"file must be members/NAME.ckpt, got {str(name)[:50]!r}")
    if type(count) is not int or not 0 < count <= MOST_MEMBERS:
        raise ValueError(f"count of {name} must be an integer in [1, {MOST_MEMBERS}], got {str(count)[:50]}")
    if not is_inside(folder / name, folder):
        raise ValueError(f"{name} leads out of its folder")
    return Member(folder / name, count)


def copy_members(folder: Path, picked: Sequence[tuple[str, Path]]) -> list[dict[str, Any]]:
    """Copy the checkpoints of the picks into a folder, one file each however often it was picked.

    Args:
        picked: of each pick, the run's name and its checkpoint.

    Returns:
        The record's entries, ``file`` and ``count``, by the order in which they were first picked.
    """
    (folder / "members").mkdir()
    entries: list[dict[str, Any]] = []
    for (name, checkpoint), count in Counter(picked).items():
        plain = re.sub(r"[^\w.+=-]+", "-", name, flags=re.ASCII).strip("-.")[-150:] or "run"
        if any(entry["file"] == f"members/{plain}.ckpt" for entry in entries):
            plain = f"{plain}-{len(entries)}"
        shutil.copyfile(checkpoint, folder / "members" / f"{plain}.ckpt")
        entries.append({"file": f"members/{plain}.ckpt", "count": count})
    return entries
