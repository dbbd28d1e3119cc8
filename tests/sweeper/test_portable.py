"""A job's function travels as a reference: a process elsewhere finds it by its file or its module."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import ROOT
from lightsweep.sweeper import references
from lightsweep.sweeper.references import Portable, reference

SCRIPT = """
import functools, sys, threading

from lightsweep.sweeper.references import Portable

unpicklable = threading.Lock()  # what is pickled with its names would take this along


def decorated(function):
    @functools.wraps(function)
    def around():
        return function({"x": 1})
    return around


@functools.cache
def helper(x):
    with unpicklable:
        return x + 1


@decorated
@Portable
def main(cfg):
    return helper(cfg["x"])


if __name__ == "__main__":
    import importlib
    for name in ("pickle", "cloudpickle"):
        with open(f"{sys.argv[1]}/{name}.bin", "wb") as file:
            file.write(importlib.import_module(name).dumps(main.__wrapped__))
"""
LOAD = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))({'x': 41}))"


def python(*arguments: object, cwd: Path, path: Path | None = None) -> str:
    folders = os.pathsep.join(map(str, filter(None, (ROOT / "src", path))))
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


@pytest.mark.parametrize("pickler", ["pickle", "cloudpickle"])
@pytest.mark.parametrize("folder", ["project", "a folder, with spaces"])
def test_a_function_of_a_script_is_found_by_a_process_elsewhere(tmp_path, elsewhere, folder: str, pickler: str) -> None:
    pytest.importorskip(pickler)
    script = tmp_path / folder / "job.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    python("job.py", tmp_path, cwd=script.parent)  # by a relative path
    pickled = tmp_path / f"{pickler}.bin"
    assert len(pickled.read_bytes()) < 1000 + 2 * len(str(script))
    assert python("-c", LOAD, pickled, cwd=elsewhere) == "42\n"


def test_a_function_of_a_module_that_is_run_with_m(tmp_path: Path, elsewhere: Path) -> None:
    package = tmp_path / "project" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "module.py").write_text(SCRIPT)
    python("-m", "package.module", tmp_path, cwd=package.parent)
    assert python("-c", LOAD, tmp_path / "pickle.bin", cwd=elsewhere) == "42\n"


def test_what_a_script_imports_is_found_too(tmp_path: Path, elsewhere: Path) -> None:
    """From its own folder, and from what PYTHONPATH named where it was started."""
    for folder, name in (("project", "beside"), ("more", "further")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text("VALUE = 20\n")
    script = tmp_path / "project" / "job.py"
    script.write_text(SCRIPT.replace("return x + 1", "import beside, further; return beside.VALUE + further.VALUE"))
    python(script, tmp_path, cwd=elsewhere, path=tmp_path / "more")
    assert python("-c", LOAD, tmp_path / "pickle.bin", cwd=elsewhere) == "40\n"


def job(cfg) -> int:
    return cfg["x"] + 1


def test_it_is_called_and_pickled_again_where_it_has_arrived() -> None:
    arrived = pickle.loads(pickle.dumps(Portable(job)))
    assert arrived({"x": 1}) == 2
    assert arrived.__name__ == "job"
    assert pickle.loads(pickle.dumps(arrived))({"x": 2}) == 3
    assert reference(arrived) == reference(job)


def test_the_search_path_leaves_out_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes = str(tmp_path / "venv"), str(tmp_path / "base")
    folders = {name: tmp_path / name for name in ("venv/lib/site-packages", "base/lib", "venv2", "mine", "here")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    (tmp_path / "code.zip").touch()
    monkeypatch.chdir(folders["here"])
    further = [str(tmp_path / "gone"), str(tmp_path / "code.zip"), "", str(folders["mine"] / ".." / "mine")]
    entries = [*map(str, folders.values()), *further]
    assert references.search_path(entries, prefixes) == tuple(str(folders[name]) for name in ("venv2", "mine", "here"))


def test_a_method_of_an_object_is_named() -> None:
    class App:
        def main(self, cfg: object) -> float:
            return 1.0

    with pytest.raises(ConfigError, match=r"App.main is a method of an object, .*hydra.sweeper.n_jobs=0"):
        reference(App().main)
