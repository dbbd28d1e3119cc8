"""Overrides in the documents are quoted where a shell would take a bracket for a pattern: zsh runs nothing then."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightsweep.config import mistakes

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
MISTAKES = {"'data.root=/d/My Photos (2024)'"}  # which docs/troubleshooting.md shows
OVERRIDE = re.compile(r"[+~]{0,2}[a-z_]+([./@]\w+)*=\S")
PATTERN = set("[](){}*?~")  # to bash or zsh


def words(command: str) -> Iterator[tuple[str, str]]:
    """The words of a command as they are written, and what of each stands outside quotes."""
    word, bare, quote = "", "", ""
    for letter in f"{command} ":
        if quote:
            word, quote = word + letter, "" if letter == quote else quote
        elif letter in "'\"":
            word, quote = word + letter, letter
        elif letter.isspace():
            if word:
                yield word, bare
            word, bare = "", ""
        else:
            word, bare = word + letter, bare + letter


def unquoted(command: str) -> list[str]:
    return [
        word
        for word, bare in words(command)
        if (OVERRIDE.match(bare) and PATTERN & set(bare)) or re.fullmatch(r"~[a-z][\w.]*", bare)
    ]


def fragments(text: str) -> Iterator[str]:
    """What a document shows as code: commands in blocks, and what stands in backticks."""
    blocks = re.split(r"^```.*$", text, flags=re.M)
    for prose, block in zip(blocks[::2], [*blocks[1::2], ""], strict=True):
        yield from re.findall(r"`([^`\n]+)`", prose)
        lines = block.replace("\\\n", " ").splitlines()
        yield from (line.removeprefix("$ ").split("  # ")[0] for line in lines if re.match(r"\$ |python |make ", line))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_override_of_a_document_is_a_pattern_to_a_shell(document: Path) -> None:
    assert [word for fragment in fragments(document.read_text()) for word in unquoted(fragment)] == []


def test_no_override_in_the_comments_of_conf_is_a_pattern_to_a_shell() -> None:
    comments = [
        (file.name, comment)
        for file in (ROOT / "conf").rglob("*.yaml")
        for comment in re.findall(r"#(.*)", file.read_text())
    ]
    assert [(name, word) for name, comment in comments for word in unquoted(comment)] == []


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("python src/train.py model.hidden=[512,256] model.bn=true", ["model.hidden=[512,256]"]),
        ("python src/train.py 'model.hidden=[512,256]' ~model.bn", ["~model.bn"]),
        ("'model.width=choice(64,128)' +a.b={c:1}", ["+a.b={c:1}"]),
        ('model.dropout=0.1,0.2 "optimizer.betas=[0.9,0.99]"', []),
    ],
)
def test_what_is_unquoted_is_found(command: str, found: list[str]) -> None:
    assert unquoted(command) == found


def test_documented_overrides_can_be_read() -> None:
    """Each word of a documented command that looks like an override, as the program gets it from a shell."""
    typed = [
        re.sub(r"['\"]", "", word) if word[0] not in "'\"" else word[1:-1]
        for document in DOCUMENTS
        for fragment in fragments(document.read_text())
        for word, _ in words(fragment)
        if re.match(r"['\"]?[+~]{0,2}[a-z_]+([./]\w+)+=", word) and "…" not in word and word not in MISTAKES
    ]
    assert len(typed) > 50
    mistakes.check_arguments(typed)
