"""Made-up runs and studies in the real file formats."""

from collections.abc import Callable
from pathlib import Path

import pytest

import report
from saved_runs import write_run, write_study


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run below tmp_path/runs."""
    return lambda name, acc=0.9, **rest: write_run(tmp_path / "runs" / name, acc, **rest)


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests only read it."""
    return write_study(tmp_path_factory.mktemp("report") / "toy <script>alert(3)</script>")


@pytest.fixture(scope="session")
def sweep_page(sweep_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.main([str(sweep_folder), "--html", str(path)])
    return path
