"""Mistakes are reported before torch and Lightning are imported, which takes many seconds the first time."""

import sys
from pathlib import Path

import pytest
import yaml

from image_files import write_folder
from lightsweep.config import allowlist
from tiny import TINY

NO_FOLDER = "data.root must be a folder with a folder of images for each class, got "


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import of torch or Lightning fails."""
    for name in ("torch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def mine(tmp_path: Path) -> tuple[str, ...]:
    """A config folder that names a user's own network."""
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "own.yaml").write_text("_target_: nowhere_at_all.Net\n")
    return ("--config-dir", str(tmp_path / "my"), "model=own")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=image_folder"], f"{NO_FOLDER}None"),
        (["data=image_folder", "data.root=not/there"], f"{NO_FOLDER}'not/there'"),
        (["data=image_folder", "data.root='~/not/there'"], f"{NO_FOLDER}'~/not/there'"),
        (["data=image_folder", "data.root=5"], f"{NO_FOLDER}5"),
        (["data=digits", "trainer.max_epochs=0"], "trainer.max_epochs must be an integer >= 1, got 0"),
        (["data=digits", "init_from=not/there"], "init_from must be a run's folder"),
        (["data=digits", "lr_find=true", "lr_find_range.steps=1"], "lr_find_range.steps must be an integer in"),
        (
            ["sweep=quick", "hydra.sweeper.preload=[]", "data=image_folder", "data.root=not/there"],
            f"{NO_FOLDER}'not/there'",
        ),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, list) else "",
)
def test_an_invalid_value_is_reported_before_torch_is_imported(
    launch, tmp_path: Path, without_torch, overrides: list[str], message: str
) -> None:
    key = "hydra.sweep.dir" if overrides[0].startswith("sweep") else "hydra.run.dir"
    done = launch(*overrides, f"{key}={tmp_path}/run")
    assert done.code == 1
    assert done.err.startswith(message), done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_untrusted_user_code_is_refused_with_the_variable_to_set(launch, tmp_path: Path, without_torch, mine) -> None:
    done = launch(*mine, "data=digits", f"hydra.run.dir={tmp_path}/run")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "LIGHTSWEEP_TRUST=nowhere_at_all.Net in the environment" in done.err


def test_a_missing_user_module_is_named(launch, tmp_path: Path, trust, without_torch, mine) -> None:
    trust("nowhere_at_all.*")
    done = launch(*mine, "data=digits", f"hydra.run.dir={tmp_path}/run")
    assert done.err == (
        "nowhere_at_all.Net: there is no module 'nowhere_at_all'; PYTHONPATH=. finds the modules of this folder\n"
    )


def test_the_proposed_variable_keeps_names_that_are_trusted_already(trust) -> None:
    trust("mine.*", "other.Net")
    assert "LIGHTSWEEP_TRUST=mine.*,other.Net,third.make in" in allowlist.describe_trust("third.make")
    assert "x; rm" not in allowlist.describe_trust("x; rm -r")  # a name from somebody else's config is pasted nowhere


@pytest.mark.slow
def test_a_best_config_holds_in_any_folder(launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "few images", count=20)
    monkeypatch.chdir(tmp_path)
    overrides = ("data=image_folder", "data.root='few images'", "data_dir=kept", "data.image_size=8", "data.limit=null")
    small = [each for each in TINY if not each.startswith("data.")]
    done = launch(
        "sweep=quick", "hydra.sweep.dir=study", *small, "hydra.sweeper.n_trials=1", *overrides, "data.drop_last=false"
    )
    assert done.code == 0, done.err
    best = yaml.safe_load((tmp_path / "study" / "best.yaml").read_text())
    assert best["data"]["root"] == str(tmp_path / "few images")
    assert best["data_dir"] == str(tmp_path / "kept")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = launch("--config-dir", "../study", "--config-name", "best", f"hydra.run.dir={tmp_path}/again")
    assert again.code == 0, again.err
