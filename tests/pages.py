"""Reads what a page holds for its scripts."""

import json
import re
from pathlib import Path
from typing import Any


def embedded_figures(path: Path) -> dict[str, Any]:
    return embedded(path, "figures")


def embedded(path: Path, name: str) -> dict[str, Any]:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', path.read_text())
    assert found
    return json.loads(found[1])
