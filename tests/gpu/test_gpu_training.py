"""Training on a GPU: where tensors are, that it is repeatable, and that every setting works."""

import math
from pathlib import Path

import pytest
import torch

from digits_runs import EVERYTHING, Stopped, opened, same, stop_in_epoch
from image_files import write_folder
from lightsweep.config import mistakes
from lightsweep.core import memory
from lightsweep.core.errors import ConfigError
from lightsweep.training import summary
from lightsweep.training.callbacks import WeightAverage
from lightsweep.training.classifier import Classifier

from .conftest import DEVICE, TYPE

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(180)]

AVERAGED = ("callbacks=[default,ema]", "callbacks.ema.decay=0.9")


@pytest.fixture
def steps(monkeypatch) -> list[dict[str, object]]:
    """What each training step sees."""
    seen: list[dict[str, object]] = []
    training_step = Classifier.training_step

    def watched(self, batch, index: int) -> torch.Tensor:
        store = self.trainer.train_dataloader.store
        places = {part.device.type for part in (*batch, *self.parameters(), *self.buffers())}
        loss = training_step(self, batch, index)
        with torch.no_grad():
            logits = self.net(batch[0])
        seen.append({"places": places, "images": store.images.device.type, "loss": loss, "logits": logits.dtype})
        return loss

    monkeypatch.setattr(Classifier, "training_step", watched)
    return seen


def test_images_and_network_are_on_the_device_and_products_are_in_bfloat16(on, steps) -> None:
    done = on("trainer.max_epochs=1")
    assert len(steps) == 4
    for step in steps:
        assert (step["places"], step["images"], step["logits"]) == ({TYPE}, TYPE, torch.bfloat16)
        assert (step["loss"].device.type, step["loss"].dtype) == (TYPE, torch.float32)
    device = torch.device(TYPE, 0) if TYPE == "cuda" else torch.device(TYPE)
    assert done.result["device"] == summary.device_name(device)
    assert ("peak_device_memory" in done.result) == (TYPE == "cuda")


def test_images_that_do_not_fit_stay_in_main_memory_and_change_nothing(on, steps, monkeypatch) -> None:
    overrides = ("trainer.max_epochs=2", "data.augment.crop=1", "data.augment.noise=0.1")
    resident = on(*overrides, name="resident")
    before = len(steps)
    monkeypatch.setattr("lightsweep.data.loader._MEMORY_SHARE", 0.0)
    batchwise = on(*overrides, name="batchwise")
    assert {step["images"] for step in steps[:before]} == {TYPE}
    assert {step["images"] for step in steps[before:]} == {"cpu"}
    assert all(step["places"] == {TYPE} for step in steps)
    assert batchwise.measured == resident.measured


def test_in_float32_it_learns_what_a_cpu_learns(on, on_cpu) -> None:
    keys = ("trainer.precision=32-true", "trainer.max_epochs=2", "model.bn=true")
    on_device, on_processor = on(*keys, name="device").rows[-1], on_cpu(*keys, name="processor").rows[-1]
    for column in ("train/loss", "val/loss"):
        assert float(on_device[column]) == pytest.approx(float(on_processor[column]), rel=1e-3)


@pytest.mark.parametrize(
    "overrides",
    [
        (*EVERYTHING, "data.augment.mixup=0.4", "scheduler=cosine"),
        (*EVERYTHING, *AVERAGED, "optimizer=adamw"),
        ("model=resmlp", "model.drop_path=0.5", "model.dct=[4,2]", "trainer.gradient_clip_val=1", "optimizer=adamw"),
        ("model=resmlp", "data.augment.rotate=12", "data.augment.noise=0.1", "data.augment.noise_redraw=false"),
        ("trainer.precision=16-mixed", "scheduler=plateau", "scheduler.patience=0"),
        ("model=cnn", "trainer.deterministic=true"),
    ],
    ids=" ".join,
)
def test_a_resumed_run_equals_one_that_was_not_interrupted(on, monkeypatch, overrides: tuple[str, ...]) -> None:
    overrides = ("callbacks=checkpoint", *overrides, "trainer.max_epochs=3")
    full, again = on(*overrides, name="full"), on(*overrides, name="again")
    assert again.measured == full.measured
    with monkeypatch.context() as stopping:
        stopping.setattr("lightsweep.training.trainer.Recorder", stop_in_epoch(2))
        with pytest.raises(Stopped):
            on(*overrides, name="stopped")
    resumed = on(*overrides, name="stopped")
    assert resumed.measured == full.measured
    assert same(resumed.result, full.result)


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.gradient_clip_val=1", "optimizer=adamw"),
        ("trainer.precision=bf16-true", "model=resmlp"),
        ("trainer.precision=16-mixed", "trainer.gradient_clip_val=1", "optimizer=adamw"),
        ("trainer.precision=32-true", "optimizer=sgd", "trainer.accumulate_grad_batches=2"),
        ("trainer.deterministic=true", "data.augment.rotate=12", "data.augment.crop=1", "data.augment.cutout=2"),
        ("optimizer=rmsprop_keras", "loss.l2=1e-3", "loss.label_smoothing=0.1"),
        ("data.class_weights=balanced", "data.sampler=balanced", "data.augment.mixup=0.5"),
        ("data.augment.brightness=0.2", "data.augment.contrast=0.2", "data.augment.flip=true"),
        ("data.normalize=feature", "data.split=random", "monitor.metric=train/f1", "scheduler=plateau"),
        ("model=cnn", "model.dropout=0.1"),
        ("+trainer.profiler=simple", "report=true"),
    ],
    ids=" ".join,
)
def test_a_run_completes_with(on, overrides: tuple[str, ...]) -> None:
    done = on("callbacks=default", *overrides)
    assert (done.result["status"], len(done.rows)) == ("completed", 2)
    assert all(math.isfinite(float(cell)) for row in done.rows for cell in row.values())


def test_every_figure_is_drawn(on, caplog) -> None:
    callbacks = "callbacks=[default,histograms,graph]"
    done = on(callbacks, "logger=[tensorboard,csv]", "data.augment.mixup=0.5", "model.dropout=0.1", shown=True)
    assert len(list((done.folder / "figures").glob("*.png"))) == 7
    assert not [line for line in caplog.messages if "is missing" in line or "did not take" in line]


def test_an_image_folder(on, tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", count=12)
    sizes = ("data.image_size=16", "data.batch_size=8", "data.limit=null")
    done = on("data=image_folder", f"data.root='{tmp_path}/photos'", *sizes, "model.bn=true")
    assert done.result["status"] == "completed"


def test_cifar10_files(on, cifar10: Path, steps) -> None:
    done = on("data=cifar10", f"data_dir='{cifar10}'", "data.batch_size=16", "callbacks=default")
    assert done.result["params"] == 3072 * 16 + 16 + 16 * 10 + 10
    assert {step["images"] for step in steps} == {TYPE}


def test_the_average_is_on_the_device_and_its_count_is_not(on, monkeypatch) -> None:
    seen = []
    on_train_end = WeightAverage.on_train_end

    def watched(self, trainer, pl_module) -> None:
        average = self._average_model
        seen.append(({weight.device.type for weight in average.module.parameters()}, average.n_averaged.device.type))
        on_train_end(self, trainer, pl_module)

    monkeypatch.setattr(WeightAverage, "on_train_end", watched)
    assert on(*AVERAGED, "model.bn=true").result["status"] == "completed"
    assert seen == [({TYPE}, "cpu")]


@pytest.mark.timeout(300)
def test_a_compiled_network_learns_the_same(on, monkeypatch) -> None:
    if TYPE == "cpu":  # where C++ would be built for half a minute
        make = torch.nn.Module.compile
        monkeypatch.setattr("torch.nn.Module.compile", lambda self: make(self, backend="aot_eager"))
    keys = (*AVERAGED, "trainer.max_epochs=1", "trainer.precision=32-true")
    plain, compiled = on(*keys, name="plain"), on(*keys, "compile=true", name="compiled")
    assert float(compiled.rows[0]["val/loss"]) == pytest.approx(float(plain.rows[0]["val/loss"]), rel=1e-3)
    assert plain.checkpoint("best.ckpt")["state_dict"].keys() == compiled.checkpoint("best.ckpt")["state_dict"].keys()


def test_a_range_test_suggests_a_rate(compose, tmp_path: Path) -> None:
    import train

    on_it = ("trainer=gpu", f"trainer.accelerator={DEVICE}")
    cfg = compose(*on_it, "lr_find=true", "lr_find_range.steps=60", "data.limit=600", "optimizer=adamw")
    rate = train.run(cfg, opened(cfg, tmp_path, "run", []))
    assert 1e-6 < rate < 10
    assert (tmp_path / "lr_find.png").exists()


def test_out_of_memory_is_one_clear_line(on, little_memory, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        on("model.width=1024", "model.depth=2")
    assert memory.is_exhausted(caught.value)
    line = mistakes.describe_error(caught.value)
    assert line is not None
    assert line.startswith("there is not enough memory: CUDA out of memory. Tried to allocate ")


def test_what_cannot_fit_is_refused_before_it_is_allocated(on) -> None:
    before = torch.cuda.max_memory_allocated() if TYPE == "cuda" else 0
    with pytest.raises(ConfigError, match=r"^model must fit into memory: .* are available$"):
        on("model.width=1000000", "model.depth=2")
    assert (torch.cuda.max_memory_allocated() if TYPE == "cuda" else 0) == before


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_estimated_memory_is_at_most_what_training_needs(on, monkeypatch, precision: str) -> None:
    foreseen: list[float] = []
    require = memory.require

    def watched(key: str, need: float, *rule) -> None:
        foreseen.append(need)
        require(key, need, *rule)

    monkeypatch.setattr(memory, "require", watched)
    if TYPE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    size = ("model.width=2048", "model.depth=3", "data.batch_size=128", "trainer.max_epochs=1")
    result = on(*size, f"trainer.precision={precision}").result
    taken = result["peak_device_memory" if TYPE == "cuda" else "peak_memory"]
    assert max(foreseen) <= taken
    if TYPE == "cuda":
        assert taken <= 4 * max(foreseen)  # else the estimate would be of no use
