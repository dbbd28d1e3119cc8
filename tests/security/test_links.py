"""Symbolic links that somebody put into a folder: nothing is written through them."""

from pathlib import Path

import pytest

import toy
from cifar10_files import write_cifar10
from image_files import write_folder
from lightsweep.core import files
from lightsweep.core.errors import ConfigError
from tiny import TINY


def test_a_link_that_leads_out_is_found_wherever_it_lies(scene) -> None:
    for place in ("x", "a/x", "a/b/c/x"):
        link = scene.run / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(scene.victim)
        assert files.find_escape(scene.run, within=scene.run) == link
        link.unlink()
    (scene.run / "inside").symlink_to("a/b")
    (scene.run / "nowhere").symlink_to("not/there")
    assert files.find_escape(scene.run, within=scene.run) is None
    (scene.run / "out").symlink_to("../home/not-there")
    with pytest.raises(ConfigError, match="out is a symbolic link that leads out of"):
        files.check_links(scene.run, within=scene.run)


def test_a_folder_may_itself_be_reached_through_a_link(scene) -> None:
    (scene.folder / "alias").symlink_to(scene.run)
    files.check_links(scene.folder / "alias", within=scene.folder / "alias")
    files.check_links(scene.folder / "alias" / "below", within=scene.run)


def test_not_all_of_a_large_folder_need_be_looked_at(scene) -> None:
    (scene.run / "a").mkdir()
    (scene.run / "a" / "x").symlink_to(scene.victim)
    files.check_links(scene.run, within=scene.run, deep=False)


@pytest.mark.parametrize("link", [".lightsweep-cache", ".lightsweep-cache/FORM", ".lightsweep-cache/FORM/lock"])
def test_decoded_images_are_not_kept_through_a_link(scene, run, tmp_path: Path, link: str) -> None:
    root = scene.run / "images"
    write_folder(root)
    planted = root / link.replace("FORM", "64-squash-rgb")
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.symlink_to(scene.victim if link.endswith("lock") else scene.victim.parent)
    scene.before = scene._elsewhere()
    trained = run(
        "data=image_folder",
        f"data.root={root}",
        f"data.data_dir={scene.run}/data",
        "data.image_size=64",
        "data.val_fraction=0.3",
        "data.batch_size=4",
        name="run/x",
    )
    assert trained.result["status"] == "completed"
    scene.assert_untouched()


def test_a_parsed_data_set_is_not_kept_through_a_link(scene, run) -> None:
    write_cifar10(scene.run / "data")
    (scene.run / "data" / "cifar-10-batches-py" / "lightsweep-cache").symlink_to(scene.victim.parent)
    run("data=cifar10", f"data_dir={scene.run}/data", "data.batch_size=8", name="run/x")
    scene.assert_untouched()


@pytest.mark.parametrize(
    "name", ["study.journal", "study.journal.claims", "worker-0.log", "confirm", "leaderboard.csv"]
)
def test_a_sweep_in_a_folder_of_somebody_else_writes_through_none(scene, launch, name: str) -> None:
    (scene.run / name).symlink_to(scene.victim.parent if name == "confirm" else scene.victim)
    where = f"hydra.sweep.dir={scene.run}"
    done = launch("sweep=quick", *TINY, "hydra.sweeper.n_trials=1", "callbacks=none", where, main=toy.main)
    assert done.code == 1
    assert "symbolic link that leads out of" in done.err
    assert len(done.err.strip().splitlines()) == 1
    scene.assert_untouched()


def test_nor_does_a_grid(scene, launch) -> None:
    (scene.run / "0").symlink_to(scene.victim.parent)
    done = launch("-m", "data=digits", "seed=1,2", f"hydra.sweep.dir={scene.run}")
    assert done.code == 1
    assert "symbolic link that leads out of" in done.err
    scene.assert_untouched()


@pytest.mark.parametrize(
    "typed",
    [
        ("-m", "seed=1,2", "hydra.sweep={{dir:{run}}}"),
        ("seed=1,2", "hydra.mode=MULTIRUN", "hydra.sweep.dir={run}"),
        ("'hydra.run={{dir:{run}}}'".strip("'"),),
    ],
)
def test_however_a_folder_is_typed(scene, launch, typed: tuple[str, ...]) -> None:
    (scene.run / "0").mkdir()
    (scene.run / "0" / ".hydra").symlink_to(scene.victim.parent)
    done = launch("data=digits", *(each.format(run=scene.run) for each in typed))
    assert done.code == 1
    assert "symbolic link that leads out of" in done.err
    scene.assert_untouched()


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "cifar-10-batches-py", ".cifar-10-batches-py.lock"])
def test_nothing_is_fetched_through_a_link(scene, run, name: str) -> None:
    (scene.run / name).symlink_to(scene.victim.parent if name == "cifar-10-batches-py" else scene.victim)
    with pytest.raises(ConfigError, match="symbolic link that leads out of"):
        run("data=cifar10", f"data_dir={scene.run}", name="run/x")
    scene.assert_untouched()
