"""The runnable blocks of every third page: `make test-slow` gives a file of tests to one process."""

from pathlib import Path

import pytest

from runnable_blocks import PAGES, check_page


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", PAGES[1::3], ids=lambda page: page.name)
def test_the_runnable_blocks_of_a_page_end_as_it_says(page: Path, tmp_path: Path) -> None:
    check_page(page, tmp_path / "lightsweep")
