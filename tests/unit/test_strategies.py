"""Each strategy on candles drawn by hand: what it votes, and on which candle."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from signal_world import draw, part, random_candles

from hftray.core.candles import Candles
from hftray.strategies.comparison import above, crosses, crosses_above, crosses_below
from hftray.strategies.registry import BadStrategy, check_parameters, known_kinds, make_voters
from hftray.strategies.strategy import Strategy


def only(kind: str, **parameters: Any) -> Strategy[Any]:
    (voter,) = make_voters(kind, parameters)
    return voter


def votes(voter: Strategy[Any], candles: Candles) -> list[int]:
    """The history's votes, having checked that each is the live vote of its day."""
    history = voter.vote_history(candles)
    assert history.dtype == np.int8
    assert history.tolist() == [voter.vote(part(candles, 0, i + 1)) for i in range(len(candles))]
    return history.tolist()


ALL_VOTERS = [voter for kind in known_kinds() for voter in make_voters(kind, {})]


# Averages over 2 and 3 closes.
MA_CASES = [
    ("sma", [10, 10, 10, 10, 10, 10], [0, 0, 0, 0, 0, 0]),
    ("sma", [12, 11, 10, 9, 12, 13], [0, 0, 0, 0, 1, 0]),
    ("sma", [9, 10, 11, 12, 9, 8], [0, 0, 0, 0, -1, 0]),
    ("sma", [12, 11, 10], [0, 0, 0]),
    ("ema", [10, 10, 10, 10, 10, 10], [0, 0, 0, 0, 0, 0]),
    ("ema", [12, 11, 10, 9, 13, 14], [0, 0, 0, 0, 1, 0]),
    ("ema", [9, 10, 11, 12, 8, 7], [0, 0, 0, 0, -1, 0]),
]


@pytest.mark.parametrize(("variant", "closes", "expected"), MA_CASES)
def test_moving_averages_vote_where_they_cross(
    variant: str, closes: list[float], expected: list[int]
) -> None:
    voter = only("ma_crossover", short_period=2, long_period=3, variants=[variant])
    assert votes(voter, draw(closes)) == expected


def test_averages_that_meet_and_part_again_upwards_cross_only_when_they_part() -> None:
    voter = only("ma_crossover", short_period=2, long_period=4, variants=["sma"])
    # SMA(2) against SMA(4): below, equal (10.15 both, apart by rounding), above.
    candles = draw([10.3, 10.2, 10.1, 10.0, 10.3, 10.1, 10.2, 10.4])
    short, long = voter.columns(candles)
    gaps = [round(float(a - b), 6) for a, b in zip(short, long, strict=True)]
    assert gaps[3:] == [-0.1, 0.0, 0.075, 0.0, 0.05]
    assert votes(voter, candles) == [0, 0, 0, 0, 0, 1, 0, 1]


def test_rounding_alone_never_crosses() -> None:
    voter = only("ma_crossover", short_period=2, long_period=4, variants=["sma"])
    # On the sixth candle both means are 99.7 rupees; before and after it short is below long.
    candles = draw([99.85, 99.9, 99.75, 99.65, 99.7, 99.7, 99.6, 99.6])
    short, long = voter.columns(candles)
    gaps = (short - long)[4:7]
    assert gaps[0] < -0.05
    assert 0 < gaps[1] < 1e-12  # as floats they differ, the wrong way
    assert gaps[2] < -0.005
    # Touching from below is no cross; falling away again is one, for "at" counts as a start.
    assert votes(voter, candles) == [0, 0, 0, 0, 0, 0, -1, 0]


def test_rsi_votes_when_it_enters_a_zone_not_while_it_stays() -> None:
    voter = only("rsi", period=2)
    # Mean gain and loss (Wilder): .5/.5, .25/.75, .125/.625, .6875/.3125, 1.97/.156, 1.48/.078
    closes = [10, 11, 10, 9, 8.5, 9.75, 13, 14]
    values = [round(float(v), 1) for v in voter.columns(draw(closes))[0][2:]]
    assert values == [50.0, 25.0, 16.7, 68.8, 92.6, 95.0]
    assert votes(voter, draw(closes)) == [0, 0, 0, 1, 0, 0, -1, 0]


def test_rsi_on_its_level_is_not_beyond_it() -> None:
    closes = draw([10, 11, 10, 9])  # 50, then 25
    assert votes(only("rsi", period=2, oversold=25.0), closes) == [0, 0, 0, 0]
    assert votes(only("rsi", period=2, oversold=25.001), closes) == [0, 0, 0, 1]
    assert votes(only("rsi", period=2, oversold=50.0), closes) == [0, 0, 0, 1]  # it was "at"


def test_macd_votes_where_the_line_crosses_its_signal() -> None:
    voter = only("macd", fast_period=2, slow_period=3, signal_period=2)
    up = draw([20, 19, 18, 16, 13, 13, 15, 18, 22])
    assert votes(voter, up) == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    down = draw([10, 11, 12, 14, 17, 17, 15, 12, 8])
    assert votes(voter, down) == [0, 0, 0, 0, 0, -1, 0, 0, 0]


@pytest.mark.parametrize("price", [100.1, 17.35, 2345.65, 1234.55])
@pytest.mark.parametrize("kind", known_kinds())
def test_a_price_that_never_moves_gets_no_vote(kind: str, price: float) -> None:
    for voter in make_voters(kind, {}):
        assert not any(votes(voter, draw([price] * 90)))


def test_bollinger_votes_on_the_candle_that_leaves_the_band() -> None:
    voter = only("bollinger", period=5, deviations=1.5)
    down = draw([10, 10.5, 10, 10.5, 10, 8, 8, 10])
    assert votes(voter, down) == [0, 0, 0, 0, 0, 1, 0, 0]
    up = draw([10, 10.5, 10, 10.5, 10, 12.5, 12.5, 10])
    assert votes(voter, up) == [0, 0, 0, 0, 0, -1, 0, 0]


def test_a_close_exactly_on_the_band_is_not_beyond_it() -> None:
    # One of five off by d: mean d/5, deviation 2d/5, so the band of 2 deviations lies on d.
    voter = only("bollinger", period=5, deviations=2.0)
    for outlier in (10.35, 9.85):
        assert not any(votes(voter, draw([10.1] * 9 + [outlier])))
    assert votes(only("bollinger", period=5, deviations=1.99), draw([10.1] * 9 + [9.85]))[-1] == 1


VWAP_CASES = [
    # closes, volumes, days, expected; the mean is that of the last two candles' volumes.
    ("up on volume", [10, 9, 12], [100, 100, 400], [1, 1, 1], [0, -1, 1]),
    ("up without volume", [10, 9, 12], [100, 100, 299], [1, 1, 1], [0, -1, 0]),
    ("volume of just 1.5 means", [10, 9, 12], [100, 100, 300], [1, 1, 1], [0, -1, 0]),
    ("down needs no volume", [10, 11, 8], [100, 400, 1], [1, 1, 1], [0, 1, -1]),
    ("up across the session", [10, 9, 12], [100, 100, 400], [1, 1, 2], [0, -1, 0]),
    ("down across the session", [10, 11, 8], [100, 400, 400], [1, 1, 2], [0, 1, 0]),
    ("from the day's first candle", [10, 12, 11], [100, 100, 100], [1, 2, 2], [0, 0, -1]),
    ("nothing traded yet", [10, 12, 11], [0, 0, 100], [1, 1, 1], [0, 0, 0]),
    ("stays where it was", [10, 10, 10], [100, 900, 9_000], [1, 1, 1], [0, 0, 0]),
]


@pytest.mark.parametrize(
    ("closes", "volumes", "days", "expected"),
    [case[1:] for case in VWAP_CASES],
    ids=[case[0] for case in VWAP_CASES],
)
def test_vwap_votes_on_crosses_within_the_session(
    closes: list[float], volumes: list[float], days: list[int], expected: list[int]
) -> None:
    voter = only("vwap", volume_period=2)
    assert votes(voter, draw(closes, volumes=volumes, days=days)) == expected


def test_vwap_cannot_buy_before_the_mean_volume_is_known_but_can_sell() -> None:
    voter = only("vwap")  # 20 candles
    assert votes(voter, draw([10, 9, 12, 8], volumes=[100, 100, 9_000, 1])) == [0, -1, 0, -1]


def test_supertrend_votes_on_the_flip_only() -> None:
    closes = [100 + i for i in range(12)] + [111 - 4 * i for i in range(6)]
    closes += [91 + 5 * i for i in range(6)]
    candles = draw(closes, reach=1.0)
    voter = only("supertrend", period=3, multiplier=1.5)
    (direction,) = voter.columns(candles)
    flips = [0] + [(int(b) - int(a)) // 2 for a, b in pairwise(direction)]
    flips[3] = 0  # the first known direction follows warm-up: no flip
    assert votes(voter, candles) == flips
    assert flips.count(1) == 1
    assert flips.count(-1) == 1
    assert flips.index(-1) in (13, 14)


def test_stochastic_rsi_votes_as_long_as_both_agree() -> None:
    voter = only("stochastic_rsi", rsi_period=2, k_period=2, k_smoothing=2)
    falling = draw([20, 21, 20, 19, 18, 17, 16, 15], reach=0.1)
    assert votes(voter, falling) == [0, 0, 0, 0, 1, 1, 1, 1]
    rising = draw([20, 19, 20, 21, 22, 23, 24, 25], reach=0.1)
    assert votes(voter, rising) == [0, 0, 0, 0, -1, -1, -1, -1]


def test_stochastic_rsi_is_silent_when_only_one_agrees() -> None:
    falling = draw([20, 21, 20, 19, 18, 17, 16, 15], reach=0.1)
    short = {"rsi_period": 2, "k_period": 2, "k_smoothing": 2}
    assert not any(votes(only("stochastic_rsi", **short, rsi_oversold=0.0), falling))
    assert not any(votes(only("stochastic_rsi", **short, k_oversold=0.0), falling))


@pytest.mark.parametrize("voter", ALL_VOTERS, ids=lambda v: f"{v.kind}:{v.variant}")
@pytest.mark.parametrize("count", [0, 1, 2, 13])
def test_no_voter_votes_or_fails_before_it_is_warm(voter: Strategy[Any], count: int) -> None:
    closes = draw([100 + (-1) ** i * i for i in range(count)], volumes=0.0, reach=1.0)
    assert votes(voter, closes) == [0] * count


@pytest.mark.parametrize("voter", ALL_VOTERS, ids=lambda v: f"{v.kind}:{v.variant}")
def test_the_cheap_way_to_the_newest_two_values_is_exact(voter: Strategy[Any]) -> None:
    closes = [100 + (i * 7 % 11) + i // 9 for i in range(90)]
    candles = draw(closes, volumes=[100 + i for i in range(90)], days=[i // 30 for i in range(90)])
    for end in range(2, 91):
        past = part(candles, 0, end)
        for need in voter.inputs:
            function, arguments = need.newest_call()
            cheap = need.pick(function(past, *arguments))
            for short, long in zip(cheap, need.columns(past), strict=True):
                np.testing.assert_allclose(short[-2:], long[-2:], rtol=1e-12, err_msg=str(need))


@settings(max_examples=examples(60))
@given(candles=random_candles(), data=st.data())
def test_truncating_the_future_changes_no_vote_and_the_live_vote_is_the_last(
    candles: Candles, data: st.DataObject
) -> None:
    end = data.draw(st.integers(0, len(candles)))
    past = part(candles, 0, end)
    for voter in ALL_VOTERS:
        history = voter.vote_history(candles)[:end]
        assert voter.vote_history(past).tolist() == history.tolist()
        assert voter.vote(past) == (history[-1] if end else 0)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("odd", [NAN, INF, -INF])
def test_a_value_that_is_not_finite_is_never_above_and_never_crosses(odd: float) -> None:
    pairs = [((1.0, odd), (2.0, 0.5)), ((odd, 3.0), (2.0, 2.0)), ((odd, odd), (2.0, 2.0))]
    for a, b in [*pairs, *[(b, a) for a, b in pairs]]:
        assert not crosses_above(a, b)
        assert not crosses_below(a, b)
        arrays = [tuple(np.array([v]) for v in pair) for pair in (a, b)]
        with np.errstate(invalid="ignore"):
            assert not crosses_above(*arrays).any()
            assert not crosses_below(*arrays).any()
    assert not above(odd, 1.0)
    assert not above(1.0, odd)


BAD = [
    ("no_such", {}, "kind", "rsi"),
    ("rsi", {"period": 1}, "parameters.period", "greater than or equal to 2"),
    ("rsi", {"period": "14"}, "parameters.period", "integer"),
    ("rsi", {"overbought": 20.0}, "parameters.overbought", "greater than oversold"),
    ("rsi", {"oversold": 80.0}, "parameters.overbought", "greater than oversold"),
    ("rsi", {"weight": 0.0}, "parameters.weight", "greater than 0"),
    ("rsi", {"weight": NAN}, "parameters.weight", "finite"),
    ("rsi", {"colour": 1}, "parameters.colour", "takes weight, period, oversold, overbought"),
    ("ma_crossover", {"short_period": 50}, "parameters.long_period", "greater than short_period"),
    ("ma_crossover", {"variants": []}, "parameters.variants", "at least 1"),
    ("ma_crossover", {"variants": ["wma"]}, "parameters.variants.0", "'sma' or 'ema'"),
    ("ma_crossover", {"variants": ["sma", "sma"]}, "parameters.variants", "repeat"),
    ("macd", {"fast_period": 26}, "parameters.slow_period", "greater than fast_period"),
    ("stochastic_rsi", {"k_overbought": 5}, "parameters.k_overbought", "than k_oversold"),
]


@pytest.mark.parametrize(("kind", "raw", "field", "said"), BAD)
def test_a_bad_row_is_refused_with_the_field_and_what_is_allowed(
    kind: str, raw: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(BadStrategy) as caught:
        check_parameters(kind, raw)
    assert caught.value.field == field
    assert said in caught.value.reason
    assert str(caught.value).startswith(field)


def test_parameters_survive_json_and_take_whole_numbers_for_real_ones() -> None:
    parameters = check_parameters("ma_crossover", {"weight": 2})
    stored = parameters.model_dump(mode="json")
    assert stored["variants"] == ["sma", "ema"]
    assert check_parameters("ma_crossover", stored) == parameters


@given(
    st.lists(
        st.tuples(*[st.sampled_from([1.0, 1.0 + 4e-10, 1.0 + 3e-9, 2.0, -1.0, 0.0, np.nan, np.inf])]
                  * 4),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_both_crosses_at_once_are_the_two_of_them(rows):
    """Over columns and on one candle, with ties, infinity and nothing."""
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    a, b = (columns[0], columns[1]), (columns[2], columns[3])
    with np.errstate(invalid="ignore"):
        up, down = crosses(a, b)
    for row, (a_before, a_now, b_before, b_now) in enumerate(rows):
        one = (a_before, a_now), (b_before, b_now)
        expected = crosses_above(*one), crosses_below(*one)
        assert (bool(up[row]), bool(down[row])) == expected == crosses(*one)
