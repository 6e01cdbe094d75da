"""What the kernel works on: a history as plain columns, the rules as whole numbers.

A history's columns are kept with it, as every set of a sweep asks for them; so is an ATR that was
once computed on the very buffer.
"""

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hftray.backtest.kernel import Course, Terms
from hftray.backtest.track import Track
from hftray.core import indicators
from hftray.core.candles import Candles, Floats, Ints, writable
from hftray.core.charges import ChargeSchedule
from hftray.core.drift import drift
from hftray.core.exits import trailing_factor
from hftray.core.money import rupees
from hftray.core.rules import RiskLimits, TradingRules

_DEAREST = 10**8  # paise a share
_FINEST = 10**9  # denominators
_LARGEST = 1 << 61  # products of two numbers


def course_of(track: Track, rules: TradingRules, charges: ChargeSchedule) -> Course | None:
    """The columns of a history, as these rules have it played; None where they cannot be had."""
    history, signals = track.history, rules.signals
    key = (
        "course", signals.candle_minutes, signals.candle_buffer, signals.atr_period, rules.feed,
        charges,
    )  # fmt: skip
    if key not in history.found:
        history.found[key] = _course(track, rules, charges)
    course: Course | None = history.found[key]
    return course


def exact_atr(track: Track, rules: TradingRules, row: int) -> float | None:
    """The ATR on the candles that the buffer holds once the row's is in; None without one."""
    signals, end = rules.signals, track.end(row)
    held = track.reel.candles.rows(slice(max(0, end - signals.candle_buffer), end))
    newest = indicators.atr(held, signals.atr_period).item(-1)
    return newest if newest > 0 else None


def _course(track: Track, rules: TradingRules, charges: ChargeSchedule) -> Course | None:
    candles, ends, line = track.reel.candles, track.reel.ends, track.line
    played, signals = track.history.candles.rows(_run(line.rows)), rules.signals
    tables = _tables(track, charges)
    if tables is None:
        return None
    atr = indicators.atr(candles, signals.atr_period)
    radius = drift(indicators.atr, (signals.atr_period,), candles, signals.candle_buffer, atr)
    newest = _run(ends - 1)
    hours = list(line.days.values())
    return Course(
        open=writable(played.open), high=writable(played.high),
        low=writable(played.low), close=writable(played.close),
        open_paise=_paise(played.open), close_paise=_paise(played.close),
        frozen=_frozen(candles, rules)[newest],
        atr_low=(atr - radius)[newest], atr_high=(atr + radius)[newest],
        start=line.starts,
        stop=np.array([of_day.rows.stop for of_day in hours], dtype=np.int64),
        square_off=np.array([of_day.square_off_row for of_day in hours], dtype=np.int64),
        usual=np.array([day not in track.reel.doubted for day in line.days], dtype=np.bool_),
        table=tables[0], rates=tables[1],
    )  # fmt: skip


def _run(places: Ints) -> slice | Ints:
    """A slice where the places follow one another: it copies nothing."""
    count = len(places)
    if count and places.item(-1) - places.item(0) + 1 != count:
        return places
    first = places.item(0) if count else 0
    return slice(first, first + count)


def _paise(prices: Floats) -> Ints:
    paise = np.rint(prices * 100)
    whole = (paise / 100 == prices) & (paise <= _DEAREST)
    return np.where(whole, paise, 0).astype(np.int64)


def _frozen(candles: Candles, rules: TradingRules) -> NDArray[np.bool_]:
    """Where `CandleBuffer.frozen` says so of the newest candle."""
    count, place = rules.feed.frozen_candles, np.arange(len(candles))
    still = candles.high == candles.low
    if np.count_nonzero(still) < count:  # as with most shares
        return np.zeros(len(candles), dtype=np.bool_)
    same = still.copy()
    same[:1] = False
    same[1:] &= still[:-1] & (candles.low[1:] == candles.low[:-1])
    same[1:] &= candles.day[1:] == candles.day[:-1]
    began = np.maximum.accumulate(np.where(same, 0, place)) if len(place) else place
    fits = count <= rules.signals.candle_buffer
    frozen: NDArray[np.bool_] = still & (place - began + 1 >= count) & fits
    return frozen


def _tables(track: Track, charges: ChargeSchedule) -> tuple[Ints, Ints] | None:
    """Each day's table by its place, and the rates.

    None where they are too fine or too high, and without a day.
    """
    exchange = track.history.instrument.exchange
    days = [of_day.session.day for of_day in track.line.days.values()]
    by_day = [table.rates for table in charges.tables_of(days, exchange)]
    different = list(dict.fromkeys(by_day))
    for rates in different:
        parts, wholes = rates[2::2], rates[3::2]
        if max(rates[:2]) > _DEAREST or max(wholes) > _FINEST:
            return None
        if any(part > 100 * whole for part, whole in zip(parts, wholes, strict=True)):
            return None
    places = {rates: place for place, rates in enumerate(different)}
    table = np.array([places[rates] for rates in by_day], dtype=np.int64)
    return (table, np.array(different, dtype=np.int64)) if different else None


def highest_rate(course: Course) -> int:
    """The largest numerator or denominator of any charge."""
    return int(course.rates[:, 2:].max(initial=1))


@lru_cache(maxsize=64)
def terms_of(
    rules: TradingRules, tick: Decimal, slippage_bps: float, rates: int, margin: Decimal
) -> Terms | None:
    """The rules in whole numbers; None where these would not be exact, or could overflow.

    `rates` is the `highest_rate`.
    """
    limits, exits, ticks = rules.risk, rules.exits, tick * 100
    fractions = [_of_percent(percent) for percent in _percents(limits)]
    loss, risk, exposure, band = fractions
    leverage, slippage = Fraction(limits.leverage), Fraction(rupees(slippage_bps)) / 10_000
    exact = (*fractions, leverage, slippage)
    if ticks != int(ticks) or ticks < 1 or rules.feed.frozen_candles < 1:
        return None
    if any(part.denominator > _FINEST or part < 0 for part in exact):
        return None
    if band >= 1 or slippage >= 1 or exits.stop_loss_atr <= 0:
        return None
    numerators = max(part.numerator for part in exact)
    return Terms(
        tick=int(ticks), tick_rupees=float(tick), margin=int(margin * 100),
        loss=loss.numerator, loss_of=loss.denominator,
        risk=risk.numerator, risk_of=risk.denominator,
        exposure=exposure.numerator, exposure_of=exposure.denominator,
        leverage=leverage.numerator, leverage_of=leverage.denominator,
        band=band.numerator, band_of=band.denominator,
        slippage=slippage.numerator, slippage_of=slippage.denominator,
        stop_atr=float(exits.stop_loss_atr), target_atr=float(exits.take_profit_atr),
        trail_long=trailing_factor(1, exits), trail_short=trailing_factor(-1, exits),
        most_trades=min(limits.max_trades_per_symbol_day, limits.max_trades_per_day),
        most_capital=_LARGEST // max(2, numerators), most_turnover=_LARGEST // (4 * rates),
    )  # fmt: skip


def _percents(limits: RiskLimits) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return (
        limits.max_daily_loss_percent, limits.risk_per_trade_percent,
        limits.max_symbol_exposure_percent, limits.entry_band_percent,
    )  # fmt: skip


def _of_percent(percent: Decimal) -> Fraction:
    return Fraction(percent) / 100
