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

import pytest

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the repository holds, without outputs."""
    folder = tmp_path / "lightsweep"
    for name in ("src", "conf", "scripts", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


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


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_runnable_blocks_of_a_page_end_as_it_says(page: Path, copy: Path) -> None:
    printed = ""
    for block in blocks(page.read_text()):
        code, out = run(block.commands, copy)
        assert code == block.code, f"{block.commands}\n{out}"
        printed += out
        if block.shown:
            assert missing(block.shown, printed) == [], f"{block.commands}\n{printed}"
            printed = ""


def test_blocks_are_read_with_their_exit_codes_and_what_they_print() -> None:
    text = (
        "<!-- runnable: exit 3 -->\n```bash\nexit 3\n```\n\n```\none 1\n…\n```\n\n<!-- runnable -->\n```bash\nls\n```\n"
    )
    assert list(blocks(text)) == [Block("exit 3\n", 3, ["one 1"]), Block("ls\n", 0, [])]


def test_every_mark_stands_before_a_block() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text()
        assert len(re.findall("<!-- *runnable", text)) == len(list(blocks(text))), page.name


@pytest.mark.parametrize(
    ("shown", "printed", "lost"),
    [
        (["a 0.12  b", "c 3"], "a 7.5 b\nx\nc 12", []),
        (["c 3", "a 0.12"], "a 7.5\nc 12", ["a 0.12"]),
        (["folder: …/run.csv"], "run folder: /tmp/x/run.csv", []),
        (["folder: …/run.csv, new"], "folder: /tmp/x/run.txt, old", ["folder: …/run.csv, new"]),
    ],
)
def test_what_a_page_shows_and_no_command_prints_is_found(shown: list[str], printed: str, lost: list[str]) -> None:
    assert missing(shown, printed) == lost
