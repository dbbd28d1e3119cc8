"""An override that cannot be read is named alone, with what to type: which is then read as it was meant."""

import shlex
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from lightsweep.config import mistakes
from lightsweep.core.errors import ConfigError

BEFORE, AFTER = ["data=digits", "trainer=cpu"], ["model.bn=true"]
MEANT: list[tuple[list[str], dict[str, object]]] = [
    (["optimizer.betas=[0.8,", "0.9]"], {"optimizer.betas": [0.8, 0.9]}),  # what a shell has split
    (["loss={l2:", "0.1}"], {"loss": {"l2": 0.1}}),
    (["model.depth", "=", "3"], {"model.depth": 3}),
    (["model.depth=", "3"], {"model.depth": 3}),
    (["model.depth", "=3"], {"model.depth": 3}),
    (["data.batch_size", "64"], {"data.batch_size": 64}),
    (["seed", "7"], {"seed": 7}),
    (["data.root=/mnt/two", "words"], {"data.root": "/mnt/two words"}),
    (["data.root=/mnt/three", "such", "words"], {"data.root": "/mnt/three such words"}),
    (["model.hidden=64,", "32"], {"model.hidden": [64, 32]}),
    (["model.hidden=[64,32"], {"model.hidden": [64, 32]}),  # brackets and quotes
    (["model.hidden=(64,32)"], {"model.hidden": [64, 32]}),
    (['data.root="/mnt/open'], {"data.root": "/mnt/open"}),
    (["model.dropout=0.2,"], {"model.dropout": 0.2}),
    (["model.dropout:0.2"], {"model.dropout": 0.2}),
    (["model.dropout==0.2"], {"model.dropout": 0.2}),
    (["data.root=/pics (old)"], {"data.root": "/pics (old)"}),  # letters that need quotes
    (["data.root=/pics/a=b"], {"data.root": "/pics/a=b"}),
    (["data.root=~/pics"], {"data.root": "~/pics"}),
    (["data.root=/Fotos/Österreich"], {"data.root": "/Fotos/Österreich"}),
    (["data.root=/画像/猫"], {"data.root": "/画像/猫"}),
    (["data.root=/it's"], {"data.root": "/it's"}),
    (["data.root=/a&b#c!d"], {"data.root": "/a&b#c!d"}),
    (['data.root=/say "it\'s" (x)'], {"data.root": '/say "it\'s" (x)'}),
    (["model.dropout=0.2\r"], {"model.dropout": 0.2}),  # other line ends, spaces, quotes and dashes
    (["model.dropout=0.2", "\r"], {"model.dropout": 0.2}),
    (["data.root=“/a b”"], {"data.root": "/a b"}),
    (["data.root=\u2018/a b\u2019"], {"data.root": "/a b"}),
    (["seed=1\u00a0model.depth=2"], {"seed": 1, "model.depth": 2}),
    (["model.depth = 3"], {"model.depth": 3}),
    (["optimizer.lr=2e\u22123"], {"optimizer.lr": 2e-3}),
    (["optimizer.momentum=\u20130.5"], {"optimizer.momentum": -0.5}),
    (["model.depth=\uff13"], {"model.depth": 3}),
    (["\u2018model.depth=3\u2019"], {"model.depth": 3}),
    (["\u201cmodel.hidden=[64, 32]\u201d"], {"model.hidden": [64, 32]}),
    (["--model.depth=2"], {"model.depth": 2}),
    (["--model.depth", "2"], {"model.depth": 2}),
]


def refused(arguments: list[str]) -> str:
    with pytest.raises(ConfigError) as refusal:
        mistakes.check_arguments(arguments)
    return str(refusal.value)


@pytest.mark.parametrize(("typed", "meant"), MEANT, ids=lambda item: repr(item) if isinstance(item, list) else "")
def test_the_proposal_is_read_as_it_was_meant(typed: list[str], meant: dict[str, object]) -> None:
    message = refused([*BEFORE, *typed, *AFTER])
    assert message.startswith(" ".join(typed).strip())
    assert "digits" not in message
    proposal = message.partition("; type ")[2]
    shell = subprocess.run(  # as bash hands it over, which refuses what would be a pattern, as zsh does
        ["bash", "-O", "failglob", "-c", f"printf '%s\\0' {proposal}"], capture_output=True, text=True, check=True
    )
    overrides = OverridesParser.create().parse_overrides(shell.stdout.split("\0")[:-1])
    assert {each.key_or_group: each.value() for each in overrides} == meant


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["nonsense"], "nonsense: it has no =, an override is KEY=VALUE, or ~KEY to delete"),
        (["model.width=${other"], "model.width=${other: it cannot be read, an override is KEY=VALUE"),
        (["model.dropout=interval(1)"], "model.dropout=interval(1): it cannot be read, an override is KEY=VALUE"),
        (["=3"], "=3: it cannot be read, an override is KEY=VALUE"),
        (["--fast"], "--fast: there is no such option, and an override has no dashes, an override is KEY=VALUE"),
    ],
    ids=str,
)
def test_there_is_no_proposal_where_the_meaning_is_unknown(typed: list[str], message: str) -> None:
    assert refused([*BEFORE, *typed, *AFTER]).startswith(message)


@pytest.mark.parametrize(
    ("typed", "proposal"),
    [
        (["\u2013m"], "-m"),
        (["\u2014multirun"], "-m"),
        (["model.dropout=choice(null,0.5)"], "model.dropout=null,0.5"),
        (["data.root=choice(/My (1),/b)"], shlex.quote('data.root=choice("/My (1)",/b)')),
        (["model.width=choise(8,16)"], "'model.width=choice(8,16)'"),
        (["optimizer.lr=tag(log, interval(1e-4, 1e-2)"], "'optimizer.lr=tag(log, interval(1e-4, 1e-2))'"),
    ],
    ids=str,
)
def test_the_proposal_for_several_values(typed: list[str], proposal: str) -> None:
    assert refused([*BEFORE, *typed]).endswith(f"; type {proposal}")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--cfg", "job", "-m", "seed=1,2"],
        ["--config-dir", "/a (b)", "--config-name", "ä", "seed=1"],
        ["~callbacks.ema", "+a.b=1", "++a={b:1}", "optimizer@x=adam", "model.hidden[1]=3"],
        ["data.root=/a b", "data.root=C:\\Users\\me", "seed=", 'name="(x)"', "model.width=${other}"],
        ["resume=/runs/a (1)"],
        ["--info", "searchpath", "--help"],
    ],
    ids=str,
)
def test_readable_arguments_pass(arguments: list[str]) -> None:
    mistakes.check_arguments(arguments)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            ["model.width=8,16"],
            "model.width=8,16 is several values: add -m for a grid of them; 'model.width=[8,16]'",
        ),
        (["model.width=range(1,3)"], "model.width=range(1,3) tries several values: add -m for a grid, or sweep=custom"),
        (["model.dropout=interval(0,1)"], "model.dropout=interval(0,1) is an interval: sweep=custom searches it"),
        (["-m", "model.dropout=interval(0,1)"], "model.dropout=interval(0,1): a grid has no intervals; sweep=custom "),
        (["model.depth =", "2"], "model.depth = 2: "),
    ],
    ids=str,
)
def test_several_values_of_a_single_run_are_refused(launch, tmp_path, typed: list[str], message: str) -> None:
    done = launch("data=digits", *typed, f"hydra.{'sweep' if '-m' in typed else 'run'}.dir={tmp_path}/new")
    assert done.code == 1
    assert done.err.startswith(message)
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "new").exists()
