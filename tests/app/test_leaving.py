"""A script's end: its exit code, what is printed, and what others registered for it."""

import gc
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lightsweep.core import memory

SOURCES = Path(__file__).parents[2] / "src"
ENDING = """
import atexit
from lightsweep.app import entry
from lightsweep.core.errors import ConfigError
entry.begin("__main__")
atexit.register(print, "cleaned up")
def main():
    print("printed")
    {last}
entry.launch_command(main)
"""


@pytest.mark.parametrize(
    ("last", "code", "said"),
    [
        ("return 0", 0, ""),
        ("return 3", 3, ""),
        ("raise ConfigError('a must be 1')", 1, "a must be 1\n"),
        ("raise SystemExit('no')", 1, "no\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    ],
)
def test_ends_with_its_code_after_all_that_was_registered(last: str, code: int, said: str) -> None:
    command = [sys.executable, "-c", ENDING.format(last=last)]
    ended = subprocess.run(command, check=False, env={"PYTHONPATH": str(SOURCES)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (code, "printed\ncleaned up\n")
    assert ended.stderr.endswith(said)
    assert said or not ended.stderr


def test_a_file_that_trusted_code_left_open_is_written(tmp_path: Path) -> None:
    last = f"global left; left = open({str(tmp_path / 'left')!r}, 'w'); left.write('all of it')"
    environment = {"PYTHONPATH": str(SOURCES), "LIGHTSWEEP_TRUST": "mine.*"}
    subprocess.run([sys.executable, "-c", ENDING.format(last=last)], check=True, env=environment, capture_output=True)
    assert (tmp_path / "left").read_text() == "all of it"


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_output_that_cannot_be_written_at_the_end_is_an_error() -> None:
    for launch, code in (("launch_app", 120), ("launch_command", 1)):  # commands print why
        script = ENDING.format(last="return 0").replace("launch_command", launch)
        with Path("/dev/full").open("w") as full:
            command, quiet = [sys.executable, "-c", script], subprocess.DEVNULL
            ended = subprocess.run(command, check=False, env={"PYTHONPATH": str(SOURCES)}, stdout=full, stderr=quiet)
        assert ended.returncode == code


def test_a_closed_output_is_none() -> None:
    command = f"{sys.executable} -c {shlex.quote(ENDING.format(last='return 0'))} >&-"
    ended = subprocess.run(command, shell=True, check=False, env={"PYTHONPATH": str(SOURCES)}, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_garbage_is_collected_again_after_imports(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    kept = gc.get_freeze_count()
    with memory.importing_libraries():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > kept
    gc.unfreeze()


FREEING = """
import resource
from lightsweep.core import memory
with memory.importing_libraries():
    import numpy as np
faults = []
for _ in range(11):  # as many training steps: what they need is freed after each
    arrays = [np.ones(2**20) for _ in range(5)]  # 40 MB
    del arrays
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is not glibc")
def test_memory_that_a_step_frees_is_kept_for_the_next_one() -> None:
    command = [sys.executable, "-c", FREEING]
    ended = subprocess.run(command, check=True, env={"PYTHONPATH": str(SOURCES)}, capture_output=True, text=True)
    assert int(ended.stdout) < 1000  # pages; 20,000 if each step got them anew


def test_libraries_that_are_there_change_nothing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", object())
    with memory.importing_libraries():
        assert gc.isenabled()
