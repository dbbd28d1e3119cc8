"""The spectrum: against SciPy's DCT, whitened, and inside networks."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import nn

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.nets.layers import Spectrum, input_layer


def test_is_scipys_transform_of_a_grey_image() -> None:
    images = torch.randn(4, 1, 12, 10)
    expected = dctn(images.numpy(), axes=(3, 2), norm="ortho")[:, 0, :5, :5].swapaxes(1, 2).reshape(4, 25)
    np.testing.assert_allclose(Spectrum((1, 12, 10), 5, 2)(images), expected, atol=1e-5)


def test_of_a_whole_colour_image_it_keeps_every_distance() -> None:
    images = torch.randn(6, 3, 8, 8)
    assert torch.allclose(torch.cdist(*[Spectrum((3, 8, 8), 8, 8)(images)] * 2), torch.cdist(*[images.flatten(1)] * 2))


def test_a_grey_picture_has_no_colour() -> None:
    grey = torch.rand(5, 1, 16, 16).expand(5, 3, 16, 16)
    waves = Spectrum((3, 16, 16), 6, 4)(grey)
    assert waves.shape == (5, 6 * 6 + 2 * 4 * 4)
    assert waves[:, :36].abs().max() > 1
    assert waves[:, 36:].abs().max() < 1e-5


def test_other_channels_are_all_treated_alike() -> None:
    assert Spectrum((2, 8, 8), 4, 1)(torch.rand(3, 2, 8, 8)).shape == (3, 32)


def test_precision_of_the_rest_does_not_matter_to_it() -> None:
    images, spectrum = torch.rand(2, 3, 8, 8), Spectrum((3, 8, 8), 4, 2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = spectrum(images)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, spectrum(images))


def test_strong_frequencies_get_variance_one_and_weak_ones_stay_weak() -> None:
    torch.manual_seed(0)
    layer, features = input_layer((1, 8, 8), 8, 0.1)
    assert features == 64
    with torch.no_grad():
        white = layer(torch.randn(4000, 1, 8, 8) * torch.tensor([10.0, 0.01]).repeat(4))  # columns, loud and faint
        faint = layer(0.01 * torch.randn(4000, 1, 8, 8))
    assert white.var(0).max() == pytest.approx(1, abs=0.05)
    assert faint.var(0).mean() == pytest.approx(1e-4 / (1e-4 + 0.1), rel=0.05)


@pytest.mark.parametrize("dct", [0, 9, 4.0, True, [4], [4, 5], [4, 2, 1], [9, 1], ["a", 1], "all"])
def test_what_the_images_do_not_have_is_refused(dct) -> None:
    with pytest.raises(ConfigError, match=r"model\.dct must be an integer in \[1, 8\]"):
        input_layer((1, 8, 8), dct, 0.1)


@pytest.mark.parametrize("model", ["mlp", "resmlp"])
def test_a_network_takes_it_in_place_of_pixels(compose, model: str) -> None:
    node = compose(f"model={model}", "model.dct=[6,3]").model
    net = build(node, "model", input_shape=(3, 8, 8), num_classes=10)
    assert next(layer for layer in net.modules() if isinstance(layer, nn.Linear)).in_features == 36 + 2 * 9
    assert net(torch.rand(4, 3, 8, 8)).shape == (4, 10)
    assert not any("spectrum" in name for name in net.state_dict())  # it follows from the config
