"""A sweep's trials train in one process each: what would start further ones is refused before the study is begun."""

from pathlib import Path

import pytest

from lightsweep.app import sweeping
from tiny import TINY


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["trainer.devices=3"], "trainer.devices must be one device in a sweep"),
        (["trainer=ddp"], "trainer.strategy must be auto in a sweep"),
        (["trainer.strategy=ddp_spawn"], "trainer.strategy must be auto in a sweep"),
        (["+trainer.num_nodes=4"], "trainer.num_nodes must be 1"),
        (["trainer.devices=choice(1,3)"], "trainer.devices must be one device in a sweep"),
        (["trainer.devices=range(1,3)"], "trainer.devices must be one device in a sweep"),
        (["trainer=choice(cpu,ddp)"], "trainer.strategy must be auto in a sweep"),
        (["+trainer.num_nodes=range(1,3)"], "trainer.num_nodes must be 1"),
    ],
)
def test_further_processes_are_refused_before_the_study_is_begun(toy_sweep, tmp_path: Path, overrides, line) -> None:
    done = toy_sweep("trainer.accelerator=cpu", *overrides)
    assert done.code == 1
    assert done.err.startswith(line), done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    "space",
    [
        "params: {trainer.devices: 2}",
        "params: {optimizer: 'choice(adam,sgd)'}, when: {optimizer=sgd: {trainer.devices: 'range(1,4)'}}",
        "params: {trainer: 'choice(cpu,ddp)'}, when: {trainer=ddp: {optimizer.lr: 'interval(0.1,0.2)'}}",
    ],
)
def test_also_where_a_sweep_file_says_so(launch, tmp_path: Path, space: str) -> None:
    (tmp_path / "own" / "sweep").mkdir(parents=True)
    text = f"# @package _global_\ndefaults: [quick, _self_]\nhydra: {{sweeper: {{{space}}}}}\n"
    (tmp_path / "own" / "sweep" / "mine.yaml").write_text(text)
    tiny = [line for line in TINY if not line.startswith("trainer=")]
    where = ("--config-dir", f"{tmp_path}/own", "sweep=mine", f"hydra.sweep.dir={tmp_path}/study")
    done = launch(*where, *tiny, "trainer.accelerator=cpu")
    assert done.code == 1
    assert "in a sweep, where each trial trains in one process" in done.err
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(("gpus", "code"), [(1, 0), (2, 1)])
def test_all_gpus_are_counted_where_this_process_trains(toy_sweep, monkeypatch, gpus: int, code: int) -> None:
    monkeypatch.setattr(sweeping, "_gpus_of_job", lambda in_this_process: gpus)
    done = toy_sweep("trainer.devices=auto", "trainer.accelerator=auto", "hydra.sweeper.n_trials=1")
    assert done.code == code, done.err
    assert ("trainer.devices must be one device" in done.err) == (code == 1)


def test_what_only_the_job_knows_is_refused_there(tiny_sweep, study, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(sweeping, "_gpus_of_job", lambda in_this_process: 1)
    done = tiny_sweep("trainer.devices=auto", "trainer.accelerator=auto", "hydra.sweeper.n_trials=1")
    assert done.code == 1
    assert study().trials[0].user_attrs["error"].startswith("trainer.devices must be one device in a sweep")


def test_the_official_sweeper_is_ended_by_its_first_job(launch, tmp_path: Path) -> None:
    small = [line for line in TINY if not line.startswith("hydra.")]
    where = f"hydra.sweep.dir={tmp_path}/official"
    done = launch("-m", "data=digits", *small, "hydra/sweeper=optuna", "trainer.devices=4", where)
    assert done.code == 1
    (line,) = (line for line in done.err.splitlines() if "trainer.devices" in line)
    assert line == "trainer.devices must be one device in a sweep, where each trial trains in one process, got 4"
    assert not list(tmp_path.rglob("config.yaml"))
