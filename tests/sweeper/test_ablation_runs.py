"""Ablations with runs that only return a number: at a sweep's end, alone, resumed, with failures."""

import csv
import json
from pathlib import Path

import pytest

import toy
from lightsweep.sweeper.ablation_results import read_ablation
from lightsweep.sweeper.trials import count_ended

# 0.7 + 0.001 * seed at the start; both changes help by what the toy's formula says.
START = "hydra.sweeper.ablation.from=['model.dropout=0.0','optimizer.lr=0.103']"
END = "hydra.sweeper.ablation.to=['model.dropout=0.3','optimizer.lr=0.003']"
ALONE = ("-m", "hydra/sweeper=lightsweep", "data=digits", "trainer=cpu", "logger=none", "hydra.sweeper.n_jobs=0")


@pytest.fixture
def alone(launch, tmp_path: Path):
    folder = f"hydra.sweep.dir={tmp_path}/alone"
    return lambda *overrides: launch(*ALONE, "hydra.sweeper.preload=[]", folder, *overrides, main=toy.main)


def starts(folder: Path) -> int:
    return sum(len(file.read_text().splitlines()) for file in folder.glob("ablation/*/starts"))


@pytest.mark.slow
def test_at_a_sweeps_end_and_again(toy_sweep, study, tmp_path: Path) -> None:
    typed = ("hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=3", "hydra.sweeper.n_trials=4")
    typed += ("hydra.sweeper.ablate=2", "model.width=8", "optimizer.weight_decay=0")
    done = toy_sweep(*typed)
    assert done.code == 0, done.err

    folder, trials = tmp_path / "study", study().trials
    found = read_ablation(folder)
    assert found is not None
    assert "ablation from baseline to trial" in done.out
    assert {each.change for each in found.effects} == {"lr", "dropout"}
    assert "at most 10 trainings (4 to choose the path, 6 to measure it), 1 at a time, about " in done.out
    assert starts(folder) == 10
    whole = found.whole
    assert whole is not None
    assert whole.test is not None
    assert whole.test.difference == pytest.approx(sum(each.test.difference for each in found.effects if each.test))
    assert whole.words in " ".join(done.out.split())
    with (folder / "ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["change"] for row in rows] == [*(each.change for each in found.effects), "all changes"]
    results = [json.loads(file.read_text()) for file in folder.glob("ablation/*/result.json")]
    assert all(each["kind"] == "ablation" and "test=false" in each["overrides"] for each in results)

    before = (folder / "ablation.json").read_text()
    again = toy_sweep(*typed)
    assert again.code == 0, again.err
    assert starts(folder) == 10  # nothing is run twice
    assert "4 of 4 trainings are there already" in again.out
    assert (folder / "ablation.json").read_text() == before
    assert count_ended(study().trials) == len(trials)


def test_alone_between_two_configurations(alone, tmp_path: Path) -> None:
    done = alone(START, END, "hydra.sweeper.ablate=1", "hydra.sweeper.ablation.names=[first,second]")
    assert done.code == 0, done.err

    found = read_ablation(tmp_path / "alone")
    assert found is not None
    assert (found.start, found.end, found.failed) == ("first", "second", 0)
    steps = {each.change: each.test.difference for each in found.effects if each.test}
    assert list(steps) == ["dropout", "lr"]  # what helps most comes first
    assert steps == {"dropout": pytest.approx(0.3), "lr": pytest.approx(0.1)}
    assert not list((tmp_path / "alone").glob("trial-*"))
    assert not (tmp_path / "alone/study.journal").exists()


def test_leave_one_out_and_the_ends_on_test(alone, tmp_path: Path) -> None:
    typed = (START, END, "hydra.sweeper.ablate=1", "hydra.sweeper.ablation.by=leave_one_out")
    done = alone(*typed, "hydra.sweeper.ablation.score_test=true", "hydra.sweeper.confirm_metric=params")
    assert done.code == 0, done.err

    folder = tmp_path / "alone"
    found = read_ablation(folder)
    assert found is not None
    assert "at most 4 trainings (each change alone undone from the end)" in done.out
    assert {each.change: each.test.difference for each in found.effects if each.test} == {
        "dropout": pytest.approx(0.3),
        "lr": pytest.approx(0.1),
    }
    assert found.whole is None
    assert found.on_test is not None
    assert list(map(len, found.test)) == [1, 1]
    tested = {file.parent.name for file in folder.glob("ablation/*/result.json") if "test=true" in file.read_text()}
    assert tested == {"start-seed-401", "end-seed-401"}


def test_failures_cost_themselves(alone, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TOY_FAIL", "77")  # a width
    start = "hydra.sweeper.ablation.from=['model.width=77','optimizer.lr=0.103']"
    end = "hydra.sweeper.ablation.to=['model.width=8','optimizer.lr=0.003']"
    done = alone(start, end, "hydra.sweeper.ablate=1")
    assert done.code == 0, done.err

    found = read_ablation(tmp_path / "alone")
    assert found is not None
    assert [each.change for each in found.effects] == ["width", "lr"]
    assert [each.test is None for each in found.effects] == [True, False]  # the start was never completed
    assert found.failed == 2  # the candidate lr, and the start
    assert "width 77 → 8: not measured: no run was completed" in done.out
    assert "width 77 is unlucky" in done.out


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["hydra.sweeper.seed_key=null"], "hydra.sweeper.ablate needs hydra.sweeper.seed_key"),
        (["hydra.sweeper.ablate=101"], "hydra.sweeper.ablate must be an integer in [0, 100], got 101"),
        (["hydra.sweeper.ablation.by=all"], "hydra.sweeper.ablation.by must be one of auto, path, leave_one_out"),
        (["hydra.sweeper.ablation.to=worst"], "hydra.sweeper.ablation.to must be baseline, best, a trial's number, or"),
        (["hydra.sweeper.ablation.to=['model.dropout=0.0','optimizer.lr=0.103']"], "both ends of the ablation are"),
        (["hydra.sweeper.ablation.to=['model.dropout=0','seed=9','optimizer.lr=0.103']"], "differ in nothing that"),
        (["hydra.sweeper.ablation.to=['data=cifar10']"], "judged on different images, so they do not compare: data"),
        (["hydra.sweeper.ablation.to=['monitor.metric=val/f1']"], "by different metrics, so they do not compare"),
        (["hydra.sweeper.ablation.score_test=true", "hydra.sweeper.confirm_overrides=['model.bn=true']"], "score_test"),
        (["hydra.sweeper.ablation.to=['model.dropuot=0.1']"], "model.dropuot"),
        (
            ["hydra.sweeper.objectives={val/acc: maximize, params: minimize}"],
            "ablate needs one objective, got val/acc",
        ),
    ],
)
def test_what_cannot_be_measured_is_one_line(alone, tmp_path: Path, typed: list[str], says: str) -> None:
    own = {line.partition("=")[0] for line in typed}
    usual = [line for line in (START, END, "hydra.sweeper.ablate=2") if line.partition("=")[0] not in own]

    done = alone(*usual, *typed)

    assert done.code == 1, done.out
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert says in done.err
    assert not (tmp_path / "alone/ablation").exists()


def test_one_changed_parameter_is_left_to_the_confirmation(toy_sweep, tmp_path: Path) -> None:
    done = toy_sweep(
        *("hydra.sweeper.n_trials=2", "hydra.sweeper.ablate=2", "hydra.sweeper.sampler=random"),
        *("model.width=8", "optimizer.lr=0.01", "optimizer.weight_decay=0", "model.dropout=choice(0.0,0.3)"),
    )

    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert "differ in dropout alone: there is nothing to divide, and hydra.sweeper.confirm=3 measures" in text
    assert not (tmp_path / "study/ablation.json").exists()
