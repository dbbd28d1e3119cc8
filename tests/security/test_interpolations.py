"""``${…}`` in a config reads no secret, imports nothing, and makes no object."""

import sys

import pytest
from omegaconf import OmegaConf

from digits_runs import CONF
from lightsweep.app import arguments
from lightsweep.config import permissions
from lightsweep.core.errors import ConfigError


@pytest.fixture(autouse=True)
def restricted() -> None:
    arguments.register_resolvers()


def refusal(text: str) -> str:
    with pytest.raises(Exception) as refused:  # noqa: PT011  # OmegaConf wraps ours
        OmegaConf.to_container(OmegaConf.create({"x": text}), resolve=True)
    return str(refused.value)


@pytest.mark.parametrize("name", ["SECRET", "HOME", "LIGHTSWEEP_STORAGE", "PATH"])
def test_secrets_of_the_environment_stay_there(monkeypatch, name: str) -> None:
    monkeypatch.setenv(name, "hunter2")
    for text in (f"${{oc.env:{name}}}", f"a ${{oc.env:{name},default}}", f"${{oc.decode:'${{oc.env:{name}}}'}}"):
        assert "must be typed" in refusal(text)
        assert "hunter2" not in refusal(text)


def test_what_is_typed_may_be_read(monkeypatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch")
    permissions.declare_typed(permissions.read_typed(["data_dir=${oc.env:SCRATCH}/data", "-m"]))
    assert OmegaConf.create({"x": "${oc.env:SCRATCH}/y"}).x == "/scratch/y"
    assert "must be typed" in refusal("${oc.env:HOME}")


def test_conf_reads_only_what_is_listed() -> None:
    texts = [file.read_text() for file in CONF.rglob("*.yaml")]
    named = {name for text in texts for name in permissions.read_typed([text.replace("\n", " ")]).variables}
    assert named == permissions.READABLE


@pytest.mark.parametrize("module", ["antigravity", "this", "lightsweep.nowhere"])
def test_no_module_is_imported(module: str) -> None:
    sys.modules.pop(module, None)
    assert "must be one of bool" in refusal(f"${{oc.coerce:{module}.x,1}}")
    assert module not in sys.modules
    assert OmegaConf.create({"x": "${oc.coerce:int,'3'}"}).x == 3


@pytest.mark.parametrize(
    "text",
    [
        "${oc.create:{_target_:os.system}}",
        "${oc.create:{a:[{_target_:os.system}]}}",
        "${oc.decode:'{_target_: os.system}'}",
    ],
)
def test_no_object_is_made(text: str) -> None:
    assert "must not make a mapping with a _target_" in refusal(text)
    assert OmegaConf.create({"x": "${oc.create:{a:1}}"}).x.a == 1


def test_the_error_is_ours() -> None:
    with pytest.raises(ConfigError):
        permissions._env("HOME")
