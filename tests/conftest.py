"""What tests share: composed configs, runs on the bundled digits, the command lines, and tiny CIFAR-10 files."""

import gc
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from omegaconf import DictConfig

import composing
import train
from cifar10_files import write_cifar10
from digits_runs import Run, composed, trained
from lightsweep.app import entry
from lightsweep.config import allowlist, permissions
from lightsweep.core import memory, secrets

torch.set_num_threads(1)
composing.install()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where LIGHTSWEEP_NO_SKIPS is set, as in CI, a test that is skipped has failed: what is not run is not there."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("LIGHTSWEEP_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """The same for a file of tests that is skipped as a whole."""
    if report.skipped and os.environ.get("LIGHTSWEEP_NO_SKIPS"):
        report.outcome = "failed"


LONGEST = (  # of the files that take over a minute on two cores: one that began last would run alone at the end
    "services/test_slurm.py",
    "services/test_ray.py",
    "docs/test_runnable_pages_1.py",
    "docs/test_runnable_pages_2.py",
    "docs/test_runnable_pages_3.py",
    "scripts/test_gpu_check.py",
    "sweeper/test_survival.py",
    "sweeper/test_population_survival.py",
    "processes/test_population_kills.py",
    "apps/test_apps.py",
    "apps/test_ranks.py",
    "sweeper/test_postgres.py",
    "services/test_launchers.py",
    "processes/test_resume.py",
    "processes/test_earlier_files.py",
    "processes/test_data_files.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, which `make test-slow` and `make test-long` hand out in this order."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """The libraries stay: the garbage collector need not look through them after every test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def nothing_is_typed() -> None:
    """No test inherits what another one's command line said."""
    permissions.declare_typed(permissions.Typed())


@pytest.fixture
def compose(tmp_path: Path) -> Callable[..., DictConfig]:
    """conf/train.yaml with small overrides and the given ones on top."""
    return lambda *overrides: composed(tmp_path / "run", *overrides)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Train in this process, in the folder `name`; again in the same folder resumes from its last.ckpt."""
    return lambda *overrides, name="run", **options: trained(tmp_path / name, *overrides, **options)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run of three epochs with BatchNorm, our own loggers and all that is shown of it. Tests only read it."""
    folder = tmp_path_factory.mktemp("finished")
    return trained(
        folder, "trainer.max_epochs=3", "logger=[tensorboard,csv]", "model.bn=true", "model.dropout=0.1", shown=True
    )


@dataclass(frozen=True)
class Launched:
    code: int
    out: str
    err: str


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Iterator[Callable[..., Launched]]:
    """Run the command line of train.py, or of another `main`, in this process; gives its exit code and its output."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def launched(*arguments: str, main: Callable[..., object] = train.main) -> Launched:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        for name in (secrets.VARIABLE, "PYTHONPATH", "PYTHONSAFEPATH"):  # which a command sets
            monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.setenv("HYDRA_MAIN_MODULE", "__main__")  # conf/ lies beside src/, as for a script
        code = 0
        try:
            entry.launch_app(main)
        except SystemExit as end:
            code = end.code
        return Launched(code, *capsys.readouterr())

    yield launched
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger in root.manager.loggerDict.values():  # Hydra's job_logging=disabled switches off every one there is
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Launched]:
    """Run the `main` of evaluate, predict or export with these arguments in this process."""

    def called(main: Callable[[], int], *arguments: object) -> Launched:
        capsys.readouterr()
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        monkeypatch.setattr(sys, "argv", [f"{main.__module__}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            entry.launch_command(main)
        return Launched(end.value.code, *capsys.readouterr())

    return called


# What a test says of the world around the program: one fixture each, so that only these lines know where it is asked.


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Trust these names, as LIGHTSWEEP_TRUST does when a process begins."""
    return lambda *names: monkeypatch.setattr(allowlist, "TRUSTED", names)


@pytest.fixture
def memory_left(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """So many bytes of memory are left."""
    return lambda size: monkeypatch.setattr(memory, "available", lambda: size)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The clock shows these seconds since 1970, and stands."""
    return lambda now: monkeypatch.setattr("time.time", lambda: now)


@pytest.fixture
def on_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """This is the machine of this name."""
    return lambda name: monkeypatch.setattr("platform.node", lambda: name)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Temporary files go into this folder."""
    return lambda folder: monkeypatch.setattr("tempfile.tempdir", str(folder))


@pytest.fixture
def type_command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """These are the program and the arguments of the command line."""
    return lambda *words: monkeypatch.setattr("sys.argv", list(words))


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    """A data_dir that holds a tiny CIFAR-10."""
    write_cifar10(tmp_path / "data")
    return tmp_path / "data"
