"""Exits as tables of hand-drawn candles: which reason, at which level."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import inf, nan

import pytest
from engine_world import DAY, SYMBOL, D, at, bar
from hypothesis import assume, given
from hypothesis import strategies as st

from hftray.core.exits import (
    ExitReason,
    entry_levels,
    exit_at_price,
    exit_in_candle,
    trailing_level,
)
from hftray.core.orders import Side
from hftray.core.position import Position
from hftray.core.rules import ExitRules

STOP, TRAIL, TARGET = ExitReason.STOP_LOSS, ExitReason.TRAILING_STOP, ExitReason.TAKE_PROFIT
TICK = D("0.05")
RULES = ExitRules()


def held(side=Side.BUY, entry="1000", stop="900", target="1200", best=None):
    return Position(
        "E1", SYMBOL, side, 20, D(entry), at(5), DAY, D(stop), D(target), best or float(entry)
    )


# Levels at entry


@pytest.mark.parametrize(
    ("side", "price", "atr", "stop", "target"),
    [
        # The specification: stop 2 x ATR, target 4 x ATR from the entry.
        (Side.BUY, "1000", 50.0, "900", "1200"),
        (Side.SELL, "1000", 50.0, "1100", "800"),
        (Side.BUY, "2500.50", 10.0, "2480.50", "2540.50"),
        # Without an ATR: 1.5 % and 3 %.
        (Side.BUY, "1000", None, "985", "1030"),
        (Side.SELL, "1000", None, "1015", "970"),
        (Side.BUY, "1000", 0.0, "985", "1030"),
        (Side.BUY, "1000", nan, "985", "1030"),
        (Side.BUY, "1000", inf, "985", "1030"),
        (Side.BUY, "1000", -1.0, "985", "1030"),
        # On the tick of 5 paise.
        (Side.BUY, "1000", 1.234, "997.55", "1004.95"),
        (Side.BUY, "333.35", None, "328.35", "343.35"),
        # An ATR as large as the price leaves one tick, never zero or less.
        (Side.BUY, "100", 60.0, "0.05", "340"),
        (Side.SELL, "100", 60.0, "220", "0.05"),
    ],
)
def test_stop_loss_and_take_profit_at_entry(side, price, atr, stop, target):
    assert entry_levels(side, D(price), atr, RULES, TICK) == (D(stop), D(target))


def test_the_multiples_are_rules():
    rules = ExitRules(stop_loss_atr=1.0, take_profit_atr=3.0)
    assert entry_levels(Side.BUY, D(1000), 50.0, rules, TICK) == (D(950), D(1150))


@pytest.mark.parametrize(
    ("side", "best", "level"),
    [
        (Side.BUY, 1000.0, "990"), (Side.BUY, 1100.0, "1089"), (Side.BUY, 1001.0, "991"),
        (Side.SELL, 1000.0, "1010"), (Side.SELL, 900.0, "909"), (Side.SELL, 999.0, "1009"),
    ],
)  # fmt: skip
def test_the_trailing_stop_lies_one_percent_behind_the_best_price(side, best, level):
    assert trailing_level(held(side, best=best), RULES, TICK) == D(level)


# One price


@pytest.mark.parametrize(
    ("side", "best", "price", "reason"),
    [
        (Side.BUY, None, 1000.0, None),
        (Side.BUY, None, 990.05, None),
        (Side.BUY, None, 990.0, TRAIL),  # from the first tick on: 1 % below the entry itself
        (Side.BUY, None, 900.05, TRAIL),
        (Side.BUY, None, 900.0, STOP),  # both are touched: the stop-loss comes first
        (Side.BUY, None, 500.0, STOP),
        (Side.BUY, 1100.0, 1089.0, TRAIL),
        (Side.BUY, 1100.0, 1089.05, None),
        (Side.BUY, 1190.0, 1199.95, None),
        (Side.BUY, 1190.0, 1200.0, TARGET),
        (Side.BUY, 1190.0, 1300.0, TARGET),
        (Side.BUY, 1300.0, 1250.0, TRAIL),  # beyond the target, but the trailing stop is first
        (Side.SELL, None, 1000.0, None),
        (Side.SELL, None, 1009.95, None),
        (Side.SELL, None, 1010.0, TRAIL),
        (Side.SELL, None, 1100.0, STOP),
        (Side.SELL, None, 1500.0, STOP),
        (Side.SELL, 900.0, 909.0, TRAIL),
        (Side.SELL, 900.0, 908.95, None),
        (Side.SELL, 810.0, 800.0, TARGET),
        (Side.SELL, 700.0, 750.0, TRAIL),
    ],
)
def test_exit_at_a_price(side, best, price, reason):
    stop, target = ("900", "1200") if side is Side.BUY else ("1100", "800")
    position = held(side, stop=stop, target=target, best=best)
    assert exit_at_price(position, price, RULES, TICK) is reason


# Candles, drawn for a long entered at 1000; a short sees them mirrored around 1000.


@dataclass
class Case:
    name: str
    candle: tuple[float, float, float, float]
    reason: ExitReason | None
    level: str | None = None
    stop: str = "985"
    target: str = "1030"
    best: float = 1000.0
    trailing: float = 10.0  # percent: far away unless a case is about it
    rules: ExitRules = field(init=False)

    def __post_init__(self):
        self.rules = ExitRules(trailing_stop_percent=self.trailing)


CASES = [
    Case("quiet", (1000, 1010, 995, 1005), None),
    Case("touches the stop exactly", (1000, 1001, 985, 990), STOP, "985"),
    Case("misses the stop by a tick", (1000, 1001, 985.05, 990), None),
    Case("touches the target exactly", (1000, 1030, 999, 1020), TARGET, "1030"),
    Case("misses the target by a tick", (1000, 1029.95, 999, 1020), None),
    Case("stop and target in one candle: the stop", (1000, 1040, 980, 1035), STOP, "985"),
    Case("gaps below the stop", (970, 975, 965, 972), STOP, "985"),
    Case("gaps above the target", (1050, 1060, 1045, 1055), TARGET, "1030"),
    Case("trails", (1015, 1018, 1008, 1010), TRAIL, "1009.8", best=1020, trailing=1),
    Case("trails from the entry itself", (998, 999, 990, 995), TRAIL, "990", trailing=1),
    Case("stop and trailing in one candle: the stop",
         (995, 996, 984, 985), STOP, "985", trailing=1),
    Case("trailing and target in one candle: the trailing stop",
         (1015, 1031, 1005, 1030), TRAIL, "1009.8", best=1020, trailing=1),
    Case("all three in one candle: the stop",
         (1015, 1031, 985, 1030), STOP, "985", best=1020, trailing=1),
    Case("trailing above a stop that was passed by a gap",
         (980, 981, 979, 980), STOP, "985", best=1020, trailing=1),
    # The high comes with the candle; whether before its low is unknown, so it raises nothing yet.
    Case("the candle's own best price does not move the trailing stop",
         (1000, 1028, 1012, 1013), None, best=1000, trailing=1),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("side", list(Side))
def test_exit_in_a_closed_candle(case, side):
    o, high, low, close = case.candle
    level = None if case.level is None else D(case.level)
    stop, target, best = D(case.stop), D(case.target), case.best
    if side is Side.SELL:  # mirror everything around the entry price
        o, high, low, close = (2000 - x for x in (o, low, high, close))
        stop, target, best = D(2000) - stop, D(2000) - target, 2000 - best
        if case.reason is TRAIL:  # one percent of another best price
            level = D(str(best)) * D("1.01")
        elif level is not None:
            level = D(2000) - level
    candle = bar(2, f"{o} {high} {low} {close}")
    position = held(side, stop=str(stop), target=str(target), best=best)
    touched = exit_in_candle(position, candle, case.rules, TICK)
    assert touched == (None if case.reason is None else (case.reason, level))


prices = st.integers(1600, 2400).map(lambda half: half / 2)


@given(side=st.sampled_from(Side), best=prices, path=st.lists(prices, min_size=1, max_size=8))
def test_a_candle_exits_when_any_of_its_prices_would_and_never_less_carefully(side, best, path):
    """What the ticks of a candle would have done, the candle does too, pessimistically.

    The candle's levels are those at its open, so ticks are asked with the same best price.
    """
    position = held(side, stop="900" if side is Side.BUY else "1100",
                    target="1200" if side is Side.BUY else "800", best=best)  # fmt: skip
    reasons = [exit_at_price(position, price, RULES, TICK) for price in path]
    candle = bar(2, f"{path[0]} {max(path)} {min(path)} {path[-1]}")
    touched = exit_in_candle(position, candle, RULES, TICK)
    hit = [reason for reason in (STOP, TRAIL, TARGET) if reason in reasons]
    assert (touched[0] if touched else None) == (hit[0] if hit else None)


@given(side=st.sampled_from(Side), path=st.lists(prices, min_size=1, max_size=12))
def test_the_trailing_stop_only_ever_tightens(side, path):
    position = held(side)
    before = trailing_level(position, RULES, TICK)
    for price in path:
        position = position.improved_by(price)
        level = trailing_level(position, RULES, TICK)
        assert (level - before) * side.sign >= 0
        before = level


@given(price=st.decimals("1", "50000", places=2), atr=st.floats(0.01, 500))
def test_levels_stand_on_the_tick_and_on_their_sides_of_the_entry(price, atr):
    price = (price / TICK).to_integral_value() * TICK
    assume(price > Decimal(str(atr)) * 4)
    for side in Side:
        stop, target = entry_levels(side, price, atr, RULES, TICK)
        assert stop % TICK == target % TICK == 0
        assert (price - stop) * side.sign >= 0
        assert (target - price) * side.sign >= 0


def test_improvement_keeps_everything_but_the_best_price():
    long, short = held(Side.BUY), held(Side.SELL)
    assert long.improved_by(1001.0) == replace(long, best_price=1001.0)
    assert long.improved_by(999.0) is long
    assert short.improved_by(999.0) == replace(short, best_price=999.0)
    assert short.improved_by(1001.0) is short
