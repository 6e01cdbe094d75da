"""A backtest from its order to its answer."""

import json
import pickle
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from backtest_world import FIRST, LAST, order, play, terms, write_candles

from hftray.api.schemas_backtest import BacktestResult
from hftray.backtest.answer import answer_of, buy_and_hold
from hftray.backtest.order import BadOrder
from hftray.backtest.runner import Played, answers, backtest
from hftray.core.errors import NotFound

DAYS = [date(2025, 3, 3), date(2025, 3, 4), date(2025, 3, 5)]


def answer(wanted: Any, market: Any = None) -> dict[str, Any]:
    *_, told = answers(market or terms(), wanted)
    assert isinstance(told, dict)
    return told


@pytest.fixture(scope="module")
def month() -> dict[str, Any]:
    return answer(order("TCS", "ITC"))


def test_the_answer_has_the_fields_that_the_api_promises(month: dict[str, Any]) -> None:
    shown = json.loads(BacktestResult.model_validate(month).model_dump_json())
    assert set(shown) == set(month)
    assert set(shown["metrics"]) == set(month["metrics"])
    assert shown["equity_curve"][0]["time"] == "2025-03-03T15:30:00+05:30"


def test_money_adds_up_to_the_paisa(month: dict[str, Any]) -> None:
    trades, metrics = month["trades"], month["metrics"]
    assert len(trades) >= 10  # or it says little
    for trade in trades:
        assert trade["gross_pnl"] - trade["charges"] == trade["pnl"]
        assert trade["charges"] > 0
    for figure, field in (("net_pnl", "pnl"), ("charges", "charges"), ("gross_pnl", "gross_pnl")):
        assert metrics[figure] == sum(trade[field] for trade in trades)
    assert month["final_capital"] == 100_000 + metrics["net_pnl"]
    assert month["equity_curve"][-1]["equity"] == month["final_capital"]
    traded = sum(t["quantity"] * (t["entry_price"] + t["exit_price"]) for t in trades)
    assert metrics["turnover"] == traded
    assert 0 < metrics["exposure_percent"] < 100


def test_without_charges_net_is_gross(month: dict[str, Any]) -> None:
    free = answer(order("TCS", "ITC", charges=False))
    assert free["trades"]
    assert all(t["charges"] == 0 and t["pnl"] == t["gross_pnl"] for t in free["trades"])
    assert free["metrics"]["charges"] == 0
    assert any("No charges" in sentence for sentence in free["assumptions"])
    assert not any("No charges are" in sentence for sentence in month["assumptions"])


def test_slippage_costs_what_it_says() -> None:
    smooth, rough = (answer(order(slippage_bps=bps, charges=False)) for bps in (0.0, 20.0))
    pairs = list(zip(smooth["trades"], rough["trades"], strict=False))
    first, second = pairs[0]
    assert first["entry_time"] == second["entry_time"]
    sign = 1 if first["side"] == "BUY" else -1
    worse = (second["entry_price"] / first["entry_price"] - 1) * sign
    assert Decimal("0.0015") < worse < Decimal("0.0025")
    assert rough["slippage_bps"] == 20.0


def test_parameters_change_what_votes() -> None:
    few, many = (
        answer(order(strategies=("rsi",), parameters={"rsi": {"period": period}}))
        for period in (30, 5)
    )
    assert len(many["trades"]) > 3 * len(few["trades"])
    assert many["parameters"] == {"rsi": {"period": 5}}


def test_longer_candles_are_fewer() -> None:
    played = play(order(interval=15))
    days = len(played.histories[0].sessions)
    assert played.outcome.candles == 25 * days
    assert played.rules.signals.candle_minutes == 15
    assert (played.order.interval, played.order.slippage_bps) == (15, 2.0)
    with pytest.raises(BadOrder, match=r"interval: .*allowed are 5, 10, 15, 30, 60"):
        play(order(interval=2))


def test_progress_rises_to_the_result() -> None:
    *shares, last = backtest(terms(), order("TCS", "ITC", "SBIN"))
    assert isinstance(last, Played)
    assert shares == sorted(shares)
    assert shares == [0.0, 0.25, 0.5, 0.75]
    assert [history.symbol for history in last.histories] == ["TCS", "ITC", "SBIN"]


def test_what_a_worker_needs_can_be_sent_to_it() -> None:
    market, wanted = pickle.loads(pickle.dumps((terms(), order())))
    assert answer(wanted, market) == answer(order())


def test_symbols_without_candles_are_all_named_with_what_there_is(tmp_path: Path) -> None:
    write_candles(tmp_path, "TCS", DAYS)
    write_candles(tmp_path, "ITC", [day - timedelta(days=365) for day in DAYS])
    write_candles(tmp_path, "SBIN", DAYS[:1])
    market = terms(tmp_path)
    with pytest.raises(NotFound) as refusal:
        play(order("TCS", "ITC", "SBIN", start_date=DAYS[1], end_date=LAST), market)
    told = str(refusal.value)
    assert "TCS" not in told
    assert "no candles of ITC from 2025-03-04 to 2025-03-28: the data covers 2024-03-03" in told
    assert "no candles of SBIN" in told
    with pytest.raises(NotFound, match="symbol NOPE: known are ITC, SBIN, TCS"):
        play(order("TCS", "NOPE"), market)


def test_a_weekend_of_the_generated_market_is_closed() -> None:
    saturday = date(2025, 3, 8)
    with pytest.raises(NotFound, match="the market was closed"):
        play(order(start_date=saturday, end_date=saturday + timedelta(days=1)))


def test_buy_and_hold_is_the_last_price_over_the_first(tmp_path: Path) -> None:
    write_candles(tmp_path, "TCS", DAYS)
    write_candles(tmp_path, "ITC", DAYS[1:2])
    histories = play(order("TCS", "ITC", start_date=FIRST), terms(tmp_path)).histories
    curve = buy_and_hold(histories, Decimal(1_000))
    assert [moment.date() for moment, _ in curve] == DAYS
    swing = (74 * 7) % 13 / 4 + 0.25  # the day's last close over its first open
    first, second, third = ((100 + rise + swing) / 100 for rise in range(3))
    kept = (100 + swing) / 100
    means = [(first + 1) / 2, (second + kept) / 2, (third + kept) / 2]
    assert [float(equity) for _, equity in curve] == pytest.approx([1_000 * m for m in means])

    later = play(order("TCS", start_date=DAYS[1]), terms(tmp_path)).histories  # warmed up by a day
    (_, equity), _ = buy_and_hold(later, Decimal(1_000))
    assert float(equity) == pytest.approx(1_000 * (101 + swing) / 101, abs=0.01)


def test_buy_and_hold_stands_beside_the_strategy(month: dict[str, Any]) -> None:
    held = month["buy_and_hold"]
    assert held["final_capital"] == pytest.approx(
        Decimal(100_000) * (1 + Decimal(held["total_return_percent"]) / 100), abs=Decimal("0.01")
    )
    assert held["max_drawdown_percent"] > 0


def test_the_assumptions_carry_the_numbers_of_the_run() -> None:
    played = play(order("TCS", "ITC", interval=15, slippage_bps=7.5))
    rules = replace(played.rules, session=replace(played.rules.session, square_off_minutes=12))
    told = " ".join(answer_of(played.order, rules, played.histories, played.outcome)["assumptions"])
    for words in ("15 minutes", "7.5 basis points", "closed 12 minutes before", "share one account",
                  "stop-loss counts first"):  # fmt: skip
        assert words in told
