"""The reproduction as it is run: cut off, taken up again, and finished runs left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cifar10_files import write_cifar10
from forked import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def command(tmp_path: Path):
    write_cifar10(tmp_path / "data")
    arguments = [f"--{name}={tmp_path / name}" for name in ("records", "outputs", "table")]
    script = [sys.executable, str(ROOT / "scripts" / "reproduce.py"), "b0", *arguments]
    environment = {**os.environ, "LIGHTSWEEP_DATA": str(tmp_path / "data")}
    return {"args": script, "env": environment, "cwd": tmp_path, "text": True}


def test_an_interrupted_reproduction_resumes_reports_failures_and_repeats_nothing(command, tmp_path: Path) -> None:
    cut_off = subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    config = tmp_path / "outputs" / "b0" / "seed-42" / "config.yaml"
    while not config.exists():
        time.sleep(0.1)
    cut_off.send_signal(signal.SIGTERM)
    output, _ = cut_off.communicate(timeout=60)
    assert cut_off.returncode == 1
    assert output.splitlines()[-1] == "interrupted: the same command resumes"
    assert not (tmp_path / "records").exists()

    (tmp_path / "outputs" / "b1" / "seed-42" / "leftover").mkdir(parents=True)  # a run will not run over it
    resumed = subprocess.run(**{**command, "args": [*command["args"], "b1"]}, capture_output=True, check=True)
    assert "resumed b0 seed 42" in resumed.stdout
    assert "ended   b0 seed 42: test/acc 0." in resumed.stdout
    assert "failed b1 seed 42: hydra.run.dir must be a new or an empty folder" in resumed.stdout
    record, failed = map(json.loads, (tmp_path / "records").read_text().splitlines())
    assert (record["status"], record["epochs"], record["params_keras"]) == ("completed", 5, 99_722)
    assert (failed["row"], failed["status"]) == ("b1", "failed")
    table = (tmp_path / "table").read_text()
    assert "| B0 | the baseline, without callbacks |" in table
    assert "failed: hydra.run.dir must be" in table

    again = subprocess.run(**command, capture_output=True, check=True)
    assert again.stdout.startswith("0 runs to do")
