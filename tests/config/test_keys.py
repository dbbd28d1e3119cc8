"""A key that no config has is refused, with the key that was meant; ``+`` is for what is open by nature."""

import json
from pathlib import Path

import pytest
import yaml

from lightsweep.core.text import find_nearest

KEYS = ("optimizer.lr", "optimizer.weight_decay", "model.width", "data.batch_size", "trainer.max_epochs", "seed")
MEANT: list[tuple[list[str], str]] = [
    (["weight_decay=0.1"], "weight_decay: no config has this key; did you mean optimizer.weight_decay?"),
    (["+dropout=0.2"], "+dropout: no config has this key; did you mean model.dropout?"),
    (["++batch_size=8"], "++batch_size: no config has this key; did you mean data.batch_size?"),
    (["n_jobs=2"], "n_jobs: no config has this key; did you mean hydra.sweeper.n_jobs?"),
    (["scheduller=cosine"], "scheduller: no config has this key; did you mean scheduler?"),
    (["model.activaton=gelu"], "model.activaton: no config has this key; did you mean model.activation?"),
    (["data/augment/flip=true"], "data/augment/flip: no config has this key; did you mean data.augment.flip?"),
    (["model={dropuot:0.1}"], "model.dropuot: no config has this key; did you mean model.dropout?"),
    (["~momentum"], "~momentum: no config has this key"),
    (["~model.bnn"], "~model.bnn: no config has this key; did you mean model.bn?"),
    (["+loss.l2_heads=1"], "+loss.l2_heads: no config has this key; did you mean loss.l2_head?"),
    (["+monitor.patience=3"], "+monitor.patience: no config has this key; did you mean "),
    (["learning_rate=0.1"], "learning_rate: no config has this key; did you mean optimizer.lr?"),
    (["scheduler.factor=0.1"], "scheduler.factor: no config has this key; it comes with scheduler=plateau or "),
    (["+callbacks.ema.every=2"], "+callbacks.ema.every: no config has this key; it comes with callbacks=ema"),
    (["trainer.max_time=00:00:01:00"], "(+trainer.max_time adds an argument of pytorch_lightning.Trainer)"),
    (["hydra.sweeper.confirm=2"], "hydra.sweeper.confirm: no config has this key; it comes with a sweep: sweep=NAME"),
    (["hydra.swep.dir=x"], "hydra.swep.dir: no config has this key; did you mean hydra.sweep.dir"),
    (["hydra/launchr=ray"], "did you mean hydra.launcher or hydra/launcher?"),
    (["-m", "width=8,16"], "width: no config has this key; did you mean model.width?"),
    (["-m", "+width=8,16"], "+width: no config has this key; did you mean model.width?"),
    (["sweep=quick", "width=choice(8,16)"], "width: no config has this key; did you mean model.width?"),
    (["sweep=quick", "+dept=range(1,3)"], "+dept: no config has this key; did you mean model.depth"),
    (["sweep=quick", "hydra.sweeper.max_failure=3"], "did you mean hydra.sweeper.max_failures?"),
    (["+optimizer.momentun=0.1", "optimizer=sgd"], "optimizer.momentun: torch.optim.SGD has no such argument; did you"),
    (["+trainer.max_step=3"], "trainer.max_step: pytorch_lightning.Trainer has no such argument; did you mean "),
    (["+data.augment.mixupp=1"], "has no such argument; did you mean data.augment.mixup?"),
    (["+data.val_fractions=0.2"], "no such argument; did you mean data.val_fraction?"),
    (
        ["+callbacks.timer={_target_:pytorch_lightning.callbacks.Timer,durration:1}"],
        "did you mean callbacks.timer.duration?",
    ),
    (
        ["sweep=quick", "+optimizer.momentun=choice(0.1,0.9)"],
        "optimizer.momentun: torch.optim.SGD has no such argument",
    ),
    (["+experiment=best_mlp"], "+experiment=best_mlp: experiment has a choice already; type experiment=best_mlp"),
    (["+model=cnn"], "+model=cnn: model has a choice already; type model=cnn"),
    (["sweep=custom", "model.depth=[2,3]"], "every trial, and nothing is searched: 'model.depth=choice(2,3)' searches"),
    (["sweep=quick", "optimizer.lr=loguniform(1e-3,1)"], "type 'optimizer.lr=tag(log, interval(1e-3,1))'"),
    (["sweep=quick", "+hydra.sweeper.pruner.n_warmup_step=1"], "did you mean hydra.sweeper.pruner.n_warmup_steps?"),
]


@pytest.mark.parametrize(("typed", "message"), MEANT, ids=lambda item: " ".join(item) if isinstance(item, list) else "")
def test_an_unknown_key_is_refused_with_a_proposal(launch, tmp_path, typed, message) -> None:
    kind = "sweep" if typed[0] in ("-m", "sweep=quick") else "run"
    done = launch("data=digits", "trainer=cpu", "logger=none", f"hydra.{kind}.dir={tmp_path}/new", *typed)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1, done.err
    assert message in done.err
    assert "To append" not in done.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("group", ["experiment", "sweep"])
def test_a_file_without_a_global_package_is_refused(launch, tmp_path, group: str) -> None:
    (tmp_path / group).mkdir()
    (tmp_path / group / "own.yaml").write_text("model:\n  width: 8\n")
    done = launch("--config-dir", str(tmp_path), f"{group}=own", "data=digits", f"hydra.run.dir={tmp_path}/new")
    assert done.code == 1
    assert done.err.startswith(f"{group}/own.yaml must begin with the line '# @package _global_'")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "typed",
    [
        ["+trainer.max_steps=3"],
        ["+optimizer.amsgrad=true", "optimizer=adamw"],
        ["+experiment/reference=a1"],
        ["+hydra.job.env_copy=[]"],
        ["+mine.width=32", "model.width=${mine.width}"],
        ["+callbacks.timer._target_=pytorch_lightning.callbacks.Timer", "+callbacks.timer.interval=epoch"],
        ["++model.width=16"],
        ["model={width:16,depth:1}"],
        ["~callbacks.histograms"],
        ["experiment=reference/a4", "callbacks=none"],  # whose patience is of a callback that is not there
    ],
    ids=" ".join,
)
def test_open_keys_can_be_added_with_a_plus(launch, tmp_path: Path, typed: list[str]) -> None:
    done = launch("--cfg", "job", *typed)
    assert (done.code, done.err) == (0, "")


FILES = {
    "optimzer: {lr: 1}": "experiment/own.yaml: optimzer: no config has this key; did you mean optimizer?",
    "max_epochs: 3": "experiment/own.yaml: max_epochs: no config has this key; did you mean trainer.max_epochs?",
    "callbacks: {early_stoping: {patience: 5}}": (
        "callbacks.early_stoping: no config has this key; did you mean callbacks.early_stopping?"
    ),
    "optimizer: {weigth_decay: 1}": "optimizer.weigth_decay: torch.optim.Adam has no such argument; did you mean",
    "loss: {smoothing: 0.1}": "loss.smoothing must be one of label_smoothing, l2, l2_head",
}


def own(folder: Path, text: str, group: str = "experiment") -> list[str]:
    (folder / "conf" / group).mkdir(parents=True)
    (folder / "conf" / group / "own.yaml").write_text(f"# @package _global_\n{text}\n")
    return ["--config-dir", str(folder / "conf"), f"{group}=own"]


@pytest.mark.parametrize(("text", "message"), FILES.items(), ids=FILES)
def test_a_config_files_key_without_effect_is_refused(launch, tmp_path: Path, text: str, message: str) -> None:
    done = launch("data=digits", "trainer=cpu", f"hydra.run.dir={tmp_path}/new", *own(tmp_path, text))
    assert done.code == 1
    assert done.err.startswith(message)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["mine: 32\nmodel: {width: '${mine}'}", "model: {width: 32}"])
def test_a_config_files_key_that_something_reads_is_kept(launch, tmp_path: Path, text: str) -> None:
    done = launch("--cfg", "job", "--resolve", *own(tmp_path, text))
    assert done.code == 0
    assert yaml.safe_load(done.out)["model"]["width"] == 32


SWEEPERS = {
    "search_space: {optimizer.lr: {type: float, low: 1.0e-4, high: 1.0e-2}}": (
        "hydra.sweeper.search_space: no config has this key; did you mean hydra.sweeper.params?"
    ),
    "n_trails: 3": "hydra.sweeper.n_trails: no config has this key; did you mean hydra.sweeper.n_trials?",
    "params: {model.widht: 'choice(8,16)'}": "model.widht: no config has this key; did you mean model.width?",
    "params: {lr: 'interval(0.1,1.0)'}": "lr: no config has this key; did you mean optimizer.lr?",
    "params: {model.width: [8, 16]}": "model.width must be one value in each trial, got the list [8, 16]: ",
    "params: {data.batch_size: {values: [8, 16]}}": (
        "hydra.sweeper.params.data.batch_size must be written choice(8,16), got {'values': [8, 16]}"
    ),
    "when: {optimizer=adamw: {optimizer.ep: 'choice(0.1,0.2)'}}": "optimizer.ep: no config has this key; did you mean",
    "sampler: {sead: 3}": (
        "hydra.sweeper.sampler.sead: lightsweep.sweeper.auto.AutoSampler has no such argument; did you mean "
    ),
}


@pytest.mark.parametrize(("text", "message"), SWEEPERS.items(), ids=SWEEPERS)
def test_a_sweeps_file_is_checked_too(launch, tmp_path: Path, text: str, message: str) -> None:
    lines = f"defaults: [/sweep/quick, _self_]\nhydra: {{sweeper: {{study_name: own, {text}}}}}"
    done = launch("trainer=cpu", "optimizer=adamw", f"hydra.sweep.dir={tmp_path}/new", *own(tmp_path, lines, "sweep"))
    assert done.code == 1
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith(message)
    assert not (tmp_path / "new").exists()


def test_a_best_config_of_an_earlier_version_may_hold_keys_without_effect(launch, tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text("defaults: [train, _self_]\nlr: 0.1\nmodel: {width: 32}\n")
    done = launch("--config-dir", str(tmp_path), "--config-name", "best", "--cfg", "job")
    assert done.code == 0
    assert yaml.safe_load(done.out)["model"]["width"] == 32


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("lr", ["optimizer.lr"]),
        ("Model.Width", ["model.width"]),
        ("model.widht", ["model.width"]),
        ("epochs", ["trainer.max_epochs"]),
        ("nothing_like_it", []),
    ],
)
def test_the_nearest_keys(key: str, found: list[str]) -> None:
    assert find_nearest(key, KEYS) == found


def test_a_resumed_runs_keys_are_those_of_its_own_config(launch, tmp_path: Path) -> None:
    folder = f"{tmp_path}/run"
    small = ("data=digits", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "callbacks=none", "data.limit=100")
    assert launch(*small, "scheduler=plateau", f"hydra.run.dir={folder}").code == 0
    done = launch(f"resume={folder}", "scheduler.patiense=5")
    assert done.code == 1
    assert done.err.startswith("scheduler.patiense: no config has this key; did you mean scheduler.patience")
    assert launch(f"resume={folder}", "+patience=5").err == (
        "+patience: no config has this key; did you mean scheduler.patience, hydra.sweeper.patience or"
        " callbacks.early_stopping.patience?\n"
    )
    assert launch(f"resume={folder}", "scheduler.patience=5", "trainer.max_epochs=2").code == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 2
