"""Test-time augmentation: which views there are, and that their probabilities are averaged."""

import json

import pytest
import torch
from torch import nn

import evaluate
from lightsweep.data.normalization import Normalization
from lightsweep.inference.views import VIEWS, AveragedNet, shifted


def test_shifts_are_by_a_pixel_with_the_edge_repeated() -> None:
    images = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3)
    views = [view[0, 0].tolist() for view in shifted(images)]
    assert len(views) == 18
    assert len({str(view) for view in views}) == 18
    assert views[0] == [[0, 1, 2], [3, 4, 5]]
    assert [[1, 2, 2], [4, 5, 5]] in views
    assert [[0, 0, 1], [0, 0, 1]] in views
    assert [[5, 5, 4], [5, 5, 4]] in views  # of the mirror image


@pytest.mark.parametrize("name", VIEWS)
def test_the_mean_is_of_probabilities_and_views_are_of_pixels(name: str) -> None:
    """A mean that each pixel has for itself would move with a normalised image."""
    torch.manual_seed(0)
    normalization = Normalization(255 * torch.rand(3, 4, 5), 10 + 50 * torch.rand(3, 4, 5))
    net = nn.Sequential(nn.Flatten(), nn.Linear(60, 7))
    images = torch.randint(256, (9, 3, 4, 5)).float()
    logits = AveragedNet(net, normalization, VIEWS[name])(normalization(images))
    wanted = torch.stack([net(normalization(view)).softmax(1) for view in VIEWS[name](images)]).mean(0)
    torch.testing.assert_close(logits.softmax(1), wanted, rtol=1e-4, atol=1e-5)


def test_a_run_is_scored_in_a_folder_of_its_own(finished, call, tmp_path) -> None:
    done = call(evaluate.main, finished.folder, "--tta", "flip", "--output", tmp_path)
    assert done.code == 0
    assert "digit for digit" not in done.out  # nothing to compare with
    content = json.loads((tmp_path / "test" / "evaluation.json").read_text())
    assert (content["tta"], content["noted_in_training"]) == ("flip", {})
    assert 0 < content["loss"] != finished.result["test/loss"]
