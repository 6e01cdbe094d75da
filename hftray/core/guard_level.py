"""Where the guard of a position belongs, how far it may fill, and when it is worth moving."""

from datetime import datetime
from decimal import Decimal

from hftray.core.exits import ExitReason, trailing_level
from hftray.core.money import percent_of, round_down_to_tick, round_up_to_tick
from hftray.core.orders import Side
from hftray.core.position import Position
from hftray.core.rules import ExitRules
from hftray.core.session import TradingSession


def guard_level(position: Position, rules: ExitRules, tick: Decimal) -> tuple[ExitReason, Decimal]:
    """The tighter of stop-loss and trailing stop, and which of them it is."""
    trailing = max(trailing_level(position, rules, tick), tick)
    if (trailing - position.stop_loss) * position.side.sign > 0:
        return ExitReason.TRAILING_STOP, trailing
    return ExitReason.STOP_LOSS, position.stop_loss


def guard_limit(side: Side, trigger: Decimal, rules: ExitRules, tick: Decimal) -> Decimal:
    """The worst price a guard may fill at: `guard_band_percent` beyond its trigger, on the tick."""
    reach = percent_of(trigger, rules.guard_band_percent)
    if side is Side.BUY:
        return round_up_to_tick(trigger + reach, tick)
    return max(round_down_to_tick(trigger - reach, tick), tick)


def worth_moving(
    held: Position, stands: Decimal, level: Decimal, rules: ExitRules, tick: Decimal
) -> bool:
    """Whether a guard that `stands` somewhere should be moved to `level`: never back."""
    least = percent_of(stands, rules.guard_step_percent)
    return (level - stands) * held.side.sign >= max(least, tick)


def in_time(held: Position, now: datetime, session: TradingSession | None) -> bool:
    """Whether a guard may be placed or moved: not when the position is about to go anyway."""
    if session is None or held.session_day != session.day:
        return False
    return session.opens <= now < session.square_off_at
