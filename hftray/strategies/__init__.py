"""The voters: one file a strategy, the registry, and the weighted vote.

Importing the package fills the registry.
"""

from hftray.strategies import (
    bollinger,
    ma_crossover,
    macd,
    rsi,
    stochastic_rsi,
    supertrend,
    vwap,
)

__all__ = ["bollinger", "ma_crossover", "macd", "rsi", "stochastic_rsi", "supertrend", "vwap"]
