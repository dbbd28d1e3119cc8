"""The machine, the versions, the commit."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from lightsweep.runs import results
from lightsweep.training import summary

CPU = torch.device("cpu")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch) -> Path:
    for key in [key for key in os.environ if key.startswith("GIT_")]:
        monkeypatch.delenv(key)
    for name in ("file", "RESULTS.md"):
        (tmp_path / name).write_text("1")
    who = ["-c", "user.name=x", "-c", "user.email=x@x"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_commit_is_the_full_hash(repository: Path) -> None:
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repository, text=True).strip()
    assert results.git_commit(repository) == head
    (repository / "RESULTS.md").write_text("2")
    assert results.git_commit(repository) == head
    (repository / "file").write_text("2")
    assert results.git_commit(repository) == head + "-dirty"


def test_no_repository_is_no_commit(tmp_path: Path) -> None:
    assert results.git_commit(tmp_path) is None


def test_no_git_is_no_commit(repository: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert results.git_commit(repository) is None


def test_versions_name_what_results_depend_on() -> None:
    versions = results.versions()
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"python", "lightsweep", "torchvision", "pytorch-lightning", "hydra-core", "numpy"} <= versions.keys()


def test_peak_memory_is_in_bytes() -> None:
    assert 100e6 < summary.describe_hardware(CPU)["peak_memory"] < 1e12


def test_device_is_the_processor_with_its_threads() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert summary.device_name(CPU).endswith(", 1 thread")
        torch.set_num_threads(2)
        assert summary.device_name(CPU).endswith(", 2 threads")
    finally:
        torch.set_num_threads(threads)
