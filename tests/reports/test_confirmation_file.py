"""confirmation.json is numbers, or nothing: it may be of an earlier version, or somebody else's."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lightsweep.sweeper import confirmation, verdict
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.statistics import Entry, Search

EARLIER: dict[str, Any] = {  # as it was before there were verdicts
    "best_trial": 4,
    "seeds": [101, 102],
    "best": {"n": 2, "failed": 0, "val/acc": {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}},
    "baseline": {"n": 1, "failed": 1, "val/acc": {"mean": 0.3, "std": None, "values": [0.3]}},
}


def changed(**entries: Any) -> dict[str, Any]:
    return EARLIER | entries


def entry(values: Any, failed: Any = 0) -> dict[str, Any]:
    return {"n": 2, "failed": failed, "val/acc": {"mean": 0.5, "std": 0.1, "values": values}}


def test_one_of_an_earlier_version_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "confirmation.json").write_text(json.dumps(EARLIER))
    read = confirmation.read_confirmation(tmp_path)
    assert read is not None
    assert (read.trial, read.seeds, read.failed) == (4, (101, 102), {"best": 0, "baseline": 1})
    assert read.values("best", "val/acc") == (0.4, 0.6)
    assert read.values("best", "test/acc") == ()
    assert read.score("val/acc") == "val/acc"


def test_a_configuration_that_was_not_trained_has_no_values(tmp_path: Path) -> None:
    content = {key: value for key, value in EARLIER.items() if key != "best"}
    (tmp_path / "confirmation.json").write_text(json.dumps(content))
    read = confirmation.read_confirmation(tmp_path)
    assert read is not None
    assert list(read.scores) == ["baseline"]
    assert read.score("val/acc") is None


@pytest.mark.parametrize(
    "content",
    [
        [],
        "text",
        {},
        changed(best_trial="![x](http://e/x)"),
        changed(seeds=None),
        changed(seeds=["<script>"]),
        changed(best=5),
        changed(best=[]),
        changed(baseline=entry(["0.4"])),
        changed(best=entry([0.4, None])),
        changed(best=entry([[0.4]])),
        changed(best=entry([True, 0.5])),
        changed(best=entry(0.5)),
        changed(best=entry([10**400])),
        changed(best=entry([1e200, 2e200])),  # whose variance is no number
        changed(best=entry([0.5], failed="<b>")),
        changed(best={"n": 2}),
    ],
    ids=str,
)
def test_one_that_is_none_of_ours_says_nothing(tmp_path: Path, content: Any) -> None:
    (tmp_path / "confirmation.json").write_text(json.dumps(content))
    assert confirmation.read_confirmation(tmp_path) is None


def test_none_and_a_damaged_one_say_nothing(tmp_path: Path) -> None:
    assert confirmation.read_confirmation(tmp_path) is None
    (tmp_path / "confirmation.json").write_text('{"best_trial": 4, "seeds": [')
    assert confirmation.read_confirmation(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "by"),
    [
        (changed(compared_by="test/acc"), "test/acc"),
        (changed(compared_by=None), None),
        (changed(verdict={"score": "test/acc"}), "test/acc"),  # of an earlier version
        (changed(compared_by=None, verdict={"score": "test/acc"}), None),
        (changed(compared_by=["test/acc"]), None),
        (changed(verdict={"outcome": "unclear"}), None),
    ],
)
def test_it_says_which_score_decides(tmp_path: Path, content: Any, by: str | None) -> None:
    (tmp_path / "confirmation.json").write_text(json.dumps(content))
    read = confirmation.read_confirmation(tmp_path)
    assert read is not None
    assert read.compared_by == by
    assert read.score("val/acc") == "val/acc"  # the other was not recorded


def run_results(folder: Path, file: str) -> None:
    for name, shift in (("best", 0.2), ("baseline", 0.0)):
        for seed in (101, 102, 103):
            run = folder / f"confirm/{name}-seed-{seed}"
            run.mkdir(parents=True)
            value = shift + seed / 1000
            result = {"status": "completed", "value": value, "mine/f1": 1 - value, "note": "x", "ok": True}
            (run / file).write_text(json.dumps(result))


def _write(folder: Path, found: Search, by: str | None) -> verdict.Verdict | None:
    return confirmation.write_confirmation(
        folder,
        ("best", "baseline"),
        (101, 102, 103),
        Application(),
        by,
        lambda confirmed: verdict.judge(found, confirmed),
        best=found.best.number,
    )


def test_any_apps_numbers_are_compared_by_what_is_wanted(tmp_path: Path) -> None:
    run_results(tmp_path, Application.result_file)
    entries = Entry(0, 0.1), Entry(1, 0.9)
    found = Search("value", True, entries[1], entries, baseline=entries[0], baseline_state="complete")
    write = partial(_write, tmp_path, found)
    judged = write("mine/f1")
    assert judged is not None
    assert (judged.outcome, judged.numbers["score"]) == ("worse", "mine/f1")
    judged = write(None)
    assert judged is not None
    assert (judged.outcome, judged.numbers["score"]) == ("better", "value")
    read = confirmation.read_confirmation(tmp_path)
    assert read is not None
    rows = confirmation.table_rows(read, ["value"])
    assert list(rows[0]) == ["configuration", "n", "value", "mine/f1", "value to the baseline"]
    assert confirmation.heading(read) == "Confirmation of trial 1 and the baseline, seeds 101, 102, 103:"
