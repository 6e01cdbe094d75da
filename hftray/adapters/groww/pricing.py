"""Prices of orders: marketable, on the tick, within the band that the exchange accepts.

No bare market order is sent: brokers turn those away or into limits of their own. An order that
should trade at once is a limit order some percent beyond the last price, so that what it may cost
is known before it is sent. Prices are Decimal rupees, bands percent of a price.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from hftray.adapters.groww.wire import CircuitLimits
from hftray.core.errors import OrderRejected
from hftray.core.market import Instrument
from hftray.core.money import percent_of, round_down_to_tick, round_to_tick, round_up_to_tick
from hftray.core.orders import Side


@dataclass(frozen=True, slots=True)
class OrderPrice:
    """What goes into an order; `at_circuit` is the circuit limit that cut the price, if one did."""

    limit: Decimal
    trigger: Decimal | None = None
    at_circuit: Decimal | None = None


NO_LIMITS = CircuitLimits(None, None)


def marketable(
    last: Decimal, side: Side, instrument: Instrument, percent: Decimal, band: CircuitLimits
) -> OrderPrice:
    """The limit of an order that should trade at once when the market stands at `last`.

    It lies at most `percent` beyond the last price, never short of it, and inside the circuit
    band: at the circuit limit the order rests, first in line, until somebody trades there.
    """
    tick = instrument.tick_size
    edge = _inwards(side)(last + side.sign * percent_of(last, percent), tick)
    reaching = _outwards(side)(last, tick)
    limit = max(edge, reaching) if side is Side.BUY else max(min(edge, reaching), tick)
    return _cut(OrderPrice(limit), side, instrument, band)


def entry_price(
    limit: Decimal, side: Side, instrument: Instrument, band: CircuitLimits
) -> OrderPrice:
    """A given limit as it can be sent: never beyond it, on the tick, inside the circuit band.

    OrderRejected when the whole band lies beyond it: the exchange would take it at no price.
    """
    price = _inwards(side)(limit, instrument.tick_size)
    if price <= 0:
        raise OrderRejected(f"limit price {limit} is below one tick of {instrument.tick_size}")
    nearest = _furthest(side.opposite, band)
    if nearest is not None and (nearest - price) * side.sign > 0:
        raise OrderRejected(f"limit price {limit} lies outside the circuit limit {nearest}")
    return _cut(OrderPrice(price), side, instrument, band)


def stop_price(
    trigger: Decimal,
    limit: Decimal | None,
    side: Side,
    instrument: Instrument,
    percent: Decimal,
    band: CircuitLimits,
) -> OrderPrice:
    """Trigger and limit of a stop; without a limit it may trade `percent` beyond its trigger.

    The limit is cut at the circuit limit, but never lies before the trigger, which the exchange
    would refuse. OrderRejected when the trigger is not a price or lies outside the band.
    """
    tick = instrument.tick_size
    level = round_to_tick(trigger, tick)
    if level <= 0:
        raise OrderRejected(f"trigger {trigger} is below one tick of {tick}")
    furthest = _furthest(side, band)
    if furthest is not None and (level - furthest) * side.sign > 0:
        raise OrderRejected(f"trigger {trigger} lies outside the circuit limit {furthest}")
    worst = level + side.sign * percent_of(level, percent) if limit is None else limit
    edge = _inwards(side)(worst, tick)
    reaching = max(edge, level) if side is Side.BUY else max(min(edge, level), tick)
    return _cut(OrderPrice(reaching, level), side, instrument, band)


def _cut(price: OrderPrice, side: Side, instrument: Instrument, band: CircuitLimits) -> OrderPrice:
    furthest = _furthest(side, band)
    if furthest is None or (price.limit - furthest) * side.sign <= 0:
        return price
    # The circuit limit itself lies on the tick; where it does not, stay inside.
    return OrderPrice(_inwards(side)(furthest, instrument.tick_size), price.trigger, furthest)


def _furthest(side: Side, band: CircuitLimits) -> Decimal | None:
    """The circuit limit a price moves towards when that side trades worse."""
    return band.upper if side is Side.BUY else band.lower


def _inwards(side: Side) -> Callable[[Decimal, Decimal], Decimal]:
    """Rounding that never makes a limit worse for whoever trades."""
    return round_down_to_tick if side is Side.BUY else round_up_to_tick


def _outwards(side: Side) -> Callable[[Decimal, Decimal], Decimal]:
    """Rounding that keeps a limit marketable."""
    return round_up_to_tick if side is Side.BUY else round_down_to_tick
