"""Environments that hold the wheel of this repository and what an app needs, and nothing else. uv makes each once."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".compat"  # delete it, and the newest versions are installed
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
PYTHONS = ("3.11", "3.12", "3.13")
OLDEST, NEWEST_OLD, CANDIDATE = "hydra-core==1.3.2", "hydra-core<1.4", "hydra-core>=1.4.0rc3"
HYDRAS = {"hydra1.3.2": OLDEST, "hydra1.3": NEWEST_OLD, "hydra1.4": CANDIDATE}


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    Args:
        python: a version, as 3.12.
        needs: requirements, Hydra's among them.
        wheel: whether lightsweep is in it.
    """

    python: str
    needs: tuple[str, ...]
    wheel: bool = True

    def interpreter(self) -> str:
        """Its Python; the environment is made if it is not there as it should be."""
        wanted = (*self.needs, *([str(build_wheel())] if self.wheel else []))
        label = hashlib.sha256(repr((self.python, self.needs, self.wheel)).encode()).hexdigest()[:8]
        folder = FOLDER / f"python{self.python}-{label}"
        made = folder / "made.txt"
        with FileLock(f"{folder}.lock"):
            if not made.is_file() or made.read_text() != "\n".join(wanted):
                shutil.rmtree(folder, ignore_errors=True)
                uv("venv", "--quiet", "--no-project", "--python", find_python(self.python), str(folder))
                uv("pip", "install", "--quiet", "--python", str(folder / "bin/python"), *wanted)
                made.write_text("\n".join(wanted))
        return str(folder / "bin/python")


@cache
def build_wheel() -> Path:
    """The wheel of the sources as they are."""
    files = [ROOT / "pyproject.toml", *(file for file in sorted((ROOT / "src").rglob("*")) if file.is_file())]
    counted = [file for file in files if not {"__pycache__", "lightsweep.egg-info"} & set(file.parts)]
    digest = hashlib.sha256(b"".join(str(file).encode() + file.read_bytes() for file in counted)).hexdigest()[:16]
    folder = FOLDER / "wheels" / digest
    FOLDER.mkdir(exist_ok=True)
    with FileLock(FOLDER / "wheels.lock"):
        if not list(folder.glob("*.whl")):
            # From a copy: what setuptools leaves in build/ would go into later wheels.
            copy = FOLDER / "sources"
            shutil.rmtree(copy, ignore_errors=True)
            for file in (*counted, ROOT / "README.md", ROOT / "LICENSE"):
                target = copy / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            uv("build", "--quiet", "--wheel", "--out-dir", str(folder), str(copy))
    return next(folder.glob("*.whl"))


def find_python(version: str) -> str:
    """Where a version of Python is; skips the test, and says so, where there is none and uv cannot fetch it."""
    if version == HERE:
        return sys.executable
    if found := sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python")):
        return str(found[-1])
    if subprocess.run([find_uv(), "python", "install", "--quiet", version], check=False).returncode:
        pytest.skip(f"there is no Python {version}, and uv cannot fetch it")
    return version


def uv(*arguments: str) -> None:
    done = subprocess.run([find_uv(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def find_uv() -> str:
    return shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
