"""How the runnable blocks of the documentation are read, and their output compared."""

import re

import pytest

from runnable_blocks import ROOT, Block, blocks, missing


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
