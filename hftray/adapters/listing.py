"""The shares that a source lists, and the sessions that the calendar gives them."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from hftray.adapters.calendar import SessionCalendar
from hftray.core.errors import NotFound
from hftray.core.market import Instrument
from hftray.core.session import IST, SessionRules, TradingSession
from hftray.ports_source import MarketSource


class Listing:
    """What can be traded, by the source's list of the day, and when."""

    def __init__(
        self, source: MarketSource, calendar: SessionCalendar, rules: SessionRules
    ) -> None:
        self._source = source
        self._calendar = calendar
        self._rules = rules
        self._instruments: dict[str, Instrument] = {}
        self._traded: dict[str, Instrument] = {}  # as they were when their trading began
        self._known_on: date | None = None

    async def instruments(self) -> dict[str, Instrument]:
        """Every symbol of the source; asked for once a day. RetryError."""
        today = (await self._source.market_time()).astimezone(IST).date()
        if self._known_on != today:
            self._instruments, self._known_on = await self._source.instruments(), today
        return dict(self._instruments)

    async def trade(self, symbols: Sequence[str]) -> None:
        """Keep these symbols known, also when they leave the list one day. NotFound, RetryError.

        One that was traded here before may have left today's.
        """
        known = self._traded | await self.instruments()
        unknown = [symbol for symbol in symbols if symbol not in known]
        if unknown:
            raise NotFound(f"cannot be traded intraday: {', '.join(unknown)}")
        self._traded = {symbol: known[symbol] for symbol in symbols}

    async def share(self, symbol: str) -> Instrument:
        """A symbol of the source. NotFound, RetryError."""
        if not self._instruments:
            await self.instruments()
        return self._known(symbol)

    def session(self, symbol: str, day: date) -> TradingSession | None:
        """The symbol's trading day by the calendar. NotFound."""
        return self._calendar.session(day, self._known(symbol), self._rules)

    def next_opening(self, symbols: Iterable[str], now: datetime) -> datetime | None:
        """When the first of the symbols changes between open and closed. NotFound."""
        shares = [self._known(symbol) for symbol in symbols]
        changes = (self._calendar.state(now, share).next_change for share in shares)
        return min(changes, default=None)

    def bucket(self, symbol: str, before: datetime, length: timedelta) -> datetime | None:
        """The opening of the candle that the moment just before belongs to. NotFound."""
        moment = before - timedelta(microseconds=1)
        session = self.session(symbol, moment.astimezone(IST).date())
        if session is None or not session.contains(moment):
            return None
        return session.opens + (moment - session.opens) // length * length

    def had_candle(self, symbol: str, first: datetime, before: datetime, length: timedelta) -> bool:
        """Whether a whole candle of that length lies in a session between the two. NotFound."""
        day, last = first.astimezone(IST).date(), before.astimezone(IST).date()
        while day <= last:
            session = self.session(symbol, day)
            opens = None if session is None else max(first, session.opens)
            if session and opens and opens + length <= min(before, session.closes):
                return True
            day += timedelta(days=1)
        return False

    def _known(self, symbol: str) -> Instrument:
        share = self._instruments.get(symbol) or self._traded.get(symbol)
        if share is None:
            raise NotFound(f"cannot be traded intraday: {symbol}")
        return share
