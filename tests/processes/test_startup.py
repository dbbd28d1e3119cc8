"""What does not train answers at once: torch and Lightning are not imported for it."""

import os
import subprocess
import sys
import time

import pytest

from forked import SCRIPT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EMPTY = """
import hydra

@hydra.main(config_path=None)
def main(cfg):
    pass

main()
"""

QUICK = {
    "help": ["--help"],
    "config": ["--cfg", "job"],
    "completion": ["-sc", "query=bash"],
}


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "COMP_LINE": "python src/train.py optimizer=ad", "COMP_POINT": "99", **more}


def seconds(command: list[str], cwd) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=environment(), check=True, capture_output=True)
    return time.perf_counter() - started


@pytest.mark.parametrize("arguments", QUICK.values(), ids=QUICK)
def test_without_torch(tmp_path, arguments):
    command = [sys.executable, "-X", "importtime", str(SCRIPT), *arguments]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), check=True, capture_output=True, text=True)

    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"torch", "pytorch_lightning", "torchvision", "torchmetrics", "optuna", "sklearn", "numpy"}


def test_a_sweeps_own_process_is_light():
    """It waits for its workers; torch in it would cost ten seconds and a worker's memory."""
    code = "import sys, lightsweep.sweeper.session; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=SCRIPT.parent, check=True, capture_output=True, text=True)

    modules = set(ended.stdout.split())
    assert "optuna" in modules
    assert not modules & {"torch", "pytorch_lightning", "torchvision", "torchmetrics", "sklearn", "matplotlib"}


def test_completion_knows_the_choices(tmp_path):
    command = [sys.executable, str(SCRIPT), "-sc", "query=bash"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), check=True, capture_output=True, text=True)

    names = ("adam", "adam_keras", "adamw", "adamw_keras")
    assert set(ended.stdout.split()) == {f"optimizer={name}" for name in names}


def test_a_reader_who_has_seen_enough(tmp_path):
    command = f"{sys.executable} {SCRIPT} --cfg job | true"
    ended = subprocess.run(
        command, shell=True, cwd=tmp_path, env=environment(), check=False, capture_output=True, text=True
    )

    assert ended.stderr == ""


def test_within_twice_the_time_of_an_empty_app(tmp_path):
    """By the fastest of several rounds: whatever else the machine does only ever adds to a time."""
    (tmp_path / "empty.py").write_text(EMPTY)
    commands = {name: [sys.executable, str(SCRIPT), *arguments] for name, arguments in QUICK.items()}
    commands["empty"] = [sys.executable, "empty.py", "--cfg", "job"]
    taken = {name: [] for name in commands}
    for _ in range(10):  # interleaved, so that a busy moment meets all of them
        for name, command in commands.items():
            taken[name].append(seconds(command, tmp_path))

    fastest = {name: min(times) for name, times in taken.items()}
    print({name: f"{time:.2f} s" for name, time in fastest.items()})
    empty = fastest.pop("empty")
    assert max(fastest.values()) <= 2 * empty
