"""The command `lightsweep` on studies of other people's apps, made up here."""

import json
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from rich.console import Console

from lightsweep.app import cli
from lightsweep.core.errors import ConfigError
from lightsweep.reports import table_text

SWEEP = {"metric": "score", "program": "python app.py", "n_trials": 6, "overrides": ["data=a"], "search": {}}


def make(folder: Path, *, sweep: dict | None = SWEEP, trials: int = 6, name: str = "toy") -> Path:
    """A study of `trials` trials: the third failed, the fourth was pruned."""
    folder.mkdir(exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", sampler=RandomSampler(seed=1))
    if sweep is not None:
        study.set_user_attr("sweep", sweep)
    for number in range(trials):
        trial = study.ask()
        lr = trial.suggest_float("optimizer.lr", 1e-3, 1e-1, log=True)
        trial.suggest_categorical("kind", ["<b>one</b>", "two"])
        trial.report(lr, 1)
        trial.set_user_attr("facts", {"status": "completed", "val/loss": 0.25, "kind": number})
        if number == 2:
            trial.set_user_attr("error", "<img src=x>: it broke")
            study.tell(trial, state=TrialState.FAIL)
        elif number == 3:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, float(number))
    return folder


def said(capsys: pytest.CaptureFixture[str], *typed: str, code: int = 0) -> str:
    assert cli.run(typed) == code
    return capsys.readouterr().out


def test_the_report_has_the_leaderboard_the_failures_and_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (make(tmp_path / "s") / "study.journal").read_bytes()
    shown = said(capsys, "report", str(tmp_path / "s"))
    assert shown.splitlines()[1].split()[:2] == ["1", "trial-0005"]
    assert "failed trial-0002: <img src=x>: it broke" in shown
    assert "pruned after 1 step" in shown
    assert "run the best one, trial-0005: python app.py data=a optimizer.lr=" in shown
    assert (tmp_path / "s" / "study.journal").read_bytes() == before


def test_parameters_and_recorded_values_keep_their_names_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (table,) = json.loads(said(capsys, "report", str(make(tmp_path / "s")), "--json"))["tables"]
    best = table["rows"][0]
    assert (best["rank"], best["score"], best["facts.kind"], best["val/loss"]) == (1, 5.0, 5, 0.25)
    assert best["params.kind"] in ("<b>one</b>", "two")


def test_the_page_shows_texts_of_the_study_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    said(capsys, "report", str(make(tmp_path / "s")), "--html", str(page))
    text = page.read_text()
    assert "<img src=x" not in text
    assert "<b>one</b>" not in text
    for title in ("Intermediate values", "Parallel coordinates", "Slices", "Optimisation history"):
        assert f">{title}</h2>" in text


@pytest.mark.parametrize(("trials", "state", "code"), [(0, "empty", 5), (4, "stopped", 4), (6, "finished", 0)])
def test_the_status_and_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trials: int, state: str, code: int
) -> None:
    found = json.loads(said(capsys, "status", str(make(tmp_path / "s", trials=trials)), "--json", code=code))
    assert (found["state"], found["ended"], found["n_trials"]) == (state, trials, 6)
    if trials == 6:
        assert found["best"]["trial"] == 5
        assert (found["counts"]["completed"], found["counts"]["pruned"], found["counts"]["failed"]) == (4, 1, 1)


def test_a_trial_that_runs_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path / "s", trials=3)
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    optuna.load_study(study_name="toy", storage=storage).ask().report(0.5, 2)
    found = json.loads(said(capsys, "status", str(folder), "--json", code=3))
    assert [(each["trial"], each["step"], each["value"]) for each in found["running"]] == [(3, 2, 0.5)]


def test_a_sweep_that_tried_all_points_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path / "s", trials=3)
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.load_study(study_name="toy", storage=storage)
    study.set_user_attr("over", {"ended": 3, "why": "all 3 points of the space were tried"})
    assert "all 3 points of the space were tried" in said(capsys, "status", str(folder))


def test_a_sweep_that_ended_with_an_error_has_failed_until_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path / "s", trials=3)
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.load_study(study_name="toy", storage=storage)
    study.set_user_attr("over", {"ended": 3, "why": "3 trials failed in a row", "failed": True})
    assert "toy has failed: 3 of 6" in said(capsys, "status", str(folder), code=6)
    assert json.loads(said(capsys, "status", str(folder), "--json", code=6))["why"] == "3 trials failed in a row"
    study.tell(study.ask(), 1.0)
    assert "toy is stopped: 4 of 6" in said(capsys, "status", str(folder), code=4)


def test_the_recorded_values_give_way_before_the_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_text, "open_console", lambda: Console(width=80))
    head = said(capsys, "report", str(make(tmp_path / "s"))).splitlines()
    assert head[0].split() == ["rank", "run", "lr", "params.kind", "score", "status"]
    assert any(line.startswith("columns that do not fit: ") and "val/loss" in line for line in head)


@pytest.mark.parametrize("program", ["rm -rf x", "python -c x", "python a.py; reboot", "python a.py\nreboot", 3])
def test_a_command_that_is_no_app_is_refused(tmp_path: Path, program: object) -> None:
    folder = make(tmp_path / "s", sweep=SWEEP | {"program": program})
    with pytest.raises(ConfigError, match="attribute sweep that this program did not write"):
        cli.run(["report", str(folder)])


def test_a_url_names_its_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    for name in ("a", "b"):
        optuna.create_study(storage=url, study_name=name).optimize(lambda trial: trial.suggest_float("x", 0, 1), 2)
    with pytest.raises(ConfigError, match="it holds 'a', 'b' .--study-name says which."):
        cli.run(["status", url])
    assert "b is stopped: 2 trials have ended" in said(capsys, "status", url, "--study-name", "b", code=4)
    assert "trial-0001" in said(capsys, "report", url, "--study-name", "b")


def test_a_folder_without_a_study_names_those_below(tmp_path: Path) -> None:
    make(tmp_path / "s")
    with pytest.raises(ConfigError, match=r"no sweep's folder and no Optuna URL; try .*/s$"):
        cli.run(["status", str(tmp_path)])


def test_a_page_without_its_libraries_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="--html needs jinja2 and plotly: pip install 'lightsweep.report.'"):
        cli.run(["report", str(make(tmp_path / "s")), "--html", str(tmp_path / "page.html")])
