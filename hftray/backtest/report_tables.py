"""The tables of a report as rows the page writes down: headline figures, trades, origin."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hftray.backtest.history import SymbolHistory
from hftray.backtest.outcome import Outcome, RoundTrip
from hftray.backtest.report_charts import wall_clock
from hftray.backtest.report_figures import charges, net, sides
from hftray.backtest.report_numbers import (
    DASH,
    grouped,
    moment_text,
    percent_text,
    ratio_text,
    rupees_text,
    words,
)
from hftray.core.candles import COLUMNS
from hftray.core.money import ZERO
from hftray.core.session import IST

MOST_ROWS = 500

Metrics = Mapping[str, Any]
Write = Callable[[Any], str]


def _gain_percent(value: Any) -> str:
    return percent_text(value, signed=True)


def _share(value: Any) -> str:
    return DASH if value is None else percent_text(float(value) * 100, places=1)


def _gain_rupees(value: Any) -> str:
    return rupees_text(value, signed=True)


def _whole_rupees(value: Any) -> str:
    return rupees_text(value, paise=False)


def _days(value: Any) -> str:
    return DASH if value is None else f"{grouped(int(value))} trading days"


WRITTEN: Mapping[str, tuple[str, Write]] = {
    "total_return_percent": ("return", _gain_percent),
    "cagr_percent": ("CAGR", _gain_percent),
    "buy_and_hold_percent": ("buy and hold", _gain_percent),
    "sharpe": ("Sharpe ratio", ratio_text),
    "sortino": ("Sortino ratio", ratio_text),
    "calmar": ("Calmar ratio", ratio_text),
    "max_drawdown": ("deepest drawdown", rupees_text),
    "max_drawdown_percent": ("deepest drawdown", percent_text),
    "max_drawdown_days": ("deepest drawdown until regained", _days),
    "win_rate": ("win rate", _share),
    "profit_factor": ("profit factor", ratio_text),
    "expectancy": ("expected of a trade", _gain_rupees),
    "average_win": ("average win", rupees_text),
    "average_loss": ("average loss", rupees_text),
    "trades": ("trades", grouped),
    "wins": ("trades won", grouped),
    "losses": ("trades lost", grouped),
    "net_pnl": ("net P&L", _gain_rupees),
    "gross_pnl": ("P&L before charges", _gain_rupees),
    "charges": ("charges", rupees_text),
    "turnover": ("turnover", _whole_rupees),
    "turnover_ratio": ("turnover, times the capital", ratio_text),
    "exposure_percent": ("time in the market", percent_text),
}
"""How each metric is called and written; one that is not here is written as it comes."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure and, smaller, the one that belongs beside it."""

    name: str
    label: str
    value: str
    tone: str
    beside: str


_TILES = (
    ("total_return_percent", "net_pnl", ""),
    ("cagr_percent", "calmar", "Calmar "),
    ("buy_and_hold_percent", "", "the same shares and days, no trading"),
    ("sharpe", "", "a year, risk-free rate 0"),
    ("sortino", "", "a year, downside only"),
    ("max_drawdown_percent", "max_drawdown_days", "lasted "),
    ("win_rate", "", ""),
    ("profit_factor", "expectancy", ""),
    ("trades", "exposure_percent", ""),
    ("charges", "turnover", "on a turnover of "),
)


_AFTER = {"expectancy": " a trade", "exposure_percent": " of the time in the market"}


def written(name: str, value: Any) -> tuple[str, str]:
    """A metric's label and its value as text."""
    if name in WRITTEN:
        label, write = WRITTEN[name]
        return label, DASH if value is None else write(value)
    plain = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return words(name), ratio_text(value) if plain else DASH if value is None else str(value)


def headline(metrics: Metrics, trips: Sequence[RoundTrip], held: float | None) -> list[Tile]:
    """The figures that stand first, `held` (buying and holding, in percent) among them.

    One that the metrics do not have is a dash, but what the trades themselves tell.
    """
    told = {"charges": sum(map(charges, trips), ZERO), "trades": len(trips)}
    known = {**told, "buy_and_hold_percent": held, **metrics}
    tiles = []
    for name, second, lead in _TILES:
        label, text = written(name, known.get(name))
        beside = lead if not second else ""
        if known.get(second) is not None:
            beside = lead + written(second, known[second])[1]
        if name == "win_rate":
            beside = f"{grouped(known.get('wins') or 0)} of {grouped(known['trades'])}"
        if beside and second in _AFTER:
            beside += _AFTER[second]
        tiles.append(Tile(name, label, text, _tone(name, known.get(name)), beside))
    return tiles


def _tone(name: str, value: Any) -> str:
    if value is None or name not in ("total_return_percent", "cagr_percent"):
        return ""
    return "gain" if value > 0 else "loss" if value < 0 else ""


def other_figures(metrics: Metrics) -> list[tuple[str, str]]:
    """Every metric that no tile shows."""
    shown = {name for first, second, _ in _TILES for name in (first, second)} | {"wins"}
    return [written(name, value) for name, value in metrics.items() if name not in shown]


@dataclass(frozen=True, slots=True)
class TradeRow:
    """One round trip as the table shows it; `number` counts all of them from 1."""

    number: int
    symbol: str
    side: str
    quantity: int
    entered: datetime
    entry_price: Decimal
    left_text: str
    exit_price: Decimal | None
    held: timedelta
    reason: str
    gross: Decimal | None
    charges: Decimal
    net: Decimal
    voters: list[str]
    from_ms: int
    to_ms: int
    low: Decimal
    high: Decimal
    drawn: bool


TRADE_COLUMNS = (
    ("#", False), ("symbol", True), ("side", True), ("shares", False), ("entered", False),
    ("at", False), ("left", False), ("at", False), ("why", True), ("net", False),
    ("voters that agreed", True), ("gross", False), ("charges", False), ("held", False),
)  # fmt: skip


def trade_rows(trips: Sequence[RoundTrip], drawn: frozenset[str]) -> list[TradeRow]:
    """The newest trades, newest first, at most `MOST_ROWS`; `drawn` symbols have a price chart."""
    numbered = list(enumerate(trips, start=1))[-MOST_ROWS:][::-1]
    return [_row(number, trip, trip.closed.symbol in drawn) for number, trip in numbered]


def _row(number: int, trip: RoundTrip, drawn: bool) -> TradeRow:
    held, leaving = trip.closed, trip.exit
    begun, ended = wall_clock([held.entry_time, leaving.timestamp]).tolist()
    prices = [held.entry_price, leaving.price or held.entry_price]
    return TradeRow(
        number=number, symbol=held.symbol, side=held.side.value, quantity=leaving.quantity,
        entered=held.entry_time, entry_price=held.entry_price, left_text=_left_text(trip),
        exit_price=leaving.price, held=leaving.timestamp - held.entry_time, reason=leaving.reason,
        gross=leaving.gross_pnl, charges=charges(trip), net=net(trip), voters=sides(trip)[0],
        from_ms=int(begun), to_ms=int(ended), low=min(prices), high=max(prices), drawn=drawn,
    )  # fmt: skip


def _left_text(trip: RoundTrip) -> str:
    """When a trade ended; on the day of its entry the time alone."""
    begun, ended = (t.astimezone(IST) for t in (trip.closed.entry_time, trip.exit.timestamp))
    return f"{ended:%H:%M}" if begun.date() == ended.date() else moment_text(ended)


def fingerprint(*things: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of values as sorted JSON."""
    text = json.dumps(things, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def data_fingerprint(histories: Sequence[SymbolHistory]) -> str:
    """The same of every candle, those that only warm up included."""
    digest = hashlib.sha256()
    for history in histories:
        digest.update(history.symbol.encode() + b"\0" + str(history.start).encode() + b"\0")
        for name in ("time", *COLUMNS):
            digest.update(getattr(history.candles, name).tobytes())
    return digest.hexdigest()[:16]


def played_range(histories: Sequence[SymbolHistory], outcome: Outcome) -> str:
    """From when to when was played, and how much."""
    opens = [int(h.candles.time[h.start]) for h in histories if h.start < len(h.candles)]
    last = [int(h.candles.time[-1]) for h in histories if h.start < len(h.candles)]
    if not opens:
        return "no candles"
    first, newest = (datetime.fromtimestamp(edge, IST) for edge in (min(opens), max(last)))
    return (
        f"{moment_text(first)} to {moment_text(newest)} (opening times, India); "
        f"{grouped(outcome.candles)} candles of {grouped(len(opens))} "
        f"{'symbol' if len(opens) == 1 else 'symbols'}"
    )
