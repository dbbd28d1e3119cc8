"""A full disk, a read-only folder: one line, and nothing torn."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RUN = ("data=digits", "trainer=cpu", "trainer.max_epochs=3")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, which a test can fill."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("free", [0, 100_000, 1_800_000])
def test_full_disk(train, small_disk, free):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - free))

    ended = train(*RUN, f"hydra.run.dir={small_disk / 'run'}")

    assert ended.code == 1
    assert ended.lines == [line for line in ended.lines if "No space left on device" in line]
    assert len(ended.lines) == 1
    assert_nothing_is_torn(small_disk / "run")

    filler.unlink()
    if (small_disk / "run" / "config.yaml").exists():
        assert train(f"resume={small_disk / 'run'}").code == 0


def test_no_file_may_be_as_long_as_a_checkpoint(train, tmp_path):
    ended = train(*RUN, largest_file=100_000)

    assert ended.code == 1
    assert len(ended.lines) == 1
    assert "File too large" in ended.err
    facts = json.loads((tmp_path / "run" / "result.json").read_text())
    assert facts["status"] == "failed"
    assert_nothing_is_torn(tmp_path / "run")
    assert train(f"resume={tmp_path / 'run'}").code == 0


@pytest.mark.parametrize("folder", ["/proc/run", "/dev/null/run", "/sys/kernel/run", "file/below/run", "x" * 300])
def test_a_folder_that_cannot_be(train, tmp_path, folder):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").touch()

    ended = train(*RUN, f"hydra.run.dir={folder}")

    assert ended.code == 1
    assert len(ended.lines) == 1, ended.err
    assert "hydra.run.dir" in ended.err
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["file"]


def test_a_folder_that_is_not_ours(python, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    as_others = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []  # root may write everywhere

    ended = python(*RUN, f"hydra.run.dir={tmp_path / 'closed' / 'run'}", before=as_others)

    assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (1, 1), ended.stderr
    assert "closed" in ended.stderr


def test_resume_in_a_read_only_folder(train, small_disk):
    run = small_disk / "run"
    assert train(*RUN, "trainer.max_epochs=1", "logger=none", f"hydra.run.dir={run}").code == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    ended = train(f"resume={run}", "trainer.max_epochs=2")

    assert (ended.code, ended.out) == (1, "")
    assert ended.lines == [f"resume: {run} cannot be written, and a run is resumed in its own folder"]


def assert_nothing_is_torn(run: Path) -> None:
    for file in run.rglob("*"):
        if file.suffix == ".ckpt":
            torch.load(file, weights_only=True)
        if file.suffix == ".json":
            json.loads(file.read_text())
        assert not file.name.startswith(".") or file.name == ".hydra", f"left behind: {file}"
