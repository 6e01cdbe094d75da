"""An exchange that fills orders against the feed's prices and keeps its book in one SQLite file.

The book is what a real broker would still know after our process died: orders, fills, and the
last price an order has seen. A commit is on disk before a call returns. Prices of symbols without
orders are kept in memory only, so a market step without working orders costs no I/O. What the
market does to an order says `MatchingEngine`.

A market step (`on_market`) not later than an order's last change never trades that order: passing
a batch again, or again after a restart, fills nothing twice, and tells the same news again to
whoever lost them. All times are the market's.

Two processes may have the book open for a moment: one that was stopped or is dying, and the one in
its place. Each decides while the other cannot write, by what the file says then.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from hftray.adapters.exchange_book import ExchangeBook
from hftray.adapters.exchange_entry import BookEntry
from hftray.adapters.matching_engine import MatchingEngine
from hftray.core.errors import NotFound, OrderRejected
from hftray.core.market import Instrument
from hftray.core.matching import refused
from hftray.core.orders import BrokerPosition, Order, OrderReport, OrderStatus
from hftray.ports import MarketBatch


class SimulatedExchange:
    """`ports.Broker` for simulation, replay and paper trading."""

    def __init__(
        self,
        path: Path | str,
        instruments: Mapping[str, Instrument],
        *,
        slippage_bps: float = 0.0,
        reject_rate: float = 0.0,
        partial_fill_rate: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._instruments = dict(instruments)
        self._reject_rate = reject_rate
        self._seed = seed
        self._market = MatchingEngine(
            self._instruments,
            slippage_bps=slippage_bps,
            partial_fill_rate=partial_fill_rate,
            seed=seed,
        )
        self._book = ExchangeBook(path)
        self._working = self._read_working()

    async def place(self, order: Order) -> OrderReport:
        """Take the order into the book once; it trades at the next market step of its symbol.

        With a trigger inside the present candle it trades at once. OrderRejected for a bad or
        (by chance) refused order and for one that comes after `resolve` gave it up; a refused
        reference stays refused.
        """
        with self._book.alone():
            known = self._book.find(order.reference)
            entry = self._accept(order) if known is None else known
        if known is None and isinstance(entry, BookEntry):
            self._track(entry)
        report = entry.report()
        if report.status is OrderStatus.REJECTED:
            raise OrderRejected(f"{order.reference}: {report.reason}")
        return report

    async def cancel(self, reference: str) -> OrderReport:
        """Withdraw what is not filled; a finished order is returned as it is. NotFound."""
        with self._book.alone():
            entry = self._book.find(reference)
            if isinstance(entry, BookEntry) and entry.status is OrderStatus.WORKING:
                entry = replace(entry, status=OrderStatus.CANCELLED, reason="cancelled on request")
                self._book.write([entry])
        if entry is None:
            raise NotFound(f"order {reference} is not in the book")
        self._working.pop(reference, None)
        return entry.report()

    async def amend(
        self, reference: str, *, trigger: Decimal, limit_price: Decimal | None
    ) -> OrderReport:
        """Move a stop order that rests; one that does not any more is returned as it is.

        At its new place it takes part from the next market step on. NotFound; OrderRejected for an
        order that is no stop order, and for a price that is not positive.
        """
        with self._book.alone():
            entry = self._book.find(reference)
            if isinstance(entry, BookEntry) and not entry.status.terminal:
                before, entry = entry, self._moved(entry, trigger, limit_price)
                if entry != before:
                    self._book.write([entry])
        if entry is None:
            raise NotFound(f"order {reference} is not in the book")
        if isinstance(entry, BookEntry):
            self._track(entry)
        return entry.report()

    async def report(self, reference: str) -> OrderReport | None:
        """The order as the book has it; None when it was never placed."""
        entry = self._book.find(reference)
        return None if entry is None else entry.report()

    async def resolve(self, reference: str, symbol: str) -> OrderReport:
        """The order as the book has it; one that never came is withdrawn for good: REJECTED."""
        self._book.withdraw(reference, symbol, self._market.now)
        entry = self._book.find(reference)
        assert entry is not None  # it is in the book, or withdrawn just now
        return entry.report()

    async def reports(self) -> list[OrderReport]:
        """All orders of the market's trading day, and whatever is still working.

        Before the market has shown its day, that of the newest order.
        """
        return [entry.report() for entry in self._book.present(self._market.day)]

    async def positions(self) -> list[BrokerPosition]:
        """Net shares of all executions in the book, with the price they were entered at."""
        return self._book.positions()

    async def on_market(self, batch: MarketBatch) -> list[OrderReport]:
        """Match working orders against the batch; returns the orders that changed at this time.

        The same batch again returns them again, with what another process did to the book since.
        """
        self._market.see(batch)
        news = self._follow()
        if self._working:
            with self._book.alone():
                news += self._follow()
                steps = [(entry, self._market.step(entry)) for entry in self._working.values()]
                moved = [after for before, after in steps if after != before]
                self._book.write(moved)
            for entry in moved:
                self._track(entry)
        news += filter(_by_the_market, self._book.changed_at(batch.now))
        return list({entry.order.reference: entry.report() for entry in news}.values())

    async def close(self) -> None:
        """Close the book's file."""
        self._book.close()

    def _accept(self, order: Order) -> BookEntry:
        entry = self._market.entry(order)
        if reason := self._refusal(order):
            entry = replace(entry, status=OrderStatus.REJECTED, reason=reason)
        else:
            entry = self._market.arrived(entry)
        self._book.write([entry])
        return entry

    def _refusal(self, order: Order) -> str | None:
        if order.symbol not in self._instruments:
            return f"symbol {order.symbol} is not listed"
        if order.quantity <= 0:
            return f"quantity {order.quantity} is not positive"
        if order.limit_price is not None and order.limit_price <= 0:
            return f"limit price {order.limit_price} is not positive"
        if order.stop and (order.trigger is None or order.trigger <= 0):
            return f"the trigger {order.trigger} of a stop order is not positive"
        if refused(order.reference, rate=self._reject_rate, seed=self._seed):
            return "refused by the simulated exchange (reject_rate)"
        return None

    def _moved(self, entry: BookEntry, trigger: Decimal, limit_price: Decimal | None) -> BookEntry:
        if not entry.order.stop:
            raise OrderRejected(f"{entry.order.reference} is no stop order")
        order = replace(entry.order, trigger=trigger, limit_price=limit_price)
        if not entry.rests or order == entry.order:
            return entry
        if reason := self._refusal(order):
            raise OrderRejected(f"{order.reference}: {reason}")
        now = max(entry.acted_at, self._market.now or entry.acted_at)
        return replace(entry, order=order, acted_at=now)

    def _read_working(self) -> dict[str, BookEntry]:
        # An order of a symbol that is no longer traded here stays in the book untouched.
        return {
            entry.order.reference: entry
            for entry in self._book.working()
            if entry.order.symbol in self._instruments
        }

    def _follow(self) -> list[BookEntry]:
        """Take over what another process wrote; orders that worked here and that it changed."""
        if not self._book.changed_elsewhere():
            return []
        before, self._working = self._working, self._read_working()
        present = [self._book.find(reference) for reference in before]
        return [
            entry
            for entry in present
            if isinstance(entry, BookEntry)
            and entry.report() != before[entry.order.reference].report()
        ]

    def _track(self, entry: BookEntry) -> None:
        if entry.status.terminal:
            self._working.pop(entry.order.reference, None)
        else:
            self._working[entry.order.reference] = entry


def _by_the_market(entry: BookEntry) -> bool:
    """Whether the market did something to the order: traded it, or ended its session."""
    return bool(entry.executions) or entry.status is OrderStatus.CANCELLED
