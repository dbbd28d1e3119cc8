"""What comes from somebody else's app, and goes to its user: functions that workers find or not, what they return,
errors as one line."""

import functools
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import hydra
import pytest
from hydra.core.config_store import ConfigStore
from hydra.errors import CompactHydraException, ConfigCompositionException
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution

from hydra_plugins.lightsweep_sweeper import _impl
from lightsweep.core.errors import ConfigError, Interrupted, JobState, RunFailed
from lightsweep.sweeper import executors, opening, references
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.controller import Controller, Limits
from lightsweep.sweeper.job import Job, JobResult, TrialContext
from lightsweep.sweeper.job_running import _call
from lightsweep.sweeper.references import Portable, reference, task_function
from lightsweep.sweeper.space import Parameter, Space
from lightsweep.sweeper.storage import with_full_path


def times_ten(function: Any) -> Any:
    @functools.wraps(function)
    def around(cfg: Any) -> float:
        return 10 * function(cfg)

    return around


def negative(function: Any) -> Any:
    def around(cfg: Any) -> float:
        return -function(cfg)

    return around


@hydra.main(config_path=None)
@times_ten
def wrapped(cfg: Any) -> float:
    return cfg["x"]


@hydra.main(config_path=None)
@negative
def renamed(cfg: Any) -> float:
    return cfg["x"]


@times_ten
@hydra.main(config_path=None)
@Portable
def outside(cfg: Any) -> float:
    return cfg["x"]


@pytest.mark.parametrize(("function", "value"), [(wrapped, 30), (renamed, -3), (outside, 3)])
def test_a_function_is_found_with_the_decorators_below_hydra_main(function: Any, value: float) -> None:
    called_by_hydra = task_function(function)
    assert called_by_hydra({"x": 3}) == value
    assert reference(called_by_hydra).find()({"x": 3}) == value


def test_a_function_in_a_function_is_found_by_no_worker() -> None:
    def inner(cfg: Any) -> float:
        return 1.0

    with pytest.raises(ConfigError, match=r"inner was defined .* hydra\.sweeper\.n_jobs=0"):
        reference(inner)


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises(ConfigError, match=r"hydra\.callbacks: Mine cannot be sent .*lock.*n_jobs=0"):
        references.check_pickles({"the config": {}, "hydra.callbacks: Mine": threading.Lock()})


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        ("UnsupportedInterpolationType: Unsupported interpolation type halved", "the config uses the resolver halved"),
        (
            "MissingConfigException: In 'config': Could not find 'model/mine'",
            "the config store has the config model/mine",
        ),
        ("MissingConfigException: In 'config': Could not find 'model/other'", None),
        ("ValueError: halved", None),
    ],
)
def test_what_a_worker_lacks_is_told_from_other_errors(error: str, lost: str | None) -> None:
    config = OmegaConf.create({"x": "${oc.env:HOME}"})
    needed = references.registered(config) | {"resolver halved", "config model/mine"}
    assert references.find_lost(needed, config, error) == lost


@pytest.mark.filterwarnings("ignore:register_new_resolver")  # its new name is unknown to Hydra 1.3's OmegaConf
def test_what_is_registered_is_known() -> None:
    OmegaConf.register_new_resolver("tripled", lambda value: 3 * value)
    ConfigStore.instance().store(group="of/mine", name="entry", node={"a": 1})
    names = references.registered(OmegaConf.create({"x": "${tripled:1}", "y": "${unknown:2}"}))
    assert {"resolver tripled", "config of/mine/entry"} <= names
    assert "resolver unknown" not in names


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (None, "job returns nothing"),
        (
            {"loss": 1.0, "acc": 2.0},
            "job returns a dict without val/acc: hydra.sweeper.metric must be one of its names, loss, acc",
        ),
        ("0.5", "job must return a number, several, or a dict of names to numbers, got '0.5'"),
        ([None], "job must return a number, several, or a dict of names to numbers, got None"),
    ],
)
def test_what_a_function_is_to_return(returned: Any, error: str) -> None:
    def job(cfg: Any) -> Any:
        return returned

    result = _call(job, OmegaConf.create(), TrialContext(None), Job("trial", (), "x", 0, objectives=("val/acc",)))
    assert result.of_all
    assert (result.state, (result.error or "").startswith(error)) == (JobState.FAILED, True)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("\n  first line\nsecond"), "ValueError: first line"),
        (KeyError(), "KeyError"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_the_error_of_a_job_is_one_line(error: BaseException, text: str) -> None:
    def job(cfg: Any) -> Any:
        raise error

    result = _call(job, OmegaConf.create(), TrialContext(None), Job("trial", (), "x", 0))
    assert (result.state, result.error, result.of_all) == (JobState.FAILED, text, False)


class OneTrial:
    """A queue that hands out one trial."""

    def __init__(self, *, completed: bool) -> None:
        self.completed, self.left = completed, 1
        self.states: list[JobState] = []

    def claim(self) -> SimpleNamespace:
        self.left -= 1
        return SimpleNamespace(number=0)

    def tell(self, trial: Any, result: JobResult) -> bool:
        self.states.append(result.state)
        return True

    def is_done(self) -> bool:
        return not self.left

    def has_completed(self) -> bool:
        return self.completed


@pytest.mark.parametrize("completed", [True, False])
def test_a_mistake_of_all_jobs_ends_a_sweep_in_which_none_has_completed(completed: bool) -> None:
    class Slot(executors.Slot):
        is_inline = True

        def start(self, job: Job) -> None: ...

        def poll(self) -> JobResult:
            return JobResult(JobState.FAILED, error="main returns nothing", of_all=True)

    checked = {"is_overdue": lambda grace: False, "checked": lambda result, grace: result}
    run = SimpleNamespace(next_job=lambda: None, take=lambda result: result, started=0.0, **checked)
    queue: Any = OneTrial(completed=completed)
    slot: Any = Slot()
    quiet: Any = {name: lambda *_: None for name in ("ended", "show", "warn")}

    def start(trial: Any) -> Any:
        run.trial = trial
        return run

    controller = Controller(queue, [slot], Limits(None, 3), start=start, **quiet)
    if completed:
        controller.run_trials()
        assert queue.states == [JobState.FAILED]
        return
    with pytest.raises(ConfigError, match="main returns nothing"):
        controller.run_trials()
    assert queue.states == [JobState.REFUSED]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("x must be 1"), "x must be 1"),
        (RunFailed("none of 2 trials was completed"), "none of 2 trials was completed"),
        (
            ConfigCompositionException("In 'a': Could not find 'b'\n\nAvailable:\n\tc\nConfig search path:\n d"),
            "In 'a': Could not find 'b' Available: c",
        ),
    ],
)
def test_an_error_is_one_line_for_hydra(error: Exception, line: str) -> None:
    with pytest.raises(CompactHydraException) as caught, _impl._ending_in_one_line(Application()):
        raise error
    assert str(caught.value) == line
    assert caught.value.__cause__ is error


@pytest.fixture
def handlers() -> Iterator[None]:
    """What a process that ends ignores, the other tests' processes must not."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("is_printed", [True, False])
def test_a_signal_is_an_exit_code(capsys: pytest.CaptureFixture[str], is_printed: bool) -> None:
    error = Interrupted(signal.SIGTERM)
    error.is_printed = is_printed
    with pytest.raises(SystemExit) as caught, _impl._ending_in_one_line(Application()):
        raise error
    assert caught.value.code == 143
    assert capsys.readouterr().err.endswith("continues the sweep\n") != is_printed


def test_a_typed_config_refuses_what_its_type_does_not_allow() -> None:
    @dataclass
    class Typed:
        n: int = 1

    config = OmegaConf.create({"typed": OmegaConf.structured(Typed)})
    space = Space((Parameter("typed.n", "typed.n", CategoricalDistribution((1, 2, "three"))),), ())
    with pytest.raises(ConfigError, match=r"typed\.n must have values .*three"):
        opening._check_types(space, config, {})
    opening._check_types(space, config, {"typed.n": "group"})


@pytest.mark.parametrize(
    ("typed", "ends_with"),
    [
        ("sqlite:///x.db", "sqlite:///{}/x.db"),
        ("sqlite:///x.db?timeout=3", "sqlite:///{}/x.db?timeout=3"),
        ("sqlite:////a/x.db", "sqlite:////a/x.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("study.journal", "{}/study.journal"),
        ("postgresql://host/x", "postgresql://host/x"),
        ("$LIGHTSWEEP_STORAGE", "$LIGHTSWEEP_STORAGE"),
    ],
)
def test_a_storage_has_its_full_path(tmp_path, monkeypatch: pytest.MonkeyPatch, typed: str, ends_with: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_full_path(typed) == ends_with.format(tmp_path)
