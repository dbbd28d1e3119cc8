"""The report against scikit-learn's, and classes that cannot be measured."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import classification_report, roc_auc_score

from lightsweep.reports.scored_run import measure_report, report_as_json, report_as_text

RNG = np.random.default_rng(0)
NAMES = ("cat", "dog", "eel", "fox")


def outputs(labels: np.ndarray, classes: int = 4) -> np.ndarray:
    logits = RNG.normal(size=(len(labels), classes)).round(1)  # rounded: some are equal
    logits[np.arange(len(labels)), labels] += 1
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(1, keepdims=True)).astype(np.float32)


LABELS = RNG.integers(0, 4, 200)
PROBABILITIES = outputs(LABELS)


def test_agrees_with_scikit_learn() -> None:
    report = report_as_json(measure_report("test", LABELS, PROBABILITIES, NAMES))
    theirs = classification_report(LABELS, PROBABILITIES.argmax(1), target_names=NAMES, output_dict=True)
    ours = {line["name"]: line for line in (*report["classes"], report["macro_average"], report["weighted_average"])}
    for name, line in ours.items():
        expected = theirs[name.replace("average", "avg")]
        assert line["support"] == expected["support"]
        got = (line["precision"], line["recall"], line["f1"])
        assert got == pytest.approx((expected["precision"], expected["recall"], expected["f1-score"]))
    assert report["accuracy"] == pytest.approx(theirs["accuracy"])
    assert report["images"] == 200
    for column, line in enumerate(report["classes"]):
        assert line["roc_auc"] == pytest.approx(roc_auc_score(column == LABELS, PROBABILITIES[:, column]))


def test_a_class_without_images_is_left_out_of_the_averages_and_named() -> None:
    labels = np.where(LABELS == 2, 0, LABELS)
    report = measure_report("val", labels, PROBABILITIES, NAMES)
    assert [math.isnan(value) for value in (report.classes[2].recall, report.classes[2].roc_auc)] == [True, True]
    assert report.notes == ("without images, left out of the averages: eel",)
    assert report.averages[0].recall == pytest.approx(np.mean([report.classes[k].recall for k in (0, 1, 3)]))
    assert json.loads(json.dumps(report_as_json(report), allow_nan=False))["classes"][2]["f1"] is None


def test_a_class_that_is_never_predicted_has_precision_0() -> None:
    always_first = np.tile(np.float32([0.7, 0.1, 0.1, 0.1]), (200, 1))
    report = measure_report("val", LABELS, always_first, NAMES)
    assert (report.classes[1].precision, report.classes[1].f1, report.classes[1].roc_auc) == (0, 0, 0.5)
    assert report.notes == ()


def test_one_class_alone_has_no_roc_auc() -> None:
    report = measure_report("test", np.zeros(9, int), PROBABILITIES[:9], NAMES)
    assert report.notes[-1] == "no ROC AUC, as there are no images of other classes: cat"


def test_outputs_that_are_not_finite_are_noted() -> None:
    report = measure_report("test", LABELS, np.full_like(PROBABILITIES, np.nan), NAMES)
    assert report.notes == ("the network's outputs are not finite numbers: ROC AUC is left out",)


def test_the_text_has_one_line_for_each_class_and_names_are_not_read_as_markup() -> None:
    text = report_as_text(
        measure_report("test", LABELS, PROBABILITIES, ("[bold]cat", "日本語", "a\nb\x1b[31m", "x" * 99))
    )
    lines = text.splitlines()
    assert lines[0] == f"test: accuracy {(PROBABILITIES.argmax(1) == LABELS).mean():.4f}"
    assert [lines[2][:9], lines[3][:3], lines[4][:3]] == ["[bold]cat", "日本語", "a b"]
    assert "\x1b" not in text
    assert lines[-1].startswith("weighted average")
