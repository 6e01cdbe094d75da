"""Orders for backtests: which rows vote, and what is refused with its name."""

import pickle
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from hftray.backtest.order import BacktestOrder, BadOrder, choose_rows
from hftray.core.errors import NotFound
from hftray.strategies.defaults import default_strategies
from hftray.strategies.ensemble import voters_of

ROSTER = [row | {"id": number} for number, row in enumerate(default_strategies(), start=1)]


def voters(*strategies: str, roster: Any = None, changes: Any = None) -> list[str]:
    rows = choose_rows(strategies, ROSTER if roster is None else roster, changes)
    return [voter.name for voter in voters_of(rows)]


def test_the_ensemble_is_what_is_switched_on() -> None:
    assert len(voters("ensemble")) == 8
    off = [row | {"is_active": row["kind"] == "rsi"} for row in ROSTER]
    assert voters("ensemble", roster=off) == ["rsi"]
    assert voters("ensemble", roster=[]) == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["rsi"], ["rsi"]),
        (["macd", "rsi"], ["macd", "rsi"]),
        (["rsi", "rsi"], ["rsi"]),
        (["ma_crossover"], ["ma_crossover:sma", "ma_crossover:ema"]),
        (["ma_crossover:ema"], ["ma_crossover:ema"]),
        (["ma_crossover:ema", "ma_crossover:sma"], ["ma_crossover:ema", "ma_crossover:sma"]),
        (["ma_crossover:ema", "rsi", "ma_crossover"],
         ["ma_crossover:ema", "ma_crossover:sma", "rsi"]),
        (["ma_crossover", "ma_crossover:ema"], ["ma_crossover:sma", "ma_crossover:ema"]),
    ],
)  # fmt: skip
def test_named_voters_each_vote_once(asked: list[str], found: list[str]) -> None:
    assert voters(*asked) == found


def test_a_row_is_taken_with_its_parameters_also_when_it_is_off() -> None:
    own = [{"id": 9, "name": "mine", "kind": "rsi", "is_active": False,
            "parameters": {"period": 7, "weight": 2.5}}]  # fmt: skip
    (row,) = choose_rows(["rsi"], own)
    assert (row["id"], row["is_active"], row["parameters"]["period"]) == (9, True, 7)
    (row,) = choose_rows(["rsi"], own, {"rsi": {"oversold": 25.0}})
    assert (row["parameters"]["period"], row["parameters"]["oversold"]) == (7, 25.0)


def test_a_kind_without_a_row_has_its_defaults() -> None:
    (row,) = choose_rows(["rsi"], [])
    assert (row["id"], row["parameters"]["period"]) == (None, 14)


def test_the_roster_itself_is_never_changed() -> None:
    before = repr(ROSTER)
    choose_rows(["ensemble"], ROSTER, {"rsi": {"period": 10}})
    choose_rows(["ma_crossover:ema", "ma_crossover"], ROSTER)
    assert repr(ROSTER) == before


@pytest.mark.parametrize(
    ("asked", "changes", "field", "told"),
    [
        ([], {}, "strategy", "empty"),
        (["ensemble", "rsi"], {}, "strategy", "alone"),
        (["rsi"], {"luck": {}}, "parameters.luck", "known are bollinger"),
        (["rsi"], {"macd": {}}, "parameters.macd", "voting are rsi"),
        (["rsi"], {"rsi": {"perod": 3}}, "parameters.rsi.perod", "takes weight, period"),
        (["rsi"], {"rsi": {"period": 1}}, "parameters.rsi.period", "greater than or equal to 2"),
        (["ensemble"], {"ma_crossover": {"short_period": 60}},
         "parameters.ma_crossover.long_period", "greater than short_period"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(asked: Any, changes: Any, field: str, told: str) -> None:
    with pytest.raises(BadOrder) as refusal:
        choose_rows(asked, ROSTER, changes)
    assert refusal.value.field == field
    assert told in refusal.value.reason


def test_an_unknown_strategy_is_not_found() -> None:
    with pytest.raises(NotFound, match=r"luck; known are ensemble, .*ma_crossover:ema"):
        choose_rows(["rsi", "luck"], ROSTER)


def order(**changes: Any) -> BacktestOrder:
    fields = {
        "symbols": ("TCS",),
        "roster": (),
        "start_date": date(2025, 1, 1),
        "end_date": date(2025, 1, 1),
        "initial_capital": Decimal(100_000),
    }
    return BacktestOrder(**fields | changes)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"symbols": ()}, "symbol"),
        ({"symbols": ("TCS", "ITC", "TCS")}, "symbols"),
        ({"end_date": date(2024, 12, 31)}, "end_date"),
        ({"end_date": date(2045, 2, 1)}, "end_date"),
        ({"initial_capital": Decimal(0)}, "initial_capital"),
        ({"initial_capital": Decimal("Infinity")}, "initial_capital"),
        ({"slippage_bps": -0.1}, "slippage_bps"),
        ({"slippage_bps": float("nan")}, "slippage_bps"),
        ({"interval": 0}, "interval"),
        ({"interval": 61}, "interval"),
    ],
)
def test_an_order_is_checked_when_it_is_made(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadOrder) as refusal:
        order(**change)
    assert refusal.value.field == field
    again = pickle.loads(pickle.dumps(refusal.value))  # it comes back from a worker
    assert (again.field, str(again)) == (field, str(refusal.value))
