"""What a result depends on besides its config: the machine, the versions, the commit."""

import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "optuna", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python, lightsweep and the packages that results depend on."""
    from lightsweep import __version__

    found = {"python": platform.python_version(), "lightsweep": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path) -> str | None:
    """The commit that is checked out, with "-dirty" where files differ from it that a result depends on (texts and
    records do not count); None outside a repository."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!*.md", ":!docs")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's with the number of torch's threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def peak_memory(device: torch.device) -> dict[str, int]:
    """Bytes: the largest resident set of this process so far, and of the accelerator's memory where there is one."""
    unit = 1 if sys.platform == "darwin" else 1024
    memory = {"peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        memory["peak_device_memory"] = torch.cuda.max_memory_allocated(device)
    return memory


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
