"""Job statuses from the output of Slurm's commands, for which scripts stand in here."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from lightsweep.core.errors import ConfigError, RunFailed
from lightsweep.sweeper.executors import schedulers
from lightsweep.sweeper.executors.cluster_jobs import JobStatus, Phase
from lightsweep.sweeper.executors.schedulers import LocalProcesses, Slurm

# Every word of squeue's manual page, and what it means for a job: whether it runs, waits or may run again by itself.
WORDS = {
    "COMPLETED": Phase.ENDED,
    "FAILED": Phase.ENDED,
    "TIMEOUT": Phase.FAULT,
    "DEADLINE": Phase.FAULT,
    "OUT_OF_MEMORY": Phase.FAULT,
    "CANCELLED": Phase.NO_FAULT,
    "REVOKED": Phase.NO_FAULT,
    "PREEMPTED": Phase.NO_FAULT,
    "NODE_FAIL": Phase.NO_FAULT,
    "BOOT_FAIL": Phase.NO_FAULT,
    **dict.fromkeys(
        ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "STAGE_OUT"), Phase.ACTIVE
    ),
    **dict.fromkeys(("REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"), Phase.ACTIVE),
    **dict.fromkeys(("RESIZING", "SIGNALING", "A_WORD_OF_A_LATER_SLURM", ""), Phase.ACTIVE),
}
MAY_COME_BACK = {"PREEMPTED", "NODE_FAIL", "BOOT_FAIL"}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Replace a command by a script; returns the file with the arguments that it was called with, one a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def put(name: str, out: str = "", err: str = "", code: int = 0) -> Path:
        for stream, text in (("out", out), ("err", err)):
            (folder / f"{name}.{stream}").write_text(text)
        called = folder / f"{name}.called"
        (folder / name).write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> {called}\ncat {folder}/{name}.out; cat {folder}/{name}.err >&2\n"
            f"exit {code}\n"
        )
        (folder / name).chmod(0o755)
        return called

    return put


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    folder = tmp_path / "study"
    folder.mkdir()
    return Slurm(OmegaConf.create({"submitit_folder": f"{folder}/.submitit/%j"}), folder)


@pytest.mark.parametrize(("word", "kind"), WORDS.items())
def test_each_state_of_squeue_has_a_phase(slurm: Slurm, command, word: str, kind: str) -> None:
    command("squeue", f"7|{word}:None|/x/y.sh\n")
    command("sacct", code=1)
    state = slurm.states(["7"])["7"]
    assert state.phase == kind
    assert state.is_final == (word not in MAY_COME_BACK)
    assert bool(state.reason) == (kind in (Phase.FAULT, Phase.NO_FAULT) or word == "PENDING")


def test_the_scheduler_is_asked_once_for_all(slurm: Slurm, command) -> None:
    called = command(
        "squeue", "7_0|RUNNING:None|/x\n7_1|COMPLETED:None|/a b|c.sh\nnoise\n 9 | PENDING:Resources | (null)\n"
    )
    states = slurm.states(["7_0", "7_1", "9"])
    assert states == {
        "7_0": JobStatus(Phase.ACTIVE),
        "7_1": JobStatus(Phase.ENDED),
        "9": JobStatus(Phase.ACTIVE, "Resources"),
    }
    arguments = called.read_text().splitlines()
    assert "--jobs=7_0,7_1,9" in arguments
    assert arguments.count("--me") == 1


INVALID = "slurm_load_jobs error: Invalid job id specified\n"


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("7|COMPLETED\n", Phase.ENDED),
        ("7|CANCELLED by 0\n", Phase.NO_FAULT),
        ("7|CANCELLED by 1000\n", Phase.NO_FAULT),
        ("7|OUT_OF_MEMORY\n", Phase.FAULT),
        ("7|REQUEUED\n", Phase.ACTIVE),
        ("8|FAILED\n", Phase.UNKNOWN),
        ("", Phase.UNKNOWN),
        ("nothing\n", Phase.UNKNOWN),
    ],
)
@pytest.mark.parametrize("queue", [{"err": INVALID, "code": 1}, {"out": "9|RUNNING|/x\n"}], ids=["alone", "others"])
def test_a_forgotten_job_is_looked_up_in_the_accounts(slurm, command, told: str, kind: str, queue) -> None:
    command("squeue", **queue)
    called = command("sacct", told)
    assert slurm.states(["7"])["7"].phase == kind
    assert called.read_text().splitlines()[-2:] == ["-j", "7"]


def test_without_accounts_a_forgotten_job_is_unknown(slurm: Slurm, command) -> None:
    command("squeue", err=INVALID, code=1)
    command("sacct", err="Slurm accounting storage is disabled\n", code=1)
    assert slurm.states(["7"]) == {"7": JobStatus(Phase.UNKNOWN)}
    Path(os.environ["PATH"].split(":")[0], "sacct").unlink()
    assert slurm.states(["7"]) == {"7": JobStatus(Phase.UNKNOWN)}


def test_a_controller_that_does_not_answer_gives_no_status(slurm: Slurm, command) -> None:
    asked = command("sacct", "7|FAILED\n")
    command("squeue", err="slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", code=1)
    assert slurm.states(["7"]) is None
    slurm.answer_seconds = 0.0
    with pytest.raises(RunFailed, match="slurm did not answer for 0 s"):
        slurm.is_ours("7")  # not a no: a job that runs would be run again
    assert not asked.exists()


def test_a_command_that_hangs_or_is_missing_gives_no_status(
    slurm: Slurm, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = command("squeue").with_name("squeue")
    squeue.write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(schedulers, "_COMMAND_SECONDS", 0.2)
    assert slurm.states(["7"]) is None
    squeue.unlink()
    monkeypatch.setenv("PATH", str(squeue.parent))
    assert slurm.states(["7"]) is None
    slurm.cancel(["7"])  # raises nothing


@pytest.mark.parametrize(
    ("script", "ours"),
    [
        ("{study}/.submitit/7/submission.sh", True),
        ("{study}/a | b/with spaces.sh", True),
        ("{study}/x/../y.sh", True),
        ("{link}/y.sh", True),
        ("{study}", True),
        ("{study}-2/y.sh", False),
        ("{study}/../y.sh", False),
        ("{study}/out/y.sh", False),  # a link that leads out
        ("/elsewhere/{study}/y.sh", False),
        ("study/y.sh", False),
        ("(null)", False),
        ("", False),
    ],
)
def test_a_job_is_ours_by_the_folder_of_its_script(slurm, command, tmp_path: Path, script: str, ours: bool) -> None:
    (tmp_path / "link").symlink_to(slurm.folder)
    (slurm.folder / "out").symlink_to(tmp_path)
    places = {"study": slurm.folder, "link": tmp_path / "link"}
    command("squeue", f"7|RUNNING|{script.format(**places)}\n")
    assert slurm.is_ours("7") is ours


def test_the_sweeps_folder_may_be_reached_through_a_link(slurm: Slurm, command, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(slurm.folder)
    command("squeue", f"7_3|RUNNING|{slurm.folder}/y.sh\n")
    assert Slurm(slurm.keys, tmp_path / "link").is_ours("7_3")
    assert not Slurm(slurm.keys, tmp_path / "link").is_ours("7")


@pytest.mark.parametrize(
    "job_id", ["", "-7", "--me", "7,8", "7 8", "7;touch x", "$(touch x)", "`id`", "7_[1-2]", "7_1_2", "7.batch", "x"]
)
def test_what_is_no_job_id_is_not_passed_to_slurm(slurm: Slurm, command, job_id: str) -> None:
    called = command("squeue", f"{job_id}|RUNNING|{slurm.folder}/y.sh\n")
    assert not slurm.is_ours(job_id)
    assert not called.exists()


def test_jobs_are_cancelled_together(slurm: Slurm, command) -> None:
    called = command("scancel")
    slurm.cancel(["7_0", "8"])
    assert called.read_text().split() == ["--", "7_0", "8"]


@pytest.fixture
def keys(tmp_path: Path) -> Any:
    """``hydra.launcher`` as Hydra composes it."""
    pytest.importorskip("submitit")
    config = pytest.importorskip("hydra_plugins.hydra_submitit_launcher.config")
    keys = OmegaConf.structured(config.SlurmQueueConf)
    keys.submitit_folder, keys.name = str(tmp_path / "study" / ".submitit" / "%j"), "toy"
    return keys


def test_a_jobs_script_is_shown_to_the_scheduler_before_anything_runs(slurm, command, keys, tmp_path: Path) -> None:
    for name in ("squeue", "scancel", "srun"):
        command(name)
    called = command("sbatch")
    keys.partition = "gpu"
    keys.setup = ["module load cuda"]
    bin_ = Path(os.environ["PATH"].split(":")[0])
    with (bin_ / "sbatch").open("a") as script:
        script.write("")
    (bin_ / "sbatch").write_text(f'#!/bin/sh\nprintf \'%s\\n\' "$@" > {called}\ncat "$2" > {tmp_path}/script\n')
    Slurm(keys, slurm.folder).check()
    assert called.read_text().startswith("--test-only\n/")
    script_text = (tmp_path / "script").read_text()
    assert "#SBATCH --partition=gpu" in script_text
    assert "#SBATCH --job-name=toy" in script_text
    assert script_text.index("export PYTHONPATH=") < script_text.index("module load cuda")
    assert list(slurm.folder.rglob("*")) == []


@pytest.mark.parametrize(
    ("err", "line"),
    [
        ("sbatch: unrecognized option '--foo=1'\nTry \"sbatch --help\" for more information\n", "option '--foo=1'"),
        ("sbatch: error: a\n\nallocation failure: Invalid partition name specified\n\n", "Invalid partition name"),
        ("", "hydra.launcher: Slurm refuses the jobs: no reason given"),
    ],
)
def test_what_the_scheduler_would_refuse_is_one_line(slurm: Slurm, command, keys, err: str, line: str) -> None:
    for name in ("squeue", "scancel", "srun"):
        command(name)
    command("sbatch", err=err, code=1)
    with pytest.raises(ConfigError) as refusal:
        Slurm(keys, slurm.folder).check()
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("missing", ["sbatch", "squeue", "scancel", "srun"])
def test_a_machine_without_slurm(slurm: Slurm, command, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in {"sbatch", "squeue", "scancel", "srun"} - {missing}:
        command(name)
    monkeypatch.setenv("PATH", os.environ["PATH"].split(":")[0])
    with pytest.raises(ConfigError, match=f"needs Slurm's command {missing}, which is not here"):
        slurm.check()


def test_what_submitit_does_not_take_is_one_line(slurm: Slurm, command, keys) -> None:
    for name in ("sbatch", "squeue", "scancel", "srun"):
        command(name)
    unknown = OmegaConf.create({**OmegaConf.to_container(keys), "no_such_key": 1})
    with pytest.raises(ConfigError, match="hydra.launcher cannot be used: .*no_such_key") as refusal:
        Slurm(unknown, slurm.folder).check()
    assert "\n" not in str(refusal.value)


def test_a_process_of_this_machine_is_ours_by_its_command(tmp_path: Path) -> None:
    """Not where it has ended, belongs to another sweep, or is no process at all."""

    def started(*command: str) -> subprocess.Popen:
        return subprocess.Popen(["/bin/sh", "-c", "read x", *command], stdin=subprocess.PIPE)

    study = LocalProcesses(OmegaConf.create({"submitit_folder": f"{tmp_path}/study/.submitit/%j"}), tmp_path / "study")
    commands = {
        "ours": ("submitit.local._local", f"{tmp_path}/study/.submitit/1"),
        "another sweep's": ("submitit.local._local", f"{tmp_path}/study-2/.submitit/1"),
        "another program": ("vi", f"{tmp_path}/study/best.yaml"),
    }
    processes = {name: started(*command) for name, command in commands.items()}
    try:
        assert [name for name, process in processes.items() if study.is_ours(str(process.pid))] == ["ours"]
        assert not any(study.is_ours(job_id) for job_id in ("", "-1", "self", "1/../self", "99999999999"))
        study.cancel([str(process.pid) for process in processes.values()])
        assert processes["ours"].wait(5) == -15
        assert not study.is_ours(str(processes["ours"].pid))
        assert [processes[name].poll() for name in ("another sweep's", "another program")] == [None, None]
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
