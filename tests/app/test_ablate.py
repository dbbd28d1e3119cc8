"""src/ablate.py as it is typed: what it makes of a sweep, of runs and of config files, and what it refuses."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import yaml
from omegaconf import OmegaConf
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import ablate
from digits_runs import composed
from lightsweep.app import ablation_ends, config_lines
from lightsweep.runs import saved_config
from lightsweep.sweeper.ablation_results import read_ablation
from saved_runs import one_line
from tiny import TINY

SWEEP = {"metric": "val/acc", "program": "python src/train.py", "n_trials": 3, "search": {"seed_key": "seed"}}
NAMES = ("optimizer=sgd:optimizer.lr", "model.bn", "model.dropout")


def write_sweep(folder: Path, values: tuple[float | None, ...] = (0.5, 0.7, 0.6), **sweep: Any) -> Path:
    """A sweep's folder with its study: trial 0 is the baseline."""
    folder.mkdir(parents=True)
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
    names = sweep.pop("names", NAMES)
    study.set_user_attr("sweep", SWEEP | {"overrides": ["data=digits", "trainer=cpu"]} | sweep)
    for number, value in enumerate(values):
        trial = study.ask()
        for name in names:
            if name == "model.bn":
                trial.suggest_categorical(name, [False, True])
            else:
                trial.suggest_float(name, 0, 1)
        if number == 0:
            trial.set_user_attr("baseline", True)
        study.tell(trial, value, state=None if value is not None else optuna.trial.TrialState.FAIL)
    return folder


def write_run(folder: Path, *overrides: str, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    config = composed(folder, *overrides)
    own = saved_config.own_config(config)
    for key, value in changes.items():
        OmegaConf.update(own, key.replace("__", "."), value, force_add=True)
    own.overrides = []
    OmegaConf.save(own, folder / "config.yaml")
    (folder / "result.json").write_text(json.dumps({"status": "completed", "seconds": 12.5}))
    return folder


def prepared(*words: object) -> ablation_ends.Asked:
    return ablation_ends.prepare(ablate.parser().parse_intermixed_args(list(map(str, words))))


def settings(asked: ablation_ends.Asked) -> dict[str, str]:
    pairs = [line.partition("=") for line in asked.arguments if line.startswith("hydra.sweeper.")]
    return {name.removeprefix("hydra.sweeper."): value for name, _, value in pairs}


def test_a_sweep_is_measured_between_its_baseline_and_its_best_trial(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s")

    asked = prepared(folder, "--seeds", 4, "--jobs", 2, "--path", "--test", "threads=1")

    chosen = settings(asked)
    assert asked.folder == folder
    assert asked.arguments[:3] == ["-m", "data=digits", "trainer=cpu"]
    assert asked.arguments[-1] == "threads=1"
    assert (chosen["ablate"], chosen["n_jobs"], chosen["ablation.by"]) == ("4", "2", "path")
    assert chosen["ablation.score_test"] == "true"
    assert chosen["ablation.from"] == "[]"
    assert [each in chosen["ablation.to"] for each in ("optimizer.lr=", "model.bn=", "model.dropout=")] == [True] * 3
    assert chosen["ablation.names"] == '["baseline","trial 1"]'
    assert chosen["ablation.depends"] == "{optimizer.lr:optimizer}"
    assert float(chosen["ablation.seconds"]) >= 0.0


def test_what_is_typed_wins_over_what_the_sweep_had(tmp_path: Path) -> None:
    asked = prepared(write_sweep(tmp_path / "s"), "--from", 2, "--to", 0, "--output", tmp_path / "out", "trainer=gpu")

    assert asked.folder == tmp_path / "out"
    assert "trainer=cpu" not in asked.arguments
    assert settings(asked)["ablation.names"] == '["trial 2","trial 0"]'


def test_two_runs_are_measured_by_their_configs(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", "model.dropout=0.1")
    other = write_run(tmp_path / "other", "model.dropout=0.1", "optimizer=sgd", "optimizer.lr=0.3", "model.bn=true")

    asked = prepared("--from", one, "--to", other, "--leave-one-out")

    chosen = settings(asked)
    assert asked.folder.name == "one-other"
    assert (chosen["ablation.by"], chosen["ablation.seconds"]) == ("leave_one_out", "12.5")
    lists = [set(yaml.safe_load(chosen[f"ablation.{end}"])) for end in ("from", "to")]
    assert lists[1] - lists[0] == {"optimizer=sgd", "++optimizer.lr=0.3", "++model.bn=True"}
    assert lists[0] - lists[1] == {"optimizer=adam"}
    assert "++model.dropout=0.1" in lists[0] & lists[1]


def test_the_lines_of_a_config_give_it_again(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "one", "optimizer=adamw", "scheduler=cosine", "model.hidden=[64,32]", "data.augment.flip=true"
    )
    content = config_lines.read_run(run)

    again = config_lines.compose(config_lines.lines_of(content))

    for group in ("data", "model", "optimizer", "scheduler", "loss", "monitor", "callbacks"):
        assert again[group] == content[group]


def test_a_file_with_a_defaults_list_is_an_end(tmp_path: Path) -> None:
    file = tmp_path / "best.yaml"
    file.write_text(
        "defaults: [train, {override data: digits}, {override optimizer: sgd}, _self_]\nmodel: {bn: true}\n"
    )

    content = config_lines.read_file(file)

    assert content["model"]["bn"] is True
    assert content["optimizer"]["_target_"] == "torch.optim.SGD"
    assert str(content["data"]["_target_"]).endswith("DigitsDataModule")


REFUSED: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "name a SWEEP, or both configurations: --from RUN --to RUN"),
    "one end": (["--from", "{run}"], "name a SWEEP, or both configurations"),
    "two sweeps": (["{sweep}", "{run}"], "one SWEEP at most, got"),
    "no such sweep": (["nowhere"], "nowhere: there is no such file or folder"),
    "no such run": (["{sweep}", "--to", "nowhere"], "--to nowhere: there is no such file or folder"),
    "a trial that failed": (["{sweep}", "--to", "3"], "--to must be a completed trial of"),
    "a trial without a sweep": (["--from", "baseline", "--to", "{run}"], "--from baseline needs a SWEEP"),
    "one trial twice": (["{sweep}", "--from", "1", "--to", "best"], "--from and --to are one configuration, trial 1"),
    "one run twice": (["--from", "{run}", "--to", "{run}"], "are one configuration: there is nothing to measure"),
    "a folder without a run": (["--from", "{run}", "--to", "{empty}"], "a run's folder (one that holds config.yaml)"),
    "a file that is no config": (["--from", "{run}", "--to", "{file}"], "it must be a run's config.yaml, or have a"),
    "a run that is hostile": (["--from", "{run}", "--to", "{evil}"], "evil"),
    "a run that names a folder": (["--from", "{run}", "--to", "{writes}"], "'callbacks.checkpoint.dirpath' is not"),
    "a run that reads a secret": (["--from", "{run}", "--to", "{secret}"], "'model.note' is not taken from there"),
    "a damaged run": (["--from", "{run}", "--to", "{damaged}"], "config.yaml cannot be read"),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("places")
    made = {
        "sweep": write_sweep(folder / "sweep", (0.5, 0.7, 0.6, None)),
        "run": write_run(folder / "run"),
        "evil": write_run(folder / "evil", model___target_="os.system"),
        "writes": write_run(folder / "writes", callbacks__checkpoint__dirpath="/elsewhere"),
        "secret": write_run(folder / "secret", model__note="${oc.env:SECRET}"),
        "damaged": write_run(folder / "damaged"),
        "empty": folder / "empty",
        "file": folder / "file.yaml",
    }
    made["empty"].mkdir()
    made["file"].write_text("a: 1\n")
    (made["damaged"] / "config.yaml").write_text("[")
    return made


@pytest.mark.parametrize(("typed", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_measured_is_one_line(call, places: dict[str, Path], typed: list[str], says: str) -> None:
    words = [word.format(**places) for word in typed]

    one_line(call(lambda: ablate.main(words), *words), says)


@pytest.mark.parametrize(
    ("sweep", "says"),
    [
        ({"program": "python app.py"}, "is a sweep of another program (python app.py): its own command with hydra.sw"),
        ({"program": ""}, "whose program the study does not name"),
        ({"values": (0.9, 0.7)}, "is its baseline: there is nothing to measure"),
        ({"values": (None,)}, "has no completed trial"),
        (
            {"names": ("model.dropout",)},
            "searched model.dropout alone: there is nothing to divide, and its",
        ),
        ({"overrides": ["callbacks.checkpoint.dirpath=/x"]}, "'callbacks.checkpoint.dirpath' is not taken from there"),
        ({"overrides": ["model.width=${oc.env:SECRET}"]}, "'model.width' is not taken from there"),
    ],
)
def test_sweeps_that_cannot_be_measured(call, tmp_path: Path, sweep: dict[str, Any], says: str) -> None:
    folder = write_sweep(tmp_path / "s", **sweep)

    one_line(call(lambda: ablate.main([str(folder)]), folder), says)


def test_runs_that_read_different_data_are_refused(call, tmp_path: Path, monkeypatch) -> None:
    one, other = write_run(tmp_path / "one"), write_run(tmp_path / "other", "model.bn=true")
    training = SimpleNamespace(data_digest=lambda folder: folder.name, program="python src/train.py")
    monkeypatch.setattr(ablation_ends, "TRAINING", training)
    words = ["--from", str(one), "--to", str(other)]

    one_line(call(lambda: ablate.main(words), *words), "one and other have read different data")


@pytest.mark.slow
def test_a_sweep_of_digits(launch, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HYDRA_MAIN_MODULE", "__main__")
    folder = tmp_path / "study"
    few = (
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.sampler=random",
        "trainer.max_epochs=3",
        "optimizer.weight_decay=0",
    )
    point = "hydra.sweeper.enqueue=[{optimizer.lr: 0.03, model.width: 16, model.dropout: 0.1}]"
    done = launch("sweep=quick", f"hydra.sweep.dir={folder}", *TINY, *few, point, "optimizer.lr=interval(0.0005,0.1)")
    assert done.code == 0, done.err
    before = (folder / "study.journal").read_bytes()
    typed = [str(folder), "--from", "0", "--to", "1", "--seeds", "1", "--leave-one-out", "--test"]
    monkeypatch.setattr("sys.argv", ["ablate.py"])

    assert ablate.main([*typed, "hydra.sweeper.n_jobs=0"]) == 0

    found = read_ablation(folder)
    assert found is not None
    assert {each.change for each in found.effects} <= {"lr", "width", "dropout"}
    assert len(found.effects) >= 2
    assert all(each.test is not None for each in found.effects)
    assert found.on_test is not None
    assert (folder / "ablation.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "study.journal").read_bytes() == before
    kinds = [json.loads(file.read_text())["kind"] for file in folder.glob("ablation/*/result.json")]
    assert kinds == ["ablation"] * (len(found.effects) + 2)
