"""A report in a real browser: drawn without a request, readable by day and night, and obedient."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from report_world import histories, outcome_of, page_of

from hftray.backtest.outcome import Outcome
from hftray.backtest.report_sweep import SweepTable

CHROMIUM = shutil.which("chromium")
SYMBOLS = ("RELIANCE", "TCS", "INFY")
DAYS = 45

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium is not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@dataclass
class Opened:
    """A report on the screen, and everything it did that it should not."""

    page: Page
    asked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def charts(self) -> list[dict[str, Any]]:
        """Name, width, height and number of drawn paths of each chart."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll(".chart")].map((chart) => {
                const { width, height } = chart.querySelector(".main-svg").getBoundingClientRect();
                const paths = chart.querySelectorAll(".trace path, .heatmaplayer image");
                return { name: chart.dataset.chart, width, height, paths: paths.length };
            })"""
        )

    def background(self) -> tuple[int, ...]:
        color = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return tuple(map(int, re.findall(r"\d+", color)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return outcome_of(histories(SYMBOLS, DAYS))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, outcome: Outcome) -> Path:
    sets = [({"rsi.period": a, "exits.trailing_stop_percent": b}, a * b) for a in range(5, 15)
            for b in (0.5, 1.0, 1.5)]  # fmt: skip
    path = tmp_path_factory.mktemp("report") / "report.html"
    sweep = SweepTable("sharpe", sets[::-1], len(sets))
    path.write_text(page_of(histories(SYMBOLS, DAYS), outcome, sweep=sweep), encoding="utf-8")
    return path


def opened(
    browser: Browser, path: Path, scheme: Literal["light", "dark"] = "light", width: int = 1240
) -> Opened:
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    seen = Opened(page)
    page.on("request", lambda request: seen.asked.append(request.url))
    page.on("pageerror", lambda error: seen.faults.append(str(error)))
    page.on("console", lambda line: line.type == "error" and seen.faults.append(line.text))
    page.goto(path.as_uri())
    page.wait_for_selector(".chart:not(:has(.main-svg))", state="detached")
    return seen


@pytest.fixture(scope="module")
def day(browser: Browser, report: Path) -> Opened:
    return opened(browser, report)


def test_every_chart_is_drawn_and_nothing_is_asked_for(
    day: Opened, report: Path, tmp_path: Path
) -> None:
    charts = {chart["name"]: chart for chart in day.charts()}
    assert set(charts) == {"equity", "price:RELIANCE", "pnl", "attribution", "sweep"}
    for name, chart in charts.items():
        assert chart["width"] > 400, name
        assert chart["height"] > 200, name
        assert chart["paths"] > 0, name
    shot = tmp_path / "report.png"
    day.page.screenshot(path=shot, full_page=True)
    assert shot.stat().st_size > 100_000
    assert day.asked == [report.as_uri()]
    assert day.faults == []


def test_the_numbers_are_those_of_the_outcome(day: Opened, outcome: Outcome) -> None:
    def tile(name: str) -> str:
        return day.page.locator(f'[data-figure-name="{name}"]').inner_text()

    assert len(outcome.trips) > 20
    assert tile("trades") == str(len(outcome.trips))
    wins = sum((trip.exit.pnl or 0) > 0 for trip in outcome.trips)
    assert float(tile("win_rate")[:-1]) == round(100 * wins / len(outcome.trips), 1)
    rows = day.page.locator("#trades-table tbody tr")
    assert rows.count() == len(outcome.trips)
    column = day.page.evaluate(
        """() => [...document.querySelectorAll("#trades-table tbody tr")]
            .map((row) => row.cells[9].textContent)"""
    )
    shown = [Decimal(re.sub("[₹,+]", "", text).replace("−", "-")) for text in column]
    assert shown == [trip.exit.pnl for trip in reversed(outcome.trips)]
    last = day.page.evaluate(
        'document.querySelector("[data-chart=equity]").data[1].customdata.at(-1)'
    )
    assert Decimal(re.sub("[₹,]", "", last)) == outcome.curve[-1][1]


def test_every_entry_and_exit_stands_on_its_symbols_price(day: Opened, outcome: Outcome) -> None:
    for symbol in SYMBOLS:
        day.page.select_option("#symbol", symbol)
        price = day.page.locator(f'[data-chart="price:{symbol}"]')
        price.wait_for()
        trips = [trip for trip in outcome.trips if trip.closed.symbol == symbol]
        assert price.locator(".points path.point").count() == 2 * len(trips)
        assert f"{len(trips)} trades" in day.page.locator("figcaption:visible").nth(0).inner_text()


def test_a_trade_is_shown_on_the_price_and_says_why(day: Opened, outcome: Outcome) -> None:
    trip = outcome.trips[0]
    day.page.locator("#trades-table td button").last.click()
    assert day.page.input_value("#symbol") == trip.closed.symbol
    left, right = day.page.evaluate("document.getElementById('price-chart').layout.xaxis.range")
    assert left < f"{trip.closed.entry_time:%Y-%m-%dT%H:%M:%S}" < right
    for point in day.page.locator("#price-chart .points path.point").all():
        box, frame = point.bounding_box(), day.page.locator("#price-chart .nsewdrag").bounding_box()
        assert box is not None
        assert frame is not None
        if frame["x"] < box["x"] < frame["x"] + frame["width"]:
            day.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            break
    said = day.page.locator("#price-chart .hoverlayer").text_content() or ""
    assert any(voter in said for voter, vote in trip.closed.votes.items() if vote)


def test_a_heading_sorts_the_trades_both_ways(day: Opened) -> None:
    def net() -> list[float]:
        return day.page.evaluate(
            """() => [...document.querySelectorAll("#trades-table tbody tr")]
                .map((row) => Number(row.cells[9].dataset.sort))"""
        )

    heading = day.page.get_by_role("button", name="net", exact=True)
    heading.click()
    assert net() == sorted(net(), reverse=True)
    heading.click()
    assert net() == sorted(net())
    header = day.page.locator("#trades-table th", has=heading)
    assert header.get_attribute("aria-sort") == "ascending"


def test_no_button_sends_a_chart_anywhere(day: Opened) -> None:
    titles = day.page.evaluate(
        """() => [...document.querySelectorAll(".modebar-btn")].map((button) => button.outerHTML)"""
    )
    assert titles
    assert not [title for title in titles if re.search("share|cloud|send", title, re.IGNORECASE)]


def test_night_is_dark_and_the_charts_with_it(browser: Browser, report: Path, day: Opened) -> None:
    night = opened(browser, report, "dark")
    assert max(night.background()) < 60
    assert min(day.background()) > 200
    ticks = [seen.page.locator("#price-chart .xtick text").first for seen in (day, night)]
    by_day, by_night = (tick.evaluate("tick => getComputedStyle(tick).fill") for tick in ticks)
    assert by_day != by_night
    night.page.emulate_media(color_scheme="light")
    expect(ticks[1]).to_have_css("fill", by_day)
    assert night.faults == []


def test_a_telephone_scrolls_one_way_only_and_charts_do_not_cover_text(
    browser: Browser, report: Path
) -> None:
    small = opened(browser, report, width=400)
    assert small.page.evaluate("document.documentElement.scrollWidth") == 400
    covered = small.page.evaluate(
        """() => [...document.querySelectorAll("figure")].filter((figure) => {
            const svg = figure.querySelector(".main-svg").getBoundingClientRect();
            return svg.bottom > figure.getBoundingClientRect().bottom + 1;
        }).length"""
    )
    assert covered == 0


def test_it_prints(browser: Browser, report: Path) -> None:
    seen = opened(browser, report, "dark")
    assert len(seen.page.pdf(format="A4")) > 50_000
    assert seen.faults == []


def test_a_day_without_a_trade_renders_too(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "empty.html"
    path.write_text(page_of(histories(("TCS",), 1), Outcome()), encoding="utf-8")
    seen = opened(browser, path)
    assert {chart["name"] for chart in seen.charts()} == {"equity", "price:TCS"}
    assert "No trade was closed" in seen.page.locator("main").inner_text()
    assert seen.faults == []
