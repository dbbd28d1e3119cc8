"""Run folders, checkpoints and studies that version 0.1.0 wrote go on with today's commands.

The values of epochs trained here are compared with a tolerance: other versions of torch round differently.
"""

import csv
import itertools
import json
import math
import pickletools
import shutil
import zipfile
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from PIL import Image
from sklearn.datasets import load_digits

from forked import Forked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SRC = Path(__file__).resolve().parents[2] / "src"
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "version_0_1"
MADE_IN = "/tmp/lightsweep_0_1"  # text files name their folders by it
SWEEP = (
    "sweep=quick",
    "data.batch_size=16",
    "trainer=cpu",
    "trainer.max_epochs=4",
    "threads=1",
    "model.width=choice(8,16)",
    "model.depth=1",
)


class Outputs:
    """A folder for copies of what version 0.1.0 wrote, and the commands that are run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told = ""  # standard output and standard error of the last command
        self.count = itertools.count()

    def copy(self, name: str) -> Path:
        copied = Path(shutil.copytree(FIXTURES / name, self.folder / name))
        for file in copied.rglob("*"):
            if file.is_file() and file.suffix != ".ckpt":
                file.write_text(file.read_text().replace(MADE_IN, str(self.folder)))
        return copied

    def run(self, script: str, *arguments: object, code: int = 0) -> str:
        """Run ``python src/SCRIPT ARGUMENTS`` to its end, with this exit code; gives its standard output."""
        said = self.folder.with_name(f"{self.folder.name}-said-{next(self.count)}")
        places = {"OMP_NUM_THREADS": "1", "LIGHTSWEEP_OUTPUTS": str(self.folder)}
        typed = list(map(str, arguments))
        ended = Forked(typed, script=SRC / script, cwd=self.folder, said=said, environment=places).wait(200)
        self.told = ended.out + ended.err
        assert ended.code == code, self.told
        return ended.out


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path)


def result(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text())


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def classes_in(checkpoint: Path) -> set[str]:
    """The dotted names that a checkpoint's pickle imports."""
    with zipfile.ZipFile(checkpoint) as archive:
        pickled = archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))
    return {str(said).replace(" ", ".") for code, said, _ in pickletools.genops(pickled) if code.name == "GLOBAL"}


def test_a_stopped_run_is_resumed(outputs: Outputs) -> None:
    """It also lacks keys that came later, in its config and in its checkpoints."""
    run = outputs.copy("stopped")
    before = (run / "metrics.csv").read_text()
    assert result(run)["status"] == "interrupted"
    assert "decay_all" not in yaml.safe_load((run / "config.yaml").read_text())

    outputs.run("train.py", f"resume={run}")

    assert (run / "metrics.csv").read_text().startswith(before)
    rows, whole = table(run / "metrics.csv"), table(FIXTURES / "whole_metrics.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [float(row["lr"]) for row in rows] == [float(row["lr"]) for row in whole]
    for name in ("train/loss", "val/loss"):
        assert [float(row[name]) for row in rows] == pytest.approx([float(row[name]) for row in whole], abs=0.01), name

    facts = result(run)
    assert (facts["status"], facts["kind"], facts["epochs"]) == ("completed", "run", 6)
    assert facts["best_value"] == pytest.approx(0.9028, abs=0.03)
    assert facts["test/acc"] == pytest.approx(0.8858, abs=0.05)
    assert all(math.isfinite(facts[f"{part}/loss"]) for part in ("train", "val", "test"))
    model = facts["config"]["model"]
    assert (facts["config"]["decay_all"], model["dct"], model["dct_eps"], model["hidden"]) == (False, None, 0.1, [8])
    for checkpoint in (run / "checkpoints").iterdir():
        foreign = {name for name in classes_in(checkpoint) if not name.startswith(("torch.", "collections."))}
        assert not foreign, checkpoint.name


@pytest.mark.parametrize("schedule", ["step", "cosine", "constant"])
def test_a_finished_run_is_trained_further(outputs: Outputs, schedule: str) -> None:
    """With its own schedule, or with the one that another config of that version names."""
    run = outputs.copy("finished")
    others = {"cosine": "finished_study/trial-0000", "constant": "stopped_study/trial-0000"}
    if schedule in others:
        config = yaml.safe_load((run / "config.yaml").read_text())
        other = yaml.safe_load((FIXTURES / others[schedule] / "config.yaml").read_text())
        config["scheduler"] = other["scheduler"]
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    before = (run / "metrics.csv").read_text()

    outputs.run("train.py", f"resume={run}", "trainer.max_epochs=4")

    assert (run / "metrics.csv").read_text().startswith(before)
    assert [row["epoch"] for row in table(run / "metrics.csv")] == ["1", "2", "3", "4"]
    facts = result(run)
    assert (facts["status"], facts["epochs"]) == ("completed", 4)
    assert facts["config"]["scheduler"]["_target_"].endswith(schedule)
    assert facts["val/loss"] < 2.1  # it was 2.06, and is 2.30 with weights that are drawn


@pytest.mark.parametrize(
    ("data", "logger", "refused"),
    [
        ("cifar10.CIFAR10DataModule", "mlflow", "model.dropout must be in [0, 1), got 1.5"),
        ("cifar100.CIFAR100DataModule", "wandb", "model.dropout must be in [0, 1), got 1.5"),
        ("fake.FakeDataModule", "mlflow", "the data changed since this run started"),
        ("image_folder.ImageFolderDataModule", "wandb", "data.root must be a folder"),
    ],
)
def test_the_other_names_of_that_version_are_known(outputs: Outputs, data: str, logger: str, refused: str) -> None:
    """A config that names them is refused for what it is given besides, not for its names."""
    run = outputs.copy("stopped")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] = {"_target_": f"lightsweep.data.{data}"}
    config["logger"] = {logger: {"_target_": f"lightsweep.tracking.loggers.{logger}"}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))

    outputs.run("train.py", f"resume={run}", "model.dropout=1.5", code=1)

    assert refused in outputs.told


@pytest.mark.parametrize("name", ["stopped", "finished"])
def test_a_checkpoint_is_evaluated(outputs: Outputs, name: str) -> None:
    run = outputs.copy(name)
    records = contents(run)
    outputs.run("evaluate.py", run, "--split", "val", "test")

    scores = {part: json.loads((run / "evaluation" / part / "evaluation.json").read_text()) for part in ("val", "test")}
    assert (scores["val"]["images"], scores["test"]["images"]) == (144, 359)
    assert scores["val"]["acc"] == pytest.approx(result(run)["best_value"], abs=1e-6)
    assert scores["val"]["changes"] == []
    if name == "finished":
        assert scores["test"]["acc"] == pytest.approx(result(run)["test/acc"], abs=1e-6)
        assert scores["test"]["loss"] == pytest.approx(result(run)["test/loss"], abs=1e-4)
    assert {file: content for file, content in contents(run).items() if "evaluation" not in file} == records


def test_images_are_classified_and_an_onnx_file_is_written(outputs: Outputs) -> None:
    run, study = outputs.copy("finished"), outputs.copy("finished_study")
    images = outputs.folder / "images"
    digits = load_digits()
    for number in range(100):
        file = images / str(digits.target[number]) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 255 / 16).astype("uint8")).save(file)

    for trained, least in ((run, 0.4), (study, 0.85)):  # accuracy; of a study, its best trial's confirmation
        classified = json.loads(outputs.run("predict.py", trained, images, "--json", "-"))
        assert "best.ckpt" in classified["checkpoint"]
        assert (classified["count"], classified["labelled"]) == (100, 100)
        assert classified["accuracy"] >= least
    assert classified["checkpoint"] == str(study / "confirm" / "best-seed-101" / "checkpoints" / "best.ckpt")

    assert "onnxruntime and PyTorch differ by at most" in outputs.run("export.py", run)
    assert (run / "checkpoints" / "best.onnx").is_file()


def test_runs_are_compared_and_a_new_one_starts_from_one(outputs: Outputs) -> None:
    run, stopped = outputs.copy("finished"), outputs.copy("stopped")
    facts = result(run)
    compared = [line.split() for line in outputs.run("compare.py", run, stopped).splitlines()]
    assert ["model", "CNN", "MLP"] in compared
    assert ["epoch", "3", "0.4861", "0.8958"] in compared
    assert not {"dct", "decay_all"} & {line[0] for line in compared if line}  # it lacks them: no difference

    rows = json.loads(outputs.run("report.py", outputs.folder, "--json"))["tables"][0]["rows"]
    assert {row["run"]: row["status"] for row in rows} == {"finished": "completed", "stopped": "interrupted"}
    assert rows[0]["val/acc"] == facts["val/acc"]

    small = ("data=digits", "trainer=cpu", "trainer.max_epochs=1", "callbacks=none", "logger=none")
    net = ("model=cnn", "model.width=4", "model.depth=2")
    new = outputs.folder / "new"
    outputs.run("train.py", *small, *net, "optimizer.lr=1e-9", f"init_from={run}", f"hydra.run.dir={new}")
    assert "init_from: 14 of 14 tensors" in outputs.told
    assert result(new)["val/loss"] == pytest.approx(facts["val/loss"], abs=0.1)  # 2.30 with weights that are drawn


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.load_study(study_name=folder.name, storage=storage).trials


def test_a_stopped_sweep_goes_on(outputs: Outputs) -> None:
    study = outputs.copy("stopped_study")
    journal, old = (study / "study.journal").read_bytes(), trials(study)
    kept = {name: contents(study / name) for name in ("trial-0000", "trial-0001", "trial-0002")}
    assert [trial.state.name for trial in old] == ["COMPLETE", "COMPLETE", "FAIL", "WAITING"]

    command = (*SWEEP, "hydra.sweeper.study_name=stopped_study", "hydra.sweeper.n_trials=5")
    outputs.run("train.py", *command, f"hydra.sweep.dir={study}")

    new = trials(study)
    assert (study / "study.journal").read_bytes().startswith(journal)
    assert [trial.number for trial in new] == [0, 1, 2, 3, 4, 5]  # five, and the one that was interrupted
    assert [(trial.state, trial.values, trial.params) for trial in new[:3]] == [
        (trial.state, trial.values, trial.params) for trial in old[:3]
    ]
    assert {name: contents(study / name) for name in kept} == kept
    assert new[3].user_attrs["retry_of"] == 2
    assert new[3].params == new[2].params
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in new[3:])

    board = {int(row["trial"]): row["state"] for row in table(study / "leaderboard.csv")}
    assert board == {each.number: "interrupted" if each.number == 2 else each.state.name.lower() for each in new}
    best = ("--config-dir", study, "--config-name", "best", "trainer.max_epochs=1", "callbacks=none", "logger=none")
    outputs.run("train.py", *best, f"hydra.run.dir={outputs.folder / 'again'}")
    assert result(outputs.folder / "again")["config"]["data"]["batch_size"] == 16


def test_a_finished_sweep_is_reported_and_has_nothing_left_to_do(outputs: Outputs) -> None:
    study = outputs.copy("finished_study")
    board, confirmation = table(study / "leaderboard.csv"), (study / "confirmation.json").read_bytes()
    runs = {str(each): contents(each) for each in (*study.glob("trial-*"), *study.glob("confirm/*"))}

    reported = json.loads(outputs.run("report.py", study, "--json"))["tables"]
    assert [row["run"] for row in reported[0]["rows"]] == ["trial-0001", "trial-0000", "trial-0002"]
    assert [row["val/acc"] for row in reported[0]["rows"]] == pytest.approx([float(row["value"]) for row in board])
    assert [row["run"] for row in reported[1]["rows"]] == ["confirm/best", "confirm/baseline"]
    outputs.run("report.py", study, "--html", outputs.folder / "page.html")
    assert "confirm" in (outputs.folder / "page.html").read_text()

    command = (*SWEEP, "model=resmlp", "scheduler=cosine", "model.width=8", "hydra.sweeper.study_name=finished_study")
    outputs.run("train.py", *command, "hydra.sweeper.n_trials=3", "hydra.sweeper.confirm=2", f"hydra.sweep.dir={study}")

    assert len(trials(study)) == 3
    assert {str(each): contents(each) for each in (*study.glob("trial-*"), *study.glob("confirm/*"))} == runs
    rewritten = json.loads((study / "confirmation.json").read_text())
    assert rewritten.pop("compared_by") == "test/acc"  # files of version 0.1 do not say it
    before = json.loads(confirmation)
    assert rewritten.pop("verdict")["outcome"] == before.pop("verdict")["outcome"]  # today's sentences are others
    assert rewritten == before
    assert table(study / "leaderboard.csv") == board
