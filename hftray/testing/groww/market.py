"""Prices of the loopback: candles played as paths of ticks, a pure function of market time.

A candle becomes four ticks at the quarters of its bucket: open, one extreme, the other extreme,
close. Between two ticks of one candle the price passes every level in between; between candles,
and where a price jump begins, it may leap (`PriceState.leaps`). Prices are float rupees, times IST.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import numpy as np

from hftray.adapters.calendar import KnownDays, SessionCalendar
from hftray.adapters.instruments import Listings
from hftray.core.candles import Candles
from hftray.core.errors import DataError, NotFound
from hftray.core.market import Candle
from hftray.core.session import IST, SessionRules, TradingSession
from hftray.layers import default_file, read_yaml
from hftray.testing.groww.clock import Clock
from hftray.testing.groww.price_path import (
    Jump,
    LowFirst,
    PriceState,
    day_path,
    last_price,
    pessimistic,
)
from hftray.testing.groww.shares import EXCHANGES, Share, list_shares

_FIRST_DAY = date(2010, 1, 4)


@dataclass(frozen=True, slots=True)
class _DayPath:
    states: list[PriceState]
    times: list[datetime]


class Market:
    """What the shares cost at the clock's moment, and how they came there.

    `candles` are hftray candles by symbol, oldest first. A day with candles is a trading day; its
    hours are those of config/sessions.yaml, and candles outside them are not played. `low_first`
    says of a candle whether its low comes before its high. The candles' length is taken from the
    closest two of them unless `candle_minutes` states it.
    """

    def __init__(
        self,
        candles: Mapping[str, Candles | Iterable[Candle]],
        clock: Clock,
        *,
        low_first: LowFirst = pessimistic,
        candle_minutes: int | None = None,
    ) -> None:
        if not candles:
            raise DataError("the loopback's market needs candles of at least one symbol")
        self.clock = clock
        self._low_first = low_first
        self._jumps: tuple[Jump, ...] = ()
        self._candles = {name: _columns(name, own) for name, own in candles.items()}
        self.interval = (
            timedelta(minutes=candle_minutes) if candle_minutes else _interval(self._candles)
        )
        # Days with candles are the trading days, so no published calendar is needed.
        days = {date.fromordinal(d) for own in self._candles.values() for d in own.day.tolist()}
        self._days = sorted(days)
        known = KnownDays(_FIRST_DAY, date.max, frozenset(days))
        self._calendar = SessionCalendar.from_mapping(_table("sessions.yaml"), known)
        listings = Listings.from_mapping(_table("instruments.yaml"))
        today = clock.now().date()
        prices = {name: self._price_before(name, today) for name in self._candles}
        self._shares = {
            (share.exchange, share.symbol): share for share in list_shares(prices, today, listings)
        }
        self._path = lru_cache(maxsize=4096)(self._build_path)

    @property
    def symbols(self) -> list[str]:
        """Every symbol that has prices."""
        return sorted(self._candles)

    def shares(self) -> list[Share]:
        """Every listing, the BSE twins included."""
        return list(self._shares.values())

    def share(self, exchange: str, symbol: str) -> Share:
        """The listing of a symbol. NotFound."""
        try:
            return self._shares[exchange, symbol]
        except KeyError:
            raise NotFound(f"{symbol} is not listed on {exchange}") from None

    def share_of_token(self, exchange: str, token: str) -> Share:
        """The listing of an exchange token. NotFound."""
        for share in self._shares.values():
            if share.exchange == exchange and share.exchange_token == token:
                return share
        raise NotFound(f"token {token} is not listed on {exchange}")

    def relist(self, symbol: str, **changes: object) -> None:
        """Change fields of a symbol's listings (see `Share`) on both exchanges."""
        for exchange in EXCHANGES:
            share = replace(self.share(exchange, symbol), **changes)  # type: ignore[arg-type]
            self._shares[exchange, symbol] = share
        self._path.cache_clear()

    def price(self, exchange: str, token: str) -> PriceState | None:
        """What the share of a token costs now; None before the first candle. NotFound."""
        return self.state(self.share_of_token(exchange, token), self.clock.now())

    def state(self, share: Share, at: datetime) -> PriceState | None:
        """The newest tick up to a moment, of the day itself or of an earlier one."""
        place = bisect_right(self._days, at.astimezone(IST).date())
        for day in reversed(self._days[:place]):
            path = self._path(share, day)
            index = bisect_right(path.times, at)
            if index:
                return path.states[index - 1]
        return None

    def ticks(self, share: Share, after: datetime, until: datetime) -> Iterator[PriceState]:
        """The ticks later than `after` and up to `until`, in order of time."""
        first, last = after.astimezone(IST).date(), until.astimezone(IST).date()
        for day in self._days:
            if first <= day <= last:
                path = self._path(share, day)
                yield from path.states[
                    bisect_right(path.times, after) : bisect_right(path.times, until)
                ]

    def days(self, first: date, last: date) -> list[date]:
        """The trading days from one day to another, both included."""
        return [day for day in self._days if first <= day <= last]

    def session(self, share: Share, day: date) -> TradingSession | None:
        """The share's continuous session on a day."""
        return self._calendar.session(day, share.instrument, SessionRules())

    def next_tick(self, after: datetime) -> datetime | None:
        """When any share trades next after a moment; None when the candles are used up."""
        day = after.astimezone(IST).date()
        for later in self._days[max(0, bisect_right(self._days, day) - 1) :]:
            times = [
                path.times[place]
                for symbol in self._candles
                for path in (self._path(self.share("NSE", symbol), later),)
                if (place := bisect_right(path.times, after)) < len(path.times)
            ]
            if times:
                return min(times)
        return None

    def jump(
        self,
        symbol: str,
        percent: float,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        """Move the share's prices by percent, from the next tick or `since` on, up to `until`.

        Only the future may be changed, so that what was seen stays true. ValueError, NotFound.
        """
        self.share("NSE", symbol)
        now = self.clock.now()
        if since is not None and since <= now:
            raise ValueError(f"a price jump at {since.isoformat()} would change the past")
        if percent <= -100:
            raise ValueError(f"a price jump by {percent} percent leaves no price")
        begins = since or now + timedelta(microseconds=1)
        self._jumps += (Jump(symbol, percent, begins, until),)
        self._path.cache_clear()

    def _price_before(self, symbol: str, day: date) -> float:
        own = self._candles[symbol]
        place = int(np.searchsorted(own.day, day.toordinal()))
        return own.close.item(place - 1) if place else own.open.item(0)

    def _build_path(self, share: Share, day: date) -> _DayPath:
        own = self._candles[share.symbol]
        start, stop = np.searchsorted(own.day, [day.toordinal(), day.toordinal() + 1])
        session = self.session(share, day)
        if start == stop or session is None:
            return _DayPath([], [])
        states = day_path(
            [own.at(row, share.symbol) for row in range(int(start), int(stop))],
            share,
            session,
            interval=self.interval,
            previous_close=self._previous_close(share, day),
            low_first=self._low_first,
            jumps=[jump for jump in self._jumps if jump.symbol == share.symbol],
        )
        return _DayPath(states, [state.time for state in states])

    def _previous_close(self, share: Share, day: date) -> float | None:
        own = self._candles[share.symbol]
        for row in range(int(np.searchsorted(own.day, day.toordinal())) - 1, -1, -1):
            candle = own.at(row, share.symbol)
            session = self.session(share, candle.time.date())
            if session is not None and session.contains(candle.time):
                jumps = [jump for jump in self._jumps if jump.symbol == share.symbol]
                return last_price(candle, session, self.interval, jumps, share)
        return None


@cache
def _table(name: str) -> dict[str, Any]:
    return read_yaml(default_file(name))


def _columns(symbol: str, candles: Candles | Iterable[Candle]) -> Candles:
    columns = candles if isinstance(candles, Candles) else Candles.of(candles)
    if not len(columns):
        raise DataError(f"{symbol}: no candles")
    if (np.diff(columns.time) <= 0).any():
        raise DataError(f"{symbol}: candles are not in order of time")
    return columns


def _interval(candles: Mapping[str, Candles]) -> timedelta:
    gaps = [int(np.diff(own.time).min()) for own in candles.values() if len(own) > 1]
    return timedelta(seconds=min(gaps, default=300))
