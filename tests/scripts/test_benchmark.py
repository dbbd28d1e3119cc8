"""The benchmarks' own parts that could measure the wrong thing."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import reporting
from lightsweep.reporting import finding, table


def test_made_up_runs_are_read_like_real_ones(tmp_path: Path) -> None:
    size = reporting.write(tmp_path, 30)
    found = finding.find([tmp_path])
    assert (len(found.runs), found.broken, found.unfinished) == (30, {}, [])
    assert size == sum(file.stat().st_size for file in tmp_path.rglob("result.json"))
    (ranked,) = table.tables(found.runs)
    assert ranked.differing == ("model.width", "model.dropout", "optimizer.lr")


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        reporting._measured([sys.executable, "-c", "raise SystemExit(1)"])
