"""One backtest from its order to its answer, step by step, so that it can be watched and stopped.

Everything here is plain functions over plain values: they run in the calling process, or on any
worker of a cluster.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any

from hftray.backtest.answer import answer_of
from hftray.backtest.history import SymbolHistory
from hftray.backtest.loading import load_history, require_interval, require_symbols
from hftray.backtest.order import BacktestOrder
from hftray.backtest.outcome import Outcome
from hftray.backtest.play import play
from hftray.core.charges import ChargeSchedule, ChargeTable
from hftray.core.errors import NotFound
from hftray.core.ledger import RunInfo
from hftray.core.risk import RiskBook
from hftray.core.rules import TradingRules
from hftray.ports import Feed
from hftray.strategies.plugins import StrategyFile, load_plugins


@dataclass(frozen=True, slots=True)
class Terms:
    """What all backtests of an installation share: its market, rules, charges and slippage.

    `slippage_bps` is in basis points a fill, and holds for orders that name none.
    """

    build_feed: Callable[[], Feed]
    rules: TradingRules
    charges: ChargeSchedule
    slippage_bps: float
    strategy_files: tuple[StrategyFile, ...] = ()

    def filled_in(self, order: BacktestOrder) -> BacktestOrder:
        """The order with slippage and interval where it leaves them open.

        BadOrder for an interval that the market's candles cannot make.
        """
        data_minutes = self.rules.signals.candle_minutes
        slippage = self.slippage_bps if order.slippage_bps is None else order.slippage_bps
        interval = data_minutes if order.interval is None else order.interval
        require_interval(interval, data_minutes)
        return replace(order, slippage_bps=slippage, interval=interval)

    def rules_of(self, order: BacktestOrder) -> TradingRules:
        """The rules, for the order's candles."""
        minutes = order.interval or self.rules.signals.candle_minutes
        return replace(self.rules, signals=replace(self.rules.signals, candle_minutes=minutes))

    def book_of(self, order: BacktestOrder, histories: list[SymbolHistory]) -> RiskBook:
        """An empty account with the order's capital."""
        return RiskBook(
            run=RunInfo(0, "backtest", " ".join(order.symbols), "backtest", order.initial_capital),
            limits=self.rules.risk,
            exits=self.rules.exits,
            charges=self.charges if order.charges else free_of(self.charges),
            instruments={history.symbol: history.instrument for history in histories},
        )


@dataclass(frozen=True, slots=True)
class Played:
    """A backtest that was played. `order` has no open questions left."""

    order: BacktestOrder
    rules: TradingRules
    histories: list[SymbolHistory]
    outcome: Outcome


def backtest(terms: Terms, order: BacktestOrder) -> Iterator[float | Played]:
    """Load and play, yielding the share of the steps done (0 to 1) on the way, `Played` at the end.

    BadOrder for an interval the data cannot give; NotFound for unknown symbols, and, naming each
    and the days there are, for symbols without a candle in the range.
    """
    load_plugins(terms.strategy_files)
    order = terms.filled_in(order)
    yield 0.0
    histories: list[SymbolHistory] = []
    for share, history in _histories(terms, order):
        histories.append(history)
        yield share
    rules = terms.rules_of(order)
    outcome = play(
        histories,
        order.roster,
        rules=rules,
        book=terms.book_of(order, histories),
        slippage_bps=order.slippage_bps or 0.0,
    )
    yield Played(order, rules, histories, outcome)


def answers(terms: Terms, order: BacktestOrder) -> Iterator[float | dict[str, Any]]:
    """`backtest` for the API: the last item is the answer, as JSON-like values."""
    for step in backtest(terms, order):
        if isinstance(step, Played):
            yield answer_of(step.order, step.rules, step.histories, step.outcome)
        else:
            yield step


def free_of(schedule: ChargeSchedule) -> ChargeSchedule:
    """The schedule with every rate at 0."""
    names = [field.name for field in fields(ChargeTable)]
    rates = [name for name in names if name.endswith("_percent") or name.startswith("brokerage_")]
    free: dict[str, Any] = dict.fromkeys(rates, Decimal(0))
    return ChargeSchedule(tuple(replace(table, **free) for table in schedule.tables))


def _histories(terms: Terms, order: BacktestOrder) -> Iterator[tuple[float, SymbolHistory]]:
    """Each symbol's history, and the share of the work done with it; playing is the last step."""
    signals = terms.rules.signals
    missing: list[str] = []
    with asyncio.Runner() as loop:
        feed = terms.build_feed()
        instruments = loop.run(require_symbols(feed, order.symbols))
        for number, instrument in enumerate(instruments.values(), start=1):
            loading = load_history(
                feed,
                instrument,
                order,
                data_minutes=signals.candle_minutes,
                interval=order.interval or signals.candle_minutes,
                warm_up=signals.candle_buffer,
            )
            try:
                history = loop.run(loading)
            except NotFound as error:
                missing.append(str(error))
                continue
            yield number / (len(instruments) + 1), history
        loop.run(feed.close())
    if missing:
        raise NotFound("; ".join(missing))
