"""The command line: arguments made ready for Hydra; bad input as one line, with exit code 1 and no folder left."""

import errno
import json
import os
import pickle
import platform
import shutil
import sys
from pathlib import Path

import pytest

from lightsweep.app import arguments, entry
from lightsweep.app.arguments import prepare_arguments
from lightsweep.config import mistakes
from lightsweep.core.errors import ConfigError
from lightsweep.training.callbacks import Recorder

SMALL = ("data=digits", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "callbacks=none")


@pytest.fixture
def a_run(tmp_path: Path) -> Path:
    folder = tmp_path / "a run"
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 1\n")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [[], ["seed=1", "-m"], ["resume=null"], ["--cfg", "job"], ["hydra.run.dir=/tmp/there/is/no/run"]],
    ids=str,
)
def test_ordinary_arguments_go_to_hydra_as_they_are(arguments: list[str]) -> None:
    assert prepare_arguments(list(arguments)) == arguments


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_resumed_run_works_in_its_own_folder(a_run: Path, quote: str) -> None:
    given = ["test=false", f"resume={quote}{a_run}{quote}", "hydra.run.dir=elsewhere"]
    assert prepare_arguments(given) == ["test=false", f"resume='{a_run}'", f"hydra.run.dir='{a_run}'"]


def test_a_key_of_a_resumed_run_that_the_defaults_lack_is_accepted(a_run: Path) -> None:
    (a_run / "config.yaml").write_text(
        "scheduler: {patience: 3}\noptimizer: {lr: null}\ndata_dir: ${no}\nmodel: {hidden: [1, 2]}\noverrides: []\n"
    )
    given = [
        "scheduler.patience=5",
        "optimizer.lr=1",
        "data_dir=x",
        "model.hidden.1=3",
        "optimizer.lrr=1",
        "optimizer=sgd",
        "+a=1",
        "-c",
    ]
    forced = ["++scheduler.patience=5", "++optimizer.lr=1", "++data_dir=x", "++model.hidden.1=3"]
    assert prepare_arguments([*given, "overrides=[]", f"resume={a_run}"])[:-2] == [*forced, *given[4:], "overrides=[]"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lr_find=true", "-m"], "lr_find=true tests one setting, it cannot be swept (drop -m and sweep=)"),
        (["sweep=quick", "lr_find=True"], "lr_find=true tests one setting, it cannot be swept"),
        (["resume={run}", "-m"], "resume continues one run, it cannot be swept"),
        (["resume={run}/nothing"], "resume={run}/nothing: there is no such file or folder"),
        (["hydra.run.dir={run}"], "hydra.run.dir must be a folder without a run, got {run}"),
    ],
)
def test_arguments_that_would_lose_a_run_are_refused(a_run: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        prepare_arguments([argument.format(run=a_run) for argument in arguments])
    assert str(refusal.value).startswith(message.format(run=a_run))


NO_DATA = ["data=cifar10", "data_dir={tmp}/nowhere"]
BAD_INPUT: list[tuple[list[str], list[str]]] = [
    (["model.dropout=1.5"], ["model.dropout must be in [0, 1), got 1.5"]),
    (["model.hidden=[]"], ["model.hidden must be a list of integers >= 1", "got []"]),
    (["model.hidden=[256,-1]"], ["model.hidden must be a list of integers >= 1", "got [256, -1]"]),
    (
        ["model.hidden=[8]", "model.depth=3"],
        ["model.depth must not be set together with model.hidden", "model.depth=3"],
    ),
    (["model.activation=foo"], ["model.activation must be one of relu, gelu, tanh, silu, leaky_relu, got 'foo'"]),
    (["model.init=foo"], ["model.init must be one of torch, he_normal, ", "got 'foo'"]),
    (["optimizer=foo"], ["optimizer=foo", "adam", "adamw", "rmsprop", "sgd"]),
    (["experiment=foo"], ["experiment=foo: there is no such choice; there is ", "reference/a1, "]),
    (["experiment=reference/a9"], ["experiment=reference/a9: there is no such choice; there is ", "reference/a1, "]),
    (["optimizer.lrr=1"], ["optimizer.lrr: no config has this key; did you mean optimizer.lr?"]),
    (["optimizer.lr=-1"], ["optimizer.lr must be > 0, got -1"]),
    (["data.batch_size=0"], ["data.batch_size must be an integer >= 1, got 0"]),
    (["data.batch_size=5000"], ["data.batch_size must be at most 1294", "got 5000", "data.drop_last=false"]),
    (["data=fake", "data.shape=[3,100000,100000]"], ["data.shape, data.train_images", "36.3 TB", " are available"]),
    (["data=fake", "data.train_images=1000000000000"], ["data.train_images", "must fit into memory", " are available"]),
    (
        ["data=fake", "data.classes=1000000000", "data.train_images=2000000000"],
        ["data.classes", "must fit into memory"],
    ),
    (["data.augment.mixup=1e308"], ["data.augment.mixup must be in [0, 1000], got 1e+308"]),
    (["data.augment.noise=1e308"], ["data.augment.noise must be in [0, 100], got 1e+308"]),
    (["data.class_weights=[1e308,1,1,1,1,1,1,1,1,1]"], ["data.class_weights must be in (0, 1e6], got 1e+308"]),
    (["data.split_seed=10000000000"], ["data.split_seed must be an integer in [0, 4294967295], got 10000000000"]),
    (
        ["model.width=1000000", "model.depth=3"],
        ["model must fit into memory", "2,000,077,000,010 parameters", "8.0 TB"],
    ),
    (["+trainer.val_check_interval=100000"], ["trainer.val_check_interval", "100000"]),
    (["data.val_fraction=1"], ["data.val_fraction must be in (0, 1), got 1"]),
    (["data.limit=3"], ["data.limit must be at least 20", "got 3"]),
    (["monitor.metric=val/accc"], ["monitor.metric must be one of train/loss, ", "val/acc", "got 'val/accc'"]),
    (["trainer.max_epochs=abc"], ["trainer.max_epochs must be an integer >= 1, got 'abc'"]),
    (["scheduler=cosine", "scheduler.warmup=9"], ["scheduler.warmup must be in [0, 1), got 9"]),
    (
        ["scheduler=step", "+scheduler.foo=1"],
        ["scheduler.foo: lightsweep.training.optimization.step has no such argument; it takes "],
    ),
    (["loss.label_smoothing=1"], ["loss.label_smoothing must be in [0, 1), got 1"]),
    (["loss.l2=-1"], ["loss.l2 must be >= 0, got -1"]),
    (["decay_all=2"], ["decay_all must be true or false, got 2"]),
    (["trainer.precision=31"], ["trainer: ", "31"]),
    (["+trainer.warmth=1"], ["trainer.warmth: pytorch_lightning.Trainer has no such argument"]),
    (["seed="], ["seed must be an integer >= 0, got ''"]),
    (["seed"], ["seed"]),
    (["data.augment.crop=[1"], ["data.augment.crop"]),
    (["nonsense=1"], ["nonsense"]),
    (NO_DATA, ["lacks CIFAR-10", "put the files there", "LIGHTSWEEP_DATA", "data=digits"]),
    (["data=cifar10", "data_dir={tmp}/corrupt"], ["data_batch_1 is damaged or no batch file"]),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_INPUT, ids=lambda item: " ".join(item) if item else "")
def test_bad_input_is_one_line_exit_code_1_and_no_folder(
    launch, tmp_path: Path, monkeypatch, arguments: list[str], words: list[str]
) -> None:
    monkeypatch.setattr("torchvision.datasets.CIFAR10.url", "http://127.0.0.1:9/nobody-listens.tar.gz")
    corrupt = tmp_path / "corrupt" / "cifar-10-batches-py"
    corrupt.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
        (corrupt / name).write_bytes(b"\x80\x02}q\x00(U\x04da")
    filled = [argument.format(tmp=tmp_path) if "{tmp}" in argument else argument for argument in arguments]
    done = launch(*SMALL, f"hydra.run.dir={tmp_path}/runs/one", *filled)
    lines = [line for line in done.err.splitlines() if "not the official md5" not in line]
    assert done.code == 1
    assert len(lines) == 1, done.err
    assert [word for word in words if word not in lines[0]] == []
    assert list((tmp_path / "runs").glob("*")) == []


def test_a_bad_value_in_a_grid_costs_its_own_job_only(launch, tmp_path: Path) -> None:
    done = launch("-m", *SMALL, f"hydra.sweep.dir={tmp_path}/grid", "model.dropout=0.1,1.5,0.2")
    assert done.code == 1
    lines = [line for line in done.err.splitlines() if line]
    assert len([line for line in lines if "model.dropout must be in [0, 1), got 1.5" in line]) == 1
    results = {
        file.parent.name.partition("-")[0]: json.loads(file.read_text())
        for file in (tmp_path / "grid").glob("*/result.json")
    }
    assert {name: (result["status"], result["kind"]) for name, result in results.items()} == {
        "0": ("completed", "job"),
        "2": ("completed", "job"),
    }


def test_no_job_of_a_grid_that_cannot_be_composed_is_run(launch, tmp_path: Path) -> None:
    done = launch("-m", *SMALL, f"hydra.sweep.dir={tmp_path}/grid", "optimizer=adam,foo")
    assert done.code == 1
    assert "optimizer=foo" in done.err
    assert not list(tmp_path.rglob("result.json"))


def test_a_run_is_not_trained_over(launch, tmp_path: Path) -> None:
    folder = f"hydra.run.dir={tmp_path}/run"
    assert launch(*SMALL, folder).code == 0
    before = (tmp_path / "run" / "result.json").read_text()
    done = launch(*SMALL, folder)
    assert done.code == 1
    assert f"resume={tmp_path}/run" in done.err
    assert (tmp_path / "run" / "result.json").read_text() == before


@pytest.mark.parametrize("logger", ["none", "[csv,tensorboard]"])
@pytest.mark.parametrize("moment", ["on_train_epoch_start", "on_validation_start", "on_train_epoch_end"])
def test_a_folder_that_is_removed_while_its_run_trains(launch, tmp_path: Path, monkeypatch, logger, moment) -> None:
    """At any moment: what is written next fails, whether that is ours or a logger's."""
    folder = tmp_path / "run"
    before = getattr(Recorder, moment)

    def removing(self, trainer, *others):
        if trainer.current_epoch == 1:
            shutil.rmtree(folder, ignore_errors=True)
        return before(self, trainer, *others)

    monkeypatch.setattr(Recorder, moment, removing)
    done = launch(*SMALL, "trainer.max_epochs=4", f"logger={logger}", f"hydra.run.dir={folder}")
    assert done.code == 1
    assert done.err == f"the folder of the run was removed while it ran: {folder}\n"


def test_a_folder_that_is_removed_before_its_run_is_scored(launch, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr(Recorder, "on_fit_end", lambda *_: shutil.rmtree(folder), raising=False)
    done = launch(*SMALL, f"hydra.run.dir={folder}")
    assert (done.code, done.err) == (1, f"the folder of the run was removed while it ran: {folder}\n")


def test_a_log_file_that_cannot_be_written_is_named(type_command) -> None:
    type_command("train.py")
    error = ValueError("Unable to configure handler 'file'")
    error.__cause__ = PermissionError(13, "Permission denied", "/x/train.log")
    assert (
        mistakes.describe_error(error)
        == "the run's folder (hydra.run.dir) cannot be written: Permission denied (/x/train.log)"
    )


def test_hydras_own_job_logging_can_be_chosen(launch, tmp_path: Path) -> None:
    done = launch(*SMALL, f"hydra.run.dir={tmp_path}/run", "hydra/job_logging=disabled")
    assert (done.code, done.err) == (0, "")
    assert "epoch" not in done.out.partition("scored epoch")[0]


def test_full_error_shows_the_trace(monkeypatch, capsys, type_command) -> None:
    type_command("train.py")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def main() -> None:
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        entry.launch_app(main)


def test_a_bug_of_ours_is_raised_with_its_trace(monkeypatch, type_command) -> None:
    type_command("train.py")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def main() -> None:
        raise AssertionError("a bug")

    with pytest.raises(AssertionError, match="a bug"):
        entry.launch_app(main)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "/x/run"), ["hydra.run.dir", "No space left on device", "/x/run"]),
        (OSError(30, "Read-only file system", "/x"), ["hydra.run.dir", "Read-only file system"]),
        (PermissionError(13, "Permission denied", "/x"), ["hydra.run.dir", "Permission denied"]),
        (MemoryError(), ["there is not enough memory"]),
        (MemoryError("Unable to allocate\n9 TB"), ["there is not enough memory: Unable to allocate 9 TB"]),
        (RuntimeError("CUDA out of memory. Tried"), ["there is not enough memory: CUDA out of memory. Tried"]),
    ],
)
def test_a_folder_that_cannot_be_written_is_named(error: OSError, words: list[str]) -> None:
    line = mistakes.describe_error(error)
    assert line is not None
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (["model.bn=true"], "run's folder (hydra.run.dir)"),
        (["-m", "sweep=mlp"], "sweep's folder (hydra.sweep.dir)"),
        (["sweep=mlp", "hydra.mode=MULTIRUN"], "sweep's folder (hydra.sweep.dir)"),
    ],
    ids=["run", "grid", "sweep"],
)
def test_a_full_disk_is_reported_with_the_key_of_the_folder(type_command, typed: list[str], named: str) -> None:
    type_command("train.py", *typed)
    full = OSError(errno.ENOSPC, "No space left on device", "a file")
    assert mistakes.describe_error(full) == f"the {named} cannot be written: No space left on device (a file)"


def raised(error: Exception, **marks: object) -> Exception:
    for name, value in marks.items():
        setattr(error, name, value)
    return pickle.loads(pickle.dumps(error))  # as it comes back from a launcher's process


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            raised(ConfigError("no"), job=3, printed_by=("elsewhere", 5)),
            "job 3: no\n",
        ),  # nobody reads what a node prints
        (raised(ConfigError("no"), job=0, printed_by=(platform.node(), -1)), "job 0: no\n"),
        (raised(ConfigError("no"), job=3, printed_by=(platform.node(), os.getpid())), ""),
        (raised(ConfigError("no\x1b[2J\x07"), job=3, printed_by=None), "job 3: no"),
        (raised(ConfigError("no")), "no\n"),
    ],
    ids=["another machine", "another process", "this one", "hostile", "no job"],
)
def test_an_error_of_a_job_is_printed_once(monkeypatch, capsys, error: Exception, expected: str, type_command) -> None:
    type_command("train.py", "-m")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        entry.launch_app(main)
    assert end.value.code == 1
    err = capsys.readouterr().err
    assert err.startswith(expected)
    assert len(err.splitlines()) == bool(expected)
    assert "\x1b" not in err


def test_jobs_find_the_modules_that_this_process_finds(tmp_path: Path, monkeypatch) -> None:
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "mine"), sys.prefix])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path / "theirs"), "", str(tmp_path / "mine"))))
    for _ in range(2):
        arguments._share_search_path()
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(tmp_path / "mine"), str(tmp_path / "theirs")]


def test_a_grid_does_not_begin_where_jobs_of_submitit_lie(launch, tmp_path) -> None:
    """A job runs what lies there under its number, and the folder may be somebody else's."""
    (tmp_path / "grid" / ".submitit").mkdir(parents=True)
    done = launch("-m", "data=digits", "seed=1,2", f"hydra.sweep.dir={tmp_path}/grid")
    assert done.code == 1
    assert done.err.strip() == (
        f"hydra.sweep.dir: {tmp_path}/grid holds jobs of submitit, which could run: take a new folder"
    )
