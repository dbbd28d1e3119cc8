"""A picture of a page: python scripts/page_picture.py report.html docs/images/report.png [SECTION ...].

Without sections the top of the page; else these, as their links name them (``history-section``), one below the other.
Needs playwright (extra ``dev``) and Chromium.
"""

import shutil
import sys
from pathlib import Path

WIDTH, HEIGHT = 1400, 1100


def main(page: str, picture: str, *sections: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.goto(Path(page).resolve().as_uri())
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")  # draws every figure
        tab.wait_for_timeout(3000)
        if not sections:
            tab.screenshot(path=picture)
            return
        kept = ", ".join(f"#{section}" for section in sections)
        hidden = f"header, footer, .filter, .note, section:not({kept})"
        tab.add_style_tag(content=f"{hidden} {{ display: none }} main {{ padding-top: 1rem }}")
        tab.locator("main").screenshot(path=picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
