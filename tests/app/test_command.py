"""Around a command: quick help, one line for an error, a clean end when the reader or the user has had enough."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lightsweep.app import entry

SRC = Path(__file__).resolve().parents[2] / "src"


def started(*arguments: str, code: str | None = None) -> subprocess.Popen[str]:
    program = [*arguments] if code is None else ["-c", code]
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, *program], env=environment, text=True, **pipes)


@pytest.mark.parametrize("name", ["evaluate", "predict", "export", "report", "compare"])
def test_help_does_not_wait_for_torch(name: str) -> None:
    out, err = started("-X", "importtime", str(SRC / f"{name}.py"), "--help").communicate()
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in err.splitlines()}
    assert out.startswith(f"usage: {name}.py")
    assert not imported & {"torch", "numpy", "hydra", "PIL", "rich"}


LAUNCH = (
    "from lightsweep.app import entry\nimport time\ndef main():\n    {body}\n    return 0\nentry.launch_command(main)"
)


def test_a_reader_that_leaves_is_no_error() -> None:
    process = started(code=LAUNCH.format(body='[print("x" * 999) for _ in range(9999)]'))
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_without_a_trace(signum: signal.Signals) -> None:
    process = started(code=LAUNCH.format(body='print("ready", flush=True); time.sleep(30)'))
    process.stdout.readline()
    process.send_signal(signum)
    assert process.communicate() == ("", "")
    assert process.returncode == 128 + signum


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("OSError(28, 'No space left on device', 'a\\x1bb.csv')", r"a\x1bb.csv: No space left on device"),
        ("__import__('lightsweep.core.errors').core.errors.ConfigError('so \\x1b[31m it is')", r"so \x1b[31m it is"),
    ],
)
def test_an_error_is_one_line(error: str, line: str) -> None:
    process = started(code=LAUNCH.format(body=f"raise {error}"))
    assert process.communicate() == ("", f"{line}\n")
    assert process.returncode == 1


def test_a_script_names_what_is_not_installed() -> None:
    assert entry.find_lacking(("torch", "no_such_library", "optuna")) == "not installed: no_such_library"
    assert entry.find_lacking(("torch",)) is None


def test_a_script_needs_a_new_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "version", lambda name: "1.3.2")
    assert entry.find_lacking(()) == "hydra-core 1.3.2 is too old"
