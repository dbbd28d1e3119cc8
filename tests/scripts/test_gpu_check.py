"""scripts/gpu_check.sh: each step's figures come back, and a step that fails is named and stops no other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gpu_results
from lightsweep.core.files import ROOT

SCRIPT = ROOT / "scripts" / "gpu_check.sh"


def checked(folder: Path, *options: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "LIGHTSWEEP_DATA"}
    command = [str(SCRIPT), str(folder), "--tiny", *options]
    return subprocess.run(
        command, capture_output=True, text=True, env={**environment, "PYTHON": sys.executable}, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_step_runs_in_small_on_the_cpu(tmp_path: Path) -> None:
    done = checked(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["failed"] == []
    assert list(found["steps"]) == [
        *("facts", "tests", "bench", "sweep-n_jobs-2", "sweep-population-2", "population", "best")
    ]
    assert found["tests"]["passed"] >= 3
    assert found["bench"]["lightsweep"]["images_per_second"] > 0
    assert [found["sweep"][f"sweep-{name}-2"]["completed"] for name in ("n_jobs", "population")] == [2, 2]
    assert found["population"]["population=2"]["model_steps_per_second"] > 0
    assert (found["best"]["epochs"], found["best"]["status"]) == (2, "completed")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["logs.tar.gz", "results.json", "results.txt"]


@pytest.mark.slow
def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    done = checked(tmp_path, "--only", "abacus")
    assert (done.returncode, done.stderr) == (2, "unknown step abacus\n")


def test_a_step_that_failed_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    (tmp_path / "steps.tsv").write_text("facts\t127\t0\t1\ntests\t1\t1\t5.5\nbench\t124\t6\t66\nbest\t0\t66\t190\n")
    (tmp_path / "tests.xml").write_text(
        '<testsuites><testsuite><testcase classname="a" name="good"/><testcase classname="a" name="bad">'
        '<failure message="no GPU"/></testcase></testsuite></testsuites>'
    )
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "metrics.csv").write_text("val/acc,seconds,images_per_second\n0.5,2,9\n,2,9\n0.7,2,9\n")
    found = gpu_results.gather(tmp_path)
    assert found["failed"] == ["tests", "bench"]
    assert found["tests"] == {"passed": 1, "failed": {"a::bad": "no GPU"}}
    best = found["best"]
    assert (best["best val/acc"], best["minutes_for_all"], best["status"]) == (0.7, 16.7, None)
    assert "bench" not in found
    assert gpu_results.lines(found)[-1] == "failed: tests, bench"
