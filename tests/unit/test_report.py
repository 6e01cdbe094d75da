"""The page of a backtest: what is on it, what must never be, and that nothing is too little."""

import json
import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_world import CAPITAL, MONDAY, ROSTER, histories, metrics_of, outcome_of, page_of, trip

from hftray.backtest.outcome import Outcome
from hftray.backtest.report import write_report
from hftray.backtest.report_sweep import SweepTable
from hftray.backtest.report_tables import MOST_ROWS
from hftray.core.session import IST

EVIL = "<script>alert('x')</script>&\"<b>"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its figures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.figures: dict[str, Any] = {}
        self._script: dict[str, str | None] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs)

    def handle_data(self, data: str) -> None:
        if name := self._script.pop("data-figure", None):
            self.figures[name] = json.loads(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        """What a reader sees, tags and scripts left out."""
        shown = re.sub(r"<(script|style)\b.*?</\1>", "", self.html, flags=re.DOTALL)
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown)))

    def traces(self, figure: str) -> dict[str, dict[str, Any]]:
        return {trace.get("name", ""): trace for trace in self.figures[figure]["data"]}


@pytest.fixture(scope="module")
def week() -> tuple[list[Any], Outcome]:
    played = histories(("RELIANCE", "TCS"), 5)
    return played, outcome_of(played)


@pytest.fixture(scope="module")
def page(week: tuple[list[Any], Outcome]) -> Page:
    return Page(page_of(*week))


def curve_of(*equity: int) -> list[tuple[Any, Decimal]]:
    close = datetime(MONDAY.year, MONDAY.month, MONDAY.day, 15, 30, tzinfo=IST)
    return [(close + timedelta(days=n), Decimal(value)) for n, value in enumerate(equity)]


def test_one_file_that_asks_for_nothing_else(page: Page) -> None:
    addresses = [attributes.get(key) for _, attributes in page.tags for key in ("src", "href")]
    assert all(address.startswith("#") for address in addresses if address)
    assert not page.all("link")
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "form-action 'none'" in policy
    assert len(page.html) < 3_000_000


def test_everything_a_reader_looks_for_is_there(page: Page) -> None:
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page.html)
    assert headings == [
        "Equity and drawdown", "Price, entries and exits", "Profit and loss", "Monthly returns",
        "Which strategies were behind it", "Trades", "How it was made",
    ]  # fmt: skip
    assert page.html.count("<h1") == 1
    assert {"equity", "price:RELIANCE", "price:TCS", "pnl", "attribution"} == set(page.figures)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert (link["href"] or "").removeprefix("#") in ids


def test_every_chart_says_in_words_what_it_shows(page: Page) -> None:
    charts = [a for a in page.all("div") if a.get("class") == "chart"]
    assert len(charts) == 4  # one price chart for all symbols
    assert all(chart["role"] == "img" and len(chart["aria-label"] or "") > 20 for chart in charts)


def test_the_figures_are_those_of_the_outcome(page: Page, week: tuple[list[Any], Outcome]) -> None:
    _, outcome = week
    assert outcome.trips
    x, y = page.traces("equity")["equity"]["x"], page.traces("equity")["equity"]["customdata"]
    assert y[0] == "₹1,00,000.00"
    assert len(y) == len(outcome.curve) + 1
    assert x is not None
    net = sum((t.exit.pnl or Decimal(0) for t in outcome.trips), Decimal(0))
    assert f"−₹{abs(net):,.2f}" in page.text
    entries = [
        len(page.traces(f"price:{symbol}").get(label, {}).get("text", []))
        for symbol in ("RELIANCE", "TCS")
        for label in ("bought", "sold short")
    ]
    assert sum(entries) == len(outcome.trips)


def test_a_mark_says_what_was_done_and_why() -> None:
    played = histories(("RELIANCE",), 1)
    won = trip("180", votes={"rsi": 1, "macd": 1, "vwap": -1})
    page = Page(page_of(played, Outcome([won], curve_of(100_180), 75)))
    (entry,) = page.traces("price:RELIANCE")["bought"]["text"]
    assert entry.startswith("<b>BUY 10 at ₹1,300.00</b>")
    assert "agreed: rsi, macd" in entry
    assert "against: vwap" in entry
    (leaving,) = page.traces("price:RELIANCE")["left with a gain"]["text"]
    for said in ("take profit: +₹180.00 net", "11:00", "gross +₹200.00", "charges ₹20.00"):
        assert said in leaving


def test_text_of_others_stays_text() -> None:
    played = histories(("RELIANCE",), 1)
    roster = [{**ROSTER[1], "name": EVIL}]
    taken = trip("5", votes={EVIL: 1}, reason=EVIL)
    best = [({EVIL: EVIL, "other": place}, 1.0) for place in range(3)]
    html = page_of(
        played, Outcome([taken], curve_of(100_005), 75), title=EVIL, roster=roster, command=EVIL,
        order={"strategy": EVIL, "initial_capital": CAPITAL, EVIL: EVIL}, assumptions=[EVIL],
        metrics={"note": EVIL}, sweep=SweepTable(EVIL, best, 3),
    )  # fmt: skip
    page = Page(html)
    clean = Page(page_of(played, Outcome([trip("5")], curve_of(100_005), 75)))
    # The sweep adds its figure; beside that there is not one script more than on a harmless page.
    assert len(page.all("script")) == len(clean.all("script")) + 1
    assert not page.all("b")
    assert EVIL in page.text
    said = [
        *page.traces("price:RELIANCE")["bought"]["text"],
        *page.traces("attribution")["net"]["y"],
    ]
    assert all("<script" not in text for text in said)
    assert any("&lt;script&gt;" in text for text in said)


NOTHING = "No trade was closed"


@pytest.mark.parametrize(
    ("symbols", "outcome", "shown", "figures"),
    [
        ((), Outcome(), NOTHING, {"equity"}),
        (("TCS",), Outcome([], curve_of(100_000), 75), NOTHING, {"equity", "price:TCS"}),
        (
            ("RELIANCE",),
            Outcome([trip("0")], curve_of(100_000), 75),
            "1",
            {"equity", "price:RELIANCE", "pnl", "attribution"},
        ),
        (
            ("RELIANCE",),
            Outcome([trip("-7", votes={})], curve_of(99_993, 99_993), 75),
            "Nobody is on record for 1 trade of −₹7.00",
            {"equity", "price:RELIANCE", "pnl"},
        ),
    ],
    ids=["no history", "no trade", "one trade that earned nothing", "nobody voted"],
)
def test_little_is_no_fault(symbols, outcome, shown, figures) -> None:
    page = Page(page_of(histories(symbols, 1), outcome))
    assert set(page.figures) == figures
    assert shown in page.text
    assert "nan" not in page.text.lower().split()
    assert "None" not in page.text.split()


def test_a_missing_figure_is_a_dash_and_an_unknown_one_is_shown() -> None:
    page = Page(page_of([], Outcome(), metrics={"sharpe": None, "ulcer_index": 3.25}))
    assert re.search(r'data-figure-name="sharpe">–<', page.html)
    assert re.search(r'data-figure-name="sortino">–<', page.html)
    assert "ulcer index 3.25" in page.text


def test_a_long_table_says_how_much_it_leaves_out() -> None:
    trips = [trip(str(n)) for n in range(MOST_ROWS + 34)]
    page = Page(page_of([], Outcome(trips, curve_of(100_000), 75)))
    assert "The newest 500 of 534 trades" in page.text
    rows = re.search(r'<table id="trades-table">.*?</table>', page.html, re.DOTALL)
    assert rows is not None
    assert rows[0].count("<tr>") == MOST_ROWS + 1
    assert "+₹533.00" in rows[0]
    assert "+₹33.00" not in rows[0]


def test_a_long_price_is_thinned_but_for_what_lies_around_a_trade() -> None:
    (history,) = histories(("ITC",), 300)
    taken = trip("5", symbol="ITC", day=MONDAY + timedelta(days=100))
    page = Page(page_of([history], Outcome([taken], curve_of(100_005), 22_500)))
    assert re.search(r"drawn from \d,\d{3} of 22,\d{3} closes", page.text)
    packed = page.traces("price:ITC")["close"]["x"]
    drawn = np.frombuffer(b64decode(packed["bdata"]), dtype=packed["dtype"])
    entered = taken.closed.entry_time.replace(tzinfo=UTC).timestamp()
    around = [(entered + 300 * step) * 1000 for step in range(-8, 25)]
    assert np.isin(around, drawn).all()
    assert len(page.html) < 2_900_000


def test_a_sweep_is_a_heat_map_of_medians() -> None:
    best = [
        ({"rsi.period": a, "macd.fast": b, "exits.x": c}, a + b + c)
        for a in (10, 9, 5) for b in (4.5, 3.0, 2.0) for c in (0.75, 0.25)
    ]  # fmt: skip
    best = best[:-2]
    page = Page(page_of([], Outcome(), sweep=SweepTable("sharpe", best, 18)))
    (cells,) = page.figures["sweep"]["data"]
    assert (cells["type"], cells["x"], cells["y"]) == (
        "heatmap", ["5", "9", "10"], ["2", "3", "4.5"],
    )  # fmt: skip
    assert cells["z"] == [[None, 11.5, 12.5], [8.5, 12.5, 13.5], [10.0, 14.0, 15.0]]
    assert cells["customdata"][2][1] == "median 14.000 of 2 sets, 13.750 to 14.250"
    assert "A cell is the median over exits.x" in page.text
    assert "2 of them have none" in page.text


def test_a_sweep_of_many_values_is_put_into_ranges_and_of_one_is_a_line() -> None:
    many = [({"a": n / 7, "b": n % 3}, float(-n)) for n in range(120)]
    heat = Page(page_of([], Outcome(), sweep=SweepTable("sharpe", many, 120)))
    assert len(heat.figures["sweep"]["data"][0]["x"]) == 12
    one = [({"a": n}, float(n)) for n in range(9, 0, -1)]
    line = Page(page_of([], Outcome(), sweep=SweepTable("sharpe", one, 9)))
    assert line.figures["sweep"]["data"][0]["type"] == "scatter"
    nothing = Page(page_of([], Outcome(), sweep=SweepTable("sharpe", [], 9)))
    assert "sweep" not in nothing.figures
    assert "No set has a defined metric" in nothing.text


def test_the_same_values_make_the_same_file(
    tmp_path: Path, week: tuple[list[Any], Outcome]
) -> None:
    played, outcome = week
    paths = [tmp_path / "a.html", tmp_path / "b.html"]
    for path in paths:
        write_report(
            path, title="Backtest", order={"strategy": "ensemble", "initial_capital": CAPITAL},
            outcome=outcome, histories=played, metrics=metrics_of(outcome), roster=ROSTER,
        )  # fmt: skip
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_text(encoding="utf-8") == page_of(played, outcome)


def test_the_origin_changes_with_the_settings_and_with_the_candles() -> None:
    def hashes(symbol: str, days: int, **changes: Any) -> list[str]:
        html = page_of(histories((symbol,), days), Outcome(), **changes)
        return re.findall(r"<code>([0-9a-f]{16})</code>", html)

    settings, candles = hashes("TCS", 1)
    assert hashes("TCS", 1) == [settings, candles]
    assert hashes("TCS", 1, roster=ROSTER[:3])[0] != settings
    assert hashes("TCS", 1, roster=ROSTER[:3])[1] == candles
    assert hashes("ITC", 1)[1] != candles
