"""A real market in memory: candles are what happened, a clock that the test moves says when.

Quotes walk through the present candle: its open, its low, its high, its close, each a quarter of
the candle long. Candles whose time has come are told, the present one as far as it has got.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hftray.core.errors import NotFound, RetryError
from hftray.core.market import Candle, Instrument
from hftray.ports_source import Quote


class MemorySource:
    """`ports_source.MarketSource` over given candles of one length; faults are switches.

    `away` makes every call but the clock fail; `mute` repeats the quotes of a moment; `delay` is
    how long after its end a candle is told; `stamped` and `counted` say whether quotes bear the
    time of their trade and the day's volume. `spoil_quote` and `spoil_candles` change an answer
    on its way. `calls` remembers what was asked.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        candles: Mapping[str, Sequence[Candle]],
        clock: datetime,
        *,
        minutes: int = 5,
        stamped: bool = True,
        counted: bool = True,
    ) -> None:
        self.clock = clock
        self.stamped, self.counted = stamped, counted
        self.away: str = ""
        self.mute: datetime | None = None
        self.delay = timedelta(0)
        self.serves_forming = True
        self.spoil_quote: Callable[[Quote], Quote] = lambda quote: quote
        self.spoil_candles: Callable[[list[Candle]], list[Candle]] = lambda candles: candles
        self.gate = asyncio.Event()  # candle calls wait for it
        self.gate.set()
        self.calls: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self._instruments = dict(instruments)
        self._candles = {symbol: list(own) for symbol, own in candles.items()}
        self._length = timedelta(minutes=minutes)

    def move(self, **span: float) -> None:
        """Let market time pass: `move(seconds=5)`."""
        self.clock += timedelta(**span)

    async def market_time(self) -> datetime:
        """The clock as it was set."""
        return self.clock

    async def instruments(self) -> dict[str, Instrument]:
        """The shares given."""
        self._called("instruments")
        return dict(self._instruments)

    async def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The price at this moment of each symbol that has traded."""
        self._called(f"quotes {','.join(symbols)}")
        moment = self.clock if self.mute is None else min(self.mute, self.clock)
        found = {symbol: self._quote(symbol, moment) for symbol in symbols}
        return {symbol: self.spoil_quote(quote) for symbol, quote in found.items() if quote}

    async def candles(
        self, symbol: str, first: datetime, before: datetime, minutes: int
    ) -> list[Candle]:
        """The candles that have begun, the present one as far as it has got."""
        self._called(f"candles {symbol}")
        if symbol not in self._candles:
            raise NotFound(f"{symbol} is unknown")
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        told = [
            candle if candle.time + self._length + self.delay <= self.clock else self._part(candle)
            for candle in self._candles[symbol]
            if first <= candle.time < before and candle.time <= self.clock
        ]
        return self.spoil_candles([candle for candle in told if candle is not None])

    async def require_access(self) -> None:
        """Nothing is forbidden here."""

    async def close(self) -> None:
        """Remember that it was closed."""
        self.calls.append("close")

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.away:
            raise RetryError(self.away)

    def _part(self, candle: Candle) -> Candle | None:
        """The candle as far as it has got; None where those that form are not told, or too late."""
        if not self.serves_forming or candle.time + self._length <= self.clock:
            return None
        seen = _path(candle)[: self._quarter(candle, self.clock) + 1]
        traded = self._volume(candle, self.clock)
        return replace(candle, high=max(seen), low=min(seen), close=seen[-1], volume=traded)

    def _quote(self, symbol: str, moment: datetime) -> Quote | None:
        begun = [candle for candle in self._candles.get(symbol, ()) if candle.time <= moment]
        if not begun:
            return None
        candle = begun[-1]
        quarter = self._quarter(candle, moment)
        same_day = [c for c in begun[:-1] if c.time.date() == candle.time.date()]
        volume = sum(c.volume for c in same_day) + self._volume(candle, moment)
        last = candle.time + self._length - timedelta(seconds=1)
        return Quote(
            symbol,
            _path(candle)[quarter],
            time=min(moment, last) if self.stamped else None,
            day_volume=volume if self.counted else None,
        )

    def _quarter(self, candle: Candle, moment: datetime) -> int:
        return min(3, int(4 * (moment - candle.time) / self._length))

    def _volume(self, candle: Candle, moment: datetime) -> float:
        return candle.volume * (self._quarter(candle, moment) + 1) / 4


def _path(candle: Candle) -> list[float]:
    return [candle.open, candle.low, candle.high, candle.close]
