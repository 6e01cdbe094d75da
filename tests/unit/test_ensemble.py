"""The weighted vote, with the specification's numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from signal_world import draw, part, random_candles

from hftray.core.candles import Candles
from hftray.core.events import Decision, Vote
from hftray.strategies.comparison import Pair, Truth
from hftray.strategies.defaults import default_strategies
from hftray.strategies.ensemble import Ensemble
from hftray.strategies.registry import BadStrategy, known_kinds, make_voters
from hftray.strategies.strategy import CLOSE, Input, Strategy

ROWS = [{"id": i, **row} for i, row in enumerate(default_strategies(), start=1)]
CANDLES = draw([100 + (i * 7 % 11) for i in range(90)], volumes=100.0, reach=0.5)
TWO = draw([10.0, 11.0])


def row(kind: str, row_id: int, is_active: bool = True, **parameters: Any) -> dict[str, Any]:
    return {
        "id": row_id, "name": kind, "kind": kind, "is_active": is_active, "parameters": parameters
    }  # fmt: skip


class Decided(Strategy[Any]):
    """Votes what the test says."""

    said = 0

    def needs(self) -> tuple[Input, ...]:
        return (CLOSE,)

    def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
        ((_, now),) = columns
        return (now > 0) & (self.said == 1), (now > 0) & (self.said == -1)


def decided(monkeypatch: pytest.MonkeyPatch, votes: dict[str, int], rows: Any = ROWS) -> Ensemble:
    """An ensemble whose voters, by kind or kind:variant, vote as told; the rest say 0."""

    def voters(kind: str, raw: Any) -> tuple[Strategy[Any], ...]:
        stubs = []
        for real in make_voters(kind, raw):
            stub = Decided(real.parameters, real.variant)
            name = f"{kind}:{real.variant}" if real.variant else kind
            stub.said = votes.get(name, 0)
            stubs.append(stub)
        return tuple(stubs)

    monkeypatch.setattr("hftray.strategies.ensemble.make_voters", voters)
    return Ensemble(rows)


TREND = ("ma_crossover:sma", "ma_crossover:ema", "macd", "supertrend")


@pytest.mark.parametrize(
    ("side", "decision"), [(1, Decision.BUY), (-1, Decision.SELL), (0, Decision.HOLD)]
)
def test_the_example_of_the_specification(
    monkeypatch: pytest.MonkeyPatch, side: int, decision: Decision
) -> None:
    vote = decided(monkeypatch, dict.fromkeys(TREND, side)).vote(TWO)
    assert vote.score == pytest.approx(side * 4.2 / 7.4)
    assert round(vote.score, 2) == side * 0.57
    assert vote.decision is decision
    assert vote.votes == {name: side if name in TREND else 0 for name in vote.votes}
    assert len(vote.votes) == 8


def test_the_heaviest_agreeing_voter_names_the_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    supertrend = 6
    assert ROWS[supertrend - 1]["kind"] == "supertrend"
    assert decided(monkeypatch, dict.fromkeys(TREND, 1)).vote(TWO).strategy_id == supertrend
    against = dict.fromkeys(known_kinds(), 1) | {"supertrend": -1}
    assert decided(monkeypatch, against).vote(TWO).strategy_id == 3  # MACD, the heaviest left
    assert decided(monkeypatch, {}).vote(TWO).strategy_id is None


@pytest.mark.parametrize(
    ("weights", "decision"),
    [((0.31, 0.69), Decision.BUY), ((0.3, 0.7), Decision.HOLD), ((0.29, 0.71), Decision.HOLD)],
)
def test_the_score_must_be_beyond_the_threshold(
    monkeypatch: pytest.MonkeyPatch, weights: tuple[float, float], decision: Decision
) -> None:
    rows = [row("rsi", 1, weight=weights[0]), row("macd", 2, weight=weights[1])]
    assert decided(monkeypatch, {"rsi": 1}, rows).vote(TWO).decision is decision
    mirrored = decision if decision is Decision.HOLD else Decision.SELL
    assert decided(monkeypatch, {"rsi": -1}, rows).vote(TWO).decision is mirrored


def test_a_score_on_the_threshold_by_rounding_is_not_beyond_it() -> None:
    ensemble = Ensemble(ROWS)
    assert ensemble.threshold < 0.1 + 0.2
    assert ensemble.decide(0.1 + 0.2) is Decision.HOLD
    assert ensemble.decide(-(0.1 + 0.2)) is Decision.HOLD
    assert ensemble.decide(0.3001) is Decision.BUY


def test_seven_rows_cast_eight_votes_with_the_weights_of_the_specification() -> None:
    assert {voter.name: (voter.weight, voter.strategy_id) for voter in Ensemble(ROWS).voters} == {
        "ma_crossover:sma": (1.0, 1),
        "ma_crossover:ema": (1.0, 1),
        "rsi": (0.8, 2),
        "macd": (1.0, 3),
        "bollinger": (0.7, 4),
        "vwap": (0.9, 5),
        "supertrend": (1.2, 6),
        "stochastic_rsi": (0.8, 7),
    }


def test_the_seeded_rows_are_one_of_each_kind_and_complete() -> None:
    rows = default_strategies()
    assert sorted(r["kind"] for r in rows) == list(known_kinds())
    assert all(r["is_active"] and r["name"] and r["description"] for r in rows)
    assert all("weight" in r["parameters"] for r in rows)
    assert rows[0]["name"] == "Moving Average Crossover"
    assert rows[0]["parameters"] == {
        "weight": 1.0, "short_period": 20, "long_period": 50, "variants": ["sma", "ema"]
    }  # fmt: skip


def test_switching_a_row_off_removes_its_voters_and_their_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [{**r, "is_active": r["kind"] != "ma_crossover"} for r in ROWS]
    vote = decided(monkeypatch, {"supertrend": 1}, rows).vote(TWO)
    assert "ma_crossover:sma" not in vote.votes
    assert "ma_crossover:ema" not in vote.votes
    assert vote.score == pytest.approx(1.2 / 5.4)


def test_cold_voters_still_count_in_the_denominator() -> None:
    rows = [row("ma_crossover", 1, short_period=2, long_period=3, variants=["sma"]), row("rsi", 2)]
    vote = Ensemble(rows).vote(draw([12, 11, 10, 9, 12]))
    assert vote.votes == {"ma_crossover:sma": 1, "rsi": 0}
    assert vote.score == pytest.approx(1.0 / 1.8)


def test_nobody_active_holds() -> None:
    nobody = Ensemble([row("rsi", 1, is_active=False)])
    assert nobody.vote(CANDLES) == Vote(Decision.HOLD, 0.0, {})
    scores, votes = nobody.vote_history(CANDLES)
    assert votes == {}
    assert scores.tolist() == [0.0] * len(CANDLES)


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_candle_before_it_everybody_holds(count: int) -> None:
    candles = part(CANDLES, 0, count)
    vote = Ensemble(ROWS).vote(candles)
    assert vote.decision is Decision.HOLD
    assert set(vote.votes.values()) == {0}
    assert len(vote.votes) == 8
    scores, _ = Ensemble(ROWS).vote_history(candles)
    assert scores.tolist() == [0.0] * count


def test_rows_of_one_kind_get_voters_of_different_names() -> None:
    rows = [*ROWS, row("rsi", 12, period=7), row("ma_crossover", 13, variants=["ema"])]
    names = [voter.name for voter in Ensemble(rows).voters]
    assert names[-2:] == ["rsi#12", "ma_crossover:ema#13"]
    rows[1] = {**rows[1], "is_active": False}
    names = [voter.name for voter in Ensemble(rows).voters]
    assert "rsi" not in names
    assert "rsi#12" in names  # switching row 2 off renames nobody


def test_a_bad_active_row_is_refused_and_a_bad_inactive_one_ignored() -> None:
    with pytest.raises(BadStrategy, match="known are bollinger"):
        Ensemble([row("astrology", 1)])
    assert Ensemble([row("astrology", 1, is_active=False)]).voters == ()


@settings(max_examples=examples(40))
@given(candles=random_candles(), data=st.data())
def test_live_and_history_give_the_same_bits(candles: Candles, data: st.DataObject) -> None:
    weights = st.floats(0.01, 10)
    extra = row("rsi", 9, period=3, weight=data.draw(weights))
    other = row("bollinger", 10, period=5, deviations=1.0, weight=data.draw(weights))
    ensemble = Ensemble([*ROWS, extra, other])
    scores, votes = ensemble.vote_history(candles)
    assert all(column.dtype == np.int8 for column in votes.values())
    for end in data.draw(st.lists(st.integers(1, max(1, len(candles))), max_size=5)):
        if len(candles):
            vote = ensemble.vote(part(candles, 0, end))
            assert vote.votes == {name: column[end - 1] for name, column in votes.items()}
            assert vote.score == scores[end - 1]


def test_votes_and_score_are_plain_python_numbers() -> None:
    vote = Ensemble(ROWS).vote(CANDLES)
    assert type(vote.score) is float
    assert {type(value) for value in vote.votes.values()} == {int}
