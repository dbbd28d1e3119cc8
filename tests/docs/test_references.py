"""Modules and names that a page refers to, as `package/module.py:Name`, are there."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = "|".join(path.name for path in (ROOT / "src" / "lightsweep").iterdir() if path.is_dir())
REFERENCE = re.compile(rf"`(?:src/lightsweep/)?((?:{PACKAGES})/[\w/]+\.py)(?::([\w.]+))?`")
PAGES = [ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]


def references(page: Path) -> list[tuple[str, str]]:
    return REFERENCE.findall(page.read_text())


@pytest.mark.parametrize("page", [page for page in PAGES if references(page)], ids=lambda page: page.name)
def test_what_a_page_refers_to_is_there(page: Path) -> None:
    missing = []
    for path, name in references(page):
        try:
            module = importlib.import_module(f"lightsweep.{path.removesuffix('.py').replace('/', '.')}")
            reduce(getattr, name.split(".") if name else [], module)
        except (ImportError, AttributeError):
            missing.append(f"{path}:{name}")
    assert missing == []


def test_the_architecture_refers_to_code() -> None:
    assert len(references(ROOT / "docs" / "architecture.md")) > 30
