"""predict.py: image files -> classes as in training, however many, and whatever other files there are."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import predict
from lightsweep.data.datasets import DigitsDataModule
from lightsweep.data.decode import decode_image

NAMES = tuple("0123456789")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images of digits as PNG files, a folder a class."""
    root = tmp_path_factory.mktemp("digits")
    arrays = DigitsDataModule.read(None)
    for number, (image, label) in enumerate(zip(arrays.test_images, arrays.test_labels, strict=True)):
        (root / NAMES[label]).mkdir(exist_ok=True)
        Image.fromarray(image[0]).save(root / NAMES[label] / f"{number:03d}.png")
    return root


@pytest.fixture
def some(digits: Path, tmp_path: Path) -> Path:
    """Three images in a folder without classes."""
    folder = tmp_path / "some"
    folder.mkdir()
    for name, source in zip("abc", sorted(digits.rglob("*.png"))[::120], strict=False):
        shutil.copy(source, folder / f"{name}.png")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_accuracy_on_the_test_images_as_files_is_that_of_result_json(finished, digits: Path, call, tmp_path) -> None:
    done = call(predict.main, finished.folder, digits, "--csv", tmp_path / "all.csv", "--json", tmp_path / "all.json")

    assert done.code == 0
    content = json.loads((tmp_path / "all.json").read_text())
    assert content["accuracy"] == finished.result["test/acc"]
    assert (content["count"], content["labelled"], content["failed"]) == (359, 359, [])
    assert f"accuracy {finished.result['test/acc']:.4f} ({content['correct']} of 359 in folders named as" in done.out
    files = rows(tmp_path / "all.csv")
    right = [row for row in files if Path(row["file"]).parent.name == row["class"]]
    assert len(right) / len(files) == finished.result["test/acc"]
    assert [entry["predictions"][0]["class"] for entry in content["images"]] == [row["class"] for row in files]
    assert "… and 259 more, which --csv and --json would keep\n" in done.out


def test_probabilities_are_the_networks_whatever_the_batches(finished, digits: Path, call, tmp_path) -> None:
    sizes = {size: tmp_path / f"{size}.csv" for size in (7, 256)}
    for size, path in sizes.items():
        assert (
            call(predict.main, finished.folder, digits / "3", "--batch-size", size, "--top", 99, "--csv", path).code
            == 0
        )
    one, other = (rows(path) for path in sizes.values())
    columns = ["probability", *(f"probability_{rank}" for rank in range(2, 11))]
    for row in one:
        probabilities = [float(row[column]) for column in columns]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(*([float(row["probability"]) for row in batch] for batch in (one, other)), atol=2e-6)


def test_flip_averages_with_the_mirror_image(finished, some: Path, call, tmp_path) -> None:
    image = some / "a.png"
    mirrored = some / "mirrored.png"
    Image.fromarray(np.asarray(Image.open(image))[:, ::-1].copy()).save(mirrored)
    found = {}
    for name, *more in (("plain", image), ("mirrored", mirrored), ("tta", image, "--tta", "flip")):
        path = tmp_path / f"{name}.json"
        assert call(predict.main, finished.folder, *more, "--top", 10, "--json", path).code == 0
        predicted = json.loads(path.read_text())["images"][0]["predictions"]
        found[name] = {each["class"]: each["probability"] for each in predicted}
    assert found["plain"] != found["mirrored"]
    for name, probability in found["tta"].items():
        assert probability == pytest.approx((found["plain"][name] + found["mirrored"][name]) / 2, abs=2e-6)


def test_a_bad_file_is_named_and_the_others_are_classified(finished, some: Path, call, tmp_path) -> None:
    (some / "aa.png").write_bytes(b"no image")
    (some / "notes.txt").write_text("no image by its name")
    shutil.copy(some / "a.png", some / "b without extension")
    (some / ".hidden.png").write_bytes(b"")
    (some / ".cache").mkdir()
    shutil.copy(some / "a.png", some / ".cache" / "x.png")

    done = call(predict.main, finished.folder, some, "--json", tmp_path / "out.json")

    assert done.code == 0
    assert f"{some}/aa.png: it is no image in one of the formats" in done.err
    assert "4 images classified" in done.out
    assert "1 could not be used" in done.out
    assert f"1 other files skipped: {some}/notes.txt" in done.out
    assert "accuracy" not in done.out
    content = json.loads((tmp_path / "out.json").read_text())
    assert [Path(image["file"]).name for image in content["images"]] == [
        "a.png",
        "b without extension",
        "b.png",
        "c.png",
    ]
    assert [Path(bad["file"]).name for bad in content["failed"]] == ["aa.png"]


def test_a_bad_file_that_was_named_makes_the_exit_code_1(finished, some: Path, call) -> None:
    done = call(predict.main, finished.folder, some / "gone.png", some / "a.png")
    assert done.code == 1
    assert "gone.png: there is no such file" in done.err
    assert "1 images classified" in done.out


def test_a_folder_without_images_makes_the_exit_code_1(finished, tmp_path, call) -> None:
    assert call(predict.main, finished.folder, tmp_path).code == 1


def test_a_large_colour_image_becomes_what_training_would_make_of_it(finished, some: Path, call, tmp_path) -> None:
    large, small = some / "large.png", some / "small.png"
    Image.open(some / "a.png").convert("RGB").resize((400, 300)).save(large)
    Image.fromarray(decode_image(large, image_size=8, resize="squash", grayscale=True)[0]).save(small)
    assert call(predict.main, finished.folder, large, small, some / "a.png", "--csv", tmp_path / "x.csv").code == 0
    one, other, original = (row["probability"] for row in rows(tmp_path / "x.csv"))
    assert one == other != original


NASTY = os.fsdecode(b'[red]caf\xc3\xa9 \x1b[1m\n, "x" \xff.png')


def test_names_are_text_and_keep_their_bytes(finished, some: Path, call, tmp_path) -> None:
    (some / "a.png").rename(some / NASTY)
    done = call(predict.main, finished.folder, some / NASTY, "--csv", tmp_path / "x.csv", "--json", tmp_path / "x.json")
    assert done.code == 0
    assert r'[red]café \x1b[1m\n, "x" \udcff.png' in done.out
    with (tmp_path / "x.csv").open(newline="", errors="surrogateescape") as file:
        assert next(csv.DictReader(file))["file"] == str(some / NASTY)
    assert json.loads((tmp_path / "x.json").read_text())["images"][0]["file"] == str(some / NASTY)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_the_standard_output_can_be_the_file_alone(finished, some: Path, call, tmp_path, kind: str) -> None:
    done = call(predict.main, finished.folder, some, f"--{kind}", "-")
    assert call(predict.main, finished.folder, some, f"--{kind}", tmp_path / "file").code == 0
    assert (tmp_path / "file").read_text() == done.out
    assert "3 images classified" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}"], "predict.py: the following arguments are required: IMAGE|FOLDER (--help shows the options)"),
        (
            ["{run}", "x", "--csv", "no/x.csv"],
            "predict.py: argument --csv: must be a file in a folder that exists, got",
        ),
        (["{run}", "x", "--top", "0"], "predict.py: argument --top: must be an integer >= 1, got '0'"),
        (["{run}", "x", "--csv", "-", "--json", "-"], "predict.py: only one of --csv and --json can be -"),
        (["{run}", "x", "--tta", "rotate"], "predict.py: argument --tta: invalid choice: 'rotate'"),
    ],
    ids=str,
)
def test_a_bad_argument_is_one_line_and_exit_code_2(finished, call, arguments: list[str], message: str) -> None:
    done = call(predict.main, *(argument.format(run=finished.folder) for argument in arguments))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(message)
    assert done.err.count("\n") == 1


def test_a_device_that_is_not_there_is_one_line(finished, some: Path, call) -> None:
    done = call(predict.main, finished.folder, some, "--device", "abacus")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("--device abacus: ")
