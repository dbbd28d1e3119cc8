"""Training that ends before its last epoch logs why; a resumed run that trains nothing logs what would continue it."""

import logging
import re
from collections.abc import Callable, Iterator

import pytest

from lightsweep.core.errors import ConfigError

Logged = Callable[[], str]
FAST = ("data.batch_size=32", "callbacks=[early_stopping,progress,checkpoint]", "optimizer.lr=0.05")
IMPATIENT = (*FAST, "callbacks.early_stopping.patience=1", "trainer.max_epochs=50")


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Logged]:
    """What was logged since the last call."""

    def since() -> str:
        text = "\n".join(caplog.messages)
        caplog.clear()
        return text

    with caplog.at_level(logging.INFO):
        yield since


def epochs(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("epoch ")]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (IMPATIENT, r"early stopping: no better val/acc than 0\.\d{4} of epoch \d+ for 1 epoch; training ended"),
        (
            (*IMPATIENT, "callbacks.early_stopping.patience=2", "callbacks.early_stopping.min_delta=0.9"),
            r"early stopping: no better val/acc than .* for 2 epochs; training ended after epoch 3",
        ),
        (
            (*IMPATIENT, "callbacks.early_stopping.min_delta=0.9", "+trainer.val_check_interval=0.5"),
            r"early stopping: no better val/acc .* for 1 validation; training ended after epoch 1",
        ),
        (
            (*IMPATIENT, "+callbacks.early_stopping.stopping_threshold=0.05"),
            r"early stopping: val/acc passed 0.05, its stopping_threshold; training ended after epoch 1",
        ),
        (
            (
                *IMPATIENT,
                "callbacks.early_stopping.monitor=val/loss",
                "+callbacks.early_stopping.divergence_threshold=1e-6",
            ),
            r"early stopping: val/loss passed 1e-06, its divergence_threshold; training ended after epoch 1",
        ),
        (
            (*FAST, "trainer.max_epochs=9", "+trainer.max_steps=19"),
            r"trainer.max_steps=19; training ended after epoch 3",
        ),
        (
            (*FAST, "trainer.max_epochs=100000", "+trainer.max_time={milliseconds:300}", "callbacks=none"),
            r"trainer.max_time: \d+ s of training are over; training ended after epoch \d+",
        ),
    ],
    ids=["patience", "delta", "mid-epoch", "threshold", "divergence", "steps", "time"],
)
def test_a_run_logs_why_it_ended_and_again_when_it_is_resumed(run, logged: Logged, overrides, line: str) -> None:
    run(*overrides)
    assert re.search(f"^{line}", logged(), re.M)
    again = run(*overrides)
    ended = line.partition("; training ended")[0]
    text = logged()
    assert re.search(rf"^nothing was trained, .* after epoch \d+ \({ended}\); .* continues it$", text, re.M)
    assert not epochs(text)
    assert again.result["status"] == "completed"


def test_a_run_that_trained_all_its_epochs_logs_no_reason(run, logged: Logged) -> None:
    run(*FAST, "trainer.max_epochs=2")
    text = logged()
    assert len(epochs(text)) == 2
    assert "training ended" not in text
    assert "nothing was trained" not in text


def test_a_resumed_run_continues_with_the_logged_override(run, logged: Logged) -> None:
    before = len(run(*IMPATIENT).rows)
    logged()
    assert len(run(*IMPATIENT, "trainer.max_epochs=60").rows) == before  # more epochs are not what it lacked
    typed = re.search(r"(callbacks\.early_stopping\.patience=\d+) or more continues it", logged())
    assert typed
    assert len(run(*IMPATIENT, typed[1]).rows) > before


def test_a_completed_run_logs_how_many_epochs_continue_it(run, logged: Logged) -> None:
    run(*FAST, "trainer.max_epochs=2")
    logged()
    run(*FAST, "trainer.max_epochs=2")
    assert "(trainer.max_epochs=2); trainer.max_epochs=3 or more continues it" in logged()
    assert len(run(*FAST, "trainer.max_epochs=3").rows) == 3


def test_a_run_continues_with_a_higher_threshold(run) -> None:
    bound = "+callbacks.early_stopping.stopping_threshold"
    assert len(run(*FAST, f"{bound}=0.05", "trainer.max_epochs=3").rows) == 1
    assert len(run(*FAST, f"{bound}=1.5", "trainer.max_epochs=3").rows) == 3


@pytest.mark.parametrize(("trained", "wanted"), [(3, 2), (2, 1)])
def test_fewer_epochs_than_were_trained_are_refused(run, trained: int, wanted: int) -> None:
    run(*FAST, f"trainer.max_epochs={trained}")
    rule = f"trainer.max_epochs must be at least {trained}, the epochs that this run has trained already, got {wanted}"
    with pytest.raises(ConfigError, match=re.escape(rule)):
        run(*FAST, f"trainer.max_epochs={wanted}")


@pytest.mark.parametrize("every", [2, 3])
def test_an_epoch_without_a_validation_shows_no_validation_scores(run, logged: Logged, every: int) -> None:
    run("callbacks=progress", "trainer.max_epochs=4", f"trainer.check_val_every_n_epoch={every}")
    shown = ["val/" in line for line in epochs(logged())]
    assert shown == [epoch % every == 0 for epoch in range(1, 5)]


def test_without_a_validation_no_epoch_is_called_the_best(run, capsys: pytest.CaptureFixture) -> None:
    run("callbacks=checkpoint", "trainer.check_val_every_n_epoch=5")
    out = capsys.readouterr().out
    assert "scored epoch 2 of 2" in out
    assert "val/acc was never measured" in out


@pytest.mark.parametrize("kind", ["simple", "advanced"])
def test_the_file_of_a_profiler_is_logged(run, logged: Logged, kind: str) -> None:
    done = run(f"+trainer.profiler={kind}")
    file = done.folder / "fit-profile.txt"
    assert f"profile: {file}" in logged()
    assert "training_step" in file.read_text()
    run("trainer.max_epochs=3")
    assert "profile:" not in logged()
