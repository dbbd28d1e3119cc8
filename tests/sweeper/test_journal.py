"""A journal that something else has written to: what is harmless is passed over, the rest is named with a way out."""

import re
import subprocess
from pathlib import Path

import optuna
import pytest

from lightsweep.core.errors import ConfigError
from lightsweep.reports import study as reported
from lightsweep.sweeper.storage import connect


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of a study of three trials, in a folder whose name has to be quoted."""
    connect.cache_clear()
    path = tmp_path / "my study's" / "study.journal"
    study = optuna.create_study(study_name="study", storage=connect(str(path)), direction="maximize")
    for value in (0.1, 0.3, 0.2):
        trial = study.ask({"lr": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, value)
    connect.cache_clear()
    return path


def reopened(file: Path) -> optuna.Study:
    connect.cache_clear()
    return optuna.load_study(study_name="study", storage=connect(str(file)))


def changed(file: Path, number: int, line: bytes) -> int:
    """Put another line into the place of one, counted from 1; how many lines there are."""
    lines = file.read_bytes().splitlines()
    lines[number - 1] = line
    file.write_bytes(b"\n".join(lines) + b"\n")
    return len(lines)


@pytest.mark.parametrize("end", [b"\n", b"\n\n\n", b"\r\n", b"   \n", b"\n \t\n", b'\n{"op_co', b"\0\0\0"], ids=repr)
def test_blank_lines_and_half_a_line_at_the_end_are_cut_off(file: Path, end: bytes) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole + end)
    copy = reported.find_study(file.parent, None)
    assert copy is not None
    assert len(copy.complete) == 3
    study = reopened(file)
    assert file.read_bytes() == whole
    study.tell(study.ask(), 0.5)
    assert [trial.value for trial in reopened(file).trials] == [0.1, 0.3, 0.2, 0.5]


def test_line_ends_of_windows_are_left_alone(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    whole = file.read_bytes()
    reopened(file)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("bad", [b"{", b"\x00\xff", b'{"op_code":4,"x', b"[]", b"\x1b[31mred"])
@pytest.mark.parametrize("number", [2, 5, -1])
def test_a_damaged_line_is_named_with_a_command_that_keeps_what_was_before(file: Path, number: int, bad: bytes) -> None:
    count = len(file.read_bytes().splitlines())
    number = number if number > 0 else count
    before = file.read_bytes().splitlines()[: number - 1]
    changed(file, number, bad)
    whole = file.read_bytes()
    with pytest.raises(ConfigError, match=re.escape(f"study.journal, line {number} of {count} is damaged")) as refused:
        reopened(file)
    assert file.read_bytes() == whole  # nothing is mended without being asked for
    line = str(refused.value)
    assert "\x1b" not in line
    command = re.search(r"(sed .*) keeps what was written before it", line)
    assert command
    subprocess.run(command[1], shell=True, check=True)
    assert file.read_bytes().splitlines() == before
    assert file.with_name("study.journal.damaged").read_bytes() == whole
    reopened(file)


def test_a_blank_line_in_the_middle_is_taken_out_by_the_command_that_is_said(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:4], b"  \n", *lines[4:]]))
    with pytest.raises(ConfigError, match=f"line 5 of {len(lines) + 1} is blank") as refused:
        reopened(file)
    command = re.search(r"(sed .*) removes such lines", str(refused.value))
    assert command
    subprocess.run(command[1], shell=True, check=True)
    assert len(reopened(file).trials) == 3


def test_a_report_names_the_line_too(file: Path) -> None:
    count = changed(file, 3, b"nonsense")
    with pytest.raises(ConfigError, match=rf"line 3 of {count} is damaged \(nonsense\)"):
        reported.find_study(file.parent, None)
