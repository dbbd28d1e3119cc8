"""How a job ended comes back as a file in its folder, which may be somebody else's."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from lightsweep.sweeper.assignment import FACTS, OUTCOME, Outcome, read_outcome, write_outcome

FINE: dict[str, Any] = {"state": "complete", "value": 0.5, "error": None, "facts": {"val/acc": 0.5}}


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("complete", 0.5, facts={"val/acc": 0.5, "status": "completed", "epochs": 3, "test/acc": None}),
        Outcome("complete", -3.0, facts={**dict.fromkeys(FACTS, 1), "status": "completed"}),
        Outcome("complete", 0.0),
        Outcome("pruned", facts={"epochs": 2}),
        Outcome("failed", error="ValueError: 'nö'", facts={"train/loss": math.inf}),
        Outcome("failed"),
        Outcome("interrupted"),
        Outcome("interrupted", error="the database was out of reach"),
    ],
    ids=lambda outcome: outcome.state,
)
def test_every_end_comes_back_as_it_was(tmp_path: Path, outcome: Outcome) -> None:
    write_outcome(outcome, tmp_path)
    assert read_outcome(tmp_path) == outcome
    assert os.listdir(tmp_path) == [OUTCOME]


def test_the_last_one_counts(tmp_path: Path) -> None:
    assert read_outcome(tmp_path) is None
    write_outcome(Outcome("interrupted"), tmp_path)
    write_outcome(Outcome("complete", 1.0), tmp_path)
    assert read_outcome(tmp_path) == Outcome("complete", 1.0)


@pytest.mark.parametrize(
    "content",
    [
        {"state": "left", "value": None},
        {"state": "running", "value": None},
        {"state": None},
        {"state": ["complete"]},
        {"state": {}},
        {"value": None},
        {"value": "0.5"},
        {"value": [0.5]},
        {"value": True},
        {"value": math.nan},
        {"value": math.inf},
        {"value": 10**400},
        {"state": "pruned"},  # with a value
        {"state": "failed"},
        {"error": 5},
        {"error": ["x"]},
        {"facts": None},
        {"facts": [["val/acc", 0.5]]},
        {"facts": {"lightsweep": "x"}},
        {"facts": {"interrupted": True}},
        {"facts": {"val/acc": [0.5]}},
        {"facts": {"val/acc": {"x": 1}}},
        {"facts": {"epochs": 10**400}},
        {"further": 1},
    ],
    ids=str,
)
def test_what_no_job_writes_is_no_outcome(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / OUTCOME).write_text(json.dumps(FINE))
    assert read_outcome(tmp_path) is not None
    (tmp_path / OUTCOME).write_text(json.dumps({**FINE, **content}))
    assert read_outcome(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    ["", "x", "5", "null", '"complete"', "[]", "{}", '["complete", 0.5]', '{"value": 0.5}', "[" * 100_000, "\x00"],
    ids=lambda text: text[:20],
)
def test_a_text_that_is_none_is_no_outcome(tmp_path: Path, text: str) -> None:
    (tmp_path / OUTCOME).write_text(text)
    assert read_outcome(tmp_path) is None


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["pipe", "device", "endless", "binary", "folder", "link to nothing"])
def test_what_is_no_text_is_no_outcome(tmp_path: Path, kind: str) -> None:
    file = tmp_path / OUTCOME
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "endless":
        file.touch()
        os.truncate(file, 10**12)
    elif kind == "binary":
        file.write_bytes(b"\xff\xfe{}")
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "device" else tmp_path / "nothing")
    assert read_outcome(tmp_path) is None
