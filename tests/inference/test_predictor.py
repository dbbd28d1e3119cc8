"""Using a trained network: the precision it was trained in, and ranks that agree with `argmax`."""

from pathlib import Path

import pytest
import torch

from lightsweep.core.errors import ConfigError
from lightsweep.inference import predictor
from lightsweep.training import checkpoints


@pytest.mark.parametrize(("trained_in", "recorded"), [("bf16-mixed", "bf16-mixed"), ("32", "32-true")])
def test_a_checkpoint_records_its_precision(run, trained_in: str, recorded: str) -> None:
    folder = run("trainer.max_epochs=1", f"trainer.precision={trained_in}").folder
    assert {checkpoints.load(path).precision for path in (folder / "checkpoints").iterdir()} == {recorded}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_forward_pass_runs_in_that_precision(finished, precision: str) -> None:
    trained = checkpoints.load(finished.folder / "checkpoints" / "best.ckpt")
    images = torch.arange(0, 256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    found = predictor.Predictor(trained, predictor.choose_hardware("cpu", precision))(images)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        logits = trained.net(trained.description.normalization(images))
    assert logits.dtype == (torch.bfloat16 if precision == "bf16-mixed" else torch.float32)
    torch.testing.assert_close(found, logits.double().softmax(1), rtol=0, atol=0)


def test_of_equal_probabilities_the_first_class_comes_first() -> None:
    probabilities = torch.rand(200, 50, generator=torch.Generator().manual_seed(0)).mul(8).round()
    values, classes = predictor.rank_classes(probabilities)
    assert torch.equal(classes[:, 0], probabilities.argmax(1))
    assert torch.equal(values, probabilities.gather(1, classes))


@pytest.mark.parametrize(
    ("device", "precision"), [("abacus", "32-true"), ("cpu", "31"), ("cpu:x", "32-true"), ("cpu:1", "32-true")]
)
def test_an_invalid_device_or_precision_is_one_line(device: str, precision: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--device {device}: ") as refusal:
        predictor.choose_hardware(device, precision)
    assert "\n" not in str(refusal.value)


def test_a_network_for_other_than_gray_and_colour_takes_no_files(tmp_path: Path) -> None:
    shape = (2, 8, 8)
    description = checkpoints.Description({}, shape, ("a", "b"), None, "squash")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^the network takes images with 2 channels; image files have 1 or 3$"):
        _ = description.grayscale
