"""What a user gets wrong costs him one line, and leaves nothing behind."""

import pytest

pytestmark = pytest.mark.slow

REFUSED = {
    "model.dropout=1.5": "model.dropout must be in [0, 1), got 1.5",
    "model.hidden=[]": "model.hidden must be a list of integers >= 1, at least one, got []",
    "model.hidden=[256,-1]": "model.hidden must be a list of integers >= 1, at least one, got [256, -1]",
    "model.hidden=[64] model.width=32": "model.width must not be set together with model.hidden",
    "model.activation=foo": "model.activation must be one of relu, gelu, tanh, silu, leaky_relu, got 'foo'",
    "model.init=foo": "model.init must be one of torch, he_normal, ",
    "optimizer=foo": "optimizer=foo: there is no such choice; there is adam, adam_keras, adamw, ",
    "optimizer.lrr=1": "did you mean optimizer.lr?",
    "optimizer.lr=-1": "optimizer.lr must be > 0, got -1",
    "data.batch_size=0": "data.batch_size must be an integer >= 1, got 0",
    "data.batch_size=5000": "data.batch_size must be at most 1294, the number of training images, got 5000",
    "data.val_fraction=1": "data.val_fraction must be in (0, 1), got 1",
    "data.limit=3": "data.limit must be at least 20, two images a class, got 3",
    "monitor.metric=val/accc": "monitor.metric must be one of train/loss, train/acc, val/loss, val/acc, val/objective",
    "trainer.max_epochs=abc": "trainer.max_epochs must be an integer >= 1, got 'abc'",
    "resume=.": "resume must be a run's folder (one that holds config.yaml) or latest, got '.'",
    "resume=nowhere": "resume=nowhere: there is no such file or folder",
}


@pytest.mark.parametrize("typed", REFUSED)
def test_is_refused_in_one_line(train, tmp_path, typed):
    ended = train("data=digits", *typed.split())

    assert ended.code == 1
    assert len(ended.lines) == 1, ended.err
    assert REFUSED[typed] in ended.err
    assert ended.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "said"]


def test_full_error_shows_the_trace(train, tmp_path):
    ended = train("data=digits", "model.dropout=1.5", HYDRA_FULL_ERROR="1")

    assert ended.code == 1
    assert "Traceback" in ended.err
    assert ended.lines[-1].endswith("ConfigError: model.dropout must be in [0, 1), got 1.5")
    assert not (tmp_path / "run").exists()


def test_a_batch_may_be_the_whole_set(train, tmp_path):
    ended = train("data=digits", "data.batch_size=5000", "data.drop_last=false", "trainer.max_epochs=1")

    assert (ended.code, ended.err) == (0, "")


def test_an_existing_run_is_not_run_over(train, tmp_path):
    assert train("data=digits", "trainer.max_epochs=1", "logger=none").code == 0
    before = (tmp_path / "run" / "result.json").read_text()

    ended = train("data=digits", "trainer.max_epochs=1", "logger=none")

    assert ended.code == 1
    assert len(ended.lines) == 1
    assert "hydra.run.dir must be a folder without a run" in ended.err
    assert (tmp_path / "run" / "result.json").read_text() == before
