"""The benchmarks' own parts that could measure the wrong thing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import reporting
from lightsweep.core.files import ROOT
from lightsweep.reports import finding, table


def test_generated_runs_are_read_like_real_ones(tmp_path: Path) -> None:
    size = reporting.write(tmp_path, 30)
    found = finding.find_runs([tmp_path])
    assert (len(found.runs), found.broken, found.unfinished) == (30, {}, [])
    assert size == sum(file.stat().st_size for file in tmp_path.rglob("result.json"))
    (ranked,) = table.build_tables(found.runs)
    assert ranked.differing == ("model.width", "model.dropout", "optimizer.lr")


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        reporting._measured([sys.executable, "-c", "raise SystemExit(1)"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_training_is_measured_and_compared(tmp_path: Path) -> None:
    options = f"--images=450 --epochs=2 --repeats=1 --threads=1 --out={tmp_path / 'out.json'}".split()
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "train", *options]
    environment = {name: value for name, value in os.environ.items() if name != "LIGHTSWEEP_DATA"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "n = 1 rounds of 2 epochs of 384 images (generated)" in " ".join(done.stdout.split())
    rates = json.loads((tmp_path / "out.json").read_text())["images_per_second"]
    assert set(rates) == {"lightsweep", "plain loop", "template, 0 workers", "template, 2 workers"}
    assert all(len(each) == 1 and each[0] > 0 for each in rates.values())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_threads_are_measured_idle_and_beside_a_busy_program(tmp_path: Path) -> None:
    options = f"--networks=digits --neighbour=1 --repeats=1 --out={tmp_path / 'out.json'}".split()
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "threads", *options]
    subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads((tmp_path / "out.json").read_text())["measured"]
    assert set(measured) == {"digits, idle", "digits, busy"}
    for found in measured.values():
        assert {name: [each["threads"] for each in every] for name, every in found.items()} == {
            "1": [1],
            "2": [2],
            "auto": [1],
        }
