"""How many shares one trade may take, and between which prices."""

import math
from decimal import ROUND_FLOOR, Decimal

from hftray.core.money import ZERO, percent_of, round_down_to_tick, round_up_to_tick, rupees
from hftray.core.orders import Side


def position_size(
    *,
    capital: Decimal,
    risk_percent: Decimal,
    atr: float | None,
    stop_multiple: float,
    price: Decimal,
    fallback_stop_percent: float,
    free: Decimal,
    max_exposure_percent: Decimal,
) -> int:
    """Shares such that a stop-out loses `risk_percent` of capital, cut to what is affordable.

    shares = floor(capital x risk % / (ATR x stop_multiple)), as the specification sizes; without
    an ATR (None, NaN, 0) the stop lies `fallback_stop_percent` of the price away. The result is
    cut to `free` rupees of exposure (leverage already applied) and to `max_exposure_percent` of
    capital. `price` is the most a share may cost, in rupees. 0 means no trade.
    """
    exposure = min(free, percent_of(capital, max_exposure_percent))
    if price <= ZERO or exposure < price:
        return 0
    distance = _stop_distance(atr, stop_multiple, price, fallback_stop_percent)
    if distance <= ZERO:
        return 0
    shares = min(percent_of(capital, risk_percent) / distance, exposure / price)
    return max(0, int(shares.to_integral_value(ROUND_FLOOR)))


def _stop_distance(
    atr: float | None, stop_multiple: float, price: Decimal, fallback_stop_percent: float
) -> Decimal:
    if atr is None or not math.isfinite(atr) or atr <= 0.0:
        return percent_of(price, rupees(fallback_stop_percent))
    return rupees(atr) * rupees(stop_multiple)


def entry_band(
    side: Side, price: float, *, percent: Decimal, tick: Decimal
) -> tuple[Decimal, Decimal]:
    """An entry's limit price, and the most one share may deploy when it fills; both on the tick.

    The limit lies `percent` beyond the decision price, rounded towards it. A BUY never fills
    above its limit, so the limit is also the most a share costs. A SELL's limit bounds the fill
    from below only, and a short filled higher deploys more: its most is the far edge above.
    """
    decided = rupees(price)
    reach = percent_of(decided, percent)
    if side is Side.BUY:
        limit = round_down_to_tick(decided + reach, tick)
        return limit, limit
    return round_up_to_tick(decided - reach, tick), round_up_to_tick(decided + reach, tick)
