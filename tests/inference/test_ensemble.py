"""An ensemble's module, its folder, which may be from somebody else, and which runs it is made of."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import ensemble as command
import evaluate
from lightsweep.core.errors import ConfigError
from lightsweep.data.normalization import Normalization
from lightsweep.inference import candidates, ensemble, ensemble_making, evaluation, trained_runs
from lightsweep.training.checkpoints import Description, Trained

NAMES = ("a", "b", "c")
SHAPE = (1, 4, 4)


def trained(seed: int, *, names: tuple[str, ...] = NAMES, mean: float = 127.5, **changes: Any) -> Trained:
    torch.manual_seed(seed)
    model = {"_target_": "torch.nn.Sequential"}  # only described
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, len(names))
    )
    normalization = Normalization(torch.full((1, 1, 1), mean), torch.full((1, 1, 1), 60.0))
    values = {"input_shape": SHAPE, "class_names": names, "resize": "squash"} | changes
    precision = values.pop("precision", "32-true")
    return Trained(net.eval(), Description(model, normalization=normalization, **values), 3, precision)


def pixels(count: int = 9) -> torch.Tensor:
    return torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("means", [(127.5, 127.5, 127.5), (127.5, 100.0, 90.0)])
def test_its_softmax_is_the_weighted_mean_of_the_members(means: tuple[float, ...]) -> None:
    members, counts = [trained(seed, mean=mean) for seed, mean in enumerate(means)], [3, 1, 1]
    made = ensemble.combine(members, counts)
    images = pixels()
    with torch.inference_mode():
        logits = made.net(made.description.normalization(images))
        each = [one.net(one.description.normalization(images)).double().softmax(1) for one in members]
    expected = sum(count * one for count, one in zip(counts, each, strict=True)) / 5
    torch.testing.assert_close(logits.double().exp(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(logits.double().softmax(1), expected, rtol=1e-5, atol=1e-7)
    assert logits.dtype == torch.float32
    assert torch.equal(images, pixels())  # nobody changed them in place


def test_probabilities_near_zero_stay_finite() -> None:
    one = trained(0)
    one.net[3].weight.data *= 1e4
    made = ensemble.combine([one, one], [1, 1])
    with torch.inference_mode():
        logits = made.net(made.description.normalization(pixels()))
    assert torch.isfinite(logits).all()


def test_precisions_that_differ_become_float32() -> None:
    assert ensemble.combine([trained(0, precision="bf16-mixed")], [1]).precision == "bf16-mixed"
    assert ensemble.combine([trained(0, precision="bf16-mixed"), trained(1)], [1, 1]).precision == "32-true"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"names": ("a", "b", "x")}, r"must have the same classes, got a, b, c and a, b, x$"),
        ({"names": ("b", "a", "c")}, r"must have the same classes"),
        ({"input_shape": (1, 2, 8)}, r"must have the same size of images, got 1, 4, 4 and 1, 2, 8$"),
        ({"resize": "crop"}, r"must have the same data.resize, got squash and crop$"),
    ],
)
def test_members_that_do_not_go_together_are_refused(changes: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"^members of an ensemble {says}"):
        ensemble.combine([trained(0), trained(1, **changes)], [1, 1])


def test_members_are_copied_once_under_plain_names(tmp_path: Path) -> None:
    for name in ("x.ckpt", "y.ckpt"):
        (tmp_path / name).write_text(name)
    x, y = tmp_path / "x.ckpt", tmp_path / "y.ckpt"
    picked = [
        ("../../etc/pass wd", x),
        ("trial-0001", y),
        ("trial-0001", y),
        ("../../etc/pass wd", x),
        ("trial/0001", x),
    ]
    entries = ensemble.copy_members(tmp_path, picked)
    assert [entry["count"] for entry in entries] == [2, 2, 1]
    assert [entry["file"] for entry in entries] == [
        "members/etc-pass-wd.ckpt",
        "members/trial-0001.ckpt",
        "members/trial-0001-2.ckpt",
    ]
    assert [(tmp_path / entry["file"]).read_text() for entry in entries] == ["x.ckpt", "y.ckpt", "x.ckpt"]


GOOD = {"file": "members/x.ckpt", "count": 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{torn", "is no ensemble"),
        ("[" * 100_000, "is no ensemble"),
        ([], "version must be 1"),
        ({"version": 2, "members": [GOOD]}, "version must be 1"),
        ({"version": 1}, "members must be a list of 1 to 100"),
        ({"version": 1, "members": []}, "members must be a list of 1 to 100"),
        ({"version": 1, "members": [GOOD] * 101}, "members must be a list of 1 to 100"),
        ({"version": 1, "members": ["x"]}, "file must be members/NAME.ckpt, got 'None'"),
        *(
            ({"version": 1, "members": [GOOD | {"file": name}]}, "file must be members/NAME.ckpt")
            for name in ("../x.ckpt", "/etc/passwd", "members/../../x.ckpt", "members/.x.ckpt", "members/a/b.ckpt", 3)
        ),
        ({"version": 1, "members": [GOOD | {"file": "members/x.ckpt\n"}]}, "file must be members/NAME.ckpt"),
        *(
            ({"version": 1, "members": [GOOD | {"count": count}]}, "must be an integer in")
            for count in (0, -1, 1.5, True, "1", None, 10**9, {})
        ),
        ({"version": 1, "members": [GOOD | {"file": "members/link.ckpt"}]}, "leads out of its folder"),
        ({"version": 1, "members": [GOOD | {"file": "members/gone.ckpt"}]}, "gone.ckpt is missing"),
        ({"version": 1, "members": [GOOD]}, "is no checkpoint of lightsweep"),
    ],
)
def test_a_record_from_somebody_else_is_one_line(tmp_path: Path, content: Any, says: str) -> None:
    folder = tmp_path / "made"
    (folder / "members").mkdir(parents=True)
    (folder / "members/x.ckpt").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    (tmp_path / "secret.ckpt").touch()
    (folder / "members/link.ckpt").symlink_to(tmp_path / "secret.ckpt")
    (folder / "ensemble.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ConfigError, match=says) as refusal:
        ensemble.load(folder)
    assert "\n" not in str(refusal.value)


def test_weights_that_do_not_fit_into_memory_are_refused(tmp_path: Path, memory_left) -> None:
    (tmp_path / "members").mkdir()
    (tmp_path / "members/x.ckpt").write_bytes(bytes(1000))
    (tmp_path / "ensemble.json").write_text(json.dumps({"version": 1, "members": [GOOD]}))
    memory_left(1500.0)
    with pytest.raises(ConfigError, match=r"^RUN must fit into memory: the weights of 1 networks need 2.0 kB"):
        ensemble.load(tmp_path)


@pytest.mark.parametrize("name", [".", "ensemble.json"])
def test_a_folder_with_the_record_is_an_ensemble_and_no_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "ensemble.json").write_text('{"test/acc": 0.5}')
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    found = trained_runs.find_weights(str(tmp_path / name), None)
    assert (found.checkpoint, found.run) == (tmp_path / "ensemble.json", tmp_path)
    assert (found.is_ensemble, found.are_scored, found.result) == (True, True, {"test/acc": 0.5})
    with pytest.raises(ConfigError, match=r"^--checkpoint best: an ensemble has one set of weights"):
        trained_runs.find_weights(str(tmp_path), "best")


@pytest.fixture
def runs(finished, tmp_path: Path) -> Path:
    """A folder with two copies of one finished run, the second with other weights in its head."""
    for name in ("one", "two"):
        shutil.copytree(finished.folder, tmp_path / "runs" / name)
    path = tmp_path / "runs/two/checkpoints/best.ckpt"
    content = torch.load(path, weights_only=True)
    generator = torch.Generator().manual_seed(0)
    content["state_dict"]["net.head.weight"] += 0.3 * torch.randn(
        content["state_dict"]["net.head.weight"].shape, generator=generator
    )
    torch.save(content, path)
    return tmp_path / "runs"


def refused(call, *arguments: object) -> str:
    done = call(command.main, *arguments)
    assert done.code == 1, done.err
    lines = done.err.strip().splitlines()
    assert len(lines) == 1, done.err
    return lines[0]


def edit(file: Path, change) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_an_ensemble_is_made_scored_again_and_set_aside(runs: Path, call, monkeypatch) -> None:
    monkeypatch.setattr(evaluation, "draw_figures", lambda *_: {})
    done = call(command.main, runs, "--members", 4)
    assert done.code == 0, done.err
    folder = runs / "ensemble"
    assert done.out.startswith("2 candidates; 15 validation images choose, 15 confirm\n")
    assert "\n  test: " in done.out
    assert "intervals are about which images were drawn, not about other seeds" in done.out
    record = json.loads((folder / "ensemble.json").read_text())
    assert sum(member["count"] for member in record["members"]) == len(record["picks"]) == 4
    assert record["metric"] == "val/acc"
    assert record["gains"].keys() == {"confirm", "test"}
    assert record["picks"][0] == {key: record["best_single"][key] for key in ("run", "choose", "confirm")}
    assert (folder / "selection.png").stat().st_size > 1000
    again = call(evaluate.main, folder, "--split", "val", "test")
    assert "equal to ensemble.json, digit for digit" in again.out, again.out + again.err
    assert candidates.find_runs([runs]).runs[0].name == "one"
    assert len(candidates.find_runs([runs]).runs) == 2  # an ensemble is no run

    assert call(command.main, runs, "--members", 1).code == 0
    assert (runs / "ensemble.earlier-1/evaluation").is_dir()
    assert len(json.loads((folder / "ensemble.json").read_text())["picks"]) == 1
    assert not [path.name for path in runs.iterdir() if path.name.startswith(".")]


def test_one_candidate_is_an_ensemble_of_itself(runs: Path, call, tmp_path: Path) -> None:
    done = call(command.main, runs / "one", "--output", tmp_path / "alone")
    assert done.code == 0, done.err
    assert "there is one candidate only: the ensemble is that network" in done.out
    assert "+0.00 points (95 % interval +0.00 to +0.00, McNemar p = 1, n = 15): not distinguishable" in done.out
    record = json.loads((tmp_path / "alone/ensemble.json").read_text())
    result = json.loads((runs / "one/result.json").read_text())
    assert record["test/acc"] == result["test/acc"]


def test_checkpoints_that_are_gone_are_left_out_and_named(runs: Path, call) -> None:
    for file in (runs / "one/checkpoints").iterdir():
        file.unlink()
    done = call(command.main, runs)
    assert done.code == 0
    assert f"one is left out: {runs}/one has no checkpoint (best.ckpt)\n" in done.err
    assert json.loads((runs / "ensemble/ensemble.json").read_text())["left_out"][0].startswith("one is left out")
    shutil.rmtree(runs / "two/checkpoints")
    assert "no network for an ensemble (" in refused(call, runs)


def test_runs_that_were_not_completed_are_no_candidates(runs: Path, call) -> None:
    for name in ("one", "two"):
        edit(runs / name / "result.json", lambda result: result.update(status="interrupted"))
    assert refused(call, runs).endswith("no network for an ensemble (no run there was completed)")


def test_a_confirmation_is_no_candidate_unless_it_is_named(runs: Path) -> None:
    shutil.move(runs / "two", runs / "confirm/best-seed-101")
    edit(runs / "confirm/best-seed-101/result.json", lambda result: result.update(kind="confirmation"))
    assert [each.name for each in candidates.find_candidates([str(runs)])[0]] == ["one"]
    named = [str(runs / name) for name in ("one", "confirm/best-seed-101")]
    assert (
        len(candidates.find_candidates(named)[0])
        == len(candidates.find_candidates([str(runs / "confirm"), named[0]])[0])
        == 2
    )


@pytest.mark.parametrize(("watched", "metric"), [("val/f1", "f1"), ("val/objective", "loss"), ("val/loss", "loss")])
def test_the_metric_is_the_one_that_the_runs_watched(runs: Path, watched: str, metric: str) -> None:
    for name in ("one", "two"):
        edit(runs / name / "result.json", lambda result: result.update(monitor=watched))
    assert candidates.find_candidates([str(runs)])[2] == metric


@pytest.mark.parametrize("part", ["val", "test"])
def test_other_images_are_refused(runs: Path, call, part: str) -> None:
    edit(runs / "two/data.json", lambda data: data["parts"][part].update(digest="0" * 32))
    line = refused(call, runs)
    assert line == f"members of an ensemble must have the same {part} images: those of one and two differ"


def test_other_classes_are_refused(runs: Path, call) -> None:
    def rename(data: dict) -> None:
        for part in data["parts"].values():
            part["images"]["ten"] = part["images"].pop("9")

    edit(runs / "two/data.json", rename)
    assert "must have the same classes: those of one and two differ" in refused(call, runs)


def test_data_that_changed_are_refused(runs: Path, call) -> None:
    for name in ("one", "two"):
        edit(runs / name / "data.json", lambda data: data["parts"]["val"].update(digest="0" * 32))
    assert refused(call, runs).startswith("the data changed since these networks were trained: val has other images")


def test_a_link_out_of_a_run_is_refused_for_that_run(runs: Path, tmp_path: Path, call) -> None:
    shutil.move(runs / "two/checkpoints/best.ckpt", tmp_path / "elsewhere.ckpt")
    (runs / "two/checkpoints/best.ckpt").symlink_to(tmp_path / "elsewhere.ckpt")
    done = call(command.main, runs)
    assert done.code == 0
    assert "two is left out: " in done.err
    assert "is a symbolic link that leads out of" in done.err


def test_a_folder_of_something_else_is_not_replaced(runs: Path, tmp_path: Path, call) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    says = f"--output must be a new folder or an earlier ensemble's, got {tmp_path}/mine"
    assert refused(call, runs, "--output", tmp_path / "mine") == says
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("count", ["0", "-1", "x", "101"])
def test_the_number_of_picks_is_checked_before_anything(call, count: str) -> None:
    done = call(command.main, "/nowhere", "--members", count)
    assert done.code == 2
    assert done.err.startswith("ensemble.py: argument --members: must be ")


def test_probabilities_that_do_not_fit_into_memory_are_refused(runs: Path, call, monkeypatch) -> None:
    def refuse(key: str, need: float, rule: str, free: float | None = None) -> None:
        raise ConfigError(f"{key} {need:.0f} {rule}")

    monkeypatch.setattr(candidates.memory, "require", refuse)
    assert refused(call, runs) == f"RUNS {4 * 2 * 30 * 10} the probabilities of 2 networks for 30 images need"


def test_where_the_folder_goes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ensemble_making, "OUTPUTS", tmp_path / "outputs")
    for name in ("mlp", "cnn", "third", "fourth", "a run"):
        (tmp_path / name).mkdir()
    (tmp_path / "a run/config.yaml").touch()

    def where(*names: str) -> str:
        return str(ensemble_making.output_folder(None, [str(tmp_path / name) for name in names]))

    assert where("mlp") == f"{tmp_path}/mlp/ensemble"
    assert where("mlp", "cnn") == f"{tmp_path}/outputs/ensembles/mlp-cnn"
    assert where("mlp", "cnn", "third", "fourth").endswith("/mlp-cnn-third-and-1-more")
    assert where("a run") == f"{tmp_path}/outputs/ensembles/a-run"
