"""Every block of commands marked as runnable in README.md and docs/ is run, and must end as the page says.

A mark is an HTML comment before the block: ``<!-- runnable -->``, or ``<!-- runnable: exit 1 -->`` where its last
command must fail. The blocks of a page run in order, in one copy of the repository. A block without a language that
follows shows what the commands print: each of its lines must be printed, in this order; numbers may differ, and ``…``
and the path after it stand for anything.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"<!-- runnable(?:: exit (\d+))? -->\n```bash\n(.*?)^```\n(?:\n```\n(.*?)^```\n)?", re.M | re.S)
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if MARK.search(page.read_text())]
NUMBER = re.compile(r"\d[\d,.:e+-]*")
VARIES = re.compile(rf"…[\w/.-]*|path/to/run|{NUMBER.pattern}")


@dataclass(frozen=True)
class Block:
    commands: str
    code: int
    shown: list[str]  # lines that the commands print; empty where the page shows none


def blocks(text: str) -> Iterator[Block]:
    for code, commands, shown in MARK.findall(text):
        yield Block(commands, int(code or 0), [line for line in shown.splitlines() if line.strip(" …")])


def pattern(line: str) -> re.Pattern[str]:
    """What a line of output must contain: runs of spaces are one, numbers are any number, … is anything."""
    parts, end = [], 0
    for match in VARIES.finditer(line):
        parts += [re.escape(line[end : match.start()]), NUMBER.pattern if match[0][0].isdigit() else ".*"]
        end = match.end()
    text = "".join([*parts, re.escape(line[end:])])
    return re.compile(re.sub(r"(?:\\? |\\\t)+", r"\\s+", text))


def missing(shown: list[str], printed: str) -> list[str]:
    """The lines of `shown` that are not printed after the ones before them."""
    lines = iter(printed.splitlines())
    return [line for line in shown if not any(pattern(line.strip()).search(each) for each in lines)]


def copy_repository(folder: Path) -> None:
    """What the repository holds, without outputs."""
    for name in ("src", "conf", "scripts", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)


def run(commands: str, folder: Path) -> tuple[int, str]:
    """The exit code of the commands, and what they print to standard output and standard error, in order."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "LIGHTSWEEP_OUTPUTS": str(folder.parent / "outputs"),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def check_page(page: Path, folder: Path) -> None:
    """Run the blocks of a page in a copy of the repository in this new folder: each ends as the page says."""
    copy_repository(folder)
    printed = ""
    for block in blocks(page.read_text()):
        code, out = run(block.commands, folder)
        assert code == block.code, f"{block.commands}\n{out}"
        printed += out
        if block.shown:
            assert missing(block.shown, printed) == [], f"{block.commands}\n{printed}"
            printed = ""
