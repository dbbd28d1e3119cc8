"""data.json: the data of a run; changes are reported, and refused where scores would mislead."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import evaluate
from digits_runs import Run, trained
from image_files import picture, write_folder
from lightsweep.core.errors import ConfigError
from lightsweep.runs import data_record

ALLOW = "allow_changed_data=true"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "photos", ["x", "y"], count=30)


@pytest.fixture
def typical(photos: Path, tmp_path: Path) -> tuple[str, ...]:
    options = (f"data.root='{photos}'", f"data.data_dir='{tmp_path}/kept'", "data.image_size=6", "data.batch_size=8")
    return ("data=image_folder", *options, "data.limit=null", "callbacks=checkpoint")


@pytest.fixture
def first(run, typical) -> Run:
    """A run on two classes of thirty images."""
    return run(*typical, "trainer.max_epochs=1")


@pytest.fixture
def resume(launch) -> Callable:
    return lambda run, *overrides: launch(f"resume={run.folder}", "trainer.max_epochs=2", *overrides)


def add(photos: Path) -> None:
    picture(5).save(photos / "x" / "new.png")


def resize(photos: Path) -> None:
    picture(5, 40, 40).save(photos / "y" / "3.png")


def swap(photos: Path) -> None:
    (photos / "y" / "7.png").unlink()
    for name in ("n1", "n2", "n3", "n4"):
        picture(6).save(photos / "x" / f"{name}\n.png")


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "added": (add, "1 file added (x/new.png)"),
    "resized": (resize, "1 file changed in size (y/3.png)"),
    "several": (swap, r"4 files added (x/n1\n.png, x/n2\n.png, x/n3\n.png, …); 1 file removed (y/7.png)"),
}


def test_a_run_leaves_a_record_of_each_part(first: Run) -> None:
    record = json.loads((first.folder / "data.json").read_text())
    counts = {part: entry["images"] for part, entry in record["parts"].items()}
    assert list(counts) == ["train", "val", "test"]
    assert all(list(images) == ["x", "y"] for images in counts.values())
    assert sum(sum(images.values()) for images in counts.values()) == 60
    assert sum(map(len, record["files"].values())) == 60


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_is_not_resumed_on_changed_data_unless_that_is_allowed(
    first: Run, resume, photos: Path, change: str
) -> None:
    make_change, message = CHANGES[change]
    config = (first.folder / "config.yaml").read_text()
    make_change(photos)
    refused = resume(first)
    assert refused.code == 1
    line = f"the data changed since this run started: {message}"
    assert refused.err.splitlines()[-1] == f"{line}. {ALLOW} continues with them"
    assert (first.folder / "config.yaml").read_text() == config
    assert len(first.rows) == 1

    allowed = resume(first, ALLOW)
    assert allowed.code == 0, allowed.err
    assert line in allowed.out + allowed.err
    assert len(first.rows) == 2
    assert "allow_changed_data" not in (first.folder / "config.yaml").read_text()
    assert resume(first).code == 0  # these are its data now


def test_a_change_that_was_allowed_once_is_not_allowed_the_next_time(first: Run, resume, photos: Path) -> None:
    add(photos)
    assert resume(first, ALLOW).code == 0
    resize(photos)
    assert resume(first).code == 1
    with (first.folder / "config.yaml").open("a") as file:
        file.write("allow_changed_data: true\n")  # somebody else's folder
    assert resume(first).code == 1


def test_settings_and_folders_that_move_no_image_are_no_change(
    first: Run, resume, photos: Path, tmp_path: Path
) -> None:
    (photos / "x" / "notes.txt").touch()
    shutil.copytree(photos, tmp_path / "elsewhere", ignore=shutil.ignore_patterns(".*"))
    done = resume(first, f"data.root='{tmp_path}/elsewhere'", "data.augment.flip=true", "data.batch_size=4")
    assert done.code == 0, done.err


@pytest.mark.parametrize("typed", ["data.val_fraction=0.4", "data.split_seed=3", "data.max_per_class=5"])
def test_other_parts_are_a_change_too(first: Run, resume, typed: str) -> None:
    refused = resume(first, typed)
    assert refused.code == 1
    assert "moved from" in refused.err or "removed" in refused.err
    assert resume(first, typed, ALLOW).code == 0


@pytest.mark.parametrize(("typed", "message"), [("data.limit=280", "train has"), ("data.split_seed=1", "other images")])
def test_numbered_images_are_compared_too(run, resume, typed: str, message: str) -> None:
    done = run("trainer.max_epochs=1")
    refused = resume(done, typed)
    assert refused.code == 1
    assert message in refused.err
    assert resume(done).code == 0


def test_a_run_of_an_earlier_version_is_resumed_with_its_split(run, resume, typical, photos: Path) -> None:
    done = run(*typical, "data.split=stratified", "trainer.max_epochs=1")
    parts = json.loads((done.folder / "data.json").read_text())["parts"]
    (done.folder / "data.json").unlink()
    config = (done.folder / "config.yaml").read_text()
    (done.folder / "config.yaml").write_text(config.replace("allow_changed_data: false\n", ""))
    resumed = resume(done)
    assert resumed.code == 0, resumed.err
    output = resumed.out + resumed.err
    assert "data.split=stratified: parts are drawn from the positions of all files" in output
    assert "whether they changed is unknown" in output
    assert json.loads((done.folder / "data.json").read_text())["parts"] == parts


def with_parts(digest: str = "0" * 32, count: object = 1) -> str:
    parts = {part: {"digest": digest, "images": {"a": count}} for part in ("train", "val", "test")}
    return json.dumps({"version": 1, "source": "x", "parts": parts, "files": None})


DAMAGE = {
    "no JSON": "{",
    "nothing": "null",
    "a list": "[]",
    "nested": "[" * 100_000,
    "no parts": '{"version": 1, "source": "x", "parts": {}, "files": null}',
    "texts for numbers": with_parts(count="1"),
    "a number of any length": with_parts(count=10**400),
    "a digest that nothing can write": with_parts(digest="\ud800" * 32),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_refused_in_a_line(tmp_path: Path, damage: str) -> None:
    (tmp_path / "data.json").write_text(DAMAGE[damage])
    with pytest.raises(ConfigError) as refusal:
        data_record.read(tmp_path)
    assert str(refusal.value).startswith(f"{tmp_path}/data.json is no record of a run's data (")
    assert "\n" not in str(refusal.value)


def test_a_huge_record_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "data.json").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(ConfigError, match="it is larger than 32 MiB"):
        data_record.read(tmp_path)


def test_names_from_a_record_are_shown_without_control_characters(first: Run, resume) -> None:
    record = json.loads((first.folder / "data.json").read_text())
    record["files"]["train"]["\x1b[31mred\n"] = 1
    record["parts"]["train"]["digest"] = "0" * 32
    (first.folder / "data.json").write_text(json.dumps(record))
    refused = resume(first)
    assert r"1 file removed (\x1b[31mred\n)" in refused.err
    assert "\x1b" not in refused.err.splitlines()[-1]


def test_evaluate_says_that_the_data_changed(first: Run, call, photos: Path) -> None:
    parts = ("--split", "train", "val", "test")
    assert "changed" not in (same := call(evaluate.main, first.folder, *parts)).out
    assert "equal to result.json, digit for digit\n" in same.out
    add(photos)
    changed = call(evaluate.main, first.folder, *parts)
    line = "the data changed since those weights were trained: 1 file added (x/new.png)"
    assert line in changed.out
    written = [json.loads((first.folder / "evaluation" / part / "evaluation.json").read_text()) for part in parts[1:]]
    assert all(each["changes"] == [line] for each in written)
    equal = call(evaluate.main, first.folder, "--split", *_unchanged(written, first))
    assert "equal to result.json, digit for digit, although the data changed" in equal.out


def _unchanged(written: list[dict], run: Run) -> list[str]:
    """The parts that did not get the new image."""
    record = json.loads((run.folder / "data.json").read_text())["parts"]
    return [each["part"] for each in written if each["images"] == sum(record[each["part"]]["images"].values())]


def test_evaluate_counts_the_images_that_were_trained_on(first: Run, call, photos: Path) -> None:
    other = ("--data", "data=image_folder", f"data.root={photos}", "data.split_seed=9", "data.test_fraction=0.5")
    done = call(evaluate.main, first.folder, *other)
    assert done.code == 0, done.err
    assert "images of test, " in done.out
    assert " were trained on: its score means less" in done.out
    copied = shutil.copytree(photos, photos.parent / "copied", ignore=shutil.ignore_patterns(".*"))
    elsewhere = call(evaluate.main, first.folder, "--data", "data=image_folder", f"data.root={copied}")
    assert "trained on" not in elsewhere.out  # another set, whose files may be called alike


def test_other_data_may_be_few(first: Run, call, tmp_path: Path) -> None:
    few = write_folder(tmp_path / "few", ["x", "y"], count=1)
    done = call(evaluate.main, first.folder, "--split", "all", "--data", "data=image_folder", f"data.root={few}")
    assert done.code == 0, done.err
    assert "all       2" in done.out


def test_weights_to_start_from_say_how_their_data_changed(first: Run, run, typical, photos: Path, caplog) -> None:
    start = f"init_from={first.folder}"
    run(*typical, start, name="same")
    assert "changed" not in caplog.text
    caplog.clear()
    run(*typical, start, "data.split_seed=3", name="other_parts")
    assert "init_from: the data changed since those weights were trained: " in caplog.text
    assert " were trained on: its score means less" in caplog.text
    caplog.clear()
    other = write_folder(photos.parent / "others", ["x", "y"], count=31)
    run(*typical, f"data.root='{other}'", start, name="elsewhere")
    assert "changed" not in caplog.text


def test_with_many_files_changes_are_reported_by_part(photos: Path, run, resume, typical, monkeypatch) -> None:
    monkeypatch.setattr("lightsweep.runs.data_record._LISTED", 10)
    done = run(*typical, "trainer.max_epochs=1")
    assert json.loads((done.folder / "data.json").read_text())["files"] is None
    resize(photos)
    assert "has other images, " in resume(done).err
    add(photos)
    assert " images, had " in resume(done).err


def test_a_job_of_a_grid_has_a_record_of_its_own(tmp_path: Path) -> None:
    for number in range(2):
        trained(tmp_path / str(number), "trainer.max_epochs=1", kind="job")
    assert (tmp_path / "0" / "data.json").read_text() == (tmp_path / "1" / "data.json").read_text()
