"""The attacks once more against whole commands, in processes of their own, workers included.

A module of the attacker's lies where Python finds it: whatever imports it leaves a marker.
"""

import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from digits_runs import trained
from forked import Forked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SRC = Path(__file__).resolve().parents[2] / "src"
IMPORTS = {"_target_": "torch.nn.attention._fa3._fa3_import_module", "module_path": "evilmod"}
LINKS = {
    "_target_": "pytorch_lightning.callbacks.ModelCheckpoint._link_checkpoint",
    "_args_": [{"_target_": "pytorch_lightning.Trainer"}, "{run}/notes.txt", "{home}/evil_linked.py"],
}


@pytest.fixture
def command(scene, tmp_path_factory: pytest.TempPathFactory):
    """Run one of the scripts; it must end with code 1, without a trace, and nothing may have happened."""
    (scene.victim.parent / "evilmod.py").write_text(f"open({str(scene.marker)!r}, 'w')\n")
    scene.before = scene._elsewhere()
    told, count = tmp_path_factory.mktemp("told"), itertools.count()

    def run(script: str, *arguments: str, says: str) -> None:
        said, places = told / str(next(count)), {"PYTHONPATH": str(scene.victim.parent), "SECRET": "hunter2"}
        ended = Forked(list(arguments), script=SRC / script, cwd=scene.run, said=said, environment=places).wait()
        assert ended.code == 1, ended.out + ended.err
        assert "Traceback" not in ended.err
        assert says in ended.err
        assert "hunter2" not in ended.out + ended.err
        scene.assert_untouched()

    return run


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("kept"), "trainer.max_epochs=1").folder


def evil(config: dict[str, Any], scene) -> dict[str, Any]:
    config["run_dir"] = "${hydra:runtime.output_dir}"
    config["model"]["dropout"] = scene.filled({"a": LINKS, "b": IMPORTS})
    config["data"]["limit"] = scene.filled({"a": LINKS, "b": IMPORTS})
    config["seed"] = "${oc.coerce:evilmod.x,1}"
    return config


def test_a_run_of_somebody_else(scene, kept: Path, command) -> None:
    shutil.copytree(kept, scene.run, dirs_exist_ok=True)
    config = yaml.safe_load((scene.run / "config.yaml").read_text())
    (scene.run / "config.yaml").write_text(yaml.safe_dump(evil(config, scene)))
    path = scene.run / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["lightsweep"]["model"]["dropout"] = scene.filled({"a": LINKS, "b": IMPORTS})
    torch.save(content, path)
    shutil.copy(path, scene.run / "alone.ckpt")

    command("train.py", f"resume={scene.run}", "trainer.max_epochs=2", says="must not have a _target_")
    command("evaluate.py", str(scene.run), says="must not have a _target_")
    command("predict.py", str(scene.run / "alone.ckpt"), str(scene.victim), says="must not have a _target_")


def test_configs_of_somebody_else(scene, command) -> None:
    header = "# @package _global_\n"
    handler = {"class": "logging.FileHandler", "filename": "{victim}", "mode": "a"}
    job_logging = {"handlers": {"evil": handler}, "root": {"handlers": ["evil"]}}
    quick: dict[str, Any] = {"defaults": ["quick", "_self_"], "data": {"limit": 200}, "trainer": {"accelerator": "cpu"}}
    scene.write("experiment/evil.yaml", {"model": {"dropout": {"a": LINKS, "b": IMPORTS}}}, header)
    scene.write("experiment/logging.yaml", {"hydra": {"job_logging": job_logging}}, header)
    scene.write("primary.yaml", {"defaults": ["train", "_self_"], "hydra": {"searchpath": ["pkg://evilmod"]}})
    sweeper = {"study_name": "evil", "n_trials": 1, "params": {"experiment": "logging"}}
    scene.write("sweep/evil.yaml", quick | {"hydra": {"sweeper": sweeper}}, header)
    scene.write("sweep/preload.yaml", quick | {"hydra": {"sweeper": {"preload": ["evilmod"]}}}, header)
    mine = (
        "--config-dir",
        str(scene.folder / "conf"),
        f"hydra.run.dir={scene.run}/new",
        f"hydra.sweep.dir={scene.run}/sweep",
    )

    command("train.py", *mine, "experiment=evil", "data=digits", says="must not have a _target_")
    command("train.py", *mine, "--config-name", "primary", "data=digits", says="hydra.searchpath must hold folders")
    command("train.py", *mine, "sweep=preload", says="hydra.sweeper.preload must be typed")
    command("train.py", *mine, "sweep=evil", says="handlers.evil.filename must lie in the run's folder")


def test_a_sweeps_worker_is_as_careful(scene, command) -> None:
    """A worker composes by itself what its trial drew: here a file that only some trials choose."""
    header = "# @package _global_\n"
    handler = {"class": "logging.FileHandler", "filename": "{victim}", "mode": "a"}
    scene.write("experiment/fine.yaml", {"seed": 1}, header)
    scene.write("experiment/logging.yaml", {"hydra": {"job_logging": {"handlers": {"evil": handler}}}}, header)
    scene.write(
        "experiment/path.yaml", {"callbacks": {"checkpoint": {"dirpath": "{home}"}}, "data": {"limit": 200}}, header
    )
    space = ("sweep=quick", "experiment=choice(logging,path)", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1")
    typed = (
        "trainer=cpu",
        "trainer.max_epochs=1",
        "logger=none",
        "callbacks=checkpoint",
        f"hydra.sweep.dir={scene.run}/sweep",
    )
    mine = (
        "--config-dir",
        str(scene.folder / "conf"),
        "hydra.sweeper.enqueue=[{experiment:path},{experiment:logging}]",
    )
    command("train.py", *mine, *space, *typed, says="none of")
    board = (scene.run / "sweep" / "leaderboard.csv").read_text()
    assert "handlers.evil.filename must lie in the run's folder" in board
    assert "callbacks.checkpoint.dirpath must lie in" in board


def test_a_report_waits_for_no_pipe(scene, command) -> None:
    os.mkfifo(scene.run / "result.json")
    command("report.py", str(scene.run), says="no run found there")
