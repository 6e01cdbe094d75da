"""From one day's candles to the ticks of that day, each with the day's figures so far.

Prices are float rupees, volumes shares, times IST. Nothing here knows what time it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from hftray.core.market import Candle
from hftray.core.money import (
    HUNDRED,
    round_down_to_tick,
    round_to_tick,
    round_up_to_tick,
    rupees,
)
from hftray.core.session import IST, TradingSession
from hftray.testing.groww.shares import Share

TICKS_PER_CANDLE = 4
# An operating range widens when a trade is this near to it, by this many points (percent of the
# close before), as NSE does for shares with derivatives.
_NEAR = Decimal("0.10")
_STEP = Decimal(5)

LowFirst = Callable[[Candle], bool]


def pessimistic(candle: Candle) -> bool:
    """Low first in a rising candle, high first in a falling one: stops are met before targets."""
    return candle.close >= candle.open


@dataclass(frozen=True, slots=True)
class Jump:
    """A shift of one symbol's prices by percent from a moment on, up to another one."""

    symbol: str
    percent: float
    since: datetime
    until: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        """Whether prices are shifted at that moment."""
        return self.since <= moment and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class PriceState:
    """One tick and what the day looks like after it.

    `leaps`: the price came here without passing the levels since the tick before. `volume` is of
    this tick, `day_volume` and `day_value` (rupees) of the day so far; `lower` and `upper` are the
    price band. At the upper end nobody sells, at the lower end nobody buys, unless it widens.
    """

    time: datetime
    price: float
    volume: int
    leaps: bool
    day_open: float
    day_high: float
    day_low: float
    day_volume: int
    day_value: float
    previous_close: float
    lower: Decimal
    upper: Decimal

    @property
    def average(self) -> float:
        """The day's volume-weighted average price."""
        return self.day_value / self.day_volume if self.day_volume else self.price

    @property
    def no_sellers(self) -> bool:
        """Locked at the upper end of the band."""
        return rupees(self.price) >= self.upper

    @property
    def no_buyers(self) -> bool:
        """Locked at the lower end of the band."""
        return rupees(self.price) <= self.lower


def day_path(
    candles: Sequence[Candle],
    share: Share,
    session: TradingSession,
    *,
    interval: timedelta,
    previous_close: float | None,
    low_first: LowFirst,
    jumps: Sequence[Jump] = (),
) -> list[PriceState]:
    """The ticks of one day's candles that fall into the session.

    Without a close of the day before, the first price stands for it.
    """
    states: list[PriceState] = []
    before = previous_close
    shifts: tuple[Jump, ...] = ()
    for candle in candles:
        for number, (time, price, volume) in enumerate(_ticks(candle, interval, low_first)):
            if not session.contains(time):
                continue
            holding = tuple(jump for jump in jumps if jump.holds(time))
            moved = _moved(price, holding, share)
            before = moved if before is None else before
            states.append(
                _next_state(
                    states[-1] if states else None,
                    share,
                    time=time,
                    price=moved,
                    volume=volume,
                    leaps=number == 0 or holding != shifts,
                    previous_close=before,
                )
            )
            shifts = holding
    return states


def last_price(
    candle: Candle,
    session: TradingSession,
    interval: timedelta,
    jumps: Sequence[Jump],
    share: Share,
) -> float:
    """The price of a candle's last tick inside the session, without regard to the price band."""
    inside = [tick for tick in _ticks(candle, interval, pessimistic) if session.contains(tick[0])]
    time, price, _ = inside[-1]
    return _moved(price, [jump for jump in jumps if jump.holds(time)], share)


def _ticks(
    candle: Candle, interval: timedelta, low_first: LowFirst
) -> list[tuple[datetime, float, int]]:
    extremes = (candle.low, candle.high) if low_first(candle) else (candle.high, candle.low)
    total = int(candle.volume)
    ticks = []
    for number, price in enumerate((candle.open, *extremes, candle.close)):
        # Differences of the running total, so that no share is lost to rounding.
        volume = total * (number + 1) // TICKS_PER_CANDLE - total * number // TICKS_PER_CANDLE
        time = candle.time + interval * number / TICKS_PER_CANDLE
        ticks.append((time.astimezone(IST), price, volume))
    return ticks


def _moved(price: float, jumps: Sequence[Jump], share: Share) -> float:
    if not jumps:
        return price
    for jump in jumps:
        price *= 1 + jump.percent / 100
    return float(max(round_to_tick(price, share.tick_size), share.tick_size))


def _next_state(
    last: PriceState | None,
    share: Share,
    *,
    time: datetime,
    price: float,
    volume: int,
    leaps: bool,
    previous_close: float,
) -> PriceState:
    lower, upper = (
        band(previous_close, share, share.band_percent)
        if last is None
        else (last.lower, last.upper)
    )
    if share.derivatives:
        lower, upper = _widened(price, previous_close, share, lower, upper)
    price = min(max(price, float(lower)), float(upper))
    return PriceState(
        time=time,
        price=price,
        volume=volume,
        leaps=leaps,
        day_open=price if last is None else last.day_open,
        day_high=price if last is None else max(last.day_high, price),
        day_low=price if last is None else min(last.day_low, price),
        day_volume=volume + (last.day_volume if last else 0),
        day_value=volume * price + (last.day_value if last else 0.0),
        previous_close=previous_close,
        lower=lower,
        upper=upper,
    )


def band(previous_close: float, share: Share, percent: Decimal) -> tuple[Decimal, Decimal]:
    """The lowest and the highest price on the tick within so many percent of a close."""
    close = rupees(previous_close)
    lower = round_up_to_tick(close * (HUNDRED - percent) / HUNDRED, share.tick_size)
    upper = round_down_to_tick(close * (HUNDRED + percent) / HUNDRED, share.tick_size)
    return max(lower, share.tick_size), upper


def _widened(
    price: float, previous_close: float, share: Share, lower: Decimal, upper: Decimal
) -> tuple[Decimal, Decimal]:
    percent = share.band_percent
    moved = abs(rupees(price) / rupees(previous_close) - 1) * HUNDRED
    while moved >= percent - _NEAR:
        percent += _STEP
    if percent == share.band_percent:
        return lower, upper
    wider = band(previous_close, share, percent)
    return min(lower, wider[0]), max(upper, wider[1])
