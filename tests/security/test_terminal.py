"""Escape sequences that somebody put into a name command no terminal."""

from typing import Any

import optuna
import torch
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

import toy
from lightsweep.sweeper.storage import connect
from tiny import TINY

ESCAPE = "\x1b]0;PWNED\x07\x1b[2J"


def test_of_a_key(scene, attack) -> None:
    node = {"callbacks": {ESCAPE: {"_target_": "os.system"}}}
    scene.write("experiment/evil.yaml", node, "# @package _global_\n")
    line = attack("experiment=evil", says="must be in the allowlist")
    assert "PWNED" in line
    assert "\x1b" not in line


def test_of_a_studys_parameter(scene, launch) -> None:
    connect.cache_clear()
    study = optuna.create_study(
        study_name="quick", storage=connect(str(scene.run / "study.journal")), direction="maximize"
    )
    value = f"'{ESCAPE}'"  # as Hydra reads it
    distributions: Any = {"+x": CategoricalDistribution([value])}
    study.add_trial(
        create_trial(state=TrialState.COMPLETE, params={"+x": value}, distributions=distributions, value=9.0)
    )
    connect.cache_clear()
    where = f"hydra.sweep.dir={scene.run}"
    done = launch("sweep=quick", *TINY, "callbacks=none", "hydra.sweeper.n_trials=2", where, main=toy.main)
    assert "PWNED" in done.out
    assert "\x1b]" not in done.out + done.err
    assert "\x1b" not in (scene.run / "leaderboard.md").read_text()


def test_of_a_tensor(scene, finished, run, caplog) -> None:
    content = finished.checkpoint("best.ckpt")
    content["state_dict"] = {**content["state_dict"], ESCAPE: torch.zeros(1)}
    torch.save(content, scene.run / "evil.ckpt")
    with caplog.at_level("INFO"):
        run("model.bn=true", f"init_from={scene.run}/evil.ckpt", name="run/x")
    assert any("PWNED" in message for message in caplog.messages)
    assert not any("\x1b" in message for message in caplog.messages)
