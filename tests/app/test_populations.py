"""`populations.train_batch` with a batch of this test's own: what a member leaves, and how it ends."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from batches import FakeBatch, trained_together
from digits_runs import Run, trained
from lightsweep.core.errors import DataChanged, Diverged, Interrupted
from lightsweep.data.datasets import DigitsDataModule
from lightsweep.population.population import Population
from lightsweep.runs import run_folder
from lightsweep.training import checkpoints, threads

SGD = ("optimizer=sgd", "test=false", "optimizer.lr=0.1")
AVERAGED = "callbacks=[early_stopping,lr_monitor,checkpoint,progress,ema]"
TIMES = {"seconds", "score_seconds", "peak_memory"}


def same_run(path: Path, *overrides: str, **options: Any) -> Run:
    return trained(path, *overrides, kind="trial", **options)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a member and of a run with the same config; tests only read them."""
    folder = tmp_path_factory.mktemp("population")
    jobs = [(*SGD, "trainer.max_epochs=4", "logger=[tensorboard,csv]", AVERAGED, f"seed={seed}") for seed in (5, 6, 7)]
    batch = trained_together(folder, *jobs)
    run = same_run(folder / "run", *jobs[1])
    assert batch.jobs[1].end == pytest.approx(run.value)
    return batch.jobs[1].folder, run.folder


def files(folder: Path) -> set[str]:
    """All that lie in a folder; of event files only that there are some, and not the one of an aborted start."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name.partition(".tfevents")[0] for name in names} - {f"checkpoints/{run_folder.LAST_CHECKPOINT}"}


def test_a_member_leaves_the_files_of_a_run(both: tuple[Path, Path]) -> None:
    member, run = both
    assert files(member) == files(run)
    assert (member / "data.json").read_text() == (run / "data.json").read_text()
    assert (member / "csv" / "hparams.yaml").read_text() == (run / "csv" / "hparams.yaml").read_text()


def test_its_epochs_are_those_of_the_run(both: tuple[Path, Path]) -> None:
    member, run = (Run(folder, 0.0).measured for folder in both)
    assert len(member) == len(run) == 4
    for ours, theirs in zip(member, run, strict=True):
        assert {name: float(cell) for name, cell in ours.items()} == pytest.approx(
            {name: float(cell) for name, cell in theirs.items()}, abs=1e-5
        )


def test_its_result_is_that_of_the_run(both: tuple[Path, Path]) -> None:
    member, run = (Run(folder, 0.0).result for folder in both)
    assert member.keys() == run.keys()
    for name in member.keys() - TIMES - {"config", "best_value"}:
        known = member[name] if not isinstance(member[name], float) else pytest.approx(member[name], abs=1e-5)
        assert known == run[name], name
    assert member["kind"] == "trial"
    assert member["seconds"] > 0


def test_its_weights_are_loaded_as_those_of_the_run(both: tuple[Path, Path]) -> None:
    member, run = (checkpoints.load(folder / "checkpoints" / run_folder.BEST_CHECKPOINT) for folder in both)
    assert (member.epoch, member.precision) == (run.epoch, run.precision)
    assert member.description.as_dict().items() >= {"model": run.description.model}.items()
    for name, weight in run.net.state_dict().items():
        torch.testing.assert_close(member.net.state_dict()[name], weight, atol=1e-5, rtol=1e-4)


def test_its_loggers_have_the_curves_of_the_run(both: tuple[Path, Path]) -> None:
    def curves(folder: Path) -> dict[tuple[str, int], float]:
        found = {}
        for file in folder.glob("events*"):
            for event in EventFileLoader(str(file)).Load():
                for value in event.summary.value:
                    number = value.tensor.float_val[0] if value.tensor.float_val else 0.0
                    found[value.tag, event.step] = number
        return {key: value for key, value in found.items() if not key[0].endswith("second") and "seconds" not in key[0]}

    member, run = map(curves, both)
    assert member == pytest.approx(run, abs=1e-5)
    rows = [(folder / "csv" / "metrics.csv").read_text().splitlines() for folder in both]
    assert len(rows[0]) == len(rows[1])
    assert rows[0][0] == rows[1][0]


def test_early_stopping_ends_a_member_alone(tmp_path: Path) -> None:
    lazy = (*SGD[:2], "optimizer.lr=1e-9", "callbacks.early_stopping.patience=2", "trainer.max_epochs=6")
    batch = trained_together(tmp_path, lazy, (*SGD, "trainer.max_epochs=4"), (*lazy, "+trainer.min_epochs=5"))
    assert [job.result["epochs"] for job in batch.jobs] == [3, 4, 5]
    assert [same_run(tmp_path / "run", *lazy).result["epochs"]] == [3]
    assert [job.result["status"] for job in batch.jobs] == ["completed"] * 3


def test_a_pruned_member_leaves_the_weights_before_the_report(tmp_path: Path) -> None:
    batch = trained_together(tmp_path, SGD, prunes=lambda step, value: step == 2)
    (job,) = batch.jobs
    assert (job.end, job.result["status"], job.result["epochs"]) == ("pruned", "pruned", 2)
    assert job.trial.facts["epochs"] == 2
    assert checkpoints.load(job.folder / "checkpoints" / run_folder.BEST_CHECKPOINT).epoch == 1


def test_a_member_that_diverges_fails_alone(tmp_path: Path) -> None:
    batch = trained_together(tmp_path, SGD, (*SGD[:2], "optimizer.lr=1e30"))
    alone = trained_together(tmp_path / "alone", SGD)
    assert [job.end for job in batch.jobs] == [alone.jobs[0].end, "diverged"]
    assert isinstance(batch.jobs[1].error, Diverged)
    assert batch.jobs[1].result["error"].startswith("train/loss became")
    assert Run(batch.jobs[0].folder, 0.0).measured == Run(alone.jobs[0].folder, 0.0).measured


@pytest.mark.parametrize(("speedup", "count"), [(1.5, 2), (0.2, 1)])
def test_a_population_times_its_first_steps_with_one_thread_and_with_all(
    tmp_path: Path, monkeypatch, speedup: float, count: int
) -> None:
    def compare(most: int) -> Generator[int, float, float]:
        yield 1
        yield most
        return speedup

    used: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", used.append)
    monkeypatch.setattr(threads, "most_threads", lambda: 2)
    monkeypatch.setattr(threads, "compare", compare)
    batch = trained_together(tmp_path, *[(*SGD, f"seed={seed}") for seed in (1, 2)])
    assert [job.result["status"] for job in batch.jobs] == ["completed"] * 2
    at_start, *steps = used
    assert steps == [1, 2, count, at_start, count]  # two steps that are timed, and a second epoch


def test_a_config_that_cannot_be_costs_its_own_trial(tmp_path: Path) -> None:
    wrong = ("model.dropout=1.5", "data.augment.crop=-1", "trainer.gradient_clip_val=-1", "seed=-1", "loss.l2=-1")
    batch = trained_together(tmp_path, SGD, *[(*SGD, each) for each in wrong])
    assert isinstance(batch.jobs[0].end, float)
    for each, job in zip(wrong, batch.jobs[1:], strict=True):
        assert f"{each.partition('=')[0]} must be" in str(job.error)


def test_a_folder_that_cannot_be_written_costs_its_own_trial(tmp_path: Path) -> None:
    (tmp_path / "trial-0000" / "hparams.yaml").mkdir(parents=True)
    batch = trained_together(tmp_path, (*SGD, "logger=tensorboard"), (*SGD, "model.width=24"))
    assert batch.jobs[0].end == "failed"
    assert isinstance(batch.jobs[1].end, float)


def test_kinds_take_turns_and_read_the_data_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, turns = [], []
    read, train_epoch = DigitsDataModule.read, Population.train_epoch
    monkeypatch.setattr(DigitsDataModule, "read", lambda self: reads.append(1) or read(self))

    def trained_epoch(population: Population) -> Any:
        turns.append(len(population.members))
        return train_epoch(population)

    monkeypatch.setattr(Population, "train_epoch", trained_epoch)
    wide = (*SGD, "model.width=24", "data.batch_size=32")
    batch = trained_together(tmp_path, SGD, wide, SGD, wide, wide)
    assert turns == [2, 3, 2, 3]
    assert reads == [1]
    assert batch.images == 5 * 2 * 256
    assert all(isinstance(job.end, float) for job in batch.jobs)


def test_a_place_that_becomes_free_goes_to_the_next_trial(tmp_path: Path) -> None:
    jobs = [(*SGD, f"trainer.max_epochs={epochs}", f"seed={epochs}") for epochs in (1, 3, 2, 2)]
    batch = trained_together(tmp_path, *jobs, places=2)
    assert batch.asked == [2, 1, 0, 1, 0, 0][: len(batch.asked)]
    alone = trained_together(tmp_path / "alone", jobs[3])
    assert Run(batch.jobs[3].folder, 0.0).measured == Run(alone.jobs[0].folder, 0.0).measured


def test_staggered_trials_start_one_after_another_until_all_places_are_taken(tmp_path: Path) -> None:
    jobs = [(*SGD, "trainer.max_epochs=2")] * 7
    batch = trained_together(tmp_path, *jobs, places=4, staggered=True)
    assert batch.asked[:4] == [1, 2, 2, 2]  # 4 places / 2 epochs; then as many as leave


def test_what_no_population_holds_runs_by_itself(tmp_path: Path) -> None:
    batch = trained_together(tmp_path, ("model=cnn", "test=false"), (*SGD, "score_with=last"), SGD)
    assert [job.end for job in batch.jobs[:2]] == ["alone", "alone"]
    assert isinstance(batch.jobs[2].end, float)
    assert batch.lines == [
        "some trials train by themselves: model: a population trains lightsweep.nets.MLP only, got lightsweep.nets.CNN",
        "some trials train by themselves: score_with=last needs last.ckpt, which a population does not write",
    ]
    confirmed = trained_together(tmp_path / "confirm", SGD, kind="confirmation")
    assert (confirmed.jobs[0].end, confirmed.lines) == ("alone", [])


@pytest.mark.parametrize("where", ["train_epoch", "add"])
def test_out_of_memory_halves_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    real = getattr(Population, where)

    def starved(population: Population, *arguments: Any) -> Any:
        if len(population.members) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(population, *arguments)

    monkeypatch.setattr(Population, where, starved)
    batch = trained_together(tmp_path, *[SGD] * 4, places=3)
    again = [job for job in batch.jobs if job.end == "put back: out of memory"]
    assert again
    assert all(job.result["status"] == "interrupted" for job in again)
    assert batch.places == 1
    assert isinstance(batch.jobs[-1].end, float)


def test_one_that_needs_all_memory_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(population: Population) -> None:
        raise MemoryError("nothing is left")

    monkeypatch.setattr(Population, "train_epoch", starved)
    batch = trained_together(tmp_path, SGD, SGD, places=1)
    assert [job.end for job in batch.jobs] == ["failed", "failed"]


def test_places_are_filled_at_once_when_the_start_is_over_although_trials_are_pruned(tmp_path: Path) -> None:
    jobs = [(*SGD, "trainer.max_epochs=4")] * 9
    batch = trained_together(tmp_path, *jobs, places=4, staggered=True, prunes=lambda step, value: step == 2)
    assert batch.asked[:5] == [1, 1, 1, 1, 3]  # one of 4 places in each of 4 epochs; then all that are free


def test_jobs_that_were_asked_for_before_the_places_were_halved_are_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Population.add

    def starved(population: Population, spec: Any) -> Any:
        if len(population.members) == 0 and spec.seed == 2:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)")
        return real(population, spec)

    monkeypatch.setattr(Population, "add", starved)
    wide = (*SGD, "model.width=24")
    kinds = [SGD, (*SGD, "model.width=20", "seed=2"), *[wide] * 3]
    batch = trained_together(tmp_path, *kinds, places=5)
    assert [str(job.end) for job in batch.jobs if isinstance(job.end, str)] == [
        "put back: out of memory",
        "put back: no place is free",
    ]
    assert batch.places == 2


def test_an_error_of_the_whole_computation_ends_the_batch_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(population: Population) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Population, "train_epoch", broken)
    batch = FakeBatch(tmp_path, [SGD, SGD])
    with pytest.raises(RuntimeError, match="illegal memory access"):
        trained_together(tmp_path, batch=batch)
    assert batch.open == batch.jobs  # the batch closes them as interrupted: one failure in all
    assert [job.result["status"] for job in batch.jobs] == ["interrupted", "interrupted"]


def test_a_signal_interrupts_all_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Population.train_epoch

    def interrupted(population: Population) -> Any:
        if population.members[0].epochs == 1:
            raise Interrupted(15)
        return real(population)

    monkeypatch.setattr(Population, "train_epoch", interrupted)
    batch = FakeBatch(tmp_path, [SGD, SGD])
    with pytest.raises(Interrupted):
        trained_together(tmp_path, batch=batch)
    assert batch.open == batch.jobs  # the batch closes them
    assert [job.result["status"] for job in batch.jobs] == ["interrupted", "interrupted"]
    assert all((job.folder / "checkpoints" / run_folder.BEST_CHECKPOINT).is_file() for job in batch.jobs)


def test_other_data_refuse_the_trial(tmp_path: Path) -> None:
    batch = trained_together(tmp_path, SGD, data=("0" * 32, str(tmp_path)))
    assert batch.jobs[0].end == "refused"
    assert isinstance(batch.jobs[0].error, DataChanged)


def test_weights_of_another_run_are_where_a_member_starts(tmp_path: Path, both: tuple[Path, Path]) -> None:
    batch = trained_together(tmp_path, (*SGD[:2], "optimizer.lr=1e-9", f"init_from={both[0]}", "trainer.max_epochs=1"))
    assert batch.jobs[0].end == pytest.approx(Run(both[0], 0.0).result["best_value"])
