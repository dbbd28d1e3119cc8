"""A trained network in use: images -> probabilities on any device, and the same as one ONNX file."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from lightsweep.core.errors import ConfigError, RunFailed
from lightsweep.core.files import replace_atomically
from lightsweep.data.normalization import Normalization
from lightsweep.inference.trained_runs import Weights
from lightsweep.inference.views import Views
from lightsweep.training.checkpoints import Trained


@dataclass(frozen=True)
class Hardware:
    """A device, and how a forward pass runs there."""

    device: torch.device
    plugin: Precision

    def precision(self) -> AbstractContextManager:
        """Around a forward pass."""
        return self.plugin.forward_context()


def choose_hardware(device: str, precision: str) -> Hardware:
    """What Lightning's Trainer would choose.

    Args:
        device: auto, cpu, gpu, cuda, mps and so on; with a number, cuda:1, that one of several.
        precision: as the Trainer names it.

    Raises:
        ConfigError: there is no such device here, or it does not have the precision.
    """
    accelerator, _, number = device.partition(":")
    try:
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=[int(number)] if number else 1,
            precision=precision,  # type: ignore[arg-type]
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        return Hardware(trainer.strategy.root_device, trainer.precision_plugin)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"--device {device}: {' '.join(str(error).split())}") from error


class Predictor:
    """Images ``uint8 [B, C, H, W]`` -> probabilities ``float64 [B, K]`` on the CPU, as in training.

    Args:
        views: of each image, whose probabilities are averaged; None: the image alone.
    """

    def __init__(self, trained: Trained, hardware: Hardware, views: Views | None = None) -> None:
        self.hardware, self.views = hardware, views or (lambda images: [images])
        self.net = trained.net.to(hardware.device)
        self.normalization = trained.description.normalization.to(hardware.device)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        images = images.to(self.hardware.device)
        return torch.stack([self._probabilities(view) for view in self.views(images)]).mean(0)

    def _probabilities(self, images: Tensor) -> Tensor:
        with self.hardware.precision():
            logits = self.net(self.normalization(images))
        # In double precision, which not every device has, no two logits that differ become equal.
        return torch.softmax(logits.cpu().double(), 1)


def rank_classes(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities ``[B, K]`` from the largest on, and their classes; of equals the first class, as `argmax`."""
    values, classes = torch.sort(probabilities, descending=True, stable=True)
    return values, classes


TOLERANCE = 1e-4
BATCH_SIZES = (1, 2, 7)  # that each export is checked with
INPUT, OUTPUTS = "images", ("logits", "probabilities")


class Pipeline(nn.Module):
    """Images ``uint8 [N, C, H, W]`` -> logits and probabilities, both ``float32 [N, K]``: normalisation and network."""

    mean: Tensor
    std: Tensor

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.net = trained.net
        self.register_buffer("mean", trained.description.normalization.mean)
        self.register_buffer("std", trained.description.normalization.std)
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.net(Normalization(self.mean, self.std)(images))
        return logits, torch.softmax(logits, 1)


def export_onnx(trained: Trained, path: Path, images: Sequence[np.ndarray], metadata: dict[str, Any]) -> float:
    """Write the file if it gives what PyTorch gives; returns the largest difference.

    Args:
        images: arrays ``uint8 [N, C, H, W]`` that both must agree on.
        metadata: text, or values for JSON.

    Raises:
        RunFailed: they do not agree. No file is left.
    """
    import onnx

    pipeline = Pipeline(trained)
    model = _graph(pipeline, trained.description.input_shape)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    onnx.helper.set_model_props(model, texts)
    with replace_atomically(path) as temporary:
        onnx.save(model, temporary)
        difference = _difference(pipeline, temporary, images)
        if not difference <= TOLERANCE:  # NaN is no agreement either
            raise RunFailed(
                f"the ONNX graph differs from PyTorch by {difference:.1e}, more than {TOLERANCE}: not written"
            )
    return difference


def describe_export(trained: Trained, weights: Weights) -> dict[str, Any]:
    """What a user of the file must know: the classes in the order of the outputs, and how an image becomes an input."""
    from lightsweep import __version__

    channels, height, width = trained.description.input_shape
    return {
        "class_names": list(trained.description.class_names),
        "input": f"uint8 [batch, {channels}, {height}, {width}], pixels 0 to 255; normalised inside",
        "colour": "gray" if channels == 1 else "RGB",
        "resize": trained.description.resize,
        "outputs": "logits and probabilities, float32 [batch, classes]",
        "precision": f"float32 (trained in {trained.precision})",
        "checkpoint": f"{weights.run.name}/{weights.checkpoint.name}" if weights.run else weights.checkpoint.name,
        "epoch": trained.epoch,
        "lightsweep_version": __version__,
        "git_commit": weights.result.get("git_commit") or "",  # that trained it
    }


def random_images(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Noise in batches of several sizes, the same at each export."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (size, *shape), dtype=np.uint8) for size in BATCH_SIZES]


def require_packages() -> None:
    """Raises:
    ConfigError: a package that the export needs is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"--format onnx needs the package {error.name}: pip install onnx onnxruntime onnxscript,"
            " or pip install -e '.[onnx]' in lightsweep's folder"
        ) from error


def _graph(pipeline: Pipeline, shape: tuple[int, int, int]) -> Any:
    program = torch.onnx.export(
        pipeline,
        (torch.zeros(2, *shape, dtype=torch.uint8),),  # a batch of one would become a constant
        dynamo=True,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _difference(pipeline: Pipeline, path: Path, images: Sequence[np.ndarray]) -> float:
    """The largest difference of an output, in probabilities, and in logits in units of their largest (at least 1)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in images:
        with torch.inference_mode():
            ours = [output.numpy() for output in pipeline(torch.from_numpy(batch))]
        theirs = session.run(list(OUTPUTS), {INPUT: batch})
        for one, other in zip(ours, theirs, strict=True):
            scale = max(1.0, float(np.abs(one).max()))
            worst = float(np.maximum(worst, np.abs(one - other).max() / scale))  # keeps a NaN
    return worst
