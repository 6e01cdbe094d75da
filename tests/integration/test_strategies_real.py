"""All eight votes on a real symbol, against a recomputation in plain loops that shares no code."""

import numpy as np
import pytest
from market_data import real_candles
from reference_votes import votes_by_loops
from signal_world import part

from hftray.strategies.defaults import default_strategies
from hftray.strategies.ensemble import Ensemble

pytestmark = pytest.mark.market_data

BUFFER = 375


def test_every_vote_on_a_real_symbol_equals_the_recomputation() -> None:
    candles = real_candles("ITC")
    assert len(candles) == 54 * 75
    scores, votes = Ensemble(default_strategies()).vote_history(candles)
    expected = votes_by_loops(candles)
    assert list(votes) == list(expected)
    for name, column in votes.items():
        differing = np.flatnonzero(column != np.array(expected[name]))
        assert not len(differing), (name, differing)
        assert {-1, 0, 1} == set(column.tolist()), f"{name} does not cast all its votes"
    weights = (1.0, 1.0, 0.8, 1.0, 0.7, 0.9, 1.2, 0.8)
    for i, score in enumerate(scores):
        sums = sum(w * expected[n][i] for w, n in zip(weights, expected, strict=True))
        assert score == pytest.approx(sums / 7.4)


@pytest.mark.parametrize(("symbol", "count"), [("ITC", None), ("RELIANCE", 9_000)])
def test_the_buffer_votes_as_the_whole_history_does(symbol: str, count: int | None) -> None:
    # EMA(50) still carries 2e-6 of its seed after 375 candles, so a near tie may be judged
    # differently: of 384,349 windows over all 49 symbols one does (an EMA cross of TCS), none here.
    candles = real_candles(symbol, count)
    ensemble = Ensemble(default_strategies())
    scores, history = ensemble.vote_history(candles)
    for i in range(BUFFER - 1, len(candles)):
        vote = ensemble.vote(part(candles, i + 1 - BUFFER, i + 1))
        assert vote.votes == {name: column[i] for name, column in history.items()}, i
        assert vote.score == scores[i]


def test_any_prefix_votes_as_history_says_bit_for_bit() -> None:
    candles = real_candles("SBIN")
    ensemble = Ensemble(default_strategies())
    scores, history = ensemble.vote_history(candles)
    for end in np.random.default_rng(3).integers(1, len(candles), 150).tolist():
        vote = ensemble.vote(part(candles, 0, end))
        assert vote.votes == {name: column[end - 1] for name, column in history.items()}, end
        assert vote.score == scores[end - 1]
        for voter in ensemble.voters:
            assert voter.strategy.vote(part(candles, 0, end)) == vote.votes[voter.name]
