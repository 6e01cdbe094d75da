"""A backtest as one HTML file that needs nothing else: no network, no other file.

plotly draws the charts: they are SVG, so they print sharply, follow light and dark, and can be
tested. Its library is packed into the page (2 MB instead of 5) and unpacked by the browser. The
page forbids itself every request by its content security policy. Text is escaped by the template
engine. The same values make the same bytes.
"""

import base64
import calendar
import gzip
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from hftray import __version__
from hftray.backtest.answer import buy_and_hold
from hftray.backtest.history import SymbolHistory
from hftray.backtest.outcome import Outcome
from hftray.backtest.report_charts import (
    PALETTE,
    attribution_chart,
    equity_chart,
    pnl_chart,
)
from hftray.backtest.report_figures import Tally, attribute, by_exit, monthly_returns, net
from hftray.backtest.report_numbers import (
    DASH,
    grouped,
    moment_text,
    percent_text,
    ratio_text,
    rupees_text,
    span_text,
    words,
)
from hftray.backtest.report_price import price_charts
from hftray.backtest.report_sweep import SweepTable, sweep_view
from hftray.backtest.report_tables import (
    MOST_ROWS,
    TRADE_COLUMNS,
    data_fingerprint,
    fingerprint,
    headline,
    other_figures,
    played_range,
    trade_rows,
)
from hftray.core.metrics import EquityCurve, portfolio_metrics
from hftray.core.money import ZERO
from hftray.core.session import IST
from hftray.strategies.ensemble import voters_of

PAGE = Path(__file__).with_name("report_page")

Order = Mapping[str, Any]
Roster = Sequence[Mapping[str, Any]]


def write_report(
    path: Path,
    *,
    title: str,
    order: Order,
    outcome: Outcome,
    histories: Sequence[SymbolHistory],
    metrics: Mapping[str, Any],
    sweep: SweepTable | None = None,
    roster: Roster = (),
    assumptions: Sequence[str] = (),
    command: str = "",
) -> None:
    """Write `render_report` to a file; OSError when that is not possible."""
    page = render_report(
        title=title, order=order, outcome=outcome, histories=histories, metrics=metrics,
        sweep=sweep, roster=roster, assumptions=assumptions, command=command,
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")


def render_report(
    *,
    title: str,
    order: Order,
    outcome: Outcome,
    histories: Sequence[SymbolHistory],
    metrics: Mapping[str, Any],
    sweep: SweepTable | None = None,
    roster: Roster = (),
    assumptions: Sequence[str] = (),
    command: str = "",
) -> str:
    """The page of one backtest.

    `order` is what was asked for (at least `initial_capital`), `metrics` the figures by their
    names in the API; one that is missing shows as a dash. `roster` gives the voters their weights;
    `assumptions` and `command` are shown as given.
    """
    trips = outcome.trips
    capital = Decimal(order["initial_capital"])
    weights = {voter.name: voter.weight for voter in voters_of(roster)}
    attribution = attribute(trips, weights)
    prices = price_charts(histories, trips)
    market = buy_and_hold(histories, capital) if histories else []
    equity = equity_chart(
        outcome.curve, began=_began(histories, outcome), initial_capital=capital, market=market
    )
    pnl = pnl_chart([net(trip) for trip in trips]) if trips else None
    agreed = any(tally.trades for tally in attribution.voters.values())
    voters = attribution_chart(attribution) if agreed else None
    swept = sweep_view(sweep) if sweep is not None else None
    charts = (equity, *(chart for _, chart in prices), pnl, voters, swept.chart if swept else None)
    return _environment().get_template("page.html.j2").render(
        version=__version__, title=title, about=_about(order, histories),
        tiles=headline(metrics, trips, _held_percent(market, capital)),
        equity=equity, prices=prices, pnl=pnl, exits=by_exit(trips), total=_total(outcome),
        months=monthly_returns(outcome.curve, initial_capital=capital),
        month_names=calendar.month_abbr[1:], weights=weights, weighted=bool(weights),
        attribution=attribution, attribution_chart=voters, sweep=swept,
        rows=trade_rows(trips, frozenset(symbol for symbol, _ in prices)),
        rows_note=_rows_note(len(trips)), trade_columns=TRADE_COLUMNS, assumptions=assumptions,
        others=other_figures(metrics),
        origin=_origin(order, outcome, histories, roster, command),
        drawn=[chart for chart in charts if chart is not None],
        palette=PALETTE, plotly=_packed_plotly(), css=_asset("page.css"), script=_asset("page.js"),
    )  # fmt: skip


def _held_percent(market: EquityCurve, capital: Decimal) -> float | None:
    """What buying and holding returned, in percent; None without a day."""
    if not market:
        return None
    return portfolio_metrics([], market, initial_capital=capital).total_return_percent


def _total(outcome: Outcome) -> Tally:
    total = Tally()
    for trip in outcome.trips:
        total.add(net(trip), won=net(trip) > ZERO)
    return total


def _began(histories: Sequence[SymbolHistory], outcome: Outcome) -> datetime:
    """When the first played candle opened; the curve's first moment where none is known."""
    opens = [int(h.candles.time[h.start]) for h in histories if h.start < len(h.candles)]
    if opens:
        return datetime.fromtimestamp(min(opens), IST)
    return outcome.curve[0][0] if outcome.curve else datetime.fromtimestamp(0, IST)


def _about(order: Order, histories: Sequence[SymbolHistory]) -> str:
    symbols = [history.symbol for history in histories]
    strategy = order.get("strategy", "ensemble")
    parts = [
        ", ".join(symbols[:10]) + (f" and {len(symbols) - 10} more" if symbols[10:] else ""),
        strategy if isinstance(strategy, str) else ", ".join(map(str, strategy)),
        f"{order['start_date']} to {order['end_date']}" if "start_date" in order else "",
        f"{rupees_text(Decimal(order['initial_capital']), paise=False)} to begin with",
    ]
    return " · ".join(part for part in parts if part)


def _rows_note(trades: int) -> str:
    if trades <= MOST_ROWS:
        return "Every closed trade, the newest first."
    return (
        f"The newest {grouped(MOST_ROWS)} of {grouped(trades)} trades; all of them are in the "
        "backtest's JSON."
    )


def _origin(
    order: Order,
    outcome: Outcome,
    histories: Sequence[SymbolHistory],
    roster: Roster,
    command: str,
) -> list[tuple[str, str, bool]]:
    """Label, value, and whether the value is to be shown as typed."""
    asked = ", ".join(f"{key} {_plain(value)}" for key, value in order.items() if key != "roster")
    return [
        ("hftray", __version__, False),
        *([("command", command, True)] if command else []),
        ("asked for", asked, True),
        ("data", played_range(histories, outcome), False),
        ("hash of the settings", fingerprint(order, roster), True),
        ("hash of the candles", data_fingerprint(histories), True),
    ]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_plain(item)}" for key, item in value.items()) or DASH
    if isinstance(value, list | tuple):
        return " ".join(map(_plain, value))
    return DASH if value is None else str(value)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "rupees": rupees_text, "percent": percent_text, "ratio": ratio_text, "count": grouped,
        "moment": moment_text, "span": span_text, "words": words, "inert": _inert,
        "share": lambda rate: DASH if rate is None else percent_text(rate * 100, places=1),
        "heat": lambda value: round(min(60.0, 12.0 + 10.0 * abs(value)), 1),
    }  # fmt: skip
    return environment


def _inert(json_text: str) -> Markup:
    """JSON that cannot end the script element it stands in, whoever wrote it."""
    return Markup(json_text.replace("<", "\\u003c").replace(">", "\\u003e"))


def _asset(name: str) -> Markup:
    return Markup((PAGE / name).read_text(encoding="utf-8").strip())


@cache
def _packed_plotly() -> str:
    packed = gzip.compress(get_plotlyjs().encode(), 9, mtime=0)
    return base64.b64encode(packed).decode()
