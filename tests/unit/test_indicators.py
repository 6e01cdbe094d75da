from statistics import fmean, pstdev

import numpy as np
import pytest
from market_data import real_candles
from signal_world import draw, part

from hftray.core import indicators
from hftray.core.errors import NotFound
from hftray.core.indicators import INDICATORS, indicator_columns

ZIGZAG = draw([100 + (i * 7 % 11) for i in range(80)], reach=0.5)


@pytest.mark.parametrize("name", INDICATORS)
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_too_short_an_input_gives_nan_columns_of_its_own_length(name: str, count: int) -> None:
    for column in INDICATORS[name](part(ZIGZAG, 0, count)).values():
        assert column.dtype == np.float64
        assert len(column) == count
        assert name == "vwap" or np.isnan(column).all()


@pytest.mark.parametrize("name", INDICATORS)
def test_every_indicator_is_known_at_the_end_of_a_long_input(name: str) -> None:
    for column in INDICATORS[name](ZIGZAG).values():
        assert np.isfinite(column[-1])


def test_a_request_names_indicators_and_gets_their_columns() -> None:
    columns = indicator_columns(["rsi", "macd"], ZIGZAG)
    assert list(columns) == ["rsi", "macd", "macd_signal", "macd_histogram"]
    assert columns["macd_histogram"][-1] == columns["macd"][-1] - columns["macd_signal"][-1]


def test_an_unknown_indicator_is_not_found_and_the_known_ones_are_named() -> None:
    with pytest.raises(NotFound, match=r"'rsii'.*known are .*rsi, macd"):
        indicator_columns(["rsii"], ZIGZAG)


def test_averages_and_bands_are_those_of_the_textbook() -> None:
    closes = ZIGZAG.close.tolist()
    assert indicators.sma(ZIGZAG, 20)[-1] == pytest.approx(fmean(closes[-20:]))
    upper, middle, lower = indicators.bollinger(ZIGZAG)
    deviation = pstdev(closes[-20:])
    assert middle[-1] == pytest.approx(fmean(closes[-20:]))
    assert upper[-1] == pytest.approx(middle[-1] + 2 * deviation)
    assert lower[-1] == pytest.approx(middle[-1] - 2 * deviation)


def test_stochastic_k_is_smoothed_and_williams_mirrors_the_raw_one() -> None:
    high, low, close = ZIGZAG.high, ZIGZAG.low, ZIGZAG.close

    def raw(i: int) -> float:
        bottom, top = low[i - 13 : i + 1].min(), high[i - 13 : i + 1].max()
        return float(100 * (close[i] - bottom) / (top - bottom))

    assert indicators.stochastic(ZIGZAG)[0][-1] == pytest.approx(
        fmean(raw(i) for i in (77, 78, 79))
    )
    assert indicators.williams_r(ZIGZAG)[-1] == pytest.approx(raw(79) - 100)


def test_rsi_is_unknown_while_the_price_has_never_moved() -> None:
    values = indicators.rsi(draw([50.0] * 20 + [49.0, 49.0]))
    assert np.isnan(values[:20]).all()
    assert values[20:].tolist() == [0.0, 0.0]
    assert np.isnan(indicators.rsi(draw([50.0] * 40))).all()
    assert indicators.rsi(draw(range(60, 30, -1)))[14] == 0.0  # it fell from the first candle on


def test_vwap_starts_anew_with_each_session() -> None:
    candles = draw([10, 20, 40, 80], volumes=[1, 3, 2, 2], days=[1, 1, 2, 2])
    assert indicators.vwap(candles).tolist() == [10.0, 17.5, 40.0, 60.0]


def test_vwap_weighs_the_typical_price() -> None:
    candles = draw([10, 20], volumes=[1, 1])
    candles.high[1] = 23.0
    assert indicators.vwap(candles).tolist() == [10.0, 15.5]


def test_vwap_is_unknown_until_the_session_has_traded() -> None:
    candles = draw([10, 10, 12, 13], volumes=[5, 0, 0, 1], days=[1, 2, 2, 2])
    assert indicators.vwap(candles).tolist() == pytest.approx([10, np.nan, np.nan, 13], nan_ok=True)
    assert indicators.vwap_of_session(candles)[-2:].tolist() == pytest.approx(
        [np.nan, 13], nan_ok=True
    )


@pytest.mark.parametrize("count", range(2, 9))
def test_the_short_way_to_vwap_ends_as_the_long_one(count: int) -> None:
    candles = part(
        draw(range(10, 18), volumes=range(1, 9), days=[1, 1, 1, 2, 2, 2, 3, 4]), 0, count
    )
    assert (
        indicators.vwap_of_session(candles)[-2:].tolist() == indicators.vwap(candles)[-2:].tolist()
    )


def test_supertrend_direction_follows_the_side_of_the_line() -> None:
    candles = draw([100 + i for i in range(30)] + [130 - 3 * i for i in range(30)], reach=0.5)
    line, direction = indicators.supertrend(candles)
    assert direction[:10].tolist() == [0] * 10
    assert set(direction[10:].tolist()) == {1, -1}
    assert ((candles.close > line) == (direction == 1))[10:].all()


@pytest.mark.market_data
def test_nothing_looks_ahead_on_a_real_symbol() -> None:
    candles = real_candles("ITC", 700)
    whole = indicator_columns(INDICATORS, candles)
    for end in (30, 75, 76, 333, 699):
        for name, column in indicator_columns(INDICATORS, part(candles, 0, end)).items():
            np.testing.assert_array_equal(column, whole[name][:end], err_msg=name)
