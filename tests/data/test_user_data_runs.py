"""A run on a user data module: trained, scored, resumed and evaluated like any other."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader, random_split

import evaluate
import export
import own_data
import predict
from lightsweep.core.errors import ConfigError
from own_data import Own, Pairs, WithMeanAndStd


class WithoutTest(Own):
    test_dataloader = pl.LightningDataModule.test_dataloader


class Gone(Own):
    val_dataloader = pl.LightningDataModule.val_dataloader


class Failing(Own):
    def setup(self, stage: str) -> None:
        raise FileNotFoundError("no\nsuch file")


@pytest.fixture(autouse=True)
def _trusted(trust) -> None:
    trust(f"{__name__}.*", f"{own_data.__name__}.*")


@pytest.fixture
def own_run(run):
    """Train on a data module, its node in place of that of digits."""

    def trained(kind: type, *overrides: str, name: str = "run", **arguments: Any):
        node = {"_target_": f"{kind.__module__}.{kind.__name__}", **arguments}
        return run(*overrides, name=name, edit=lambda cfg: cfg.update(data=node))

    return trained


@pytest.mark.parametrize(
    ("kind", "pixels"), [(Own, False), (Own, True), (WithMeanAndStd, False), (WithoutTest, True)], ids=str
)
def test_is_trained_on_scored_and_shown(own_run, call, kind: type, pixels: bool) -> None:
    done = own_run(
        kind, "callbacks=default", "model.bn=true", "trainer.max_epochs=6", "optimizer.lr=0.01", pixels=pixels
    )
    assert done.result["status"] == "completed"
    assert done.result["val/acc"] > 0.5  # a third by chance
    assert ("test/acc" in done.result) == (kind is not WithoutTest)
    saved = done.checkpoint("best.ckpt")["lightsweep"]
    assert (saved["input_shape"], saved["class_names"]) == ([1, 6, 6], list(Pairs.classes))
    evaluated = call(evaluate.main, done.folder, "--split", "val", "--device", "cpu")
    assert (evaluated.code, "equal to result.json, digit for digit" in evaluated.out) == (0, True), evaluated.err


def test_float_and_pixels_are_the_same_to_the_network(own_run) -> None:
    first, second = (own_run(Own, name=str(pixels), pixels=pixels) for pixels in (False, True))
    assert float(first.rows[-1]["val/loss"]) == pytest.approx(float(second.rows[-1]["val/loss"]), abs=1e-5)


def test_a_run_is_resumed_exactly(own_run) -> None:
    at_once = own_run(Own, "trainer.max_epochs=3", name="at-once")
    own_run(Own, "trainer.max_epochs=1", name="parts")
    assert own_run(Own, "trainer.max_epochs=3", name="parts").measured == at_once.measured


def test_a_resumed_run_says_what_changed_in_its_data(own_run, monkeypatch) -> None:
    own_run(Own, "trainer.max_epochs=1")
    monkeypatch.setattr(Own, "val_dataloader", lambda self: DataLoader(Pairs(40, pixels=self.pixels), 7))
    with pytest.raises(ConfigError, match="the data changed since this run started: val has 40 images, had 31"):
        own_run(Own, "trainer.max_epochs=2")


class Drawn(Own):
    """Its split is drawn from torch's generator, as many do."""

    def setup(self, stage: str) -> None:
        self.sets = [*random_split(Pairs(90, pixels=False), [60, 30]), Pairs(30, pixels=False)]


def test_a_split_that_is_drawn_is_the_same_when_a_run_is_resumed(own_run) -> None:
    at_once = own_run(Drawn, "trainer.max_epochs=3", name="at-once")
    own_run(Drawn, "trainer.max_epochs=1", name="parts")
    torch.rand(7)
    assert own_run(Drawn, "trainer.max_epochs=3", name="parts").measured == at_once.measured


@pytest.mark.parametrize(("kind", "pixels"), [(WithMeanAndStd, False), (Own, True)])
def test_image_files_are_classified_where_it_is_known_how_pixels_become_inputs(
    own_run, call, tmp_path: Path, kind: type, pixels: bool
) -> None:
    done = own_run(kind, "trainer.max_epochs=20", "optimizer.lr=0.01", "callbacks=checkpoint", pixels=pixels)
    images = Pairs(30, pixels=True)
    for number, (image, label) in enumerate(images):
        (tmp_path / "files" / images.classes[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(tmp_path / "files" / images.classes[label] / f"{number}.png")
    ended = call(predict.main, done.folder, tmp_path / "files", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert f"accuracy {done.result['test/acc']:.4f}" in ended.out


def test_image_files_are_refused_where_nobody_can_know(own_run, call, tmp_path: Path) -> None:
    done = own_run(Own, "callbacks=checkpoint")
    for main, more in ((predict.main, [tmp_path]), (export.main, [])):
        ended = call(main, done.folder, *more)
        assert (ended.code, ended.out) == (1, "")
        assert "without mean and std" in ended.err.splitlines()[-1]
    ended = call(evaluate.main, done.folder, "--data", "data=digits", "--device", "cpu")
    assert "weights are scored on the run's own data only" in ended.err


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Gone,
            "data must be a LightningDataModule with train_dataloader and val_dataloader: .*Gone lacks val_",
        ),
        (Pairs, "Pairs lacks train_dataloader and val_dataloader"),
        (Failing, "data: .*Failing.setup failed: FileNotFoundError: no such file$"),
    ],
)
def test_what_is_no_data_module_leaves_no_record(own_run, tmp_path: Path, kind: type, message: str) -> None:
    arguments = {"count": 3, "pixels": True} if kind is Pairs else {}
    with pytest.raises(ConfigError, match=message):
        own_run(kind, **arguments)
    assert not (tmp_path / "run" / "result.json").exists()


def test_batchnorm_gets_no_single_image(own_run) -> None:
    with pytest.raises(ConfigError, match="train_dataloader gives a batch of one image, .*: drop_last=True"):
        own_run(Own, "model.bn=true", batch_size=59)
