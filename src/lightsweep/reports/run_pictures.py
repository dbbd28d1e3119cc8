"""Which pictures a scored run has, and what is in them."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure

from lightsweep.reports.pictures import class_counts, confusion, curves, mistakes, picking, samples, style
from lightsweep.reports.scored import ScoredRun

_MIXED = 0.05  # share from which a class of a mixed image is named


def pictures(run: ScoredRun, *, samples: int, mistakes: int) -> dict[str, Callable[[], bytes]]:
    """By name, what draws a PNG file."""
    part, score = run.part, run.scores[run.part]
    names = run.data.class_names
    images = int(score.confusion.sum())
    heading = f"{part}: {images:,} images, accuracy {score.acc:.4f}"
    drawn: dict[str, Callable[[], Figure]] = {
        "curves": partial(curves.curves, run.rows, run.best_epoch),
        f"confusion_{part}": partial(confusion.counts, score.confusion, names, heading),
        f"confusion_{part}_normalised": partial(confusion.row_normalised, score.confusion, names, heading),
        f"most_wrong_{part}": partial(_most_wrong, run, mistakes),
        "class_counts": partial(_class_counts, run),
        "images_train": partial(_train_images, run, samples),
        "images_val": partial(_val_images, run, samples),
    }
    return {name: partial(_png, draw) for name, draw in drawn.items()}


def _png(draw: Callable[[], Figure]) -> bytes:
    return style.png(draw())


def _class_counts(run: ScoredRun) -> Figure:
    classes = run.data.num_classes
    counts = {part: np.bincount(run.data.labels(part), minlength=classes) for part in ("train", "val", "test")}
    return class_counts.class_counts(counts, run.data.class_names)


def _most_wrong(run: ScoredRun, count: int) -> Figure:
    labels, probabilities = run.data.labels(run.part), run.scores[run.part].probabilities
    images = partial(run.data.images, run.part)
    return mistakes.most_wrong(run.part, labels, probabilities, run.data.class_names, images, count)


def _train_images(run: ScoredRun, count: int) -> Figure:
    loader = run.train_loader
    loader.set_epoch(0)
    inputs, targets = next(iter(loader))
    images = loader.normalization.undo(inputs[:count]).cpu().numpy()
    captions = [_caption(target, run.data.class_names) for target in targets[:count].cpu()]
    return samples.grid(images, captions, "train: images as the network sees them")


def _val_images(run: ScoredRun, count: int) -> Figure:
    labels = run.data.labels("val")
    chosen = picking.across_classes(labels, count)
    captions = [run.data.class_names[label] for label in labels[chosen]]
    return samples.grid(run.data.images("val", chosen), captions, "val: images of each class")


def _caption(target: torch.Tensor, names: tuple[str, ...]) -> str:
    """The class of a target, a number or shares ``float [K]`` that a mixed image has of the classes."""
    if target.ndim == 0:
        return names[int(target)]
    shares, classes = target.sort(descending=True)
    mixed = [(share, names[k]) for share, k in zip(shares.tolist(), classes.tolist(), strict=True) if share >= _MIXED]
    return "\n".join(f"{100 * share:.0f}% {name}" for share, name in mixed[:2])
