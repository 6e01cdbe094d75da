"""A live feed over a market in memory whose clock the test moves."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from engine_world import at
from scan_world import calendar

from hftray.adapters.live_feed import LiveFeed
from hftray.core.market import Candle, Instrument
from hftray.core.session import SessionRules
from hftray.ports import MarketBatch
from hftray.testing.memory_source import MemorySource

AUGUST = date(2026, 8, 4)  # shares with derivatives close at 15:15, others at 15:30
SHARES = {
    "TCS": Instrument("TCS"),
    "ITC": Instrument("ITC"),
    "COLPAL": Instrument("COLPAL", derivatives=False),
}


def candle(symbol: str, number: int, day: date, price: float = 1000.0) -> Candle:
    """The day's `number`-th candle, with a range of its own and 400 shares."""
    low = price + 10 * (number % 7)
    return Candle(symbol, at(5 * number, day), low + 2, low + 6, low, low + 3, 400.0)


def day_of(symbol: str, day: date) -> list[Candle]:
    session = calendar().session(day, SHARES[symbol], SessionRules())
    assert session is not None
    count = (session.closes - session.opens) // timedelta(minutes=5)
    return [candle(symbol, number, day) for number in range(count)]


class Live:
    """The feed, the market behind it, and what the polls brought."""

    def __init__(
        self,
        folder: Path,
        clock: datetime,
        symbols: Sequence[str] = ("TCS",),
        *,
        patience: float = 10.0,
        settle: float = 0.0,
        days: Sequence[date] = (),
        candles: dict[str, list[Candle]] | None = None,
        **options: bool,
    ) -> None:
        own = days or [clock.date()]
        made = {name: [c for day in own for c in day_of(name, day)] for name in SHARES}
        self.source = MemorySource(SHARES, candles or made, clock, **options)
        self.symbols, self.folder = tuple(symbols), folder
        self.feed = LiveFeed(
            self.source, calendar(), folder=folder, rules=SessionRules(),
            candle_patience=patience, candle_settle=settle,
        )  # fmt: skip

    async def begin(self, resume_after: datetime | None = None) -> "Live":
        await self.feed.start(self.symbols, resume_after)
        return self

    async def poll(self, **span: float) -> MarketBatch:
        self.source.move(**span)
        return await self.feed.poll()

    async def until(self, moment: datetime, seconds: float = 1.0) -> list[MarketBatch]:
        batches = []
        while self.source.clock < moment:
            batches.append(await self.poll(seconds=seconds))
        return batches

    def asked(self, what: str) -> list[str]:
        return [call for call in self.source.calls if call.startswith(what)]
