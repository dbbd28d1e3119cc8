"""A grid: each job is a run, and a bad one costs nobody else anything."""

import json

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RUN = ("-m", "data=digits", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "model.width=16")


def test_a_bad_value_costs_its_own_job(train, tmp_path):
    ended = train(*RUN, "model.dropout=0.1,1.5,0.2")

    assert ended.code == 1
    assert ended.lines == ["job 1: model.dropout must be in [0, 1), got 1.5"]
    jobs = {job.name: json.loads((job / "result.json").read_text()) for job in (tmp_path / "grid").glob("[0-9]*")}
    assert {name: facts["config"]["model"]["dropout"] for name, facts in jobs.items()} == {"0": 0.1, "2": 0.2}
    assert {(facts["status"], facts["kind"]) for facts in jobs.values()} == {("completed", "job")}


def test_what_cannot_be_composed_is_refused_whole(train, tmp_path):
    ended = train(*RUN, "optimizer=adam,foo")

    assert ended.code == 1
    assert len(ended.lines) == 1
    assert ended.err.startswith("optimizer=foo: there is no such choice; there is adam, ")
    assert not (tmp_path / "grid").exists()


def test_not_a_single_good_job_leaves_nothing(train, tmp_path):
    ended = train(*RUN, "seed=-1,-2")

    assert ended.code == 1
    assert ended.lines == [f"job {job}: seed must be an integer >= 0, got {-1 - job}" for job in range(2)]
    assert not (tmp_path / "grid").exists()


def test_a_diverged_job_costs_its_own_job(train, tmp_path):
    ended = train(*RUN, "optimizer=sgd", "optimizer.lr=1e30,0.01")

    assert ended.code == 1
    assert len(ended.lines) == 1
    assert ended.err.startswith("job 0: train/loss became ")
    statuses = [json.loads((tmp_path / "grid" / job / "result.json").read_text())["status"] for job in "01"]
    assert statuses == ["diverged", "completed"]


def test_a_second_grid_does_not_run_over_the_first(train, tmp_path):
    assert train(*RUN, "seed=1").code == 0
    before = (tmp_path / "grid" / "0" / "metrics.csv").read_bytes()

    ended = train(*RUN, "seed=2")

    assert ended.code == 1
    assert ended.lines == [
        f"job 0: {tmp_path}/grid/0 holds a run already: choose another hydra.run.dir or hydra.sweep.dir"
    ]
    assert (tmp_path / "grid" / "0" / "metrics.csv").read_bytes() == before


def test_a_glob_that_finds_nothing_is_no_success(train, tmp_path):
    ended = train(*RUN, "experiment=glob(reference/b*)")

    assert ended.code == 1
    assert ended.lines == [
        "no job was run: a glob found no choice; it enters no folder, '+experiment/reference=glob(a*)' names one"
    ]
    assert not (tmp_path / "grid").exists()


def test_a_family_of_experiments_is_one_command(train, tmp_path):
    ended = train("-m", "+experiment/reference=glob(b*)", *RUN[1:-1], "model.hidden=[4]", "model.dropout=0")

    assert (ended.code, ended.lines) == (0, [])
    results = [json.loads((tmp_path / "grid" / job / "result.json").read_text()) for job in "0123"]
    assert [facts["overrides"][0] for facts in results] == [f"+experiment/reference=b{number}" for number in range(4)]
    assert [facts["config"]["data"]["batch_size"] for facts in results] == [32, 64, 128, 128]
