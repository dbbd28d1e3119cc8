"""Mistakes in somebody else's app: one line before trials are lost, an exit code, no traceback."""

import signal
import subprocess
from pathlib import Path

import pytest

from apps.running import SWEEP, App, ended_trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
SOURCES = str(Path(__file__).parents[2] / "src")
SPACE = ("x=interval(0,1)", "hydra.sweeper.n_trials=3")


def app_of(folder: Path, script: str) -> App:
    return App.copy("mistakes", script, folder, path=SOURCES)


def refused(app: App, *arguments: str) -> str:
    """The line with which it ends."""
    said = app.run(*SWEEP, *SPACE, *arguments, code=1)
    assert "Traceback" not in said, said
    return said.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("script", "typed", "line"),
    [
        ("nothing.py", [], "train returns nothing"),
        ("guarded.py", ["--config-name=resolved"], "the config uses the resolver twice"),
        ("guarded.py", ["--config-name=stored"], "the config store has the config stored"),
        ("unguarded.py", [], "only below `if __name__ == '__main__'` may it start the app"),
        ("within.py", [], "start.<locals>.main was defined in another function"),
        ("typed.py", ["n=choice(1,2,three)"], "n must have values that the config's type allows: Value 'three'"),
        ("typed.py", ["n=interval(1,5)"], "n must have values that the config's type allows: Value '1.0'"),
        ("typed.py", ["color=choice(RED,GREEN)"], "color must have values that the config's type allows"),
        ("typed.py", ["+hydra.callbacks.mine._target_=__main__.Locked"], "hydra.callbacks: Locked cannot be sent"),
        ("typed.py", ["+hydra.sweeper.n_trial=3"], "hydra.sweeper.n_trial: no config has this key"),
        ("typed.py", ["hydra.sweeper.validate=no.such"], "hydra.sweeper.validate: there is no function no.such"),
    ],
)
def test_a_mistake_ends_in_one_line(tmp_path: Path, script: str, typed: list[str], line: str) -> None:
    app = app_of(tmp_path, script)
    assert line in refused(app, *typed)
    assert len(ended_trials(app.folder / "multirun/default")) <= 1


@pytest.mark.parametrize(
    ("script", "typed"),
    [
        ("guarded.py", ["--config-name=resolved"]),
        ("guarded.py", ["--config-name=stored"]),
        ("unguarded.py", []),
        ("within.py", []),
        ("typed.py", ["+hydra.callbacks.mine._target_=__main__.Locked"]),
    ],
)
def test_what_workers_lack_works_without_workers(tmp_path: Path, script: str, typed: list[str]) -> None:
    app = app_of(tmp_path, script)
    app.run(*SWEEP, *SPACE, *typed, "hydra.sweeper.n_jobs=0")
    assert all(trial.value is not None for trial in ended_trials(app.folder / "multirun/default"))


def test_a_trace_is_shown_on_demand(tmp_path: Path) -> None:
    app = app_of(tmp_path, "nothing.py")
    app.environment["HYDRA_FULL_ERROR"] = "1"
    assert "Traceback" in app.run(*SWEEP, *SPACE, code=1)


@pytest.mark.parametrize(("script", "command"), [("-m pkg.app", "python -m pkg.app"), ("tool", "tool")])
def test_commands_that_are_printed_work(tmp_path: Path, script: str, command: str) -> None:
    """Also for a module and a console script, with a relative storage and jobs that run in their own folders."""
    app = app_of(tmp_path, script)
    storage = ("hydra.job.chdir=true", "hydra.sweeper.storage=sqlite:///study.db")
    with_path = {
        "PYTHONPATH": f"{SOURCES}:{app.folder}",
        "PATH": f"{app.folder}:{Path(app.python).parent}:/usr/bin:/bin",
    }

    def run(line: list[str]) -> str:
        done = subprocess.run(line, cwd=app.folder, env=with_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run([*command.split(), *SWEEP, *SPACE, *storage])
    again, train = (next(line for line in said.splitlines() if name in line) for name in ("confirm it", "run it"))
    assert again.startswith(f"confirm it: {command} -m ")
    run(train.partition(": ")[2].split())
    assert [file.parent for file in app.folder.rglob("*.db")] == [app.folder]


@pytest.mark.parametrize("n_jobs", [0, 2])
def test_each_job_starts_in_the_directory_of_the_sweep(tmp_path: Path, n_jobs: int) -> None:
    """Although the function leaves it; its own decorators are applied."""
    app = app_of(tmp_path, "typed.py")
    said = app.run(*SWEEP, *SPACE, "color=choice(RED,BLUE)", f"hydra.sweeper.n_jobs={n_jobs}")
    study = app.folder / "multirun/default"
    said += "".join(file.read_text() for file in study.glob("worker-*.log"))
    started = {line for line in said.splitlines() if line.startswith("started in")}
    assert started == {f"started in {app.folder}"}
    baseline, *others = ended_trials(study)
    assert (baseline.value, baseline.params) == (6.0, {"x": 1.0, "color": "RED"})
    assert all(trial.value == pytest.approx(2 * (trial.params["x"] + 2)) for trial in others)


@pytest.mark.parametrize("n_jobs", [0, 2])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_sweep_with_the_command_that_continues(
    tmp_path: Path, signum: signal.Signals, code: int, n_jobs: int
) -> None:
    app = app_of(tmp_path, "typed.py")
    typed = [*SWEEP, "x=interval(0,1)", "hydra.sweeper.n_trials=50", "seconds=0.5", f"hydra.sweeper.n_jobs={n_jobs}"]
    ended, said = app.run_until(*typed, ended=1, study=app.folder / "multirun/default", signum=signum)
    assert ended == code
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].endswith("continues the sweep")
