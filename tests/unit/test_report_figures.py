"""What a report works out: months, exits, shares of voters, thinned lines, bins."""

from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_world import CAPITAL, trip

from hftray.backtest.report_figures import (
    attribute,
    by_exit,
    histogram_edges,
    monthly_returns,
    outline,
)
from hftray.core.orders import Side
from hftray.core.session import IST

D = Decimal


def end_of(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), IST).replace(hour=15)


def test_a_month_is_measured_from_the_equity_it_began_with() -> None:
    curve = [
        (end_of("2024-11-28"), D(110_000)),
        (end_of("2024-12-02"), D(100_000)),
        (end_of("2024-12-31"), D(121_000)),
        (end_of("2025-02-03"), D("108900")),
    ]
    years = monthly_returns(curve, initial_capital=CAPITAL)
    assert years[2024] == pytest.approx({11: 10.0, 12: 10.0, 0: 21.0})
    assert years[2025] == pytest.approx({2: -10.0, 0: -10.0})


def test_a_ruined_account_has_no_months_after() -> None:
    curve = [(end_of("2024-11-28"), D(0)), (end_of("2024-12-02"), D(0))]
    assert monthly_returns(curve, initial_capital=CAPITAL)[2024][12] is None


def test_a_trade_is_shared_among_those_who_agreed_by_weight() -> None:
    votes = {"rsi": 1, "macd": 1, "vwap": -1, "bollinger": 0}
    shares = attribute([trip("90", votes=votes)], {"rsi": 1.0, "macd": 2.0, "bollinger": 5.0})
    assert {name: tally.net for name, tally in shares.voters.items()} == {
        "macd": D(60), "rsi": D(30), "bollinger": D(0), "vwap": D(0),
    }  # fmt: skip
    assert next(iter(shares.voters)) == "macd"
    assert shares.voters["vwap"].opposed == 1
    assert shares.voters["bollinger"].trades == 0


def test_a_short_was_wanted_by_those_who_voted_to_sell() -> None:
    shares = attribute([trip("-5", side=Side.SELL, votes={"rsi": -1, "macd": 1})], {})
    assert shares.voters["rsi"].lost == D(-5)
    assert shares.voters["macd"].trades == 0


names = st.sampled_from(["rsi", "macd", "vwap", "own"])
trades = st.builds(
    trip,
    st.integers(-10_000, 10_000).map(lambda paise: D(paise) / 100),
    votes=st.dictionaries(names, st.sampled_from([-1, 0, 1])),
    side=st.sampled_from(Side),
)


@given(st.lists(trades, max_size=20), st.dictionaries(names, st.floats(0.1, 10)))
def test_shares_add_up_to_the_pnl_of_all_trades(trips, weights) -> None:
    shares = attribute(trips, weights)
    total = sum((tally.net for tally in shares.voters.values()), shares.nobody.net)
    assert float(total) == pytest.approx(float(sum((t.exit.pnl for t in trips), D(0))))
    for tally in shares.voters.values():
        assert float(tally.won + tally.lost) == pytest.approx(float(tally.net), abs=1e-9)


def test_exits_by_reason_the_most_frequent_first() -> None:
    trips = [trip("5"), trip("-2", reason="stop_loss"), trip("-4", reason="stop_loss")]
    table = by_exit(trips)
    assert list(table) == ["stop_loss", "take_profit"]
    assert (table["stop_loss"].trades, table["stop_loss"].net) == (2, D(-6))
    assert (table["stop_loss"].win_rate, table["stop_loss"].mean) == (0.0, D(-3))


@given(st.integers(0, 2**32), st.integers(1, 2_000), st.integers(8, 200))
def test_an_outline_keeps_the_ends_and_the_extremes(seed: int, count: int, most: int) -> None:
    line = np.random.default_rng(seed).permutation(count) * 0.05
    kept = outline(line, most)
    assert len(kept) <= most
    assert (np.diff(kept) > 0).all()
    assert {kept[0], kept[-1]} == {0, count - 1}
    assert {line[kept].min(), line[kept].max()} == {line.min(), line.max()}
    assert len(kept) == count or count > most


@given(st.lists(st.integers(-(10**7), 10**7).map(lambda p: p / 100), min_size=1, max_size=300))
def test_no_bin_mixes_gains_and_losses(values: list[float]) -> None:
    edges = histogram_edges(values)
    assert np.isclose(edges, 0.0, atol=1e-12).any()
    assert edges[0] <= min(values) + 1e-9
    assert edges[-1] >= max(values) - 1e-9
    assert 1 <= len(edges) - 1 <= 102
    assert np.histogram(values, edges)[0].sum() == len(values)
