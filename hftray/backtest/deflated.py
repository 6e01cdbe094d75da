"""How much of a Sharpe ratio is skill when it is the best of many that were tried.

Ratios here are those of one period (a session), not annualised: mean over deviation of the
returns. The source of all three formulas is D. H. Bailey and M. López de Prado, "The Deflated
Sharpe Ratio: Correcting for Selection Bias, Backtest Overfitting and Non-Normality", Journal of
Portfolio Management 40(5), 2014.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

EULER = 0.577_215_664_901_532_9  # the Euler-Mascheroni constant
_NORMAL = NormalDist()
_FLAT = 1e-12  # a deviation below it is the rounding of equal returns


@dataclass(frozen=True, slots=True)
class Track:
    """The shape of a record of returns: Sharpe ratio a period, periods, skewness, kurtosis.

    Kurtosis is 3 for a normal distribution.
    """

    sharpe: float
    periods: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    @classmethod
    def of(cls, returns: Sequence[float]) -> Self | None:
        """Of one return a period; None with fewer than two, or when all are equal."""
        if len(returns) < 2:
            return None
        mean, deviation = statistics.fmean(returns), statistics.stdev(returns)
        if deviation < _FLAT:
            return None
        spread = statistics.pstdev(returns, mean)
        third, fourth = (
            statistics.fmean(((value - mean) / spread) ** power for value in returns)
            for power in (3, 4)
        )
        return cls(mean / deviation, len(returns), third, fourth)


@dataclass(frozen=True, slots=True)
class Deflated:
    """A Sharpe ratio held against luck; the ratios are those of one period.

    `luck` is the best ratio to expect of `trials` without any skill, `probability` the chance, 0
    to 1, that the true ratio lies above it.
    """

    sharpe: float
    luck: float
    trials: int
    probability: float


def deflated_sharpe(track: Track, *, trials: int, variance: float) -> Deflated:
    """The deflated Sharpe ratio: the probability that the true ratio beats the best of luck.

    `trials` is how many sets were tried (independent ones; neighbours in a grid are not, so the
    result errs on the strict side), `variance` that of their Sharpe ratios a period.
    """
    luck = expected_best(trials, variance)
    return Deflated(track.sharpe, luck, trials, probabilistic_sharpe(track, luck))


def probabilistic_sharpe(track: Track, benchmark: float = 0.0) -> float:
    """The probability that the true Sharpe ratio lies above `benchmark`.

    PSR = Φ((SR - SR*) √(n - 1) ÷ √(1 - γ₃ SR + (γ₄ - 1) ÷ 4 · SR²)), with skewness γ₃ and
    kurtosis γ₄ of the n returns.
    """
    ratio = track.sharpe
    error = 1 - track.skewness * ratio + (track.kurtosis - 1) / 4 * ratio**2
    # For the moments of actual returns it is never negative: γ₄ ≥ γ₃² + 1. It may be 0.
    scale = math.sqrt(max(error, _FLAT))
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(track.periods - 1) / scale)


def expected_best(trials: int, variance: float) -> float:
    """The greatest Sharpe ratio to expect of `trials` strategies whose true ratio is 0.

    SR₀ = √V · ((1 - γ) Φ⁻¹(1 - 1 ÷ N) + γ Φ⁻¹(1 - 1 ÷ (N e))), γ being Euler's constant.
    """
    if trials < 2:
        return 0.0
    upper = _NORMAL.inv_cdf(1 - 1 / trials)
    beyond = _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - EULER) * upper + EULER * beyond)
