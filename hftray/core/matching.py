"""How an order meets a simulated market: the one price rule of simulation, replay and backtest.

An order trades at the first price after it was decided (the next tick, or the next candle's open),
a little worse for its slippage. An exit whose level was touched inside a closed candle trades at
that level, or at the open when the market had jumped over it. A stop order that rests at the
exchange does the same, within its limit. Chance (refusals, partial fills) is a function of the
order's reference, so the same orders always meet the same fate.

Market prices come as float rupees, fills leave as Decimal rupees on the instrument's tick.
Slippage is in basis points (hundredths of a percent) of the price.
"""

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from math import nan
from typing import Protocol

from hftray.core.market import Candle, Instrument
from hftray.core.money import round_down_to_tick, round_to_tick, round_up_to_tick, rupees
from hftray.core.orders import Order, Side

AVERAGE_STEP = Decimal("0.0001")
_BASIS_POINTS = Decimal(10_000)


def taker_price(
    price: Decimal | float, side: Side, instrument: Instrument, *, slippage_bps: float
) -> Decimal:
    """What whoever takes `price` pays or gets: worse by the slippage, rounded against them."""
    worse = _quoted(price) * _worsening(side, slippage_bps)
    round_against = round_up_to_tick if side is Side.BUY else round_down_to_tick
    return max(round_against(worse, instrument.tick_size), instrument.tick_size)


def fill_price(
    order: Order, price: float, instrument: Instrument, *, slippage_bps: float
) -> Decimal | None:
    """The fill when the market stands at `price`; None when the order's limit forbids it.

    The slippage never carries a fill beyond the limit.
    """
    side, limit = order.side, order.limit_price
    return limited_price(price, side, limit, instrument, slippage_bps=slippage_bps)


def limited_price(
    price: float, side: Side, limit: Decimal | None, instrument: Instrument, *, slippage_bps: float
) -> Decimal | None:
    """`fill_price` of whatever has this side and limit."""
    taken = taker_price(price, side, instrument, slippage_bps=slippage_bps)
    if limit is None:
        return taken
    if side is Side.BUY:
        most = round_down_to_tick(limit, instrument.tick_size)
        return min(taken, most) if _quoted(price) <= most else None
    least = round_up_to_tick(limit, instrument.tick_size)
    return max(taken, least) if _quoted(price) >= least else None


def level_price(level: Decimal, candle: Candle, before: float | None) -> float:
    """Where the market traded when it reached `level` inside `candle`.

    `before` is the last price at which the level was known to be untouched: the previous close,
    or the open at which the position was entered in this very candle. Does the level lie between
    it and the open, the market jumped over the level and the open is the first price there was;
    that holds for stops (worse than the level) and for targets (better) alike. Without `before`,
    only a level outside the candle counts as jumped over.
    """
    at, known = float(level), nan if before is None else before
    jumped = jumped_over(at, candle.open, candle.low, candle.high, known)
    return candle.open if jumped else at


def jumped_over(at: float, opened: float, low: float, high: float, before: float) -> bool:
    """Whether a candle's market came to the level by a jump; `before` as there, NaN for unknown."""
    return (before - at) * (opened - at) <= 0 or not low <= at <= high


def trigger_price(
    order: Order,
    candle: Candle,
    instrument: Instrument,
    *,
    before: float | None,
    slippage_bps: float,
) -> Decimal:
    """The fill of an order whose trigger was touched inside `candle` (see `level_price`)."""
    if order.trigger is None:
        raise ValueError(f"order {order.reference} has no trigger")
    reached = level_price(order.trigger, candle, before)
    return taker_price(reached, order.side, instrument, slippage_bps=slippage_bps)


def stop_market(order: Order, candle: Candle, *, before: float | None) -> float | None:
    """Where the market stood when it reached a resting stop order's trigger inside `candle`.

    None when it did not; `before` as for `level_price`. A tick is a candle of one price.
    """
    if order.trigger is None:
        raise ValueError(f"stop order {order.reference} has no trigger")
    worst = candle.high if order.side is Side.BUY else candle.low
    if (_quoted(worst) - order.trigger) * order.side.sign < 0:
        return None
    return level_price(order.trigger, candle, before)


def refused(reference: str, *, rate: float, seed: int) -> bool:
    """Whether the simulated exchange refuses the order; `rate` is the share it refuses."""
    return rate > 0 and _chance(f"{seed}|refuse|{reference}") < rate


def first_part(reference: str, quantity: int, *, rate: float, seed: int) -> int:
    """How many shares the first fill brings: all of them, or fewer for `rate` of the orders."""
    if quantity < 2 or rate <= 0 or _chance(f"{seed}|part|{reference}") >= rate:
        return quantity
    return 1 + int(_chance(f"{seed}|size|{reference}") * (quantity - 1))


class Traded(Protocol):
    """Shares at a price."""

    @property
    def quantity(self) -> int:
        """Shares."""
        ...

    @property
    def price(self) -> Decimal:
        """Rupees a share."""
        ...


def average_price(executions: Iterable[Traded]) -> Decimal | None:
    """Mean price by shares, to a hundredth of a paisa; None without executions."""
    fills = list(executions)
    shares = sum(fill.quantity for fill in fills)
    if not shares:
        return None
    paid = sum((fill.price * fill.quantity for fill in fills), Decimal(0))
    return round_to_tick(paid / shares, AVERAGE_STEP)


@lru_cache(maxsize=64)
def _worsening(side: Side, slippage_bps: float) -> Decimal:
    return 1 + side.sign * rupees(slippage_bps) / _BASIS_POINTS


def _quoted(price: Decimal | float) -> Decimal:
    # Float arithmetic leaves noise near 1e-12, and rounding against the taker must not act on it.
    return rupees(round(price, 8) if isinstance(price, float) else price)


def _chance(text: str) -> float:
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
