"""A source's candles, checked: one that cannot be right is dropped and counted.

A source is a stranger on a network. Its candles must be of the symbol that was asked for, of a
trading day, on the grid of the session, sound in themselves, and in order. Those of the auctions
before and after the session are left out: no fault, but nothing here trades in them either.
"""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta

from hftray.core.market import Candle, candle_fault
from hftray.core.session import IST, TradingSession
from hftray.ports_source import MarketSource

SessionOf = Callable[[str, date], TradingSession | None]


class SourceCandles:
    """What a source says of candles of one length. `dropped` counts by reason."""

    def __init__(self, source: MarketSource, sessions: SessionOf, minutes: int) -> None:
        self.length = timedelta(minutes=minutes)
        self.dropped: Counter[str] = Counter()
        self._source = source
        self._sessions = sessions
        self._minutes = minutes

    async def fetch(self, symbol: str, first: datetime, before: datetime) -> list[Candle]:
        """Sound candles that open from `first` on and before `before`, oldest first.

        The last may still be forming. RetryError, NotFound.
        """
        found = await self._source.candles(symbol, first, before, self._minutes)
        kept: dict[datetime, Candle] = {}
        for candle in found:
            fault = self._fault(candle, symbol)
            if fault is not None:
                self.dropped[f"candle {fault}"] += 1
            elif first <= candle.time < before and self._in_session(candle):
                kept.setdefault(candle.time, candle)
        return [kept[time] for time in sorted(kept)]

    def _fault(self, candle: Candle, symbol: str) -> str | None:
        if candle.symbol != symbol:
            return "of another symbol"
        if candle.time.tzinfo is None:
            return "without a time zone"
        session = self._session(candle)
        if session is None:
            return "of a day without trading"
        if (candle.time - session.opens) % self.length:
            return "not on the candle grid"
        return candle_fault(candle)

    def _in_session(self, candle: Candle) -> bool:
        session = self._session(candle)
        assert session is not None  # or it were faulty
        return session.opens <= candle.time and candle.time + self.length <= session.closes

    def _session(self, candle: Candle) -> TradingSession | None:
        return self._sessions(candle.symbol, candle.time.astimezone(IST).date())
