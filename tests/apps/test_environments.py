"""The wheel by itself: what it holds and needs, what else can be installed beside it, what it costs at start."""

import math
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest
from optuna.trial import TrialState

from apps.environments import CANDIDATE, HERE, HYDRAS, OLDEST, ROOT, Environment, build_wheel
from apps.running import SWEEP, App, trials

pytestmark = [pytest.mark.compat, pytest.mark.timeout(900)]
both_lines = pytest.mark.parametrize("hydra", [OLDEST, CANDIDATE])
SPACE = ("lr=tag(log,interval(1e-4,1e-1))", "width=choice(64,128)", "hydra.sweeper.n_trials=6")
LAUNCHERS = {
    OLDEST: ("hydra-submitit-launcher==1.2.0", "hydra-joblib-launcher==1.2.0"),
    CANDIDATE: ("hydra-submitit-launcher>=1.4.0rc3", "hydra-joblib-launcher>=1.4.0rc3"),
}
OFFICIAL = "hydra-optuna-sweeper>=1.4.0rc3"


def copied(to: Path, environment: Environment) -> App:
    return App.copy("function", "app.py", to, python=environment.interpreter())


def states(app: App) -> list[TrialState]:
    return [trial.state for trial in trials(app.folder / "multirun/default")]


@pytest.mark.quick
def test_the_wheel_holds_the_packages_and_their_files_and_no_script() -> None:
    held = set(ZipFile(build_wheel()).namelist())
    kinds = {".py", ".yaml", ".j2", ".css", ".js"}
    packages = [path for name in ("lightsweep", "hydra_plugins") for path in (ROOT / "src" / name).rglob("*")]
    sources = {str(path.relative_to(ROOT / "src")) for path in packages if path.suffix in kinds}
    assert sources == {name for name in held if ".dist-info/" not in name}


@pytest.mark.quick
@pytest.mark.parametrize("hydra", HYDRAS.values(), ids=HYDRAS)
def test_it_brings_no_torch(hydra: str) -> None:
    heavy = ("torch", "scipy", "sklearn", "pandas", "matplotlib", "plotly", "hydra_plugins.hydra_optuna_sweeper")
    code = f"from importlib.util import find_spec; print([name for name in {heavy} if find_spec(name)])"
    python = Environment(HERE, (hydra,)).interpreter()
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert said.strip() == "[]"


@pytest.mark.quick
@pytest.mark.parametrize("script", ["train", "evaluate", "predict", "export", "report", "compare"])
def test_a_script_without_its_libraries_says_how_to_install_them(script: str) -> None:
    command = [Environment(HERE, (CANDIDATE,)).interpreter(), str(ROOT / "src" / f"{script}.py"), "x"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(r"not installed: torch, .*: pip install -e '\.\[train\]' .*\n", ended.stderr), ended.stderr


@both_lines
@pytest.mark.parametrize("launcher", ["submitit_local", "joblib"])
def test_launchers_of_hydra(hydra: str, launcher: str, tmp_path: Path) -> None:
    app = copied(tmp_path, Environment(HERE, (hydra, *LAUNCHERS[hydra])))
    app.run(*SWEEP, f"hydra/launcher={launcher}", *SPACE, "hydra.sweeper.n_jobs=2")
    assert states(app) == [TrialState.COMPLETE] * 6


@pytest.mark.quick
def test_the_official_sweeper_stays_as_it_is(tmp_path: Path) -> None:
    beside = copied(tmp_path, Environment(HERE, (CANDIDATE, OFFICIAL)))
    alone = replace(beside, python=Environment(HERE, (CANDIDATE, OFFICIAL), wheel=False).interpreter())
    official = "hydra/sweeper=optuna"
    assert beside.run("--help") == alone.run("--help")  # with what is said on stderr
    for sampler in ("tpe", "random", "cmaes", "grid"):
        shown = (official, f"hydra/sweeper/sampler={sampler}", "--cfg", "hydra", "-p", "hydra.sweeper")
        assert beside.run(*shown) == alone.run(*shown)
    assert "Best value: " in beside.run("-m", official, *SPACE, "hydra.sweeper.n_jobs=1")
    beside.run(*SWEEP, *SPACE)
    assert states(beside) == [TrialState.COMPLETE] * 6


@pytest.mark.quick
@both_lines
def test_the_command_needs_its_own_libraries_only(hydra: str, tmp_path: Path) -> None:
    app = copied(tmp_path, Environment(HERE, (hydra, "plotly>=6,<8", "jinja2>=3.1,<4")))  # of the extra report
    app.run(*SWEEP, *SPACE)
    command = replace(app, script="-m")
    assert '"state": "finished"' in command.run("lightsweep", "status", "multirun/default", "--json")
    assert "trial-0005" in command.run("lightsweep", "report", "multirun/default", "--html", "page.html")
    assert (app.folder / "page.html").is_file()
    installed = Path(app.python).with_name("lightsweep")
    assert subprocess.run([installed, "--help"], check=False, stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.quick
@both_lines
def test_several_objectives(hydra: str, tmp_path: Path) -> None:
    app = App.copy("function", "pair.py", tmp_path, python=Environment(HERE, (hydra,)).interpreter())
    directions = "hydra.sweeper.direction=[minimize,maximize]"
    printed = app.run(*SWEEP, directions, "hydra.sweeper.sampler=nsgaii", *SPACE, "hydra.sweeper.n_jobs=2")
    assert states(app) == [TrialState.COMPLETE] * 6
    front = sorted((app.folder / "multirun/default").glob("best-*.yaml"))
    assert front, printed
    assert all(trial.values[1] in (8.0, math.sqrt(128)) for trial in trials(app.folder / "multirun/default"))


@pytest.mark.quick
@both_lines
def test_what_the_plugin_costs_at_start(hydra: str, tmp_path: Path) -> None:
    """At most 50 ms of CPU, in the fastest of runs that alternate: what else a machine does only adds to both."""
    with_it = copied(tmp_path / "with", Environment(HERE, (hydra,)))
    needs = (hydra, "optuna>=5,<6", "rich<16", "filelock")
    without = copied(tmp_path / "without", Environment(HERE, needs, wheel=False))
    for arguments in (["app.py", "--help"], ["-c", "import app"]):
        used = [(cpu_seconds(with_it, arguments), cpu_seconds(without, arguments)) for _ in range(6)]
        fastest_with_it, fastest_without = map(min, zip(*used, strict=True))
        assert fastest_with_it - fastest_without < 0.05, used


def cpu_seconds(app: App, arguments: list[str]) -> float:
    process = subprocess.Popen([app.python, *arguments], cwd=app.folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime
