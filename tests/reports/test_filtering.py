"""The grammar of --filter, by what each sentence means."""

from pathlib import Path

import pytest

from lightsweep.core.errors import ConfigError
from lightsweep.reports import columns
from lightsweep.reports.runs import Run

ROW = {
    "val/acc": 0.6,
    "optimizer": "AdamW",
    "optimizer.lr": 0.003,
    "scheduler.warmup": None,
    "model.bn": True,
    "model.hidden": "[512, 256]",
    "params": 1000,
    "status": "completed",
    "trainer.max_epochs": 20,
}
TYPED = ("scheduler=cosine_slow", "optimizer=adamw_tuned", "trainer.max_epochs=10", "trainer.max_epochs=20")
RUN = Run(Path("a"), "a b", ROW, TYPED)
COLUMNS = ["run", *ROW, "optimizer.momentum", "scheduler"]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("optimizer=adamw", True),
        ("optimizer==AdamW and val/acc>0.5", True),
        ("optimizer=adamw_tuned", True),
        ("scheduler=cosine_slow", True),
        ("optimizer!=adamw", False),
        ("optimizer=sgd or val/acc<0.5", False),
        ("not optimizer=sgd", True),
        ("not (optimizer=adamw or params=1)", False),
        ("optimizer=sgd and params=1 or bn=true", True),
        ("optimizer=sgd and (params=1 or bn=true)", False),
        ("lr>=3e-3 AND lr<=.003", True),
        ("LR<0.003", False),
        ("bn=1", False),
        ("warmup=null", True),
        ("warmup!=null", False),
        ("momentum=null", True),
        ("momentum>0", False),
        ("momentum!=0.9", True),
        ("model.hidden='[512,256]'", True),
        ('run="a b"', True),
        ("params=1000.0", True),
        ("status='completed'and(bn=true)", True),
        ("run='or'", False),
        ("run!='a b'", False),
        ("max_epochs=20", True),
        ("max_epochs=10", False),  # as it was typed first, and replaced when the run was resumed
    ],
)
def test_an_expression_selects_the_runs_that_it_describes(text: str, meaning: bool) -> None:
    assert columns.parse_filter(text, COLUMNS)(RUN) is meaning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an expression is missing"),
        ("lr", "expected = != < <= > or >=, at the end of 'lr'"),
        ("lr<", "expected a value, at the end of 'lr<'"),
        ("lr<1 lr>2", "expected and, or, or the end, got 'lr' at character 6"),
        ("(lr<1", "expected ), at the end"),
        ("lr<1)", "got ')' at character 5"),
        ("=1", "expected a column, got '=' at character 1"),
        ("lr=)", "expected a value, got ')' at character 4"),
        ("lr<fast", "< needs a number, got 'fast' at character 4"),
        ("lr='x", "cannot be read, at character 4"),
        ("optimiser=adam", "there is no column optimiser; did you mean optimizer? Known are model.bn, model.hidden"),
        ("(" * 60 + "lr<1", "nested too deeply"),
        ("__import__('os').system('true')=1", "there is no column __import__. Known are model.bn"),
    ],
)
def test_an_error_names_the_position(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        columns.parse_filter(text, COLUMNS)(RUN)
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("--filter: ")


def test_an_ambiguous_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="lr may be optimizer.lr, scheduler.lr; write more of it"):
        columns.parse_filter("lr<1", ["optimizer.lr", "scheduler.lr"])
