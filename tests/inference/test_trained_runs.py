"""What RUN means: a run, the newest one, a checkpoint, a sweep, a trial with several seeds."""

import json
from pathlib import Path

import pytest

from lightsweep.core.errors import ConfigError
from lightsweep.inference import trained_runs
from lightsweep.runs import run_folder


def a_run(folder: Path, *names: str, score_with: str = "best", value: float = 0.5, monitor: str = "val/acc") -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(f"score_with: {score_with}\n")
    for name in names or ("best.ckpt", "last.ckpt"):
        (folder / "checkpoints" / name).touch()
    result = {"status": "completed", "monitor": monitor, "best_value": value}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def a_sweep(folder: Path, *rows: str) -> Path:
    folder.mkdir()
    (folder / "leaderboard.csv").write_text("\n".join(["rank,trial,folder", *rows]) + "\n")
    return folder


def chosen(name: Path | str, which: str | None = None) -> str:
    return str(trained_runs.find_weights(str(name), which).checkpoint)


@pytest.mark.parametrize(
    ("names", "score_with", "which", "expected"),
    [
        ((), "best", None, "best.ckpt"),
        ((), "last", None, "last.ckpt"),
        ((), "last", "best", "best.ckpt"),
        ((), "best", "last", "last.ckpt"),
        (("last.ckpt",), "best", None, "last.ckpt"),
    ],
)
def test_of_a_run_the_weights_that_training_scored(tmp_path: Path, names, score_with, which, expected) -> None:
    run = a_run(tmp_path / "run", *names, score_with=score_with)
    assert chosen(run, which) == f"{run}/checkpoints/{expected}"


def test_a_checkpoint_knows_its_run_if_it_lies_in_one(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (tmp_path / "alone.ckpt").touch()
    inside = trained_runs.find_weights(str(run / "checkpoints" / "last.ckpt"), None)
    assert (inside.run, inside.are_scored) == (run, False)
    assert trained_runs.find_weights(str(run / "checkpoints" / "best.ckpt"), None).are_scored
    assert trained_runs.find_weights(str(tmp_path / "alone.ckpt"), None).run is None


def test_latest_is_the_newest_run(tmp_path: Path, monkeypatch) -> None:
    run = a_run(tmp_path / "run")
    monkeypatch.setattr(run_folder, "newest_run", lambda *_: run)
    found = trained_runs.find_weights("latest", None)
    assert (found.run, found.reason) == (run, "the newest run")


def test_of_a_sweep_the_best_trial(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path / "sweep", "1,7,trial-0007", "2,3,trial-0003")
    run = a_run(sweep / "trial-0007")
    found = trained_runs.find_weights(str(sweep), None)
    assert (found.run, found.reason) == (run, "trial 7, the sweep's best")


@pytest.mark.parametrize(("monitor", "best"), [("val/acc", 101), ("val/loss", 102)])
def test_of_a_confirmed_sweep_the_best_confirmed_seed(tmp_path: Path, monitor: str, best: int) -> None:
    sweep = a_sweep(tmp_path / "sweep", "1,7,trial-0007")
    a_run(sweep / "trial-0007", monitor=monitor)
    for seed, value in ((101, 0.6), (102, 0.4)):
        a_run(sweep / "confirm" / f"best-seed-{seed}", value=value, monitor=monitor)
    a_run(sweep / "confirm" / "best-seed-101.earlier-1", value=99.0 if best == 102 else -99.0, monitor=monitor)
    (sweep / "confirmation.json").write_text('{"best_trial": 7}')
    assert trained_runs.find_weights(str(sweep), None).run == sweep / "confirm" / f"best-seed-{best}"


def test_of_a_sweep_whose_best_is_the_baseline_its_best_confirmed_seed(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path / "sweep", "1,0,trial-0000")
    for name, value in (("baseline-seed-101", 0.4), ("baseline-seed-102", 0.6), ("best-seed-101", 0.9)):
        a_run(sweep / "confirm" / name, value=value)  # the best one is of an earlier best
    (sweep / "confirmation.json").write_text('{"best_trial": 0, "baseline": {"n": 2}}')
    assert trained_runs.find_weights(str(sweep), None).run == sweep / "confirm" / "baseline-seed-102"


def test_a_confirmation_of_another_trial_is_out_of_date(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path / "sweep", "1,7,trial-0007")
    run = a_run(sweep / "trial-0007")
    a_run(sweep / "confirm" / "best-seed-101")
    (sweep / "confirmation.json").write_text('{"best_trial": 3}')
    assert trained_runs.find_weights(str(sweep), None).run == run


def test_of_a_trial_with_seeds_the_best_one_that_was_completed(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path / "sweep", "1,7,trial-0007")
    for seed, value in ((1, 0.3), (2, 0.5), (3, 0.4)):
        a_run(sweep / "trial-0007" / f"seed-{seed}", value=value)
    (sweep / "trial-0007/seed-2/result.json").write_text("{torn")
    assert trained_runs.find_weights(str(sweep), None).run == sweep / "trial-0007/seed-3"
    assert trained_runs.find_weights(str(sweep / "trial-0007"), None).run == sweep / "trial-0007/seed-3"


def test_a_sweep_with_several_objectives_has_no_best_trial(tmp_path: Path) -> None:
    (tmp_path / "leaderboard.csv").write_text("pareto,trial,val/acc,params,folder\n1,7,0.5,9,trial-0007\n")
    with pytest.raises(ConfigError, match=r"several objectives, which has no best trial: name one, .*/trial-0007$"):
        chosen(tmp_path)


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/nothing: there is no such file or folder, and no run, sweep or grid "):
        chosen(tmp_path / "nothing")
    (tmp_path / "no run").mkdir()
    with pytest.raises(ConfigError, match=r"^RUN must be a run's folder, a sweep's folder, .* got '.*/no run'$"):
        chosen(tmp_path / "no run")
    with pytest.raises(ConfigError, match=r"is a sweep without a complete trial$"):
        chosen(a_sweep(tmp_path / "sweep", ",0,trial-0000"))
    empty = a_run(tmp_path / "run")
    for file in (empty / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(ConfigError, match=r"has no checkpoint \(last.ckpt\)$"):
        chosen(empty, "last")
