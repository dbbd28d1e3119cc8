"""The weights that RUN means on the command lines that use a trained network. Imported before torch is."""

import csv
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from lightsweep.core import files
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import read_json
from lightsweep.core.metrics import mode_of
from lightsweep.core.text import printable
from lightsweep.runs import run_folder, saved_config
from lightsweep.runs.run_folder import BEST_CHECKPOINT, ENSEMBLE, LAST_CHECKPOINT

if TYPE_CHECKING:
    from lightsweep.training.checkpoints import Trained


@dataclass(frozen=True)
class Weights:
    """A checkpoint, the folder of its run (None for a file outside a run), and why it was chosen; of an ensemble its
    record and its folder."""

    checkpoint: Path
    run: Path | None
    reason: str = ""

    @property
    def config(self) -> DictConfig:
        """The run's own config.

        Raises:
            ConfigError: there is none.
        """
        if self.run is None:
            raise ConfigError(
                f"{self.checkpoint} is in no run's folder, which would name the data it was trained on;"
                " --data data=NAME chooses some"
            )
        return saved_config.read_config(self.run)

    @property
    def is_ensemble(self) -> bool:
        return self.checkpoint.name == ENSEMBLE

    @property
    def are_scored(self) -> bool:
        """Whether these are the weights that `result` is about."""
        return self.run is not None and self.checkpoint == find_weights(str(self.run), None).checkpoint

    @property
    def evaluation_folder(self) -> Path:
        return (self.run or self.checkpoint.parent) / "evaluation"

    def load(self) -> "Trained":
        """The network with these weights; names them on stderr."""
        from lightsweep.inference import ensemble
        from lightsweep.training import checkpoints, trainer

        trainer.quiet_libraries()
        if self.is_ensemble:
            trained = ensemble.load(self.checkpoint.parent)
            what = f"{self.checkpoint} of {len(trained.net.members)} networks"  # type: ignore[arg-type]
        else:
            trained = checkpoints.load(self.checkpoint)
            what = f"{self.checkpoint} of epoch {trained.epoch}"
        print(printable(what + (f" ({self.reason})" if self.reason else "")), file=sys.stderr)
        return trained

    @property
    def result(self) -> dict[str, Any]:
        """The content of `record`; empty where there is none."""
        return _read(self.run / self.record) if self.run else {}

    @property
    def record(self) -> str:
        """The file with the scores."""
        return ENSEMBLE if self.is_ensemble else "result.json"


def find_weights(name: str, which: str | None) -> Weights:
    """The weights that RUN means.

    Args:
        name: of a run, a checkpoint file, a sweep, a trial with several seeds, an ensemble, or latest.
        which: best, last, or None for those that training scored.

    Raises:
        ConfigError: it means nothing.
    """
    path = run_folder.find_path(name).resolve()
    ensemble = path if path.name == ENSEMBLE else path / ENSEMBLE
    if ensemble.is_file():
        if which is not None:
            raise ConfigError(f"--checkpoint {which}: an ensemble has one set of weights, those of its members")
        return Weights(ensemble, ensemble.parent)
    if path.is_file():
        run = path.parent.parent
        return Weights(path, run if run_folder.is_run(run) else None)
    if run_folder.is_run(path):
        return _of_run(path, which, "the newest run" if name == run_folder.LATEST else "")
    if (path / "leaderboard.csv").is_file():
        return _of_sweep(path, which)
    if seeds := sorted(path.glob("seed-*")):
        files.check_links(path, within=path, deep=False)  # no run of another folder
        return _of_run(_best_of(seeds, path), which, "its best seed by validation")
    raise ConfigError(
        f"RUN must be a run's folder, a sweep's folder, an ensemble's, a checkpoint file or latest, got {name!r}"
    )


def _of_run(folder: Path, which: str | None, reason: str) -> Weights:
    wanted = which or saved_config.read_config(folder).get("score_with", "best")
    names = (LAST_CHECKPOINT,) if wanted == "last" else (BEST_CHECKPOINT, LAST_CHECKPOINT)  # a run may keep no best one
    for name in names:
        if (folder / "checkpoints" / name).is_file():
            return Weights(folder / "checkpoints" / name, folder, reason)
    why = f": {run_folder.LAST_DELETED}" if (folder / "checkpoints" / BEST_CHECKPOINT).is_file() else ""
    raise ConfigError(f"{folder} has no checkpoint ({names[0]}){why}")


def _of_sweep(folder: Path, which: str | None) -> Weights:
    """The weights of the best trial, trained again if a confirmation did so."""
    with (folder / "leaderboard.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        best = next(csv.DictReader(file), {})
    is_trial = re.fullmatch(r"trial-\d+", best.get("folder") or "")  # it may be somebody else's table
    if "pareto" in best and is_trial:
        raise ConfigError(
            f"{folder} is a sweep with several objectives, which has no best trial: name one, {folder / best['folder']}"
        )
    if best.get("rank") != "1" or not best.get("trial") or not is_trial:
        raise ConfigError(f"{folder} is a sweep without a complete trial")
    trial = f"trial {best['trial']}, the sweep's best"
    files.check_links(folder / "confirm", within=folder, deep=False)
    confirmation = _read(folder / "confirmation.json")
    alone = "baseline" in confirmation and "best" not in confirmation  # the best is the baseline
    name = "baseline" if alone else "best"
    confirmed = sorted(run for run in folder.glob(f"confirm/{name}-seed-*") if not files.is_set_aside(run.name))
    if confirmed and str(confirmation.get("best_trial")) == best["trial"]:
        run = _best_of(confirmed, folder)
        return _of_run(run, which, f"{trial}, in its confirmation the best seed by validation")
    best_folder = folder / best["folder"]
    files.check_links(best_folder, within=folder, deep=False)
    if run_folder.is_run(best_folder):
        return _of_run(best_folder, which, trial)
    best_seed = _best_of(sorted(best_folder.glob("seed-*")), best_folder)
    return _of_run(best_seed, which, f"{trial}, its best seed by validation")


def _best_of(runs: list[Path], folder: Path) -> Path:
    """The completed run with the best value of its monitor. Test scores choose nothing."""
    results = {run: _read(run / "result.json") for run in runs}
    values = {run: result.get("best_value") for run, result in results.items() if result.get("status") == "completed"}
    measured = {run: value for run, value in values.items() if isinstance(value, int | float)}
    if not measured:
        raise ConfigError(f"{folder} has no run that was completed")
    mode = mode_of(str(results[next(iter(measured))].get("monitor")))
    return (max if mode == "max" else min)(measured, key=measured.__getitem__)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
