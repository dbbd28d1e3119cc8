"""The study's folder, fixed once for all processes, and the user's own check of a trial."""

import re
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.plan import Plan, _with_fixed_folder
from lightsweep.sweeper.space import Space

DEFAULT = "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}"


@pytest.fixture(autouse=True)
def now() -> None:
    setup_globals()  # Hydra's resolvers


def composed(folder: str, **further: Any) -> DictConfig:
    hydra = {"sweep": {"dir": folder, "subdir": "x"}, "overrides": {"hydra": ["hydra.mode=MULTIRUN"]}}
    config = OmegaConf.create({"hydra": hydra, **further})
    OmegaConf.set_readonly(config.hydra, True)
    return config


def fixed(folder: str, study: str = "mine", **further: Any) -> tuple[str, list[str], list[str]]:
    before = composed(folder, **further)
    kept = OmegaConf.to_container(before, resolve=False)
    config, remarks = _with_fixed_folder(before, study)
    assert OmegaConf.to_container(before, resolve=False) == kept
    assert OmegaConf.is_readonly(config.hydra)
    written: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    return written["dir"], list(config.hydra.overrides.hydra)[1:], remarks


@pytest.mark.parametrize("place", ["plain", "with blank, comma=1", 'it\'s "quoted" [a]', "{x:1}", "ünï", "a\\b"])
def test_hydras_own_default_becomes_a_folder_of_the_studys_name(place: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / place)
    folder, overrides, remarks = fixed(DEFAULT)
    assert folder == str(tmp_path / place / "multirun" / "mine")
    override = OverridesParser.create().parse_override(overrides[0])
    assert (override.key_or_group, override.value()) == ("hydra.sweep.dir", folder)
    assert not override.is_sweep_override()
    assert remarks == []


def test_a_relative_folder_is_made_absolute_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert fixed("out/${name}", name="a")[0] == str(tmp_path / "out/a")
    assert fixed("out")[1:] == ([], [])  # jobs, which start in the same directory, compose it as it was typed


def test_an_absolute_folder_is_left_as_it_is_written(tmp_path: Path) -> None:
    assert fixed(f"{tmp_path}/${{name}}", name="a") == (f"{tmp_path}/${{name}}", [], [])


@pytest.mark.parametrize("text", ["logs/${now:%Y}", "/logs/${now:%H-%M-%S}/x", f"{DEFAULT}/x", "${name}/${now:%Y}"])
def test_an_apps_own_folder_with_a_time_is_fixed_and_remarked_on(text: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder, overrides, remarks = fixed(text, name="a")
    assert Path(folder).is_absolute()
    assert "${" not in folder
    assert re.search(r"\d{4}|\d\d-\d\d-\d\d", folder.removeprefix(str(tmp_path)))
    assert len(overrides) == 1
    assert remarks == [
        f"hydra.sweep.dir={text} holds the time: the same command starts a new study; a fixed one resumes"
    ]


def refuse_wide(cfg: DictConfig) -> None:
    assert "hydra" not in cfg
    if cfg.model.width > 8:
        raise ValueError(f"width {cfg.model.width} is too wide\nsee the docs")


def fail(cfg: DictConfig) -> None:
    raise KeyError


def planned(config: DictConfig) -> Plan:
    anything: Any = None
    return Plan(anything, config, anything, anything, Application(), Space((), (), None), anything)


def test_the_users_own_check_sees_what_a_job_gets() -> None:
    config = composed("x", model={"width": 8})
    planned(config).check_with(f"{__name__}.refuse_wide", config)
    assert "hydra" in config


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("refuse_wide", "refuses a trial (width 9 is too wide)"),
        ("fail", "refuses a trial (KeyError)"),
        ("nothing", "there is no function"),
    ],
)
def test_what_the_users_own_check_refuses_is_one_line(name: str, says: str) -> None:
    config = composed("x", model={"width": 9})
    with pytest.raises(ConfigError, match=r"^hydra\.sweeper\.validate: ") as refusal:
        planned(config).check_with(f"{__name__}.{name}", config)
    assert says in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
