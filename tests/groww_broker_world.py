"""A GrowwBroker on the loopback Groww, whose prices, clock and faults a test drives.

One share, TCS at 100 rupees, and its twin on BSE. `trade(price)` lets it trade once at a price and
shows the broker that market step; `reopen()` is the broker of a new process.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from hftray.adapters.groww.broker import GrowwBroker
from hftray.adapters.groww.connection import Credentials, GrowwConnection
from hftray.adapters.groww.governor import Governor
from hftray.adapters.groww.options import GrowwOptions
from hftray.core.market import Candle, Instrument, Tick
from hftray.core.orders import Leg, Order, OrderReport, Side
from hftray.core.session import IST, SessionRules, trading_session
from hftray.ports import MarketBatch
from hftray.testing.groww import Behaviour, Keys, LoopbackGroww, Market, SteppedClock
from hftray.testing.groww.order_form import read_new_order

OPEN = datetime(2026, 11, 20, 9, 15, tzinfo=IST)
TODAY = trading_session(OPEN.date(), OPEN, OPEN + timedelta(hours=6), SessionRules())
TICK_SIZE = Decimal("0.10")
INSTRUMENTS = {
    "TCS": Instrument("TCS", tick_size=TICK_SIZE),
    "BSE:TCS": Instrument("BSE:TCS", "BSE", tick_size=TICK_SIZE),
}
BUY = Order("20261120E0000000001", "TCS", "NSE", Leg.ENTRY, Side.BUY, 10, OPEN)
EXIT = Order("20261120X0000000001", "TCS", "NSE", Leg.EXIT, Side.SELL, 10, OPEN)
FLAT = 100.0
MINUTES = 60  # of candles


class GrowwWorld:
    """The broker, the loopback behind it and the seconds its patience is measured in."""

    def __init__(
        self, groww: LoopbackGroww, options: Mapping[str, Any], freeze: int | None
    ) -> None:
        self.groww = groww
        self.seconds = 0.0
        self.batch: MarketBatch | None = None
        self._freeze = {} if freeze is None else {"TCS": freeze}
        self._options = GrowwOptions(
            base_url=groww.api,
            instruments_url=groww.instruments_url,
            stream_url="",
            **{"timeout_seconds": 5.0, **options},
        )
        self._open: list[GrowwBroker] = []
        self.broker = self.open_broker()

    def open_broker(self, transport: httpx.AsyncBaseTransport | None = None) -> GrowwBroker:
        governor = Governor(self._options.limits())
        connection = GrowwConnection(
            self._options,
            _credentials,
            governor=governor,
            transport=transport,
            wall=self.groww.clock.now,
        )
        broker = GrowwBroker(
            connection,
            INSTRUMENTS,
            self._options,
            clock=lambda: self.seconds,
            freeze_quantities=self._freeze,
        )
        self._open.append(broker)
        return broker

    async def trade(self, price: float, symbol: str = "TCS") -> list[OrderReport]:
        """The share trades once at `price`; what the broker tells of that market step."""
        return await self.broker.on_market(self.step(price, symbol))

    def step(self, price: float, symbol: str = "TCS") -> MarketBatch:
        """Let the share trade once, with nobody looking."""
        clock = self.groww.clock
        due = self.groww.market.next_tick(clock.now())
        assert due is not None
        if price != FLAT:
            half = timedelta(seconds=1)
            percent = (price / FLAT - 1) * 100
            self.groww.market.jump("TCS", percent, since=due - half, until=due + half)
        clock.to(due)
        ticks = {symbol: Tick(symbol, due, price, 100)}
        self.batch = MarketBatch(now=due, open=True, sessions={symbol: TODAY}, ticks=ticks)
        return self.batch

    async def ask_again(self) -> list[OrderReport]:
        """The news of the last trade, for someone who lost the answer."""
        assert self.batch is not None
        return await self.broker.on_market(self.batch)

    async def reopen(self) -> None:
        self.broker = self.open_broker()

    async def give_up(self, reference: str) -> OrderReport | None:
        """Resolve a reference until the broker is certain that it never came."""
        assert await self.broker.resolve(reference, "TCS") is None
        self.seconds += self._options.lookup_patience
        return await self.broker.resolve(reference, "TCS")

    def hold(self, quantity: int = 10, exchange: str = "NSE") -> None:
        """The account holds shares that no order of today explains."""
        self.groww.account.set_foreign_position("TCS", quantity, FLAT, exchange=exchange)

    def by_hand(self, side: str = "BUY", quantity: int = 5, **changes: Any) -> None:
        """Somebody places an order in the app."""
        body = {
            "trading_symbol": "TCS",
            "quantity": quantity,
            "price": 101.0,
            "validity": "DAY",
            "exchange": "NSE",
            "segment": "CASH",
            "product": "MIS",
            "order_type": "LIMIT",
            "transaction_type": side,
            "order_reference_id": f"app-{len(list(self.groww.book)):08d}",
        }
        self.groww.world.place_foreign(read_new_order({**body, **changes}))

    def requests(self, path: str) -> list[Any]:
        """The bodies of the requests to a path below /v1 that arrived, oldest first."""
        wanted = f"/v1{path}"
        return [entry.body for entry in self.groww.world.journal if entry.path == wanted]

    async def close(self) -> None:
        for broker in self._open:
            await broker.close()


async def _credentials() -> Credentials:
    return Credentials(Keys().api_key, Keys().secret)


@asynccontextmanager
async def groww_world(
    *,
    band_percent: int = 400,
    freeze: int | None = None,
    derivatives: bool = True,
    behaviour: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[GrowwWorld]:
    """A world at the first tick of a day of flat prices, a wide circuit band around them."""
    clock = SteppedClock(OPEN)
    minute = timedelta(minutes=1)
    candles = [Candle("TCS", OPEN + minute * n, *[FLAT] * 4, 1000) for n in range(MINUTES)]
    market = Market({"TCS": candles}, clock)
    listing = {"tick_size": TICK_SIZE, "band_percent": Decimal(band_percent)}
    if freeze is not None:
        listing["freeze_quantity"] = freeze
    market.relist("TCS", derivatives=derivatives, **listing)
    switches = Behaviour()
    switches.change({"square_off_minutes": None, **(behaviour or {})})
    async with LoopbackGroww(market, behaviour=switches) as groww:
        world = GrowwWorld(groww, options, freeze)
        try:
            yield world
        finally:
            await world.close()
