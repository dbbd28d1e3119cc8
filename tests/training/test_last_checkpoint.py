"""A trial of a sweep that has ended by itself deletes its last.ckpt; whatever else there is keeps it."""

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from lightsweep.app import steps
from lightsweep.core.errors import ConfigError, DataChanged, Diverged, Interrupted, TimeOver
from lightsweep.inference import trained_runs
from lightsweep.runs import run_folder
from lightsweep.sweeper.job import Job, TrialContext, _current
from lightsweep.sweeper.lightning import pruning_callback

BOTH = ("best.ckpt", "last.ckpt")
ENDED = [None, Diverged("nan"), OSError(28, "No space left on device"), optuna.TrialPruned(), TimeOver(14, "its time")]
CUT_OFF = [Interrupted(15), KeyboardInterrupt(), ConfigError("refused"), DataChanged("other data")]


@pytest.fixture
def left(tmp_path: Path):
    """The checkpoints that are left of a job, by how it ended."""

    def ended(
        error: BaseException | None = None,
        *names: str,
        kind: str | None = "trial",
        score_with: str = "best",
        **node: Any,
    ) -> tuple[str, ...]:
        folder = tmp_path / "checkpoints"
        folder.mkdir()
        for name in names or BOTH:
            (folder / name).touch()
        callbacks = {"checkpoint": {"keep_last": False} | node} if node.pop("is_there", True) else {}
        config: Any = SimpleNamespace(callbacks=callbacks, score_with=score_with)
        job = None if kind is None else Job(kind, (), ".", 0, None, None)
        token = _current.set(TrialContext(job))
        try:
            with suppress(type(error) if error else ()), steps.dropping_last(config, tmp_path):
                if error is not None:
                    raise error
        finally:
            _current.reset(token)
        return tuple(sorted(path.name for path in folder.iterdir()))

    return ended


@pytest.mark.parametrize("error", ENDED, ids=repr)
def test_one_that_ended_by_itself_deletes_it(left, error) -> None:
    assert pruning_callback()  # an app whose trials are pruned has imported Optuna
    assert left(error) == ("best.ckpt",)


@pytest.mark.parametrize("error", CUT_OFF, ids=repr)
def test_one_that_was_cut_off_or_refused_keeps_it(left, error) -> None:
    assert left(error) == BOTH


@pytest.mark.parametrize("kind", ["seed", "confirmation"])
def test_so_do_all_jobs_of_a_sweep(left, kind: str) -> None:
    assert left(kind=kind) == ("best.ckpt",)


def test_a_run_and_a_job_of_a_grid_keep_it(left) -> None:
    assert left(kind=None) == BOTH


def test_a_key_keeps_it(left) -> None:
    assert left(keep_last=True) == BOTH


def test_weights_that_were_scored_stay(left) -> None:
    assert left(score_with="last") == BOTH


def test_the_only_weights_that_were_scored_stay(left) -> None:
    assert left(None, "last.ckpt") == ("last.ckpt",)


def test_of_a_trial_that_was_never_scored_they_do_not(left) -> None:
    assert left(optuna.TrialPruned(), "last.ckpt") == ()


def test_without_best_weights_in_the_config_nothing_is_deleted(left) -> None:
    assert left(is_there=False) == BOTH


def test_nothing_is_deleted_behind_a_link(left, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "run").mkdir()
    (tmp_path / "job").mkdir()
    (tmp_path / "job/checkpoints").symlink_to(other)
    (other / "last.ckpt").touch()
    config: Any = SimpleNamespace(callbacks={"checkpoint": {"keep_last": False}}, score_with="best")
    token = _current.set(TrialContext(Job("trial", (), ".", 0, None, None)))
    try:
        with suppress(Diverged), steps.dropping_last(config, tmp_path / "job"):
            raise Diverged
    finally:
        _current.reset(token)
    assert (other / "last.ckpt").exists()


def test_commands_say_why_it_is_gone(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_text("score_with: best\n")
    (tmp_path / "checkpoints/best.ckpt").touch()
    why = "a trial of a sweep deletes it when it has ended, unless callbacks.checkpoint.keep_last=true"
    with pytest.raises(ConfigError, match=rf"has no checkpoint \(last.ckpt\): {why}$"):
        trained_runs.find_weights(str(tmp_path), "last")
    with pytest.raises(
        ConfigError, match=rf"^resume: {tmp_path} has no last.ckpt: {why}; init_from={tmp_path} starts "
    ):
        run_folder.find_resumable(str(tmp_path))
