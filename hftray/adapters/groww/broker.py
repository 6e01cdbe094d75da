"""Groww as `ports.Broker`: real orders, intraday (MIS) in the cash segment, valid for the day.

Nothing is kept in memory alone: a new process reads the day's list once, and finds an order by its
reference when asked. A reference is sent once. Was the answer lost, the order is looked up, and so
it is when Groww calls the reference a duplicate (GA007); it is never sent again.

**When an order left no trace.** A request whose answer was lost may still be under way: in a
proxy, or in a queue at Groww that the look-up does not see. `resolve` therefore gives an order up
only when look-ups by its reference were answered without a trace over `lookup_patience` seconds
after our sending ended, and the day's list does not have it either. (With the connection closed
nothing of it is on our side any more, and a dead process's connections died with it. Time in which
look-ups fail does not count: a Groww that is away may also be one that is late.) Groww documents no
bound for how late a request may be taken, so the patience is far above the timeout of a request.
Should an order show up after that, it is withdrawn on sight, and the reconciliation locks its
symbol: the ledger calls the order FAILED while the broker has it.

**What an answer decides.** 403 (AccessDenied) is told as BrokerUnavailable: nothing was taken, and
an engine that stopped for it would guard no position. Fills that cannot be right are not booked:
their order is reported as working, with the reason, and whoever asks about it is told DataError, so
its symbol neither opens nor closes anything. If that lasts after the order's end, or its trades
cannot be read, the order's row is believed (`tracked.BOOK_PATIENCE`), for nobody guards what is not
booked, and the report is `unconfirmed`. An exit of shares that the account does not hold is refused
(`holdings`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from weakref import WeakValueDictionary

from hftray import observe
from hftray.adapters.groww.connection import GrowwConnection
from hftray.adapters.groww.governor import Urgency
from hftray.adapters.groww.holdings import Holdings
from hftray.adapters.groww.listed import Listed
from hftray.adapters.groww.missing import Missing
from hftray.adapters.groww.options import GrowwOptions
from hftray.adapters.groww.order_calls import OrderCalls
from hftray.adapters.groww.order_changer import OrderChanger
from hftray.adapters.groww.order_reader import OrderReader
from hftray.adapters.groww.order_sender import OrderSender
from hftray.adapters.groww.parts import leg_of
from hftray.adapters.groww.quotes import Pricer, Quotes
from hftray.adapters.groww.reports import foreign_report
from hftray.adapters.groww.tracked import TrackedOrder
from hftray.core.errors import (
    BrokerUnavailable,
    NotFound,
    OrderRejected,
    RetryError,
    UnknownOutcome,
)
from hftray.core.market import Instrument
from hftray.core.orders import BrokerPosition, Leg, Order, OrderReport
from hftray.ports import MarketBatch

log = observe.logger("groww.broker")


class GrowwBroker:
    """`ports.Broker` for live trading.

    `instruments` are the shares we trade by our symbol, `freeze_quantities` the largest quantity of
    one order where the exchange sets one. `clock` counts seconds for the patiences.
    """

    def __init__(
        self,
        connection: GrowwConnection,
        instruments: Mapping[str, Instrument],
        options: GrowwOptions,
        clock: Callable[[], float] = time.monotonic,
        *,
        freeze_quantities: Mapping[str, int] | None = None,
    ) -> None:
        self._calls = OrderCalls(connection)
        self._listed = Listed(instruments)
        self._clock = clock
        freeze = dict(freeze_quantities or {})
        self._quotes = Quotes(self._calls, self._listed, clock)
        self._reader = OrderReader(
            self._calls, self._listed, freeze, options.lookup_patience, clock
        )
        self._missing = Missing(options.lookup_patience, clock)
        pricer = Pricer(self._quotes, self._listed, options)
        self._sender = OrderSender(
            self._calls, self._reader, self._missing, pricer, self._listed, freeze
        )
        self._changer = OrderChanger(self._calls, self._reader, pricer, clock)
        self._holdings = Holdings(self._calls, self._listed)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._batch: MarketBatch | None = None
        self._news: dict[str, OrderReport] = {}

    async def place(self, order: Order) -> OrderReport:
        """Send the order once, in parts where the exchange wants that. The errors of the port."""
        self._sender.require_sound(order)
        # A guard that comes a moment later guards as well; an exit must not wait for it.
        urgency = Urgency.ENTRY if order.stop else _urgency(order.leg)
        async with self._turn(order.reference):
            known = await self._known(order, urgency)
            if known is None:
                if order.leg is Leg.EXIT and not order.stop:
                    await self._holdings.require(order)
                sent = await self._sender.send(order, urgency)
                await self._reader.read_trades(sent, urgency)  # where it has ended already
                return self._tell(sent)
            await self._reader.refresh(known, urgency)
            return self._tell(known)

    async def cancel(self, reference: str) -> OrderReport:
        """Withdraw what is not filled; a finished order is returned as it is.

        UnknownOutcome while Groww has not confirmed it: it may still fill. NotFound.
        """
        urgency = _urgency(leg_of(reference))
        async with self._turn(reference):
            order = await self._located(reference, urgency)
            if isinstance(order, OrderReport):
                return order
            await self._changer.withdraw(order, urgency)
            return self._tell(order)

    async def amend(
        self, reference: str, *, trigger: Decimal, limit_price: Decimal | None
    ) -> OrderReport:
        """Move a resting stop order; one that does not rest any more is returned as it is.

        The errors of the port.
        """
        async with self._turn(reference):
            order = await self._located(reference, Urgency.ENTRY)
            if isinstance(order, OrderReport):
                return order
            await self._changer.move(order, trigger, limit_price)
            return self._tell(order)

    async def report(self, reference: str) -> OrderReport | None:
        """Look an order up; None without a trace. DataError for fills that cannot be right."""
        urgency = _urgency(leg_of(reference), Urgency.LOOK_UP)
        order = await self._reader.locate(reference, urgency)
        if order is None:
            return self._missing.gone.get(reference)
        await self._reader.refresh(order, urgency)
        return order.booked(self._clock())

    async def resolve(self, reference: str, symbol: str) -> OrderReport | None:
        """What became of an order of unknown outcome (see the module); None: not known yet."""
        if reference in self._sender.sending:
            return None
        urgency = _urgency(leg_of(reference), Urgency.LOOK_UP)
        order = await self._reader.locate(reference, urgency)
        if order is None and reference in self._missing.gone:
            return self._missing.gone[reference]
        if order is None:
            if not self._missing.no_trace(reference):
                return None
            await self._reader.walk(urgency)  # the list has the last word
            order = self._reader.orders.get(reference)
            if order is None or not order.parts:
                return self._give_up(reference, symbol)
        self._missing.found(reference)
        await self._reader.refresh(order, urgency)
        order.booked(self._clock())
        return None if order.unsure is not None else self._tell(order)

    async def reports(self) -> list[OrderReport]:
        """Today's orders, ours and those placed by hand, and what was given up."""
        faults = await self._reader.walk(Urgency.LOOK_UP)
        if faults:
            raise faults[0]
        await self._withdraw_late()
        now = self._clock()
        told = [o.report(now) for o in self._reader.orders.values() if o.parts]
        told += [
            foreign_report(self._listed.ours(row.exchange, row.trading_symbol), row)
            for row in self._reader.foreign.values()
        ]
        found = {report.reference for report in told}
        told += [report for name, report in self._missing.gone.items() if name not in found]
        return sorted(told, key=lambda report: (report.broker_order_id, report.reference))

    async def positions(self) -> list[BrokerPosition]:
        """Net intraday shares of the day (see `holdings`)."""
        return await self._holdings.net()

    async def on_market(self, batch: MarketBatch) -> list[OrderReport]:
        """Orders that changed since the last batch; the same batch again tells them again.

        A new process tells every order of today that ended or traded. RetryError when there are no
        news and something could not be read or booked.
        """
        self._quotes.remember(batch)
        if batch != self._batch:
            self._batch, self._news = batch, {}
        await self._reader.load(Urgency.LOOK_UP)
        doubts: list[str] = [str(fault) for fault in await self._reader.poll()]
        await self._withdraw_late()
        for order in self._reader.orders.values():
            if not order.parts:
                continue
            report = order.report(self._clock())
            if order.tells(report):
                order.told = self._news[order.reference] = report
            doubts += order.doubts(self._clock())
        if doubts and not self._news:
            raise RetryError("; ".join(doubts))
        return list(self._news.values())

    async def close(self) -> None:
        """Release the connection."""
        await self._calls.close()

    # Knowing

    async def _known(self, order: Order, urgency: Urgency) -> TrackedOrder | None:
        """The order if it is at Groww; UnknownOutcome if in doubt.

        OrderRejected if it was given up, or if its name is that of another order.
        """
        try:
            await self._reader.load(urgency)
        except RetryError as error:
            if order.leg is not Leg.EXIT:
                raise BrokerUnavailable(f"{order.reference} was not sent: {error}") from error
            log.warning("exit sent without the day's list", reason=str(error))
        known = self._reader.orders.get(order.reference)
        if known is None and order.reference in self._missing.gone:
            raise OrderRejected(f"{order.reference}: {self._missing.gone[order.reference].reason}")
        if known is not None and not known.parts:
            known = await self._reader.locate(order.reference, urgency)
            if known is None:
                raise UnknownOutcome(f"{order.reference} was sent before, its outcome is unknown")
        if known is not None:
            self._sender.require_same(order, known)
        return known

    async def _withdraw_late(self) -> None:
        """Withdraw orders that showed up after they were given up."""
        for reference in self._missing.gone.keys() & self._reader.orders.keys():
            order = self._reader.orders[reference]
            if not order.open_parts():
                continue
            log.error("given up, but at the exchange: withdrawn", reference=reference)
            try:
                await self._changer.ask_to_withdraw(order, Urgency.EXIT)
            except RetryError as error:
                log.error("not withdrawn yet", reference=reference, reason=str(error))

    async def _located(self, reference: str, urgency: Urgency) -> TrackedOrder | OrderReport:
        """The order at Groww, or the report of one that was given up. NotFound."""
        order = await self._reader.locate(reference, urgency) or self._missing.gone.get(reference)
        if order is None:
            raise NotFound(f"order {reference} is not known to Groww")
        return order

    def _give_up(self, reference: str, symbol: str) -> OrderReport | None:
        if reference in self._sender.sending:
            return None
        order = self._reader.orders.pop(reference, None)
        asked = order.asked if order else None
        return self._missing.give_up(reference, symbol, asked or 0)

    def _tell(self, order: TrackedOrder) -> OrderReport:
        """The order's report for whoever asked, who need not hear it again as news."""
        order.told = order.booked(self._clock())
        return order.told

    def _turn(self, reference: str) -> asyncio.Lock:
        return self._turns.setdefault(reference, asyncio.Lock())


def _urgency(leg: Leg | None, otherwise: Urgency = Urgency.ENTRY) -> Urgency:
    return Urgency.EXIT if leg is Leg.EXIT else otherwise
