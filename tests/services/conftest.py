"""Real schedulers and databases, started by the tests on loopback; `make test-services` runs what is here."""

from collections.abc import Callable
from pathlib import Path

import pytest

from toy_sweeps import Sweep

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.services)


@pytest.fixture
def sweeps(tmp_path: Path) -> Callable[[str], Sweep]:
    return lambda name: Sweep(tmp_path / name)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path / "study")
