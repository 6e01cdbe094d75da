"""The Kelly criterion from a trade history.

Source: J. L. Kelly, "A New Interpretation of Information Rate" (1956), in the form for bets that
win a multiple b of the stake: f = p - (1 - p) / b.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from hftray.core.money import ZERO, paisa


@dataclass(frozen=True, slots=True)
class Kelly:
    """The fraction of capital to stake, and what it was computed from.

    `fraction` and `half_fraction` are 0..1; None when the history cannot tell, and `reason` then
    says why. `payoff` is average win over average loss. Averages are rupees, losses positive.
    """

    trades: int
    wins: int
    losses: int
    win_rate: float | None = None
    average_win: Decimal | None = None
    average_loss: Decimal | None = None
    payoff: float | None = None
    fraction: float | None = None
    half_fraction: float | None = None
    reason: str = ""


def kelly(pnls: Sequence[Decimal]) -> Kelly:
    """Kelly and half-Kelly from the net P&L of closed trades, clamped to at least 0.

    A trade of exactly 0 is in `trades` but is neither win nor loss, so it does not move the
    win rate p = wins / (wins + losses).
    """
    gains = [pnl for pnl in pnls if pnl > ZERO]
    falls = [-pnl for pnl in pnls if pnl < ZERO]
    trades, wins, losses = len(pnls), len(gains), len(falls)
    if not wins + losses:
        reason = "every trade broke even" if trades else "no closed trade yet"
        return Kelly(trades, wins, losses, reason=reason)
    p = wins / (wins + losses)
    average_win = sum(gains, ZERO) / wins if wins else None
    average_loss = sum(falls, ZERO) / losses if losses else None
    payoff = float(average_win / average_loss) if average_win and average_loss else None
    fraction: float | None
    if payoff is not None:
        fraction, reason = p - (1.0 - p) / payoff, ""
        if fraction <= 0.0:
            reason = "the history has no edge: stake nothing"
    elif average_win is None:
        fraction, reason = 0.0, "no winning trade: stake nothing"
    else:
        fraction, reason = None, "no losing trade yet: the payoff ratio is undefined"
    fraction = None if fraction is None else max(0.0, fraction)
    return Kelly(
        trades=trades,
        wins=wins,
        losses=losses,
        win_rate=p,
        average_win=None if average_win is None else paisa(average_win),
        average_loss=None if average_loss is None else paisa(average_loss),
        payoff=payoff,
        fraction=fraction,
        half_fraction=None if fraction is None else fraction / 2.0,
        reason=reason,
    )
