"""How the pages behave in a browser: filter, rows that open, colours, names of somebody else."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

import compare
from lightsweep.reports import overview, study
from lightsweep.reports.finding import Found
from lightsweep.reports.table import build_tables
from lightsweep.reports.trials import runs_of_trials
from lightsweep.sweeper.status import read_sweep
from pages import embedded, embedded_figures

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (pip install -e .[dev])"
    )
    if BROWSER is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield opened
        opened.close()


class Visit:
    """A page in the browser, with its console messages and requests."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.messages: list[str] = []
        self.requested: list[str] = []
        self.page = browser.new_context(**options).new_page()
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.messages.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.goto(path.as_uri())

    def draw_all(self) -> int:
        """Draw what waits to be scrolled to; the number of figures drawn."""
        self.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        self.wait_until("document.querySelectorAll('.chart:not(.js-plotly-plot)').length === 0")
        return self.page.locator(".js-plotly-plot").count()

    def wait_until(self, condition: str) -> None:
        """Asked from here: the page's policy forbids Playwright's own way, which evaluates a text inside the page."""
        for _ in range(100):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(100)
        pytest.fail(f"never became true: {condition}")

    @property
    def requests(self) -> list[str]:
        return [url for url in self.requested if not url.startswith(("file:", "data:", "blob:"))]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_the_page_works_in_a_browser(browser, sweep_page: Path, tmp_path: Path, look: str) -> None:
    size = {"width": 390, "height": 844} if look == "phone" else {"width": 1280, "height": 900}
    visit = Visit(browser, sweep_page, viewport=size, color_scheme="dark" if look == "dark" else "light")
    assert visit.draw_all() == len(embedded_figures(sweep_page))
    assert (visit.messages, visit.requests, len(visit.requested)) == ([], [], 1)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= size["width"]

    heading = visit.page.locator("#leaderboard th", has_text="lr")
    rates = visit.page.locator("#leaderboard tbody tr").evaluate_all("rows => rows.map(row => row.cells.length)")
    assert len(set(rates)) == 1
    heading.get_by_role("button").focus()
    visit.page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    values = sorted_values(visit, heading)
    assert values == sorted(values)
    visit.page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert sorted_values(visit, heading) == values[::-1]

    if look == "phone":
        visit.page.evaluate("document.querySelector('#leaderboard .scroll').scrollLeft = 500")
        score = visit.page.locator("#leaderboard tbody td:nth-child(2)", has_text="0.").first
        box = score.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size["width"] / 2

    picture = tmp_path / f"{look}.png"
    visit.page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 50_000


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("width", [1280, 390])
def test_the_filter_and_the_axes_choose_runs_and_a_row_opens(browser, sweep_page: Path, width: int) -> None:
    size = {"width": width, "height": 900}
    visit = Visit(browser, sweep_page, viewport=size, has_touch=width == 390, reduced_motion="reduce")
    visit.draw_all()
    page, count, field = visit.page, visit.page.locator("#filter-count"), visit.page.locator("#filter")
    every = embedded(sweep_page, "run-data")
    assert count.inner_text() == f"{len(every)} runs"
    field.fill("gelu completed")
    chosen = page.locator("#leaderboard tr[data-run]:visible").count()
    assert 0 < chosen < len(every)
    assert count.inner_text() == f"{chosen} of {len(every)}"
    page.locator("#history-section").scroll_into_view_if_needed()
    faint = "document.querySelector('#history-section .chart').data.filter(each => each.opacity === 0.08)"
    visit.wait_until(f"{faint}.length > 0")
    field.press("Escape")
    assert (field.input_value(), count.inner_text()) == ("", f"{len(every)} runs")
    visit.wait_until(f"{faint}.length === 0")

    strip = page.locator(".brush[title*=' lr;']")  # its low half, up to the square root of 1e-4 x 0.1
    drag(visit, strip, 0.5, 1.0)
    assert re.fullmatch(r"lr<=0\.00[34]\d*", field.input_value())
    rates = [float(rate) for rate in visible_values(visit, "lr")]
    assert rates == [rate for rate in map(float, visible_values(visit, "lr", all_rows=True)) if rate < 0.0035]
    drag(visit, page.locator(".brush[title*=' activation;']"), 0.03, 0.3)
    assert field.input_value().split()[1:] == ["activation=gelu"]
    assert set(visible_values(visit, "activation")) == {"gelu"}
    strip.click()
    assert field.input_value() == "activation=gelu"
    page.locator("#filter-clear").click()

    button = page.locator("#leaderboard .open").first
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    panel = page.locator(".panel")
    visit.wait_until("document.querySelectorAll('.panel .js-plotly-plot').length === 1")
    assert "python src/train.py" in panel.inner_text()
    assert page.evaluate("document.querySelector('.panel a').protocol") == "file:"
    heading = page.locator("#leaderboard th", has_text="lr").get_by_role("button")
    heading.click()
    assert page.evaluate(
        "document.querySelector('.opened').previousElementSibling.querySelector('[aria-expanded=true]') !== null"
    )
    page.keyboard.press("Tab")
    button = page.locator("#leaderboard .open[aria-expanded=true]")
    button.click()
    assert panel.count() == 0
    assert (visit.messages, visit.requests) == ([], [])
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_of_many_rows_the_first_that_fit_are_shown(browser, tmp_path: Path) -> None:
    made = optuna.create_study(study_name="many", sampler=optuna.samplers.RandomSampler(seed=0))
    made.optimize(lambda trial: trial.suggest_float("optimizer.a_long_name_of_the_learning_rate", 1, 2), n_trials=210)
    (table,) = build_tables(runs_of_trials(made, read_sweep(made), None))
    found, selection = Found(list(table.runs)), [(table, table.runs)]
    overview.write_page(tmp_path / "page.html", found, selection, ["many"], study.copy_study(made, {}, None))
    visit = Visit(browser, tmp_path / "page.html", viewport={"width": 390, "height": 844})
    page, count = visit.page, visit.page.locator("#filter-count")
    shown = page.locator("#leaderboard tr[data-run]:not([hidden])")
    assert (shown.count(), count.inner_text()) == (200, "210 runs")
    page.locator("#filter").fill("trial-0209")  # of the last rows
    assert (shown.count(), count.inner_text()) == (1, "1 of 210")
    page.locator("#filter").fill("")
    page.get_by_role("button", name="value").click()
    page.get_by_role("button", name="value").click()
    values = list(map(float, visible_values(visit, "value")))
    assert (len(values), values) == (200, sorted(values, reverse=True))
    assert values[0] == max(run.row["value"] for run in table.runs)
    page.get_by_role("button", name="Show all rows").click()
    assert shown.count() == 210
    assert "rate=interval(0.5,2)" in page.locator("#next").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.messages == []


def drag(visit: Visit, strip: Any, top: float, bottom: float) -> None:
    """Along an axis, from one share of its height to another."""
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    visit.page.mouse.move(x, box["y"] + box["height"] * top)
    visit.page.mouse.down()
    visit.page.mouse.move(x, box["y"] + box["height"] * bottom, steps=3)
    visit.page.mouse.up()


def visible_values(visit: Visit, column: str, *, all_rows: bool = False) -> list[str]:
    heading = visit.page.locator("#leaderboard th", has_text=column)
    index = heading.evaluate("cell => cell.cellIndex")
    rows = f"#leaderboard tr[data-run]{'' if all_rows else ':not([hidden])'}"
    return visit.page.locator(f"{rows} td:nth-child({index + 1})").evaluate_all(
        "cells => cells.map(cell => cell.dataset.value)"
    )


def sorted_values(visit: Visit, heading: Any) -> list[float]:
    index = heading.evaluate("cell => cell.cellIndex")
    texts = visit.page.locator(f"#leaderboard tbody td:nth-child({index + 1})").evaluate_all(
        "cells => cells.map(cell => cell.dataset.value)"
    )
    return [float(text) for text in texts if text]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_names_are_not_read_as_html_in_a_browser(browser, sweep_page: Path, sweep_folder: Path) -> None:
    visit = Visit(browser, sweep_page)
    visit.draw_all()
    assert visit.page.locator("h1").inner_text() == "Sweep toy"
    assert "<script>alert(3)</script>" in visit.page.locator("header").inner_text()
    assert "<img src=x onerror=alert(2)>" in visit.page.locator("#leaderboard").text_content()
    for button in visit.page.locator("#leaderboard .open").all():
        button.click()
    assert "<script>alert(3)</script>" in visit.page.locator(".opened .folder").first.text_content()
    assert "<script>alert(1)</script>" in visit.page.locator("#best-run-section").text_content()
    assert "<b>relu</b>" in visit.page.locator("main").text_content()
    assert visit.page.locator("main img, main b").count() == 0
    assert visit.messages == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_colours_follow_the_systems_colour_scheme(browser, sweep_page: Path) -> None:
    visit = Visit(browser, sweep_page, color_scheme="light")
    visit.draw_all()
    ink = "document.querySelector('.js-plotly-plot')._fullLayout.font.color"
    light = visit.page.evaluate(ink)
    visit.page.emulate_media(color_scheme="dark")
    visit.wait_until(f"{ink} !== '{light}'")
    assert visit.messages == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_comparison_works_in_a_browser(browser, sweep_folder: Path, tmp_path: Path) -> None:
    confirm = sweep_folder / "confirm"
    runs = [str(folder) for name in ("best", "baseline") for folder in sorted(confirm.glob(f"{name}-*"))]
    compare.main([*runs, str(sweep_folder / "trial-0000"), "--html", str(tmp_path / "c.html")])
    visit = Visit(browser, tmp_path / "c.html", viewport={"width": 390, "height": 844})
    assert visit.draw_all() == len(embedded_figures(tmp_path / "c.html"))
    assert (visit.messages, visit.requests) == ([], [])
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
