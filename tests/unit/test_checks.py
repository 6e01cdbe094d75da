"""The honesty checks: they pass the honest and catch those who cheat or forget."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from signal_world import draw
from typer.testing import CliRunner

from hftray.backtest.checks import check_lookahead, check_warm_up, faults, named_voters
from hftray.commands import check
from hftray.core.candles import Candles, Floats
from hftray.strategies.comparison import Pair, Truth, above, crosses_above, crosses_below
from hftray.strategies.registry import known_kinds
from hftray.strategies.strategy import CLOSE, Input, Parameters, Strategy

BUFFER = 200


def walk(count: int) -> Candles:
    steps = np.random.default_rng(11).integers(-12, 13, count)
    closes = 800 + np.cumsum(steps) * 0.05
    days = 738_000 + np.arange(count) // 75
    return draw(closes.tolist(), days=days.tolist(), reach=0.2)


CANDLES = walk(1500)


class Crossing(Strategy[Parameters]):
    """The close crosses a line."""

    line: Any = None

    def needs(self) -> tuple[Input, ...]:
        return CLOSE, Input(type(self).line)

    def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
        close, line = columns
        return crosses_above(close, line), crosses_below(close, line)


def crossing(line: Any) -> Strategy[Parameters]:
    return type("Crossed", (Crossing,), {"line": staticmethod(line)})(Parameters())


def trailing_mean(candles: Candles) -> Floats:
    sums = np.cumsum(candles.close)
    mean = np.full(len(candles), np.nan)
    mean[9:] = (sums[9:] - np.concatenate([[0.0], sums[:-10]])[: len(sums[9:])]) / 10
    return mean


def centred_mean(candles: Candles) -> Floats:
    """The mean of nine candles around each one: four of them lie in the future."""
    padded = np.pad(candles.close, 4, mode="edge") if len(candles) else candles.close
    return np.convolve(padded, np.ones(9) / 9, "valid") if len(candles) else candles.close


def whole_mean(candles: Candles) -> Floats:
    return np.full(len(candles), candles.close.mean() if len(candles) else np.nan)


def next_close(candles: Candles) -> Floats:
    """The newest candle's is its own, so only the candles before it give the cheat away."""
    return np.append(candles.close[1:], candles.close[-1:])


def running_mean(candles: Candles) -> Floats:
    """From the first candle on: honest, but it never forgets where it began."""
    return np.cumsum(candles.close) / np.arange(1, len(candles) + 1)


def test_an_honest_strategy_passes() -> None:
    found = check_lookahead("mean", crossing(trailing_mean), CANDLES)
    assert found.fault == ""
    assert found.votes > 50
    assert found.cuts > 100


@pytest.mark.parametrize("line", [centred_mean, whole_mean, next_close])
def test_a_strategy_that_looks_ahead_is_caught(line: Any) -> None:
    found = check_lookahead("cheat", crossing(line), CANDLES)
    assert "when the history ends" in found.fault
    assert faults([found]) == [f"cheat: {found.fault}"]


def test_a_rare_look_ahead_is_caught_because_cuts_are_made_where_votes_fall() -> None:
    """It votes twice in 1,500 candles, on the candle before a large move."""
    close = np.full(1500, 100.0)
    close[700:] = 110.0
    close[1100:] = 100.0

    class Prophet(Crossing):
        def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
            (_, now), (_, coming) = columns
            return above(coming, now + 5), above(now - 5, coming)

    Prophet.line = staticmethod(next_close)
    found = check_lookahead("prophet", Prophet(Parameters()), draw(close.tolist()), cuts=3)
    assert found.votes == 2
    assert "when the history ends 0 candles later" in found.fault


def test_a_live_vote_that_is_not_the_historys_is_caught() -> None:
    class TwoFaced(Crossing):
        def vote(self, candles: Candles) -> int:
            return -super().vote(candles)

    TwoFaced.line = staticmethod(trailing_mean)
    fault = check_lookahead("two-faced", TwoFaced(Parameters()), CANDLES).fault
    assert "vote says" in fault


def test_what_a_strategys_code_raises_is_a_fault() -> None:
    def fails(candles: Candles) -> Floats:
        return candles.close[[2_000]]

    found = check_lookahead("failing", crossing(fails), CANDLES)
    assert found.fault.startswith("raises IndexError")
    assert check_warm_up("failing", crossing(fails), CANDLES, BUFFER).fault == found.fault


def test_a_window_of_ten_warms_up_with_ten_and_the_candle_before() -> None:
    found = check_warm_up("mean", crossing(trailing_mean), CANDLES, BUFFER)
    assert (found.silent, found.typical, found.most, found.late) == (10, 11, 11, 0)
    assert found.fault == ""
    assert found.votes > 1000


def test_a_strategy_that_never_forgets_its_first_candle_never_warms_up() -> None:
    found = check_warm_up("running", crossing(running_mean), CANDLES, BUFFER)
    assert found.most > BUFFER
    assert "depend on where the history begins" in found.fault


def test_a_strategy_silent_for_longer_than_the_buffer_fails() -> None:
    def late(candles: Candles) -> Floats:
        line = trailing_mean(candles)
        line[:300] = np.nan
        return line

    fault = check_warm_up("late", crossing(late), CANDLES, BUFFER).fault
    assert fault == "is silent for 301 candles, but live only 200 are kept"


def test_too_few_candles_to_judge_is_said() -> None:
    fault = check_warm_up("mean", crossing(trailing_mean), walk(399), BUFFER).fault
    assert fault == "needs at least 400 candles to be judged, there are 399"


# The commands


def run(*arguments: str) -> Any:
    return CliRunner().invoke(check.commands, list(arguments), env={"COLUMNS": "200"})


def test_the_commands_look_at_every_registered_strategy() -> None:
    voters = {name for kind in known_kinds() for name in named_voters(kind)}
    for command in ("lookahead", "warmup"):
        done = run(command, "--json", "--candles", "1500")
        assert done.exit_code == 0, done.output
        assert {found["voter"] for found in json.loads(done.stdout)} == voters
    shown = run("warmup", "--strategy", "ma_crossover", "--candles", "1500").stdout
    assert "ma_crossover:sma" in shown
    assert "live, 375 are kept" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lookahead", "--strategy", "luck"], "luck: neither a Python file nor a known kind (boll"),
        (["lookahead", "--symbol", "NOPE"], "--symbol NOPE: simulated are"),
        (["warmup", "--data", "/no/such/folder"], "/no/such/folder: no such file or folder"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 1
    assert said in done.stdout


def test_a_failing_check_ends_with_1() -> None:
    done = run("warmup", "--strategy", "rsi", "--candles", "500")
    assert done.exit_code == 1
    assert "needs at least 750 candles" in done.stdout
