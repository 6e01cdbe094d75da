"""Rupees as Decimal: rounding to the paisa, and prices to an instrument's tick.

A float is read by its shortest decimal form (0.1 is 0.1, not 0.1000000000000000055...), so money
that passed through an indicator keeps the value a person sees.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from math import floor

PAISA = Decimal("0.01")
HUNDRED = Decimal(100)
ZERO = Decimal(0)

PRICE_FACTOR = Decimal(2)
"""A circuit band is at most 20 % around its base, so two prices of a share on one day differ by
less than the factor 1.5. What differs by this one is not in rupees, or not of the same order."""

UNCLEAR = -(1 << 62)
"""No number of ticks: float arithmetic cannot tell which it is."""

# Float arithmetic on prices leaves noise near 1e-12; rounding up or down must not act on it.
_NOISE_DIGITS = 8
_CLEAR, _CLEAR_TICK, _CLEAR_STEPS = 1e-6, 0.01, 1e8


def rupees(amount: Decimal | float) -> Decimal:
    """The amount as an unrounded Decimal; ValueError when it is not finite."""
    value = amount if isinstance(amount, Decimal) else Decimal(str(amount))
    if not value.is_finite():
        raise ValueError(f"{amount} is not an amount of money")
    return value


def paisa(amount: Decimal | float) -> Decimal:
    """The amount in rupees with two places, half a paisa away from zero."""
    if not isinstance(amount, Decimal) or not amount.is_finite():
        amount = rupees(amount)
    return amount.quantize(PAISA, ROUND_HALF_UP)


def percent_of(amount: Decimal, percent: Decimal) -> Decimal:
    """That many percent of the amount, unrounded."""
    return amount * percent * PAISA


def paisa_of(amount: Decimal, percent: Decimal) -> Decimal:
    """That many percent of an amount of money, to the paisa: `paisa(percent_of(...))` for less."""
    return (amount * percent * PAISA).quantize(PAISA, ROUND_HALF_UP)


def portion(total: Decimal, part: int, whole: int) -> Decimal:
    """The share of `total` that `part` of `whole` carries, to the paisa.

    Taking what a smaller part leaves (`portion(t, 5, 9) - portion(t, 3, 9)`) loses no paisa
    however often an amount is divided.
    """
    return paisa(total * part / whole)


def in_line(price: Decimal, other: Decimal) -> bool:
    """Whether both can be prices of one share on one day, by `PRICE_FACTOR`."""
    return other / PRICE_FACTOR < price < other * PRICE_FACTOR


def round_to_tick(price: Decimal | float, tick: Decimal) -> Decimal:
    """The nearest price on the tick; halves go up."""
    return _on_tick(price, tick, ROUND_HALF_UP)


def round_down_to_tick(price: Decimal | float, tick: Decimal) -> Decimal:
    """The highest price on the tick that is not above `price`."""
    return _on_tick(price, tick, ROUND_FLOOR)


def round_up_to_tick(price: Decimal | float, tick: Decimal) -> Decimal:
    """The lowest price on the tick that is not below `price`."""
    return _on_tick(price, tick, ROUND_CEILING)


def _on_tick(price: Decimal | float, tick: Decimal, rounding: str) -> Decimal:
    if isinstance(price, float):
        if (steps := _clear_steps(price, float(tick), rounding)) is not None:
            return steps * tick
        price = round(price, _NOISE_DIGITS)
    return (rupees(price) / tick).to_integral_value(rounding) * tick


def nearest_steps(price: float, tick: float) -> int:
    """How many ticks the nearest price on the tick makes, UNCLEAR where rounding could tell.

    Noise and float arithmetic together move a price by less than a millionth of such a tick.
    """
    steps = price / tick
    if not (tick >= _CLEAR_TICK and -_CLEAR_STEPS < steps < _CLEAR_STEPS):
        return UNCLEAR
    below = floor(steps)
    over = steps - below
    if -_CLEAR < over - 0.5 < _CLEAR:
        return UNCLEAR
    return below + (over > 0.5)


def _clear_steps(price: float, tick: float, rounding: str) -> int | None:
    """`nearest_steps`, or those next below or above; None where it is not clear which."""
    if rounding == ROUND_HALF_UP:
        nearest = nearest_steps(price, tick)
        return None if nearest == UNCLEAR else nearest
    steps = price / tick
    if not (tick >= _CLEAR_TICK and -_CLEAR_STEPS < steps < _CLEAR_STEPS):
        return None
    below = floor(steps)
    if not _CLEAR < steps - below < 1 - _CLEAR:
        return None
    return below if rounding == ROUND_FLOOR else below + 1


def rounded_share(amount: int, part: int, whole: int) -> int:
    """`amount` x `part` / `whole` to a whole number, halves up; none of them is negative."""
    return (2 * amount * part + whole) // (2 * whole)
