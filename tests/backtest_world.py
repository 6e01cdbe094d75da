"""Terms and orders for backtests: the generated market, or candles written to files."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hftray.backtest.order import BacktestOrder, choose_rows
from hftray.backtest.runner import Played, Terms, backtest
from hftray.core.session import IST
from hftray.layers import load
from hftray.strategies.defaults import default_strategies
from hftray.wiring import backtest_terms

FIRST = date(2025, 3, 3)
LAST = date(2025, 3, 28)


def terms(data: Path | None = None) -> Terms:
    """What `hftray.yaml` says, on the files of a folder or the generated market."""
    mode = "simulation" if data is None else "replay"
    flags = {"mode": mode, "replay.data": data}
    return backtest_terms(load(flags=flags, environment={}).settings, date(2026, 6, 1))


def order(*symbols: str, strategies: tuple[str, ...] = ("ensemble",), **fields: Any) -> Any:
    """Four weeks of TCS, or of what is named."""
    changes = fields.get("parameters", {})
    known = {
        "symbols": symbols or ("TCS",),
        "strategies": strategies,
        "roster": choose_rows(strategies, default_strategies(), changes),
        "start_date": FIRST,
        "end_date": LAST,
        "initial_capital": Decimal(100_000),
    }
    return BacktestOrder(**known | fields)


def play(wanted: BacktestOrder, market: Terms | None = None) -> Played:
    """The order, played to its end."""
    *_, last = backtest(market or terms(), wanted)
    assert isinstance(last, Played)
    return last


def write_candles(folder: Path, symbol: str, days: list[date], count: int = 75) -> None:
    """A file of five-minute candles that rise by a rupee from day to day and swing within it."""
    rows = ["timestamp,open,high,low,close,volume"]
    for number, day in enumerate(days):
        opens = datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST)
        for place in range(count):
            price = 100 + number + (place * 7) % 13 / 4
            at = opens + timedelta(minutes=5 * place)
            rows.append(f"{at.isoformat()},{price},{price + 1},{price - 1},{price + 0.25},500")
    (folder / f"{symbol}.csv").write_text("\n".join(rows))
