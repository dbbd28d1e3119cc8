"""What a sweep prints while it runs, at any width."""

import io

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from lightsweep.sweeper import view
from lightsweep.sweeper.leaderboard import format_short
from lightsweep.sweeper.objectives import Objectives
from lightsweep.sweeper.space import Space

NAMES = [f"model.a_rather_long_name_{index}" for index in range(6)]


def trial(number: int, state: TrialState, *reports: float, value: float | None = None) -> FrozenTrial:
    made = create_trial(
        state=state,
        value=value,
        params=dict.fromkeys(NAMES, 0.123456),
        distributions=dict.fromkeys(NAMES, FloatDistribution(0, 1)),
        intermediate_values=dict(enumerate(reports, start=1)),
    )
    made.number = number
    return made


def progress(*trials: FrozenTrial, starting: int = 0) -> view.Progress:
    running = {each.number: 7654.0 for each in trials if each.state == TrialState.RUNNING}
    space = Space((), ())
    return view.Progress(trials, running, 40, Objectives(("val/balanced_acc",), ("maximize",)), space, starting)


def shown(content: object, width: int) -> list[str]:
    buffer = io.StringIO()
    Console(file=buffer, width=width, force_terminal=True, color_system=None).print(content)
    return buffer.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_score_is_cut_at_any_width(width: int) -> None:
    many = progress(
        trial(0, TrialState.COMPLETE, value=0.98765),
        trial(1, TrialState.RUNNING, 0.1, 0.23456),
        trial(12345, TrialState.RUNNING, *[0.5] * 99, 0.87654),
    )
    lines = shown(view.running_table(many), width)
    assert all(len(line) <= width for line in lines)
    assert len(lines) == 5  # a line each, none of them wrapped
    assert lines[1].startswith("best val/balanced_acc 0.9877 (trial 0)")
    assert "val/balanced_acc" in lines[2]
    assert lines[3].split()[:4] == ["1", "2", "0.2346", "7654"]
    assert lines[4].split()[:4] == ["12345", "100", "0.8765", "7654"]


@pytest.mark.parametrize("width", [60, 80])
def test_no_score_is_cut_in_the_last_table(width: int) -> None:
    several = progress(*(trial(number, TrialState.COMPLETE, value=0.5 + number / 100) for number in range(12)))
    text = "\n".join(shown(view.ten_best(several), width))
    assert all(f"{0.5 + number / 100:.4f}" in text for number in range(2, 12))


@pytest.mark.parametrize(("count", "words"), [(1, "starting 1 worker…"), (3, "starting 3 workers…")])
def test_starting_workers_are_not_counted_as_trials(count: int, words: str) -> None:
    lines = [line.rstrip() for line in shown(view.running_table(progress(starting=count)), 80)]
    assert lines == ["0/40 trials  0 completed  0 pruned  0 failed", "best: none yet", words]


def test_a_pruned_trials_line_has_its_last_report_and_step(capsys) -> None:
    pruned = trial(3, TrialState.PRUNED, 0.7, 0.9, 0.81234)
    shown_by = view.View()
    shown_by.console = Console(width=300)
    shown_by.trial_ended(pruned, progress(pruned))
    assert "trial 3 pruned val/balanced_acc 0.8123 after step 3" in capsys.readouterr().out


def test_interrupted_trials_are_not_counted() -> None:
    interrupted = trial(0, TrialState.FAIL)
    interrupted.set_user_attr("interrupted", True)
    ended = [interrupted, trial(1, TrialState.FAIL), trial(2, TrialState.COMPLETE, value=1.0)]
    assert view.format_summary(ended, 0, 1.0).startswith("2 trials: 1 completed, 0 pruned, 1 failed")


@pytest.mark.parametrize(("value", "short"), [(float("nan"), "nan"), (float("-inf"), "-inf"), (3.0, "3"), (0.5, "0.5")])
def test_a_short_number_may_be_none_at_all(value: float, short: str) -> None:
    """Trials may record NaN, which is no mistake of the sweep."""
    assert format_short(value) == short


def test_of_many_members_some_are_shown_and_how_far_the_others_are() -> None:
    members = [trial(number, TrialState.RUNNING, *[0.5] * (number % 7 + 1)) for number in range(40)]
    lines = shown(view.running_table(progress(*members)), 80)
    assert lines[-1] == "and 24 more; all at steps 1 to 7"
    assert len(lines) == 2 + 1 + 16 + 1
