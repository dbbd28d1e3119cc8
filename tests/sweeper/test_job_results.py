"""A job's result is read from a file in its folder, which may be somebody else's."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from lightsweep.sweeper.executors.cluster_jobs import RESULT_FILE, read_result, write_result
from lightsweep.sweeper.job import JobResult, JobState

FINE: dict[str, Any] = {"state": "completed", "value": 0.5, "error": None, "facts": {"val/acc": 0.5}}


@pytest.mark.parametrize(
    "result",
    [
        JobResult(
            JobState.COMPLETED, 0.5, facts={"val/acc": 0.5, "status": "completed", "epochs": 3, "test/acc": None}
        ),
        JobResult(JobState.COMPLETED, -3.0, facts={"a measure of their own": 1}),
        JobResult(JobState.DIVERGED, error="the loss became NaN"),
        JobResult(JobState.INTERRUPTED, by_signal=True),
        JobResult(JobState.COMPLETED, 0.0),
        JobResult(JobState.PRUNED, facts={"epochs": 2}),
        JobResult(JobState.FAILED, error="ValueError: 'nö'", facts={"train/loss": math.inf}),
        JobResult(JobState.FAILED),
        JobResult(JobState.INTERRUPTED),
        JobResult(JobState.INTERRUPTED, error="the database was out of reach"),
    ],
    ids=lambda result: result.state,
)
def test_a_result_is_read_as_it_was_written(tmp_path: Path, result: JobResult) -> None:
    write_result(result, tmp_path)
    assert read_result(tmp_path) == result
    assert os.listdir(tmp_path) == [RESULT_FILE]


def test_a_result_of_version_0_1_is_read(tmp_path: Path) -> None:
    (tmp_path / RESULT_FILE).write_text(json.dumps({**FINE, "state": "complete"}))
    assert read_result(tmp_path) == JobResult(JobState.COMPLETED, 0.5, facts={"val/acc": 0.5})


def test_a_later_result_replaces_an_earlier_one(tmp_path: Path) -> None:
    assert read_result(tmp_path) is None
    write_result(JobResult(JobState.INTERRUPTED), tmp_path)
    write_result(JobResult(JobState.COMPLETED, 1.0), tmp_path)
    assert read_result(tmp_path) == JobResult(JobState.COMPLETED, 1.0)


@pytest.mark.parametrize(
    "content",
    [
        {"state": "detached", "value": None},
        {"state": "lost", "value": None},
        {"state": "running", "value": None},
        {"state": None},
        {"state": ["completed"]},
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
        {"by_signal": 1},
        {"further": 1},
    ],
    ids=str,
)
def test_implausible_content_is_no_result(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / RESULT_FILE).write_text(json.dumps(FINE))
    assert read_result(tmp_path) is not None
    (tmp_path / RESULT_FILE).write_text(json.dumps({**FINE, **content}))
    assert read_result(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    ["", "x", "5", "null", '"complete"', "[]", "{}", '["complete", 0.5]', '{"value": 0.5}', "[" * 100_000, "\x00"],
    ids=lambda text: text[:20],
)
def test_a_text_that_is_no_json_object_is_no_result(tmp_path: Path, text: str) -> None:
    (tmp_path / RESULT_FILE).write_text(text)
    assert read_result(tmp_path) is None


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["pipe", "device", "endless", "binary", "folder", "link to nothing"])
def test_what_is_no_regular_text_file_is_no_result(tmp_path: Path, kind: str) -> None:
    file = tmp_path / RESULT_FILE
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
    assert read_result(tmp_path) is None
