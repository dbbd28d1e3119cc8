"""A study is read, also while it is written, and nothing in its folder changes."""

import json
import shutil
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from lightsweep.core.errors import ConfigError
from lightsweep.reports import overview, study
from lightsweep.reports.page.drawing import Drawing
from lightsweep.reports.study import Study
from lightsweep.reports.study_figures import StudyFigures


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.rglob("*"))}


def test_reads_a_journal_and_changes_nothing(sweep_folder: Path) -> None:
    before = state(sweep_folder)
    found = study.find_study(sweep_folder, None)
    assert found is not None
    assert (found.name, len(found.study.trials), len(found.complete)) == ("toy", 12, 10)
    assert found.settings["sampler"]["_target_"] == "optuna.samplers.RandomSampler"
    assert state(sweep_folder) == before


def test_parameter_names_are_short_and_escaped(sweep_folder: Path) -> None:
    found = study.find_study(sweep_folder, None)
    assert found is not None
    assert found.study.trials[0].params.keys() == {"lr", "width", "activation"}
    assert {trial.params["activation"] for trial in found.study.trials} == {"&lt;b&gt;relu&lt;/b&gt;", "gelu"}


def test_a_half_written_last_line_is_ignored(sweep_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep_folder, tmp_path / "copy")
    with (tmp_path / "copy" / "study.journal").open("a") as file:
        file.write('{"op_code": 4, "wor')
    before = state(tmp_path)
    found = study.find_study(tmp_path / "copy", None)
    assert found is not None
    assert len(found.study.trials) == 12
    assert state(tmp_path) == before


def test_a_folder_without_a_study_gives_none(tmp_path: Path) -> None:
    assert study.find_study(tmp_path, None) is None


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.journal").write_text("no json\n")
    with pytest.raises(ConfigError, match="line 1 of 1 is damaged"):
        study.find_study(tmp_path, None)


def named_storage(folder: Path, url: str) -> Path:
    hydra = folder / "trial-0000" / ".hydra"
    hydra.mkdir(parents=True)
    (hydra / "hydra.yaml").write_text(f"hydra: {{sweeper: {{storage: '{url}', study_name: db}}}}")
    return folder


def test_an_sqlite_file_of_the_records_is_read_only(tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    made = optuna.create_study(storage=f"sqlite:///{database}", study_name="db")
    made.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    before = state(tmp_path)
    folder = named_storage(tmp_path / "sweep", f"sqlite:///{database}")
    found = study.find_study(folder, None)
    assert found is not None
    assert len(found.complete) == 3
    assert {name: when for name, when in state(tmp_path).items() if "sweep" not in name} == before


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://user:secret@elsewhere/db", "the study is in a database: name it, --storage"),
        ("sqlite:////nowhere/x.db", "the study's database /nowhere/x.db is not there"),
    ],
)
def test_no_connection_is_made_to_a_database_that_the_folder_names(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        study.find_study(named_storage(tmp_path, url), None)
    assert message in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_slices_share_one_colour_scale_and_do_not_overlap() -> None:
    made = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(6):
        trial = made.ask()
        own = [trial.suggest_float(f"group={number % 2}:{name}", 0, 1) for name in "abc"]
        made.tell(trial, sum(own))
    figure = StudyFigures(study.Study(made), "val/acc").slices()
    scales = [trace["marker"] for trace in figure["data"] if trace["name"] == "completed"]
    assert {(scale["cmin"], scale["cmax"]) for scale in scales} == {(0, 5)}
    layout = figure["layout"]
    domains = {(*layout[f"xaxis{n}"]["domain"], *layout[f"yaxis{n}"]["domain"]) for n in ("", *range(2, 7))}
    assert len(domains) == 6
    assert layout["yaxis5"]["domain"][1] < layout["yaxis"]["domain"][0]


def test_the_name_of_a_metric_is_escaped_in_figures() -> None:
    made = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(3):
        trial = made.ask()
        made.tell(trial, trial.suggest_float("lr", 0, 1) + trial.suggest_float("wd", 0, 1))
    drawn = Drawing()
    name = 'val/<a href="http://e">l</a>'
    figures = StudyFigures(Study(made), name)
    overview._draw_mattered(drawn, [], None, {name: figures})
    overview._draw_study(drawn, figures)
    text = json.dumps(drawn.data, default=str)
    assert "&lt;a href" in text
    assert "<a href" not in text


def test_the_timeline_shows_interrupted_and_failed_trials_separately() -> None:
    study = optuna.create_study()
    for interrupted in (True, False, True):
        trial = study.ask()
        trial.set_user_attr("interrupted", interrupted)
        study.tell(trial, state=TrialState.FAIL)
    study.tell(study.ask(), 1.0)
    timeline = StudyFigures(Study(study), "value").timeline()
    assert {trace["name"]: trace["y"] for trace in timeline["data"]} == {
        "completed": [3],
        "failed": [1],
        "interrupted": [0, 2],
    }


def test_repeats_are_in_no_figure_and_keep_the_numbers_of_the_others(tmp_path: Path) -> None:
    """Trials 1 and 3 repeat trial 0, with its value and as one that was running."""
    journal = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.journal"))
    )
    original = optuna.create_study(storage=journal, study_name="toy", direction="maximize")
    for number in range(5):
        trial = original.ask()
        trial.suggest_int("a", 0, 9)
        if number in (1, 3):
            trial.set_user_attr("repeat_of", 0)
        original.tell(trial, None if number == 3 else 0.5, state=TrialState.FAIL if number == 3 else None)
    found = study.find_study(tmp_path, None)
    assert found is not None
    assert [trial.number for trial in found.trials] == [0, 2, 4]
    assert [trial.number for trial in found.complete] == [0, 2, 4]
    figures = StudyFigures(found, "val/acc")
    history = figures.history()
    timeline = figures.timeline()
    assert history is not None
    assert timeline is not None
    assert {number for trace in history["data"] if trace.get("mode") == "markers" for number in trace["x"]} == {0, 2, 4}
    assert sorted(number for trace in timeline["data"] for number in trace["y"]) == [0, 2, 4]
