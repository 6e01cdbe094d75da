"""`hftray backtest` in this process: what it prints, what it refuses, how it exits."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from backtest_world import write_candles
from click.testing import Result
from typer.testing import CliRunner

from hftray.commands.backtest import commands, read_parameters

DAYS = [date(2025, 3, 3), date(2025, 3, 4), date(2025, 3, 5), date(2025, 3, 6)]
RANGE = ("--from", "2025-03-03", "--to", "2025-03-28")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments, env={"COLUMNS": "120", "HFTRAY_MODE": ""})


def test_figures_and_the_newest_trades_on_the_generated_market() -> None:
    done = run("--symbol", "tcs", *RANGE)
    assert done.exit_code == 0, done.output
    for words in ("TCS", "ensemble", "candles of 5 minutes", "buy and hold", "Sharpe", "net P&L"):
        assert words in done.output
    assert "the newest 10 of" in done.output


def test_json_is_the_apis_answer_and_nothing_else() -> None:
    done = run("--symbol", "TCS", "--symbol", "ITC", "--json", "--no-charges", "--capital",
               "2,50,000", "--slippage-bps", "0", "--interval", "15", "--strategy", "rsi",
               "--strategy", "ma_crossover:ema", "--param", "rsi.period=10", *RANGE)  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["symbols"] == ["TCS", "ITC"]
    assert told["strategy"] == ["rsi", "ma_crossover:ema"]
    assert told["parameters"] == {"rsi": {"period": 10}}
    assert told["initial_capital"] == "250000.00"
    assert (told["interval"], told["slippage_bps"], told["charges"]) == (15, 0.0, False)
    assert len(told["trades"]) == told["metrics"]["trades"] > 0


def test_files_are_played_from_their_first_day_to_their_last(tmp_path: Path) -> None:
    write_candles(tmp_path, "TCS", DAYS[:3])
    write_candles(tmp_path, "ITC", DAYS[1:])
    done = run("--symbol", "TCS", "--symbol", "ITC", "--data", str(tmp_path), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["start_date"], told["end_date"]) == ("2025-03-03", "2025-03-06")
    assert told["candles"] == 6 * 75


def test_a_share_on_bse_pays_that_exchanges_charges() -> None:
    nse, bse = (
        json.loads(run("--symbol", name, "--json", *RANGE).stdout) for name in ("TCS", "BSE:TCS")
    )
    assert bse["symbols"] == ["BSE:TCS"]
    assert {trade["symbol"] for trade in bse["trades"]} == {"BSE:TCS"}
    sent = [[trade["entry_price"] for trade in told["trades"]] for told in (nse, bse)]
    assert sent[0] == sent[1]  # the same prices
    paid = [sum(Decimal(trade["charges"]) for trade in told["trades"]) for told in (nse, bse)]
    assert paid[0] < paid[1]  # 0.00375 % of turnover there, 0.00307 % here


def test_a_report_is_written(tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    done = run("--symbol", "TCS", "--report", str(page), *RANGE)
    assert done.exit_code == 0, done.output
    assert "<html" in page.read_text()[:500]
    missing = run("--symbol", "TCS", "--report", str(tmp_path / "no" / "out.html"), *RANGE)
    assert missing.exit_code == 1
    assert "--report" in missing.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--symbol", "NOPE"], "symbol NOPE: known are"),
        (["--symbol", "TCS", "--symbol", "TCS"], "symbols: a symbol is named twice"),
        (["--symbol", "TCS", "--strategy", "luck"], "unknown strategy luck"),
        (["--symbol", "TCS", "--param", "rsi.perod=3"], "parameters.rsi.perod: unknown"),
        (["--symbol", "TCS", "--param", "rsi.period=ten"], "parameters.rsi.period"),
        (["--symbol", "TCS", "--interval", "7"], "allowed are 5, 10"),
        (["--symbol", "TCS", "--capital", "-5"], "initial_capital"),
        (["--symbol", "TCS", "--data", "/nowhere"], "/nowhere: no such file or folder"),
        (["--symbol", "TCS", "--from", "2025-03-08", "--to", "2025-03-09"], "market was closed"),
        (["--symbol", "TCS", "--from", "2025-03-08", "--to", "2025-03-07"], "end_date"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments: list[str], told: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    assert done.output.startswith("hftray:")
    assert told in done.output.replace("\n", " ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--symbol", "TCS", "--param", "rsi=3"],
        ["--symbol", "TCS", "--param", "rsi.period"],
        ["--symbol", "TCS", "--param", "rsi.period=[1"],
        ["--symbol", "TCS", "--capital", "much"],
        ["--symbol", "TCS", "--from", "soon"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_parameters_are_grouped_by_kind_and_typed() -> None:
    given = ["rsi.period=10", "rsi.oversold=25.5", "ma_crossover.variants=[ema]"]
    assert read_parameters(given) == {
        "rsi": {"period": 10, "oversold": 25.5},
        "ma_crossover": {"variants": ["ema"]},
    }
