"""What risk counts within one trading day: capital at the open, trades, names given, orders done.

A trade counts from the approval of its entry order and is given back when that order ends
without a single share.
"""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, Self

from hftray.core.errors import IllegalTransition, NotFound
from hftray.core.fill_confirmation import confirmations
from hftray.core.ledger import TradeRecord
from hftray.core.orders import Leg, TradeStatus

_COUNTERS = ("entries", "sequences", "settled")


class RiskDay:
    """The open day, or none yet (`day` is None).

    `entries` are approved entries by symbol, `sequences` the last one used by symbol and leg,
    `settled` the finished rows by reference.
    """

    def __init__(self, opening: Decimal) -> None:
        self.day: date | None = None
        self.opening = opening
        self.entries: dict[str, int] = {}
        self.sequences: dict[tuple[str, Leg], int] = {}
        self.settled: dict[str, TradeRecord] = {}

    @property
    def trades(self) -> int:
        """Entries approved in all symbols."""
        return sum(self.entries.values())

    def open(self, day: date, capital: Decimal) -> bool:
        """Begin a later day; False when it is open already. IllegalTransition for an earlier."""
        if self.day is not None and day < self.day:
            raise IllegalTransition(f"session day {day} lies before {self.day}")
        if day == self.day:
            return False
        self.day, self.opening = day, capital
        self.entries, self.sequences, self.settled = {}, {}, {}
        return True

    def take_sequence(self, symbol: str, leg: Leg) -> int:
        """The number of a new order; never given twice on one day."""
        self.sequences[symbol, leg] = self.sequences.get((symbol, leg), 0) + 1
        return self.sequences[symbol, leg]

    def count(self, trade: TradeRecord) -> None:
        """An entry was approved; other legs do not count."""
        if trade.leg is Leg.ENTRY and trade.session_day == self.day:
            self.entries[trade.symbol] = self.entries.get(trade.symbol, 0) + 1

    def give_back(self, trade: TradeRecord) -> None:
        """An entry came to nothing; one of an earlier day was not counted on this one."""
        if trade.leg is Leg.ENTRY and trade.session_day == self.day:
            left = self.entries.pop(trade.symbol) - 1
            if left:
                self.entries[trade.symbol] = left

    def ended(self, reference: str) -> tuple[TradeRecord, list[TradeRecord]]:
        """An order of the day that has ended, and its confirmations so far. NotFound."""
        row = self.settled.get(reference)
        if row is None or row.session_day != self.day:
            raise NotFound(f"no order {reference} has ended in the present trading day")
        return row, confirmations(self.settled.values()).get(reference, [])

    def recover(self, day: date | None, opening: Decimal, rows: Iterable[TradeRecord]) -> None:
        """Count again from the ledger; rows of other days are passed over."""
        self.day, self.opening = day, opening
        self.entries, self.sequences, self.settled = {}, {}, {}
        for row in rows:
            if row.session_day != day:
                continue
            key = row.symbol, row.leg
            self.sequences[key] = max(self.sequences.get(key, 0), row.sequence)
            if row.status is not TradeStatus.FAILED:
                self.count(row)
            if row.status is not TradeStatus.PENDING:
                self.settled[row.reference] = row

    def snapshot(self) -> dict[str, Any]:
        """State as picklable values."""
        counters = {name: dict(getattr(self, name)) for name in _COUNTERS}
        return {"day": self.day, "opening": self.opening, **counters}

    def restore(self, state: dict[str, Any]) -> Self:
        """Continue from a snapshot."""
        self.day, self.opening = state["day"], state["opening"]
        for name in _COUNTERS:
            setattr(self, name, dict(state[name]))
        return self
