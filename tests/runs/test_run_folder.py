"""A run's folder: found, read, put on top of, and removed when nothing was ever run in it."""

import os
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError, Interrupted, RunFailed
from lightsweep.runs import run_folder, saved_config


def make_run(folder: Path, born: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 1\n")
    os.utime(folder / "config.yaml", (born, born))
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(run_folder, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs" / "runs"


def test_finds_a_run_to_resume_by_its_path_or_its_name(runs: Path, tmp_path: Path) -> None:
    folder, other = make_run(tmp_path / "a run"), make_run(runs / "b")
    assert run_folder.find_resumable("a run") == folder
    assert run_folder.find_resumable(str(folder)) == folder
    assert run_folder.find_resumable("b") == other


@pytest.mark.parametrize("name", ["a", "latest"])
def test_a_folder_that_cannot_be_written_is_not_resumed(runs: Path, monkeypatch, name: str) -> None:
    folder = make_run(runs / "a")
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(ConfigError) as refusal:
        run_folder.find_resumable(name)
    assert str(refusal.value) == f"resume: {folder} cannot be written, and a run is resumed in its own folder"


def test_only_a_file_that_is_missing_with_the_config_is_the_loss_of_a_folder(tmp_path: Path) -> None:
    missing = FileNotFoundError(2, "No such file or directory", "metrics.csv")
    lost = run_folder.explain_lost_folder(tmp_path / "gone", missing)
    assert str(lost) == f"the folder of the run was removed while it ran: {tmp_path}/gone"
    unreadable = ConfigError("last.ckpt is no checkpoint")
    unreadable.__cause__ = missing
    assert type(run_folder.explain_lost_folder(tmp_path / "gone", unreadable)) is RunFailed
    for error in (missing, unreadable):
        assert run_folder.explain_lost_folder(make_run(tmp_path / str(id(error))), error) is error
    full = OSError(28, "No space left on device")
    assert run_folder.explain_lost_folder(tmp_path / "gone", full) is full


def test_latest_is_the_newest_run(runs: Path) -> None:
    make_run(runs / "c", born=10)
    newest = make_run(runs / "a", born=30)
    make_run(runs / "b", born=20)
    (runs / "z").mkdir()  # no run
    assert run_folder.find_resumable("latest") == newest


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("latest", "resume=latest: there is no run in "),
        ("nowhere", "resume=nowhere: there is no such file or folder"),
        ("x" * 300, "resume=xxx"),
        ("empty", "resume must be a run's folder (one that holds config.yaml) or latest, got 'empty'"),
    ],
)
def test_a_name_of_no_run_is_refused(runs: Path, tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as refusal:
        run_folder.find_resumable(name)
    assert str(refusal.value).startswith(line)


@pytest.mark.parametrize("content", [b"a: [1", b"\xff\xfe\x00", b"- 1\n", b"a: !!python/object/apply:os.getcwd []\n"])
def test_a_damaged_config_is_named_on_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config.yaml cannot be read \(") as refusal:
        saved_config.read_config(tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.fixture
def resumed(compose):
    """A run's own config, started with seed 5 and SGD, with what is typed now on top."""

    def put_on_top(*overrides: str) -> DictConfig:
        own = OmegaConf.create(
            OmegaConf.to_yaml(compose("seed=5", "optimizer=sgd", "optimizer.lr=0.5", "data.augment.crop=3"))
        )
        own.overrides = ["seed=5"]
        return saved_config.with_overrides(own, compose(*overrides), list(overrides), {"optimizer", "logger", "data"})

    return put_on_top


@pytest.mark.parametrize("typed", ["init_from=elsewhere", "lr_find=true"])
def test_a_resumed_run_does_not_start_from_another(compose, typed: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{typed}: a resumed run keeps its own weights and learning rate"):
        saved_config.with_overrides(compose(), compose(), [typed], set())


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        ([], "seed", 5),
        ([], "optimizer.lr", 0.5),
        (["trainer.max_epochs=40"], "trainer.max_epochs", 40),
        (["trainer.max_epochs=40"], "seed", 5),
        (["seed=6"], "seed", 6),
        (["optimizer=adam"], "optimizer._target_", "torch.optim.Adam"),
        (["optimizer=adam"], "optimizer.nesterov", None),
        (["optimizer=adam", "optimizer.lr=0.2"], "optimizer.lr", 0.2),
        (["+trainer.profiler=simple"], "trainer.profiler", "simple"),
        (["model.hidden=[4,2]"], "model.hidden", [4, 2]),
        (["data.augment={flip:true}"], "data.augment.flip", True),
        (["data.augment={flip:true}"], "data.augment.crop", 3),
        (["optimizer={lr:0.1}"], "optimizer.lr", 0.1),
        (["optimizer={lr:0.1}"], "optimizer._target_", "torch.optim.SGD"),
    ],
)
def test_keeps_its_own_config_with_what_is_typed_on_top(resumed, overrides: list[str], key: str, value) -> None:
    cfg = resumed(*overrides)
    assert OmegaConf.select(cfg, key) == value


def test_remembers_what_was_typed_then_and_now(resumed, tmp_path: Path) -> None:
    run = make_run(tmp_path / "earlier", born=10)
    assert resumed("trainer.max_epochs=40", f"resume={run}").overrides == ["seed=5", "trainer.max_epochs=40"]
    assert resumed("trainer.max_epochs=40", "seed=5").overrides == ["trainer.max_epochs=40", "seed=5"]  # once each


@pytest.mark.parametrize("typed", ["++optimizer.lr=0.1", "++run_dir=x", "logger=csv", "++trainer.profiler=simple"])
def test_remembers_it_as_it_was_typed(resumed, typed: str) -> None:
    kept = {"++optimizer.lr=0.1": ["optimizer.lr=0.1"], "++run_dir=x": []}
    assert resumed(typed).overrides == ["seed=5", *kept.get(typed, [typed])]


def test_a_key_that_only_the_defaults_have_is_refused(resumed) -> None:
    with pytest.raises(ConfigError, match=r"^optimizer\.eps: no config has this key.* \(\+optimizer\.eps adds"):
        resumed("optimizer.eps=0.1")
    assert resumed("++optimizer.eps=0.1").optimizer.eps == 0.1  # as it says
    assert resumed("optimizer.betas=[0.8,0.9]", "optimizer=adam").optimizer.betas == [0.8, 0.9]


def test_what_was_typed_at_a_resume_is_kept_and_the_run_is_no_newer_for_it(resumed, compose, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", born=10)
    saved_config.write_changes(compose("seed=7"), run)
    assert (run / "config.yaml").read_text() == "seed: 1\n"  # no resumed run's: what was written at its callback stands
    saved_config.write_changes(resumed("trainer.max_epochs=40", "data_dir=images"), run)
    kept = saved_config.read_config(run)
    assert (kept.seed, kept.trainer.max_epochs, kept.overrides) == (
        5,
        40,
        ["seed=5", "trainer.max_epochs=40", "data_dir=images"],
    )
    assert kept.data_dir == str(Path.cwd() / "images")
    assert (run / "config.yaml").stat().st_mtime == 10


@pytest.mark.parametrize(
    ("below", "kind"),
    [
        ("runs/2026-11-21", "run"),
        ("grid/3", "job"),
        ("official/3", "job"),
        ("sweep/trial-0003", "trial"),
        ("sweep/trial-0003/seed-1", "seed"),
        ("sweep/confirm/best-seed-1", "confirmation"),
    ],
)
def test_a_run_is_resumed_as_what_it_was(tmp_path: Path, below: str, kind: str) -> None:
    (tmp_path / below).mkdir(parents=True)
    if not below.startswith(("runs", "official")):
        (tmp_path / below.partition("/")[0] / "multirun.yaml").touch()
    assert run_folder.kind_of_run(tmp_path / below) == kind


@pytest.mark.parametrize("override", ["~logger", "experiment=best", "sweep=mlp"])
def test_an_experiment_or_a_sweep_is_not_added_to_a_resumed_run(compose, override: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{override}: a resumed run keeps its own"):
        saved_config.with_overrides(compose(), compose(), [override], {"logger"})


@pytest.mark.parametrize("kept", ["metrics.csv", "result.json", "checkpoints"])
def test_discard_keeps_a_run_that_started(tmp_path: Path, kept: str) -> None:
    folder = make_run(tmp_path / "run")
    (folder / kept).touch()
    run_folder.discard_folder(folder)
    assert sorted(file.name for file in folder.iterdir()) == sorted(["config.yaml", kept])


def test_discard_removes_what_hydra_wrote(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").touch()
    (folder / "train.log").touch()
    run_folder.discard_folder(folder)
    assert not folder.exists()


def test_discard_keeps_what_is_the_users(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / "notes.txt").touch()
    run_folder.discard_folder(folder)
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(("error", "stays"), [(Interrupted(15), True), (ValueError("of Hydra's"), False)])
def test_a_folder_stays_if_a_signal_came_before_the_job(
    tmp_path: Path, monkeypatch, capsys, error, stays: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    config = OmegaConf.create({"seed": 1, "hydra": {"run": {"dir": "a run"}, "overrides": {"task": ["seed=1"]}}})
    callback = saved_config.ConfigFirst()

    def hydra_runs() -> None:
        callback.on_run_start(config)
        try:
            raise error
        finally:
            callback.on_run_end(config)

    with pytest.raises(type(error)):
        hydra_runs()
    folder = tmp_path / "a run"
    assert run_folder.is_run(folder) == folder.exists() == stays
    line = f"interrupted: python src/train.py resume='{folder}' continues the run\n"
    assert capsys.readouterr().err == (line if stays else "")


def a_grid(folder: Path, job: Path, *, trained: bool, jobs: int = 1, launcher: str = "basic") -> None:
    """What Hydra tells the callback of a grid whose jobs lie in `job`, below it or elsewhere."""
    runtime = {"output_dir": str(job), "choices": {"hydra/launcher": launcher, "hydra/sweeper": "basic"}}
    sweep = {"dir": str(folder), "subdir": str(job)}
    config = OmegaConf.create({"seed": 1, "hydra": {"sweep": sweep, "runtime": runtime, "overrides": {"task": []}}})
    callback = saved_config.ConfigFirst()
    callback.on_multirun_start(config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "multirun.yaml").touch()
    for _ in range(jobs):
        job.mkdir(parents=True)
        callback.on_job_start(config)
        if trained:
            (job / "result.json").touch()
        else:
            run_folder.discard_folder(job)
        callback.on_job_end(config, None)
    callback.on_multirun_end(config)


@pytest.mark.parametrize("below", ["grid/0", "elsewhere/0"])
def test_a_grid_whose_jobs_trained_stays_wherever_they_lie(tmp_path: Path, below: str) -> None:
    a_grid(tmp_path / "grid", tmp_path / below, trained=True)
    assert (tmp_path / "grid" / "multirun.yaml").exists()
    assert (tmp_path / below / "result.json").exists()


@pytest.mark.parametrize("below", ["made/grid/0", "elsewhere/0"])
def test_a_grid_in_which_nothing_was_trained_is_removed(tmp_path: Path, below: str) -> None:
    a_grid(tmp_path / "made" / "grid", tmp_path / below, trained=False)
    assert not (tmp_path / "made").exists()


def test_a_grid_without_a_job_is_a_failure_and_leaves_what_was_there(tmp_path: Path, capsys) -> None:
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "notes.txt").touch()
    with pytest.raises(SystemExit):
        a_grid(tmp_path / "grid", tmp_path / "grid" / "0", trained=False, jobs=0)
    assert capsys.readouterr().err.startswith("no job was run")
    assert [file.name for file in (tmp_path / "grid").iterdir()] == ["notes.txt"]


def test_jobs_of_a_launcher_that_lie_elsewhere_are_not_missed(tmp_path: Path) -> None:
    a_grid(tmp_path / "grid", tmp_path / "elsewhere" / "0", trained=False, jobs=0, launcher="joblib")
    assert (tmp_path / "grid" / "multirun.yaml").exists()


def test_leftovers_of_a_killed_run_are_removed_when_the_next_one_starts(launch, tmp_path: Path) -> None:
    leftover = tmp_path / ".earlier.0123abcd.lightsweep-new"
    leftover.mkdir()
    small = ("data=digits", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "callbacks=none", "data.limit=200")
    assert launch(*small, f"hydra.run.dir={tmp_path}/first").code == 0
    assert not leftover.exists()
    left = tmp_path / "first" / "checkpoints" / ".last.ckpt.abc.lightsweep-part"
    left.touch()
    assert launch(f"resume={tmp_path}/first", "trainer.max_epochs=2").code == 0
    assert not left.exists()
