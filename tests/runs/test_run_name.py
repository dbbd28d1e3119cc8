"""What a run is called where nobody named it, and how any name becomes a part of a folder's."""

import pytest

from lightsweep.runs import run_folder

NAMES = {
    ("model=resmlp", "optimizer=sgd", "optimizer.lr=0.0005"): "resmlp-sgd-lr5e-4",
    ("optimizer.lr=0.1", "model.bn=true", "data.augment.flip=false"): "lr0.1-bn-no-flip",
    ("model.hidden=[64,32]", "seed=7"): "hidden64-32-seed7",
    ("experiment=reference/d4", "+trainer.max_steps=100"): "reference-d4-max_steps100",
    ("model.activation=gelu", "loss={l2:0.1}"): "activation-gelu-l2-0.1",
    ("data.root='/photos (2024)'", "threads=1", "trainer=cpu", "logger=none", "hydra.run.dir=/x", "test=false"): "",
    ("~callbacks.figures", "optimizer.lr=0.1,0.2", "not an override"): "",
    ("seed=1", "seed=1"): "seed1",
    ("model=cnn", "seed=1", "seed=2", "model=resmlp"): "resmlp-seed2",
    (): "",
}


@pytest.mark.parametrize(("typed", "name"), NAMES.items(), ids=str)
def test_the_name_is_made_of_what_differs_from_the_defaults(typed: tuple[str, ...], name: str) -> None:
    assert run_folder.name_run(None, typed) == name


def test_a_given_name_is_the_name() -> None:
    assert run_folder.name_run("try 2: wide/deep", ["seed=1"]) == "try 2: wide/deep"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("try 2: wide/deep", "-try-2-wide-deep"),
        ("../../etc", "-etc"),
        ("Größe=3,5", "-Größe=3-5"),
        ("\x1b[2J\n", "-2J"),
        ("...", ""),
        ("", ""),
        ("漢" * 100, "-" + "漢" * 20),
    ],
)
def test_a_folders_name_holds_a_safe_part_of_it(name: str, part: str) -> None:
    assert run_folder.folder_suffix(name, []) == part


def test_a_long_default_is_cut_between_parts() -> None:
    typed = [f"model.key{number}=value" for number in range(20)]
    name = run_folder.name_run(None, typed)
    assert len(name) <= 60
    assert name.split("-")[-1] == "value"


def test_a_run_and_the_jobs_of_a_grid_have_it_in_their_folders(launch, tmp_path) -> None:
    small = ("data=digits", "data.limit=200", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "callbacks=none")
    run_dir = f'hydra.run.dir="{tmp_path}/x${{lightsweep.folder_name:${{name}},${{hydra.overrides.task}}}}"'
    done = launch(*small, "model.width=8", run_dir)
    assert done.code == 0, done.err
    assert (tmp_path / "x-digits-limit200-max_epochs1-width8" / "result.json").is_file()
    done = launch("-m", *small, "name=a b,7", f"hydra.sweep.dir={tmp_path}/grid")
    assert done.code == 0, done.err
    assert {folder.parent.name for folder in (tmp_path / "grid").glob("*/result.json")} == {"0-a-b", "1-7"}


@pytest.mark.parametrize("name", ["[a,b]", "true"])
def test_a_name_is_a_text(launch, tmp_path, name: str) -> None:
    done = launch("data=digits", f"name={name}", f"hydra.run.dir={tmp_path}/run")
    assert done.code != 0
    assert done.err.splitlines()[-1].startswith("name must be a text, or null, got ")
