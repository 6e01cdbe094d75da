"""Where a position is closed: stop-loss, trailing stop, take-profit.

When several levels are touched at once the order is stop-loss, trailing stop, take-profit: the
pessimistic reading. Levels are Decimal rupees on the instrument's tick.
"""

from decimal import Decimal
from enum import StrEnum
from math import isfinite

import numpy as np

from hftray.core.candles import Floats
from hftray.core.market import Candle
from hftray.core.money import round_to_tick
from hftray.core.orders import Side
from hftray.core.position import Position
from hftray.core.rules import ExitRules

_SLACK_TICKS = 2  # levels are rounded to the tick


class ExitReason(StrEnum):
    """Why a position is closed."""

    STOP_LOSS = "stop_loss"
    TRAILING_STOP = "trailing_stop"
    TAKE_PROFIT = "take_profit"
    SQUARE_OFF = "square_off"
    KILL_SWITCH = "kill_switch"
    GUARD = "guard"  # the stop order at the broker, see core.guard
    SETTLED = "settled"  # by a person, who says at which price it left; no order of ours


def stop_distance(price: float, atr: float | None, rules: ExitRules) -> float:
    """Rupees between entry and stop-loss: 2 ATR, or the fallback percentage without an ATR."""
    if atr is None or not isfinite(atr) or atr <= 0:
        return price * rules.stop_loss_percent / 100
    return atr * rules.stop_loss_atr


def target_distance(price: float, atr: float | None, rules: ExitRules) -> float:
    """Rupees between entry and take-profit: 4 ATR, or the fallback percentage without an ATR."""
    if atr is None or not isfinite(atr) or atr <= 0:
        return price * rules.take_profit_percent / 100
    return atr * rules.take_profit_atr


def entry_levels(
    side: Side, price: Decimal, atr: float | None, rules: ExitRules, tick: Decimal
) -> tuple[Decimal, Decimal]:
    """Stop-loss and take-profit of a position entered at `price`; never below one tick."""
    at = float(price)
    stop = round_to_tick(at - side.sign * stop_distance(at, atr, rules), tick)
    target = round_to_tick(at + side.sign * target_distance(at, atr, rules), tick)
    return max(stop, tick), max(target, tick)


def trailing_level(position: Position, rules: ExitRules, tick: Decimal) -> Decimal:
    """1 % (by default) behind the best price since entry."""
    return round_to_tick(_trailing(position, rules), tick)


def trailing_factor(sign: int, rules: ExitRules) -> float:
    """What the best price is multiplied by for the trailing stop, before it is rounded."""
    return 1 - sign * rules.trailing_stop_percent / 100


def _trailing(position: Position, rules: ExitRules) -> float:
    return position.best_price * trailing_factor(position.side.sign, rules)


def level_touched(
    sign: int, worst: float, best: float, stop: float, trailing: float, target: float
) -> int:
    """Which of the levels, all in rupees, prices from `worst` to `best` reached.

    0 is none; the others are places in `LEVELS`. `sign` is that of the position's side.
    """
    if (worst - stop) * sign <= 0:
        return 1
    if (worst - trailing) * sign <= 0:
        return 2
    return 3 if (best - target) * sign >= 0 else 0


LEVELS = (None, ExitReason.STOP_LOSS, ExitReason.TRAILING_STOP, ExitReason.TAKE_PROFIT)
"""Reasons by what `level_touched` says."""


def _reached(
    position: Position, worst: float, best: float, rules: ExitRules, tick: Decimal
) -> tuple[ExitReason, Decimal] | None:
    sign, at = position.side.sign, _trailing(position, rules)
    trailing = None
    # Rounding moves the level by half a tick, so mostly it need not be rounded to tell.
    if (worst - at) * sign <= float(tick):
        trailing = trailing_level(position, rules, tick)
        at = float(trailing)
    stop, target = position.stop_loss, position.take_profit
    place = level_touched(sign, worst, best, float(stop), at, float(target))
    reason, level = LEVELS[place], (None, stop, trailing, target)[place]
    return None if reason is None or level is None else (reason, level)


def exit_at_price(
    position: Position, price: float, rules: ExitRules, tick: Decimal
) -> ExitReason | None:
    """Which level the present price has reached, if any."""
    reached = _reached(position, price, price, rules, tick)
    return None if reached is None else reached[0]


def exit_in_candle(
    position: Position, candle: Candle, rules: ExitRules, tick: Decimal
) -> tuple[ExitReason, Decimal] | None:
    """Which level a closed candle touched, and that level.

    The trailing stop is the one that stood when the candle opened: whether the candle's best
    price came before its worst is not known. A candle that closes beyond a trailing stop raised
    by its own best price is caught by `exit_at_price` on the close.
    """
    return exit_within(position, candle.low, candle.high, rules, tick)


def exit_within(
    position: Position, low: float, high: float, rules: ExitRules, tick: Decimal
) -> tuple[ExitReason, Decimal] | None:
    """`exit_in_candle` of a closed candle between these prices."""
    if position.side is Side.BUY:
        return _reached(position, low, high, rules, tick)
    return _reached(position, high, low, rules, tick)


def first_touch(
    position: Position, high: Floats, low: Floats, close: Floats, rules: ExitRules, tick: Decimal
) -> tuple[int, float]:
    """The place of the first of these closed candles that could end the position.

    Their number where none could; and the position's best price before that candle. It may name a
    candle that does not end it, but never passes over one that does: what happens on it,
    `exit_in_candle` and `exit_at_price` decide. Where the position is short, all is mirrored.
    """
    sign = position.side.sign
    best, worst = (high, low) if sign > 0 else (-low, -high)
    count = len(best)
    seen = np.empty(count + 1)
    seen[0], seen[1:] = position.best_price * sign, best
    np.maximum.accumulate(seen, out=seen)
    trailing = seen * trailing_factor(sign, rules)
    trailing += float(tick) * _SLACK_TICKS
    touched = worst <= np.maximum(trailing[:-1], float(position.stop_loss) * sign)
    touched |= (close if sign > 0 else -close) <= trailing[1:]
    touched |= best >= float(position.take_profit) * sign
    place = int(touched.argmax()) if count else 0
    if count and not touched[place]:
        place = count
    return place, seen.item(place) * sign
