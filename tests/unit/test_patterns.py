import numpy as np
import pytest
import talib
from market_data import real_candles
from signal_world import draw, part

from hftray.core.patterns import PATTERN_NAMES, pattern_history, patterns


def test_all_61_patterns_of_talib_are_known() -> None:
    assert len(PATTERN_NAMES) == 61
    assert set(PATTERN_NAMES) == set(talib.get_function_groups()["Pattern Recognition"])


def test_a_drawn_bullish_engulfing_is_found_on_its_candle_only() -> None:
    candles = draw([100 - i for i in range(20)], reach=0.2)
    candles.open[:] = candles.close + 1.0
    candles.high[:] = candles.open + 0.2
    candles.open[-1], candles.close[-1] = candles.close[-2] - 0.5, candles.open[-2] + 0.5
    candles.low[-1], candles.high[-1] = candles.open[-1] - 0.2, candles.close[-1] + 0.2
    assert patterns(candles)["CDLENGULFING"] == 100
    assert "CDLENGULFING" not in patterns(part(candles, 0, 19))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_candles_hold_no_pattern(count: int) -> None:
    assert patterns(draw([100.0] * count)) == {}
    assert pattern_history(draw([100.0] * count)) == {}


@pytest.mark.market_data
def test_the_newest_candle_agrees_with_history_and_talib_on_a_real_symbol() -> None:
    candles = real_candles("ITC", 1_000)
    history = pattern_history(candles)
    assert len(history) > 20
    found = 0
    for end in range(500, 1_001, 50):
        hits = patterns(part(candles, 0, end))
        found += len(hits)
        expected = {name: values[end - 1] for name, values in history.items() if values[end - 1]}
        assert hits == expected
    assert found > 10
    hammer = talib.CDLHAMMER(candles.open, candles.high, candles.low, candles.close)
    np.testing.assert_array_equal(history["CDLHAMMER"], hammer)
