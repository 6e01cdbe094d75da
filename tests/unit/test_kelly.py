from decimal import Decimal

import pytest

from hftray.core.kelly import kelly


def pnls(*rupees):
    return [Decimal(amount) for amount in rupees]


def test_a_known_history():
    # p = 0.6, payoff = 200 / 100: f = 0.6 - 0.4 / 2
    found = kelly(pnls(200, 200, 200, -100, -100))
    assert found.fraction == pytest.approx(0.4)
    assert found.half_fraction == pytest.approx(0.2)
    assert (found.trades, found.wins, found.losses) == (5, 3, 2)
    assert (found.win_rate, found.payoff) == (0.6, 2.0)
    assert (found.average_win, found.average_loss) == (Decimal(200), Decimal(100))
    assert found.reason == ""


def test_a_losing_history_stakes_nothing():
    found = kelly(pnls(100, -100, -100))
    assert (found.fraction, found.half_fraction) == (0.0, 0.0)
    assert "no edge" in found.reason


@pytest.mark.parametrize(
    ("history", "fraction", "reason"),
    [
        ([], None, "no closed trade"),
        (pnls(0, 0), None, "broke even"),
        (pnls(5, 7), None, "no losing trade"),
        (pnls(-5, -7), 0.0, "no winning trade"),
    ],
)
def test_a_history_that_cannot_tell_says_why(history, fraction, reason):
    found = kelly(history)
    assert found.fraction == fraction
    assert found.half_fraction == fraction
    assert reason in found.reason


def test_break_even_trades_are_counted_but_do_not_move_the_win_rate():
    found = kelly(pnls(200, 0, 0, -100))
    assert (found.trades, found.win_rate) == (4, 0.5)
    assert found.fraction == kelly(pnls(200, -100)).fraction
