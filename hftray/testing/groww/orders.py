"""The order book of the loopback: orders by their Groww id, matched as market time passes.

Everything is decided by market time, so the same calls at the same market moments give the same
book. Not safe for several threads by itself: the world's lock (see `world`) is around every call.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal

from hftray.core.errors import NotFound
from hftray.core.matching import first_part
from hftray.core.orders import Execution, Side
from hftray.core.session import IST
from hftray.testing.groww.behaviour import Behaviour
from hftray.testing.groww.exchange_rules import ExchangeRules, Phase, phase
from hftray.testing.groww.faults import FaultKind, Faults
from hftray.testing.groww.market import Market
from hftray.testing.groww.market_events import MarketEvent, market_events, square_offs
from hftray.testing.groww.matching import meet
from hftray.testing.groww.order_form import Change, NewOrder, Terms
from hftray.testing.groww.price_path import PriceState
from hftray.testing.groww.shares import Share
from hftray.testing.groww.wire import GrowwFailure
from hftray.testing.groww.wire_order import Fill, WireOrder


class OrderBook:
    """All orders since the start. `on_update` callbacks hear of every change, as it happens."""

    def __init__(self, market: Market, behaviour: Behaviour, faults: Faults) -> None:
        self._market = market
        self._behaviour = behaviour
        self._faults = faults
        self._rules = ExchangeRules(market, behaviour)
        self._orders: dict[str, WireOrder] = {}
        self._live: dict[str, WireOrder] = {}  # working ones, in the order they came
        self._by_reference: dict[str, WireOrder] = {}
        self._callbacks: list[Callable[[WireOrder], None]] = []
        self._settled_at = market.clock.now()
        self._trades = 0

    def __iter__(self) -> Iterator[WireOrder]:
        return iter(list(self._orders.values()))

    def on_update(self, callback: Callable[[WireOrder], None]) -> None:
        """Hear of every change of an order, in the thread that caused it; do not block in it."""
        self._callbacks.append(callback)

    def place(
        self,
        order: NewOrder,
        *,
        foreign: bool = False,
        affordable: Callable[[NewOrder], str | None] | None = None,
    ) -> WireOrder:
        """Take an order, or refuse it in the way `Behaviour.refusals` says.

        `affordable` gives the broker's reason against it. GA004 for a share that is not listed,
        GA007 for a reference that was used before, GA006 for refusals told at once.
        """
        now = self.settle()
        if order.reference in self._by_reference:
            raise GrowwFailure("GA007")
        try:
            reason = self._rules.refusal(order, order.terms, now)
        except NotFound as error:
            raise GrowwFailure("GA004", str(error)) from error
        if reason is None and affordable is not None:
            reason = affordable(order)
        if reason is not None and self._behaviour.refusals == "error":
            raise GrowwFailure("GA006", reason)
        status = "TRIGGER_PENDING" if order.terms.is_stop else "ACKED"
        entry = self._enter(
            order, "REJECTED" if reason else status, now, remark=reason or "", foreign=foreign
        )
        self._meet_on_arrival(entry, now)
        return entry

    def modify(self, change: Change) -> WireOrder:
        """Change a working order's terms. GA004, GA006."""
        now = self.settle()
        entry = self._working(change.groww_order_id)
        if change.terms.quantity <= entry.filled:
            raise GrowwFailure("GA006", f"{entry.filled} shares have already traded")
        if change.terms.is_stop and entry.triggered and entry.terms.is_stop:
            raise GrowwFailure("GA006", "the order was already triggered")
        reason = self._rules.refusal(entry.order, change.terms, now)
        if reason is not None:
            raise GrowwFailure("GA006", reason)
        entry.terms = change.terms
        entry.triggered = False
        entry.acted_at = now
        entry.status = "TRIGGER_PENDING" if change.terms.is_stop else "OPEN"
        self._tell(entry)
        self._meet_on_arrival(entry, now)
        return entry

    def cancel(self, groww_order_id: str) -> WireOrder:
        """Withdraw what has not traded, after the delay that is set. GA004, GA006."""
        now = self.settle()
        entry = self._working(groww_order_id)
        entry.cancel_at = now + timedelta(seconds=self._behaviour.cancel_seconds)
        if entry.cancel_at <= now:
            self._end(entry, "CANCELLED", "cancelled on request", now)
        return entry

    def find(self, groww_order_id: str) -> WireOrder:
        """An order by its Groww id. GA004."""
        self.settle()
        try:
            return self._orders[groww_order_id]
        except KeyError:
            raise GrowwFailure("GA004", f"no order {groww_order_id}") from None

    def find_reference(self, reference: str) -> WireOrder:
        """An order by its reference. GA004."""
        self.settle()
        try:
            return self._by_reference[reference]
        except KeyError:
            raise GrowwFailure("GA004", f"no order with reference {reference}") from None

    def of_day(self, day: date) -> list[WireOrder]:
        """The orders created on a day, newest first."""
        self.settle()
        return list(self._today(day))

    def executions(self, day: date) -> Iterator[tuple[WireOrder, Execution]]:
        """Every trade of a day with its order, also those that do not show yet."""
        for entry in self._orders.values():
            for fill in entry.fills:
                if fill.execution.time.date() == day:
                    yield entry, fill.execution

    def settle(self) -> datetime:
        """Let the market pass up to the clock's now, and give that moment."""
        now = self._market.clock.now()
        while self._settled_at < now:
            after = self._settled_at
            before_close = self._behaviour.square_off
            squared = square_offs(self._market, self._today(after.date()), before_close, after)
            until = min([now, _midnight_after(after), *squared])
            for event in market_events(self._market, self._live.values(), after, until):
                self._pass(event)
            self._settled_at = until
            for share in squared.get(until, ()):
                self._square_off(share, until)
        return now

    def net_mis(self, share: Share, day: date) -> int:
        """Shares of the MIS position that a day's trades have made."""
        return sum(
            entry.order.side.sign * execution.quantity
            for entry, execution in self.executions(day)
            if entry.order.product == "MIS" and self._share(entry) == share
        )

    def _square_off(self, share: Share, now: datetime) -> None:
        """The broker ends a share's MIS orders and closes what is left of its MIS position."""
        for entry in list(self._live.values()):
            if entry.order.product == "MIS" and self._share(entry) == share:
                self._end(entry, "CANCELLED", "squared off by the broker", now)
        net = self.net_mis(share, now.date())
        tick = self._market.state(share, now)
        if not net or tick is None:
            return
        side = Side.SELL if net > 0 else Side.BUY
        terms = Terms("MARKET", abs(net), None, None)
        reference = f"SQ{now:%Y%m%d}{len(self._orders):08d}"
        order = NewOrder(share.symbol, share.exchange, "MIS", side, reference, terms)
        entry = self._enter(order, "ACKED", now, foreign=True)
        self._meet(entry, tick, tick, now)

    def _today(self, day: date) -> Iterator[WireOrder]:
        for entry in reversed(self._orders.values()):
            if entry.created_at.date() != day:
                return
            yield entry

    def _pass(self, event: MarketEvent) -> None:
        time, share = event.time, event.share
        for entry in list(self._live.values()):
            if self._share(entry) != share:
                continue
            if entry.cancel_at is not None and entry.cancel_at <= time:
                self._end(entry, "CANCELLED", "cancelled on request", entry.cancel_at)
            elif event.tick is not None:
                self._meet(entry, event.before, event.tick, time)
            elif phase(self._market, share, time) is Phase.CLOSED:
                self._end(entry, "CANCELLED", "the day is over", time)
            elif phase(self._market, share, time) is Phase.CONTINUOUS:
                continue
            elif entry.terms.is_stop and not entry.triggered:
                self._end(entry, "CANCELLED", "stop orders do not enter the auction", time)

    def _enter(
        self, order: NewOrder, status: str, now: datetime, *, foreign: bool, remark: str = ""
    ) -> WireOrder:
        entry = WireOrder(
            groww_order_id=f"GLB{now:%y%m%d}{len(self._orders) + 1:09d}",
            order=order,
            terms=order.terms,
            status=status,
            created_at=now,
            acted_at=now,
            remark=remark,
            foreign=foreign,
        )
        self._orders[entry.groww_order_id] = entry
        self._by_reference[order.reference] = entry
        if entry.working:
            self._live[entry.groww_order_id] = entry
        self._tell(entry)
        return entry

    def _meet_on_arrival(self, entry: WireOrder, now: datetime) -> None:
        share = self._share(entry)
        tick = self._market.state(share, now)
        if (
            self._behaviour.fill == "arrival"
            and entry.working
            and tick is not None
            and phase(self._market, share, now) is Phase.CONTINUOUS
            and tick.time.date() == now.date()
        ):
            self._meet(entry, tick, tick, now)

    def _meet(
        self, entry: WireOrder, before: PriceState | None, tick: PriceState, time: datetime
    ) -> None:
        meeting = meet(
            entry.order,
            entry.terms,
            triggered=entry.triggered,
            before=before,
            tick=tick,
            share=self._share(entry),
            slippage_bps=self._behaviour.slippage_bps,
        )
        was = (entry.status, entry.triggered)
        if entry.terms.is_stop:
            entry.triggered = meeting.triggered
        if not entry.terms.is_stop or entry.triggered:
            entry.status = "OPEN"
        if meeting.price is not None:
            self._fill(entry, meeting.price, time)
        elif (entry.status, entry.triggered) != was:
            self._tell(entry)

    def _fill(self, entry: WireOrder, price: Decimal, time: datetime) -> None:
        left = entry.terms.quantity - entry.filled
        shares = left if entry.fills else self._first_part(entry, left)
        late = self._faults.strike(FaultKind.LATE_FILLS, entry.order.symbol)
        visible_at = time + timedelta(seconds=late.seconds or 0.0) if late else time
        self._trades += 1
        execution = Execution(f"{time:%Y%m%d}{self._trades:08d}", shares, price, time)
        entry.fills.append(Fill(execution, visible_at))
        entry.acted_at = time
        if entry.filled == entry.terms.quantity:
            entry.status = "EXECUTED"
            self._live.pop(entry.groww_order_id, None)
        self._tell(entry)

    def _first_part(self, entry: WireOrder, left: int) -> int:
        if left > 1 and self._faults.strike(FaultKind.PARTIAL_FILLS, entry.order.symbol):
            return left // 2
        rate, seed = self._behaviour.partial_fill_rate, self._behaviour.seed
        return first_part(entry.order.reference, left, rate=rate, seed=seed)

    def _end(self, entry: WireOrder, status: str, remark: str, time: datetime) -> None:
        entry.status, entry.remark, entry.acted_at = status, remark, time
        self._live.pop(entry.groww_order_id, None)
        self._tell(entry)

    def _working(self, groww_order_id: str) -> WireOrder:
        entry = self.find(groww_order_id)
        if not entry.working or entry.cancel_at is not None:
            raise GrowwFailure("GA006", f"order {groww_order_id} is {entry.status}")
        return entry

    def _share(self, entry: WireOrder) -> Share:
        return self._market.share(entry.order.exchange, entry.order.symbol)

    def _tell(self, entry: WireOrder) -> None:
        for callback in self._callbacks:
            callback(entry)


def _midnight_after(moment: datetime) -> datetime:
    day = moment.astimezone(IST).date() + timedelta(days=1)
    return datetime.combine(day, datetime.min.time(), IST)
