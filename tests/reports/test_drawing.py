"""Every picture can be drawn from awkward values; its labels do not overlap, and it is small."""

import warnings
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lightsweep.reports import pictures

RNG = np.random.default_rng(0)
AWKWARD = ("$x_{", "a_b^c$", "日本語の名前", "Ünï\ncode\x1b[31m", "a name that is much too long to be shown", "")
LARGEST = 500_000  # bytes of a picture


def names(count: int) -> list[str]:
    return [f"{number} {AWKWARD[number % len(AWKWARD)]}" for number in range(count)]


def rows(epochs: int, validated_every: int = 1) -> list[dict[str, float]]:
    measured = [
        {"epoch": epoch, "train/loss": 2 / epoch, "train/acc": 0.5, "lr": 0.1**epoch} for epoch in range(1, epochs + 1)
    ]
    for row in measured[validated_every - 1 :: validated_every]:
        row |= {"val/loss": 3 / row["epoch"], "val/acc": 0.4}
    return measured


def matrix(classes: int) -> np.ndarray:
    counts = RNG.poisson(1, (classes, classes)) + np.diag(RNG.poisson(50, classes))
    counts[0] = 0  # a class without images
    return counts


def images(count: int, channels: int = 3, side: int = 8) -> np.ndarray:
    return RNG.integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def counted(classes: int) -> Figure:
    parts = {"train": RNG.poisson(9, classes), "val": np.zeros(classes, int)}
    return pictures.draw_class_counts(parts, names(classes))


PICTURES = {
    "one epoch": lambda: pictures.draw_curves(rows(1), 1),
    "few validations": lambda: pictures.draw_curves(rows(30, 7), 14),
    "never validated": lambda: pictures.draw_curves(rows(3, 9), 0),
    "many epochs": lambda: pictures.draw_curves(rows(300), 300),
    "2 classes": lambda: pictures.draw_confusion_shares(matrix(2), names(2), "shares"),
    "10 classes": lambda: pictures.draw_confusion_counts(matrix(10), names(10), "counts"),
    "25 classes": lambda: pictures.draw_confusion_shares(matrix(25), names(25), "shares"),
    "100 classes": lambda: pictures.draw_confusion_counts(matrix(100), names(100), "counts"),
    "nothing scored": lambda: pictures.draw_confusion_shares(np.zeros((3, 3), int), names(3), "empty"),
    "images of 2 classes": lambda: counted(2),
    "images of 100 classes": lambda: counted(100),
    "digits": lambda: pictures.draw_grid(images(40, 1), names(40), "grey"),
    "colours": lambda: pictures.draw_grid(images(3, 3, 64), names(3), "colours"),
    "many channels": lambda: pictures.draw_grid(
        images(9, 5), [f"{name}\nsecond line" for name in names(9)], "channels"
    ),
    "no images": lambda: pictures.draw_grid(images(0), [], "none wrong"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_small_png_whose_labels_do_not_overlap(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what matplotlib warns of, a person would see
        figure = PICTURES[name]()
        png = pictures.render_png(figure)
    width, height = Image.open(BytesIO(png)).size
    assert 300 < width < 2000
    assert 100 < height < 1800
    assert len(png) < LARGEST
    if name == "100 classes":
        assert [len(axis.get_ticklabels()) for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis)] == [100, 100]
    for labels in label_boxes(figure):
        assert all(
            one.y1 <= two.y0 + 1 or two.y1 <= one.y0 + 1 or not one.overlaps(two) for one, two in pairwise(labels)
        )


def label_boxes(figure: Figure) -> list[list]:
    """The boxes of each axis's tick labels and of each panel's own texts."""
    renderer = figure.canvas.get_renderer()
    groups = [
        [axis.get_ticklabels() for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)],
        [panel.texts for panel in figure.axes],
    ]
    return [
        [text.get_window_extent(renderer) for text in texts if text.get_text() and text.get_visible()]
        for group in groups
        for texts in group
    ]


def test_drawing_leaves_no_figure_in_pyplot() -> None:
    from matplotlib import _pylab_helpers

    PICTURES["digits"]()
    assert not _pylab_helpers.Gcf.figs


def test_curves_show_the_best_epoch_and_the_learning_rate() -> None:
    figure = pictures.draw_curves(rows(5), 4)
    legends = [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]
    assert legends == ["train", "val", "best: 0.7500", "train", "val", "best: 0.4000"]
    assert list(figure.axes[2].lines[0].get_ydata()) == [row["lr"] for row in rows(5)]


def test_the_numbers_in_the_picture_are_those_of_the_matrix() -> None:
    figure = pictures.draw_confusion_counts(np.array([[5, 1], [0, 1234]]), ["a", "b"], "")
    assert [text.get_text() for text in figure.axes[0].texts] == ["5", "1", "1234"]
    shares = pictures.draw_confusion_shares(np.array([[3, 1], [1, 499]]), ["a", "b"], "")
    assert [text.get_text() for text in shares.axes[0].texts] == ["75%", "25%", "<1%", "100%"]


def test_an_image_is_drawn_unchanged() -> None:
    sent = images(2)
    drawn = pictures.draw_grid(sent, ["a", "b"], "").axes[0].images
    np.testing.assert_array_equal(drawn[1].get_array(), sent[1].transpose(1, 2, 0))
