"""Histories a run can have, and a ledger that can be switched off, for tests of the record."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from hftray.core.errors import LedgerUnavailable, NotFound
from hftray.core.events import Decision, Signal
from hftray.core.ledger import (
    EquityMarked,
    LedgerEvent,
    LedgerHealth,
    OrderIntended,
    OrderSettled,
    PositionMarked,
    RiskStateChanged,
    ScanningSet,
    SessionStarted,
    SignalRecorded,
    TradeRecord,
)
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.core.position import Position
from hftray.core.session import IST

FIRST_DAY = date(2026, 11, 23)
SYMBOLS = ("INFY", "SBIN", "TCS")


class Switch:
    """A ledger's stand-in: `on = False` and it is away; `lose_answers` writes and says nothing.

    Events whose id begins with one of `refused` are never taken.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.on = True
        self.lose_answers = 0
        self.refused: tuple[str, ...] = ()
        self.appends: list[list[LedgerEvent]] = []

    def __getattr__(self, method: str) -> Any:
        async def call(*arguments: Any) -> Any:
            await asyncio.sleep(0)
            if not self.on:
                raise LedgerUnavailable(f"{method}: switched off")
            return await getattr(self.inner, method)(*arguments)

        return call

    async def append(
        self, events: Sequence[LedgerEvent], term: int | None = None, *, owner: str = ""
    ) -> LedgerHealth:
        await asyncio.sleep(0)
        if not self.on:
            raise LedgerUnavailable("append: switched off")
        if any(event.event_id.startswith(self.refused) for event in events):
            raise NotFound("its user does not exist")
        health: LedgerHealth = await self.inner.append(events, term, owner=owner)
        self.appends.append(list(events))
        if self.lose_answers:
            self.lose_answers -= 1
            raise LedgerUnavailable("append: the answer is lost")
        return health


@dataclass
class History:
    """Turns any numbers into events that a run may legally have, one after the other.

    Some are told twice, but for the end of an order of an earlier day: nobody tells that again.
    `odd_atr`: now and then NaN, which is written and read back, and equals nothing.
    """

    run_id: int
    odd_atr: bool = True
    user_id: str = "default"
    day: date | None = None
    minute: int = 0
    orders: int = 0
    risk_changes: int = 0
    pending: dict[str, TradeRecord] = field(default_factory=dict)  # by symbol
    held: dict[str, Position] = field(default_factory=dict)
    today: list[LedgerEvent] = field(default_factory=list)

    def step(self, number: int) -> list[LedgerEvent]:
        """The next events; the number chooses which."""
        if self.day is None:
            return self._record(self._next_day())
        choice, detail = number % 10, number // 10
        symbol = SYMBOLS[detail % len(SYMBOLS)]
        self.minute += 1
        if choice < 5:
            return self._record(*self._trade(symbol, detail))
        if choice == 5:
            return self._record(*self._mark(symbol, detail))
        if choice == 6:
            return self._record(*(self._signal(name) for name in SYMBOLS), self._equity())
        if choice == 7:
            return [self._risk(detail)] if detail % 2 else [self._scanning(detail)]
        if choice == 8 and detail % 4 == 0:
            return self._record(self._next_day())
        return [self.today[detail % len(self.today)]]  # once more what was said before

    def play(self, numbers: Sequence[int]) -> list[list[LedgerEvent]]:
        """The batches of a whole history."""
        return [self.step(number) for number in numbers]

    def _record(self, *events: LedgerEvent) -> list[LedgerEvent]:
        self.today.extend(event for event in events if not self._of_earlier_day(event))
        return list(events)

    def _of_earlier_day(self, event: LedgerEvent) -> bool:
        return isinstance(event, OrderSettled) and event.trade.session_day != self.day

    @property
    def now(self) -> datetime:
        day = self.day or FIRST_DAY
        return datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST) + timedelta(
            minutes=self.minute
        )

    def _next_day(self) -> SessionStarted:
        self.day = FIRST_DAY if self.day is None else self.day + timedelta(days=1)
        self.minute, self.today = 0, []
        return SessionStarted(self.run_id, self.day, Decimal("100000.00"), self.now)

    def _trade(self, symbol: str, detail: int) -> list[LedgerEvent]:
        if symbol in self.pending:
            return [self._settled(symbol, detail)]
        assert self.day is not None
        held = self.held.get(symbol)
        self.orders += 1
        side = Side.BUY if detail % 2 else Side.SELL
        trade = TradeRecord(
            reference=f"{self.day:%Y%m%d}{self.orders:06}",
            run_id=self.run_id,
            user_id=self.user_id,
            symbol=symbol,
            exchange="NSE",
            side=side if held is None else held.side.opposite,
            leg=Leg.ENTRY if held is None else Leg.EXIT,
            requested_quantity=10 if held is None else held.quantity,
            reason="vote 0.57",
            timestamp=self.now,
            session_day=self.day,
            reserved=Decimal("1000.50"),
            decision_price=Decimal("100.05"),
            candle_time=self.now,
            position=None if held is None else held.reference,
            atr=float("nan") if self.odd_atr and detail % 7 == 0 else 1.25,
            votes={"rsi": 1, "macd": -1},
            sequence=self.orders,
        )
        self.pending[symbol] = trade
        return [OrderIntended(trade)]

    def _settled(self, symbol: str, detail: int) -> OrderSettled:
        trade, held = self.pending.pop(symbol), self.held.get(symbol)
        if detail % 4 == 0:
            failed = replace(trade, status=TradeStatus.FAILED, reserved=Decimal(0))
            return OrderSettled(failed, position=held)
        filled = max(1, trade.requested_quantity // 2) if detail % 3 == 0 else None
        quantity = filled or trade.requested_quantity
        done = replace(
            trade,
            status=TradeStatus.EXECUTED,
            quantity=quantity,
            price=Decimal("100.10"),
            timestamp=self.now,
            charges=Decimal("11.43"),
        )
        if held is None:
            self.held[symbol] = _opened(done)
            return OrderSettled(done, position=self.held[symbol])
        closed = replace(held, quantity=quantity)
        left = held.quantity - quantity
        after = replace(held, quantity=left) if left else None
        self.held.pop(symbol)
        if after is not None:
            self.held[symbol] = after
        pnl = Decimal(detail % 2_000 - 1_000) / 100
        return OrderSettled(replace(done, pnl=pnl, gross_pnl=pnl), position=after, closed=closed)

    def _mark(self, symbol: str, detail: int) -> list[LedgerEvent]:
        held = self.held.get(symbol)
        if held is None:
            return []
        price = 100 + (detail % 200 - 100) / 10
        self.held[symbol] = held.improved_by(price)
        return [PositionMarked(self.run_id, held.reference, price, self.now)]

    def _signal(self, symbol: str) -> SignalRecorded:
        late = self.now + timedelta(minutes=5)
        voted = Signal(
            symbol, Decision.BUY, 0.57, {"rsi": 1}, 100.05, self.now, late, True, "entered"
        )
        return SignalRecorded(self.run_id, voted)

    def _equity(self) -> EquityMarked:
        money = Decimal("100000.00")
        assert self.day is not None
        return EquityMarked(
            self.run_id, self.now, self.day, money, money, Decimal(0), Decimal(0), len(self.held)
        )

    def _risk(self, detail: int) -> RiskStateChanged:
        state = ("ACTIVE", "REDUCING", "HALTED")[detail % 3]
        self.risk_changes += 1
        return RiskStateChanged(
            self.run_id, state, f"why {detail}", "anita", self.now, self.risk_changes
        )

    def _scanning(self, detail: int) -> ScanningSet:
        return ScanningSet(self.run_id, detail % 4 == 0, self.now)


def _opened(trade: TradeRecord) -> Position:
    return Position(
        reference=trade.reference,
        symbol=trade.symbol,
        side=trade.side,
        quantity=trade.quantity,
        entry_price=trade.price or Decimal(0),
        entry_time=trade.timestamp,
        session_day=trade.session_day,
        stop_loss=Decimal("97.60"),
        take_profit=Decimal("105.10"),
        best_price=100.1,
        atr=trade.atr,
        votes=trade.votes,
    )
