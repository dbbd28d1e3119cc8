"""What does not train answers at once: torch and Lightning are not imported for it."""

import os
import subprocess
import sys
import time

import pytest

from forked import SCRIPT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

BARE = """
import hydra

@hydra.main(config_path={conf!r}, config_name="train")
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


def test_within_one_and_a_half_times_what_hydra_takes(tmp_path):
    """Hydra alone with the same configs; the fastest of several rounds, as other programs only add to a time."""
    (tmp_path / "bare.py").write_text(BARE.format(conf=str(SCRIPT.parents[1] / "conf")))
    scripts = {"ours": str(SCRIPT), "bare": "bare.py"}
    commands = {
        (script, name): [sys.executable, path, *QUICK[name]] for script, path in scripts.items() for name in QUICK
    }
    taken = {named: [] for named in commands}
    for _ in range(10):  # interleaved, so that a busy moment meets all of them
        for named, command in commands.items():
            taken[named].append(seconds(command, tmp_path))

    fastest = {named: min(times) for named, times in taken.items()}
    print({" ".join(named): f"{time:.2f} s" for named, time in fastest.items()})
    assert max(fastest["ours", name] / fastest["bare", name] for name in QUICK) <= 1.5
