"""Everything one loopback holds, and the lock that keeps its threads apart."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hftray.testing.groww.account import Account
from hftray.testing.groww.behaviour import Behaviour
from hftray.testing.groww.faults import Fault, FaultKind, Faults
from hftray.testing.groww.limits import RateLimits
from hftray.testing.groww.market import Market
from hftray.testing.groww.order_form import NewOrder
from hftray.testing.groww.order_rows import order_row, trade_row
from hftray.testing.groww.orders import OrderBook
from hftray.testing.groww.session import Keys, Sessions
from hftray.testing.groww.wire import stamp
from hftray.testing.groww.wire_order import WireOrder


@dataclass(slots=True)
class JournalEntry:
    """One request that arrived. `outcome` is "answered", "dropped" or the fault that struck."""

    number: int
    method: str
    path: str
    query: str
    body: Any
    market_time: datetime
    status: int | None = None
    outcome: str = ""

    def row(self) -> dict[str, Any]:
        """The entry as JSON values."""
        return {
            "number": self.number,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "body": self.body,
            "market_time": stamp(self.market_time),
            "status": self.status,
            "outcome": self.outcome,
        }


@dataclass(slots=True)
class World:
    """The parts of a loopback. Hold `lock` around anything that reads or changes the book.

    `controls` are further calls below /_test by method and path, as those in `control`.
    """

    market: Market
    behaviour: Behaviour
    faults: Faults
    sessions: Sessions
    limits: RateLimits
    book: OrderBook
    account: Account
    journal: list[JournalEntry] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    controls: dict[tuple[str, str], Callable[..., Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        market: Market,
        *,
        keys: Keys | None = None,
        capital: Decimal | float = 1_000_000,
        behaviour: Behaviour | None = None,
        limits: RateLimits | None = None,
    ) -> "World":
        """A new account on a market, without orders."""
        behaviour = behaviour or Behaviour()
        faults = Faults(market.clock.now)
        book = OrderBook(market, behaviour, faults)
        world = cls(
            market=market,
            behaviour=behaviour,
            faults=faults,
            sessions=Sessions(keys or Keys(), market.clock.now, faults.skew),
            limits=limits or RateLimits(),
            book=book,
            account=Account(market, book, Decimal(str(capital))),
        )
        faults.on_add(world._begin)
        market.clock.on_jump(world.settle)
        return world

    def settle(self) -> datetime:
        """Match the orders up to the market's now, and give that moment."""
        with self.lock:
            return self.book.settle()

    def place(self, order: NewOrder) -> WireOrder:
        """Take an order of the account, within its margin. GA004, GA006, GA007."""
        with self.lock:
            return self.book.place(order, affordable=self.account.refusal)

    def place_foreign(self, order: NewOrder) -> WireOrder:
        """Take an order that came from elsewhere, such as the account's owner by hand."""
        with self.lock:
            return self.book.place(order, foreign=True)

    def on_order_update(self, callback: Callable[[WireOrder], None]) -> None:
        """Hear of every change of an order, in the thread that caused it; do not block in it."""
        self.book.on_update(callback)

    def book_rows(self) -> list[dict[str, Any]]:
        """The whole book for audits, oldest first: the truth, whatever faults hide from a client.

        An order's row as the detail call has it, and `foreign`, `trades`.
        """
        with self.lock:
            now = self.settle()
            late = now + timedelta(days=3650)  # every trade shows
            return [
                {
                    **order_row(entry, late, "OPEN"),
                    "foreign": entry.foreign,
                    "trades": [trade_row(entry, own, self.market) for own in entry.seen(late)],
                }
                for entry in self.book
            ]

    def _begin(self, fault: Fault) -> None:
        """What a fault does at the moment it is switched on."""
        now = self.market.clock.now()
        if fault.market_seconds is not None:
            fault.market_until = now + timedelta(seconds=fault.market_seconds)
        if fault.kind is FaultKind.PRICE_JUMP:
            ends = None if fault.seconds is None else now + timedelta(seconds=fault.seconds)
            with self.lock:
                self.settle()
                self.market.jump(fault.symbol or "", fault.percent, until=ends)
            fault.struck += 1
            self.faults.count(fault.kind)
        elif fault.kind in (FaultKind.NETWORK_AWAY, FaultKind.TIME_SKEW):
            fault.struck += 1
            self.faults.count(fault.kind)
