"""A symbol's usual days, one trip after the other, as plain functions over plain numbers.

They run as they stand and compiled (`backtest.compiling`), and give the same. What a trip is made
of comes from `core`, the same functions that the engine, the exchange and the risk book go by;
what those do with Decimal is done here with whole numbers: prices and money are paise, quantities
shares, rates fractions. Where floats or overflow could make a difference, and on any day that is
not usual, nothing is taken and the day is left to be played step by step. Rows are places among
the played candles, a side is +1 for BUY and -1 for SELL.
"""

from math import floor
from typing import Any, NamedTuple

from hftray.backtest.foresight import UNSURE
from hftray.core.charges import order_charges
from hftray.core.exits import level_touched
from hftray.core.matching import jumped_over
from hftray.core.money import UNCLEAR, nearest_steps, rounded_share

TAKEN, DENIED, BY_STEPS, VOTE, ATR = range(5)
"""How an attempt at a trip ends: taken, nothing granted, the day is left to be played step by step,
its vote or its ATR has to be known better first."""

SQUARE_OFF = 4
"""Why a position is left, after the places in `core.exits.LEVELS`."""

COLUMNS = (
    "day", "chance", "entry", "quantity", "stop", "target", "paid",
    "reason", "row", "filled", "price", "level", "charges", "pnl", "sequence",
)  # fmt: skip
"""A trip's numbers. `chance` is the place of its decision among the chances, `row` the one the exit
was decided on and `filled` the one whose candle brought it; `level` is 0 for an exit at a close."""


class Course(NamedTuple):
    """A history as it is played: columns by row, then by day.

    Prices in paise are 0 where the price is not a whole number of them. The ATR that the buffer
    gives lies between its two columns. `table` is the day's place in `rates`.
    """

    open: Any
    high: Any
    low: Any
    close: Any
    open_paise: Any
    close_paise: Any
    frozen: Any
    atr_low: Any
    atr_high: Any
    start: Any
    stop: Any
    square_off: Any
    usual: Any
    table: Any
    rates: Any


class Terms(NamedTuple):
    """What is agreed for all trips. `x` and `x_of` are numerator and denominator of a fraction."""

    tick: int
    tick_rupees: float
    margin: int
    loss: int
    loss_of: int
    risk: int
    risk_of: int
    exposure: int
    exposure_of: int
    leverage: int
    leverage_of: int
    band: int
    band_of: int
    slippage: int
    slippage_of: int
    stop_atr: float
    target_atr: float
    trail_long: float
    trail_short: float
    most_trades: int
    most_capital: int
    most_turnover: int


def play_days(
    course: Course, terms: Terms, rows: Any, sides: Any, first: int, capital: int, count: int,
    trips: Any, best: Any, equity: Any,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Play from the `first` day on: the day that was not, why, at which chance, how many trips.

    `rows` are those of the chances, `sides` what is decided there. Trips fill `trips` by COLUMNS
    after the `count` that are there, `best` is each position's best price, `equity` the capital
    after each day.
    """
    place = 0
    while place < len(rows) and rows[place] < course.start[first]:
        place += 1
    for day in range(first, len(course.start)):
        why, place, after, capital = _play_day(
            course, terms, rows, sides, day, place, capital, trips, best, count
        )
        if why != TAKEN:
            return day, why, place, count
        count, equity[day] = after, capital
    return len(course.start), TAKEN, 0, count


def _play_day(
    course: Course, terms: Terms, rows: Any, sides: Any, day: int, place: int, capital: int,
    trips: Any, best: Any, count: int,
) -> tuple[int, int, int, int]:  # fmt: skip
    opening, row, sequence = capital, course.start[day], 0
    if not course.usual[day] or not 0 < capital <= terms.most_capital:
        return BY_STEPS, place, count, capital
    limit = rounded_share(opening, terms.loss, terms.loss_of)
    if limit <= terms.margin:
        return BY_STEPS, place, count, capital
    while place < len(rows) and rows[place] < course.stop[day]:
        decided, side = rows[place], sides[place]
        if decided < row or side == 0 or course.frozen[decided]:
            place += 1
            continue
        if side == UNSURE:
            return VOTE, place, count, capital
        if sequence >= terms.most_trades:
            break
        trip = trips[count]
        why, best[count] = _take(course, terms, side, decided, day, opening, capital, limit, trip)
        if why == TAKEN:
            sequence += 1
            capital += trip[13]
            if limit - (opening - capital) <= terms.margin:
                return BY_STEPS, place, count, capital
            trip[0], trip[1], trip[14] = day, place, sequence
            row = trip[8] + 1
            count += 1
        elif why != DENIED:
            return why, place, count, capital
        place += 1
    return TAKEN, place, count, capital


def _take(
    course: Course, terms: Terms, side: int, decided: int, day: int,
    opening: int, capital: int, limit: int, trip: Any,
) -> tuple[int, float]:  # fmt: skip
    """The trip that is decided on this row, and its best price; `trip` is filled if it is taken."""
    row, rates = decided + 1, course.rates[course.table[day]]
    if row >= course.stop[day] or course.close_paise[decided] == 0 or course.open_paise[row] == 0:
        return BY_STEPS, 0.0
    low, high = course.atr_low[decided], course.atr_high[decided]
    unknown = BY_STEPS if low == high else ATR
    if not low > 0:
        return unknown, 0.0
    price = course.close_paise[decided]
    most = _most(side, price, terms)
    quantity = _shares(terms, opening, capital, most, low)
    if quantity == UNCLEAR or quantity != _shares(terms, opening, capital, most, high):
        return unknown, 0.0
    if quantity == 0:
        return DENIED, 0.0
    entry = _entered(side, price, course.open_paise[row], terms)
    if entry == 0 or entry * quantity > terms.most_turnover:
        return BY_STEPS, 0.0
    stop = _level(entry, -side, low, high, terms.stop_atr, terms)
    target = _level(entry, side, low, high, terms.target_atr, terms)
    if stop == UNCLEAR or target == UNCLEAR:
        return unknown, 0.0
    paid = _charged(entry * quantity, side < 0, rates)
    room = limit - (opening - capital) - terms.margin
    if room - abs(entry - stop) * quantity - paid <= 0:
        return BY_STEPS, 0.0
    reason, row, filled, left, level, best = _way_out(
        course, terms, side, row, day, entry, stop, target
    )
    if reason == 0 or left * quantity > terms.most_turnover:
        return BY_STEPS, 0.0
    charges = _charged(left * quantity, side > 0, rates)
    trip[2], trip[3], trip[4], trip[5], trip[6] = entry, quantity, stop, target, paid
    trip[7], trip[8], trip[9], trip[10], trip[11] = reason, row, filled, left, level
    trip[12], trip[13] = charges, (left - entry) * quantity * side - charges - paid
    return TAKEN, best


def _most(side: int, price: int, terms: Terms) -> int:
    """The most a share may deploy (`core.sizing.entry_band`)."""
    far, unit = price * (terms.band_of + terms.band), terms.band_of * terms.tick
    return (far // unit if side > 0 else -(-far // unit)) * terms.tick


def _entered(side: int, price: int, opens: int, terms: Terms) -> int:
    """`core.matching.limited_price` at the next candle's open; 0 beyond the limit."""
    taken, unit = _taken(opens, side, terms), terms.band_of * terms.tick
    if side > 0:
        most = price * (terms.band_of + terms.band) // unit * terms.tick
        return min(taken, most) if opens <= most else 0
    least = -(-price * (terms.band_of - terms.band) // unit) * terms.tick
    return max(taken, least) if opens >= least else 0


def _taken(price: int, side: int, terms: Terms) -> int:
    """`core.matching.taker_price`."""
    worse = price * (terms.slippage_of + side * terms.slippage)
    unit = terms.slippage_of * terms.tick
    steps = -(-worse // unit) if side > 0 else worse // unit
    return max(steps, 1) * terms.tick


def _shares(terms: Terms, opening: int, capital: int, most: int, atr: float) -> int:
    """`core.sizing.position_size`, with nothing else on the account; UNCLEAR beside a number."""
    backing = min(opening, capital)
    if most <= 0:
        return 0
    affordable = min(
        capital * terms.exposure // (terms.exposure_of * most),
        backing * terms.leverage // (terms.leverage_of * most),
    )
    distance = atr * terms.stop_atr
    if affordable < 1 or not distance > 0:
        return 0 if affordable < 1 else UNCLEAR
    carried = capital * terms.risk / terms.risk_of / 100 / distance
    if carried > affordable + 1:
        return affordable
    below = floor(carried)
    slack = 1e-9 * (1 + carried)
    if not slack < carried - below < 1 - slack:
        return UNCLEAR
    return min(below, affordable)


def _level(entry: int, way: int, low: float, high: float, multiple: float, terms: Terms) -> int:
    """A level of `core.exits.entry_levels`; UNCLEAR where it depends on which ATR it is."""
    at = entry / 100
    steps = nearest_steps(at + way * (low * multiple), terms.tick_rupees)
    if steps == UNCLEAR or steps != nearest_steps(at + way * (high * multiple), terms.tick_rupees):
        return UNCLEAR
    return max(steps, 1) * terms.tick


def _charged(turnover: int, sold: bool, rates: Any) -> int:
    brokerage, stt, exchange, sebi, stamp, ipft, gst = order_charges(turnover, 1, sold, rates)
    return brokerage + stt + exchange + sebi + stamp + ipft + gst


def _way_out(
    course: Course, terms: Terms, side: int, row: int, day: int, entry: int, stop: int, target: int
) -> tuple[int, int, int, int, int, float]:
    """Reason, row, row of the fill, price, level and best price; reason 0 where it is not usual.

    From the candle of the fill on: `express.Express` has the same in objects.
    """
    best, before = entry / 100, course.open[row]
    factor = terms.trail_long if side > 0 else terms.trail_short
    while row < course.stop[day]:
        low, high, close = course.low[row], course.high[row], course.close[row]
        top = high if side > 0 else low
        worst = low if side > 0 else high
        reason, level = _touched(terms, side, worst, top, stop, best * factor, target)
        if (top - best) * side > 0:
            best = top
        if reason:
            paise = level
            if jumped_over(level / 100, course.open[row], low, high, before):
                paise = course.open_paise[row]
            if reason == UNCLEAR or paise == 0:
                return 0, row, row, 0, 0, best
            return reason, row, row, _taken(paise, -side, terms), level, best
        before = close
        reason, _ = _touched(terms, side, close, close, stop, best * factor, target)
        if reason == 0 and row >= course.square_off[day]:
            reason = SQUARE_OFF
        row += 1
        if reason:
            if reason == UNCLEAR or row >= course.stop[day] or course.open_paise[row] == 0:
                return 0, row, row, 0, 0, best
            return reason, row - 1, row, _taken(course.open_paise[row], -side, terms), 0, best
    return 0, row, row, 0, 0, best


def _touched(
    terms: Terms, side: int, worst: float, top: float, stop: int, trailing: float, target: int
) -> tuple[int, int]:
    """`core.exits.level_touched` and the level; UNCLEAR if rounding the trailing one could tell."""
    steps = 0
    if (worst - trailing) * side <= terms.tick_rupees:
        steps = nearest_steps(trailing, terms.tick_rupees)
        if steps == UNCLEAR:
            return UNCLEAR, 0
        trailing = steps * terms.tick / 100
    reason = level_touched(side, worst, top, stop / 100, trailing, target / 100)
    if reason == 1:
        return reason, stop
    return reason, steps * terms.tick if reason == 2 else target
