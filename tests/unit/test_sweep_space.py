"""What `--param` may say, and what a set does to the voters' rows and the rules."""

from decimal import Decimal

import pytest

from hftray.backtest.space import Space
from hftray.core.errors import ConfigError
from hftray.core.rules import TradingRules
from hftray.strategies.defaults import default_strategies
from hftray.strategies.registry import BadStrategy


def space(*texts: str) -> Space:
    return Space.parse(texts, default_strategies(), TradingRules())


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("rsi.period=5:8", (5, 6, 7, 8)),
        ("rsi.period=5:10:2", (5, 7, 9)),
        ("rsi.period=14", (14,)),
        ("rsi.weight=0.5,1", (0.5, 1.0)),
        ("exits.trailing_stop_percent=0.1:0.3:0.1", (0.1, 0.2, 0.3)),
        ("risk.leverage=1:2:0.5", (1.0, 1.5, 2.0)),
        ("risk.max_trades_per_day=10,20", (10, 20)),
        ("signals.threshold=0.2,0.3", (0.2, 0.3)),
        ("ma_crossover.variants=sma,sma+ema", ("sma", "sma+ema")),
    ],
)
def test_values_are_those_written(text: str, values: tuple[object, ...]) -> None:
    (dimension,) = space(text).dimensions
    assert dimension.values == values
    assert [type(value) for value in dimension.values] == [type(value) for value in values]


def test_a_range_of_fractions_without_a_step_is_continuous() -> None:
    (dimension,) = space("exits.stop_loss_atr=1:3").dimensions
    assert (dimension.values, dimension.low, dimension.high) == ((), 1.0, 3.0)
    with pytest.raises(ConfigError, match=r"exits\.stop_loss_atr=1:3: a grid needs a step"):
        space("rsi.period=5:8", "exits.stop_loss_atr=1:3").require_grid()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rsi.perod=5", "rsi.perod: unknown; rsi has weight, period, oversold, overbought"),
        ("rsj.period=5", "strategies of this run are bollinger, ma_crossover, macd, rsi"),
        ("signals.atr_period=5", "signals has threshold"),
        ("exits.stop=5", "exits has stop_loss_atr, take_profit_atr"),
        ("rsi.period=5:300", "less than or equal to 250 (got '300')"),
        ("rsi.period=1:5", "greater than or equal to 2 (got '1')"),
        ("rsi.period=5.5", "valid integer"),
        ("rsi.period=5:9:0.5", "whole numbers only"),
        ("rsi.period=9:5", "expected low <= high"),
        ("rsi.period=5:9:0", "one step above 0"),
        ("rsi.period=5:9:1:1", "one step above 0"),
        ("rsi.period=a:b", "expected low:high"),
        ("rsi.period=5,5", "listed twice"),
        ("rsi.period", "expected name=low:high"),
        ("rsi.period=", "expected name=low:high"),
        ("rsi.oversold=nan", "less than or equal to 100"),
        ("rsi.oversold=0:100:0.0001", "1000001 values; at most"),
        ("ma_crossover.variants=sma:ema", "not a number"),
        ("ma_crossover.variants=wma", "Input should be 'sma' or 'ema'"),
        ("exits.stop_loss_atr=0:2:1", "greater than 0"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        space(text)
    assert text.split("=")[0] in str(raised.value)
    assert says in str(raised.value)


def test_a_parameter_is_given_once_and_at_least_one_is() -> None:
    with pytest.raises(ConfigError, match="twice"):
        space("rsi.period=5", "rsi.period=6")
    with pytest.raises(ConfigError, match="at least one"):
        space()


def test_a_switched_off_strategy_cannot_be_varied() -> None:
    rows = [row | {"is_active": row["kind"] != "rsi"} for row in default_strategies()]
    with pytest.raises(ConfigError, match="'rsi' is not varied"):
        Space.parse(["rsi.period=5"], rows, TradingRules())


def test_a_set_changes_what_it_names_and_nothing_else() -> None:
    varied = space("rsi.period=5:30", "ma_crossover.variants=sma,ema", "exits.stop_loss_atr=1:3",
                   "risk.leverage=1:2:0.1", "signals.threshold=0.1:0.5")  # fmt: skip
    chosen = {
        "rsi.period": 9, "ma_crossover.variants": "ema", "exits.stop_loss_atr": 1.5,
        "risk.leverage": 1.1, "signals.threshold": 0.25,
    }  # fmt: skip
    rows, rules = varied.applied(chosen)
    before = {row["kind"]: row["parameters"] for row in default_strategies()}
    after = {row["kind"]: row["parameters"] for row in rows}
    assert after.pop("rsi") == before.pop("rsi") | {"period": 9}
    assert after.pop("ma_crossover") == before.pop("ma_crossover") | {"variants": ["ema"]}
    assert after == before
    assert rules.exits.stop_loss_atr == 1.5
    assert rules.risk.leverage == Decimal("1.1")  # as written, not its nearest float
    assert rules.signals.threshold == 0.25
    assert rules.exits.take_profit_atr == TradingRules().exits.take_profit_atr
    assert rules.session == TradingRules().session


def test_values_that_do_not_go_together_are_no_set() -> None:
    varied = space("ma_crossover.short_period=5:60")
    with pytest.raises(BadStrategy, match="greater than short_period"):
        varied.applied({"ma_crossover.short_period": 50})


def test_the_size_is_the_product_of_the_steps() -> None:
    assert space("rsi.period=5:8", "rsi.weight=0.5,1").size == 8
    assert space("rsi.period=5:8", "exits.stop_loss_atr=1:3").size is None
