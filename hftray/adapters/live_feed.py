"""A real market as a feed: quotes become ticks, and candles are the exchange's own.

Between boundaries every poll asks for all symbols' quotes in one call. When a bucket of a symbol is
over, its ticks are held back, and the exchange's candle is fetched and handed instead of what ticks
built; if it is not there after `candle_patience`, the ticks go on without it. So what is decided on
closed candles is decided on what a backtest of the day will see, and exits by tick are late by at
most the patience, at boundaries only.

Time is the source's market time; no call but that is made while the market is closed.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.candle_store import CandleStore
from hftray.adapters.held_ticks import HeldTicks
from hftray.adapters.listing import Listing
from hftray.adapters.official_candles import OfficialCandles
from hftray.adapters.past_candles import PastCandles
from hftray.adapters.quote_ticks import QuoteTicks
from hftray.adapters.source_candles import SourceCandles
from hftray.core.candles import Candles
from hftray.core.errors import NotFound, RejectError, RetryError, UnknownOutcome
from hftray.core.market import Candle, Instrument, Tick
from hftray.core.session import IST, SessionRules, TradingSession
from hftray.observe import logger
from hftray.ports import MarketBatch
from hftray.ports_source import MarketSource

log = logger("feed")

# Real seconds that a poll waits for candles which are on their way.
_GRACE = 0.05


class LiveFeed:
    """`ports.Feed` over any `ports_source.MarketSource`.

    `folder` is where past days' candles are kept. `candle_patience` and `candle_settle` are market
    seconds after a candle's end: how long it is waited for, and how long it is given to become
    final before it is asked for. `interval` is the market seconds between two polls.
    """

    def __init__(
        self,
        source: MarketSource,
        calendar: SessionCalendar,
        *,
        folder: Path,
        rules: SessionRules,
        candle_minutes: int = 5,
        candle_patience: float = 10.0,
        candle_settle: float = 1.0,
        interval: float = 1.0,
    ) -> None:
        self.interval = interval
        patience = timedelta(seconds=candle_patience)
        self._source = source
        self._calendar = calendar
        self._listing = Listing(source, calendar, rules)
        self._length = timedelta(minutes=candle_minutes)
        self._candles = SourceCandles(source, self._listing.session, candle_minutes)
        self._past = PastCandles(
            self._candles,
            CandleStore(folder, candle_minutes),
            calendar,
            rules=rules,
            settle=patience,
        )
        self._official = OfficialCandles(
            self._candles, patience=patience, settle=timedelta(seconds=candle_settle)
        )
        self._ticks = QuoteTicks(self._length)
        self._held = HeldTicks(self._official, self._length)
        self._symbols: tuple[str, ...] = ()
        self._told: Counter[str] = Counter()

    @property
    def dropped(self) -> Counter[str]:
        """Answers of the source that could not be right, by reason."""
        return self._candles.dropped + self._ticks.dropped

    async def instruments(self) -> dict[str, Instrument]:
        """Every symbol of the source; asked for once a day. RetryError."""
        return await self._listing.instruments()

    async def start(self, symbols: Sequence[str], resume_after: datetime | None) -> None:
        """Begin with these symbols at the present moment; what happened before is history.

        A symbol that was traded here before may have left today's list. NotFound, RetryError.
        """
        await self._listing.trade(symbols)
        self._symbols = tuple(symbols)
        self._ticks.forget()
        self._held.forget()
        self._official.begin(resume_after)

    async def poll(self) -> MarketBatch:
        """What is new, or that the market is closed. RetryError when the time is not known.

        Without quotes the batch is open all the same: time goes on, and so do exits and orders.
        `note` says what kept the quotes away.
        """
        now = (await self._source.market_time()).astimezone(IST)
        hours = {}
        for symbol in self._symbols:
            session = self.session(symbol, now.date())
            if session is None or now < session.opens:
                continue
            self._official.look(symbol, session, now)
            if now < session.closes or self._official.awaited(symbol) is not None:
                hours[symbol] = session
        note = self._note(now.date())
        if not hours:
            opening = self._listing.next_opening(self._symbols, now)
            return MarketBatch(now=now, open=False, next_change=opening, live=True, note=note)
        trading = {symbol: own for symbol, own in hours.items() if now < own.closes}
        fresh, fault = await self._quotes(trading, now)
        heard = {} if fault else trading
        missed = [s for s, own in heard.items() if self._official.heard(s, own, now)]
        await self._official.come(_GRACE)
        candles = self._official.collect(list(hours))
        return MarketBatch(
            now=now,
            open=True,
            next_change=max(session.closes for session in hours.values()),
            sessions=hours,
            ticks=self._held.hand(fresh, candles),
            candles=candles,
            awaiting=frozenset(s for s in hours if self._official.awaited(s) is not None),
            missed=frozenset(missed),
            live=True,
            fault=fault,
            note="; ".join(filter(None, (note, fault))),
        )

    async def history(
        self, symbol: str, count: int, before: datetime | None = None
    ) -> list[Candle]:
        """Closed candles from the source, past days from disk. RetryError, NotFound.

        Without the one that is still to be handed: nobody has voted on it.
        """
        share = await self._listing.share(symbol)
        now = (await self._source.market_time()).astimezone(IST)
        until = now if before is None else min(before, now)
        day = until.astimezone(IST).date()
        session = self.session(symbol, day)
        found = Candles.of([])
        if session is not None and count > 0:
            found = await self._past.between(share, session.opens, until, now)
        if len(found) < count:
            earlier = await self._past.earlier(share, day, count - len(found))
            found = Candles.joined([earlier, found])
        awaited = self._official.awaited(symbol)
        rows = range(max(0, len(found) - max(0, count)), len(found))
        return [c for c in (found.at(row, symbol) for row in rows) if c.time != awaited]

    async def columns(
        self, symbol: str, first: datetime, before: datetime, warm_up: int = 0
    ) -> Candles:
        """Closed candles of a range, none of which lies ahead of market time. RetryError.

        NotFound when the symbol is unknown, and when sessions of the range have no candle at all.
        """
        share = await self._listing.share(symbol)
        now = (await self._source.market_time()).astimezone(IST)
        found = await self._past.between(share, first, before, now)
        if not len(found) and self._listing.had_candle(
            symbol, first, min(before, now), self._length
        ):
            raise NotFound(
                f"{symbol}: the source has no candles from {first:%Y-%m-%d} to {before:%Y-%m-%d}"
            )
        if warm_up <= 0:
            return found
        day = first.astimezone(IST).date()
        midnight = datetime(day.year, day.month, day.day, tzinfo=IST)
        same_day = await self._past.between(share, midnight, before, now)
        same_day = same_day.rows(same_day.time < int(first.timestamp()))
        missing = warm_up - len(same_day)
        earlier = await self._past.earlier(share, min(day, now.date()), missing)
        return Candles.joined([Candles.joined([earlier, same_day]).tail(warm_up), found])

    async def span(self, symbol: str) -> tuple[date, date] | None:
        """None: how far back a source goes shows when it is asked. NotFound."""
        await self._listing.share(symbol)
        return None

    async def forming(self, symbol: str, before: datetime) -> Candle | None:
        """The source's candle of the moment before, or the one that is still to be handed.

        None where the source does not serve a candle that has not closed. RetryError.
        """
        await self._listing.share(symbol)
        opens = self._official.awaited(symbol) or self._listing.bucket(symbol, before, self._length)
        if opens is None:
            return None
        found = await self._candles.fetch(symbol, opens, opens + self._length)
        return found[-1] if found else None

    def session(self, symbol: str, day: date) -> TradingSession | None:
        """The symbol's trading day by the calendar. NotFound."""
        return self._listing.session(symbol, day)

    async def close(self) -> None:
        """Release the source."""
        self._official.close()
        await self._source.close()

    # Polling

    async def _quotes(
        self, hours: dict[str, TradingSession], now: datetime
    ) -> tuple[dict[str, Tick], str]:
        """The new ticks, and why there are none when the source did not answer."""
        if not hours:
            return {}, ""
        try:
            quotes = await self._source.quotes(list(hours))
            answered = (await self._source.market_time()).astimezone(IST)
        except (RetryError, RejectError, UnknownOutcome) as error:
            log.warning("no quotes", reason=str(error))
            return {}, f"no quotes: {error}"
        ticks = {
            symbol: self._ticks.tick(symbol, quotes[symbol], session, now, answered)
            for symbol, session in hours.items()
            if symbol in quotes
        }
        return {symbol: tick for symbol, tick in ticks.items() if tick is not None}, ""

    def _note(self, day: date) -> str:
        dropped = self.dropped
        if new := dropped - self._told:
            log.warning("the source answered wrongly", counts=dict(new))
            self._told = dropped
        parts = [self._calendar.warning(day) or ""]
        if self._official.late:
            parts.append(f"{self._official.late} official candles late")
        if dropped:
            parts.append(f"{dropped.total()} answers of the source dropped")
        return "; ".join(filter(None, parts))
