"""Made-up runs and studies in the real file formats."""

import csv
import json
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

CLASSES = ("<script>alert(1)</script>", "cat", "dog")


def config(**changes: Any) -> dict[str, Any]:
    """As much of a run's config as reports look at; ``optimizer__lr=1`` changes a key."""
    base: dict[str, Any] = {
        "seed": 42,
        "monitor": {"metric": "val/acc", "mode": "max"},
        "data_dir": "/somewhere",
        "data": {"_target_": "lightsweep.data.datasets.DigitsDataModule", "seed": 42, "batch_size": 64},
        "model": {"_target_": "lightsweep.nets.MLP", "width": 8, "depth": 2, "taper": 0.5, "hidden": None, "bn": False},
        "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.001},
        "trainer": {"_target_": "pytorch_lightning.Trainer", "max_epochs": 3},
        "callbacks": {"checkpoint": {"dirpath": "/somewhere/checkpoints", "monitor": "val/acc"}},
        "logger": {},
    }
    for key, value in changes.items():
        group, _, name = key.partition("__")
        if name:
            base[group][name] = value
        else:
            base[group] = value
    if "seed" in changes:
        base["data"]["seed"] = changes["seed"]
    return base


def write_run(
    folder: Path, acc: float | None = 0.9, *, status: str = "completed", facts: dict | None = None, **changes
) -> Path:
    """A run's folder with result.json, metrics.csv and confusion counts."""
    folder.mkdir(parents=True)
    scores = {"train/acc": acc + 0.05, "val/acc": acc, "val/loss": 1 - acc} if acc is not None else {}
    result = {
        "status": status,
        "kind": "run",
        "seed": changes.get("seed", 42),
        "overrides": ["data=digits"],
        "versions": {"torch": "2.15.0"},
        "params": 1234,
        "monitor": "val/acc",
        "best_value": acc,
        "best_epoch": 2,
        "seconds": 2.0,
        **(scores if status == "completed" else {}),
        "config": config(**changes),
        **(facts or {}),
    }
    (folder / "result.json").write_text(json.dumps(result))
    if acc is not None:
        rows = [f"{epoch},{acc - 0.1 / epoch},{acc - 0.2 / epoch},{0.5 / epoch},{0.6 / epoch}" for epoch in (1, 2, 3)]
        (folder / "metrics.csv").write_text("\n".join(["epoch,train/acc,val/acc,train/loss,val/loss", *rows]) + "\n")
        with (folder / "confusion_val.csv").open("w", newline="") as file:
            hits = round(10 * acc)
            counts = [[hits, 10 - hits, 0], [1, 9, 0], [0, 0, 10]]
            lines = [[name, *row] for name, row in zip(CLASSES, counts, strict=True)]
            csv.writer(file).writerows([["true \\ predicted", *CLASSES], *lines])
    return folder


def write_study(folder: Path, trials: int = 12) -> Path:
    """A sweep's folder: a journal, a run's folder for each trial, hydra.yaml, best.yaml and a confirmation."""
    folder.mkdir(parents=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))),
        study_name="toy",
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    study.set_user_attr("space", {"optimizer.lr": "FloatDistribution(high=0.1, log=True, low=0.0001, step=None)"})
    for number in range(trials):
        trial = study.ask()
        lr = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
        width = trial.suggest_int("model.width", 4, 64)
        act = trial.suggest_categorical("model.activation", ["<b>relu</b>", "gelu"])
        acc = 0.5 + 0.3 * (lr > 0.005) + width / 400
        state = {3: TrialState.PRUNED, 5: TrialState.FAIL}.get(number, TrialState.COMPLETE)
        trial.report(acc / 2, 1)
        status = {3: "pruned", 5: "failed"}.get(number, "completed")
        if state == TrialState.FAIL:
            trial.set_user_attr("error", "<img src=x onerror=alert(2)>")
        study.tell(trial, acc if status == "completed" else None, state=state)
        facts = {"kind": "trial"} | ({"error": "<img src=x onerror=alert(2)>"} if status == "failed" else {})
        write_run(
            folder / f"trial-{number:04d}",
            None if status == "failed" else acc,
            status=status,
            facts=facts,
            optimizer__lr=lr,
            model__width=width,
            model__activation=act,
        )
    best = study.best_trial
    (folder / "best.yaml").write_text(f"# trial {best.number} of the sweep toy: val/acc {best.value}\n")
    hydra = folder / "trial-0000" / ".hydra"
    hydra.mkdir()
    sampler = "{_target_: optuna.samplers.RandomSampler, seed: 0}"
    text = (
        f"hydra: {{sweeper: {{study_name: toy, sampler: {sampler}, storage: null, seeds: null, n_trials: {trials}}}}}"
    )
    (hydra / "hydra.yaml").write_text(text)
    for name, acc in (("best", 0.9), ("baseline", 0.7)):
        for seed in (101, 102, 103):
            facts = {"kind": "confirmation", "test/acc": acc + seed / 1e4}
            write_run(folder / "confirm" / f"{name}-seed-{seed}", acc + seed / 1e4, facts=facts, seed=seed)
    return folder


def change(run: Path, key: str, value: Any) -> None:
    """Set a key of a saved run's config."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    *above, last = key.split(".")
    node = config
    for part in above:
        node = node[part]
    node[last] = value
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def one_line(done: Any, says: str) -> None:
    """See that a command was refused in one line that holds this text."""
    assert done.code == 1
    lines = [line for line in done.err.strip().splitlines() if " of epoch " not in line]
    assert len(lines) == 1, done.err
    assert says in lines[0]
