"""What a run logs before it trains, and its warnings of too few data."""

import logging

import numpy as np
import pytest

from lightsweep.training.summary import few_images, few_steps

NAMES = ("ant", "bee", "cat")


def test_a_run_logs_its_data_network_and_device(run, caplog) -> None:
    with caplog.at_level(logging.INFO):
        done = run("model=mlp", "data.batch_size=50", "callbacks=none")
    lines = [record.getMessage() for record in caplog.records if record.name == "lightsweep.training.summary"]
    parameters = f"{done.result['params']:,}"
    assert lines[:2] == [
        "data: Digits, images: 270 training, 30 validation, 359 test; 10 classes: 0, 1, 2, 3, 4 and 5 more",
        (
            f"an epoch: 5 batches of 50, 20 images dropped; network: MLP, {parameters} parameters;"
            f" device: {done.result['device']}"
        ),
    ]
    assert lines[2:] == ["30 validation images: one is 3.3 points of accuracy"]


def test_few_steps_are_a_logged_warning(run, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        run("data.batch_size=100", "trainer.accumulate_grad_batches=2", "callbacks=none")
    assert "an epoch has 1 step: a smaller data.batch_size (now 100) makes more" in caplog.messages


@pytest.mark.parametrize(
    ("images", "warnings"),
    [
        (17, ["17 validation images: one is 5.9 points of accuracy"]),
        (199, ["199 validation images: one is 0.5 points of accuracy"]),
        (1, ["1 validation image: one is 100.0 points of accuracy"]),
        (200, []),
    ],
)
def test_a_small_validation_part_is_coarse(images: int, warnings: list[str]) -> None:
    lines = few_images({"train": np.zeros(9, int), "val": np.zeros(images, int), "test": np.zeros(0, int)}, ("ant",))
    assert [line for line in lines if "fewer" not in line] == warnings


def test_classes_with_fewer_than_two_images_are_named_for_each_part() -> None:
    labels = {"train": np.array([0, 0, 1, 1, 2, 2]), "val": np.repeat([0, 1], 200), "test": np.array([0, 0, 1])}
    assert few_images(labels, NAMES) == [
        "fewer than two validation images: cat (0)",
        "fewer than two test images: bee (1), cat (0)",
    ]


def test_names_of_classes_are_short_and_printable() -> None:
    names = (*(f"class-{number}" for number in range(9)), "\x1b[2J" + "long" * 20)
    (line,) = few_images({"train": np.zeros(2, int), "val": np.zeros(0, int), "test": np.zeros(0, int)}, names)
    assert line.endswith("class-1 (0), class-2 (0), class-3 (0), class-4 (0), class-5 (0) and 4 more")
    (line,) = few_images(
        {"train": np.repeat(np.arange(9), 2), "val": np.zeros(0, int), "test": np.zeros(0, int)}, names
    )
    assert line == r"fewer than two training images: \x1b[2Jlonglo…nglong (0)"


@pytest.mark.parametrize(("steps", "warns"), [(4, True), (5, False)])
def test_few_steps_an_epoch(steps: int, warns: bool) -> None:
    assert bool(few_steps(steps, 64)) is warns
