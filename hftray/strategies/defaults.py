"""The seven strategy rows that a new database is seeded with (eight voters)."""

from typing import Any

from hftray.strategies.registry import check_parameters

_ROWS = (
    (
        "Moving Average Crossover",
        "ma_crossover",
        "Two votes, with simple and with exponential averages: the short average crosses the "
        "long one.",
    ),
    (
        "RSI Mean Reversion",
        "rsi",
        "Buys when the relative strength index falls into oversold, sells when it rises into "
        "overbought.",
    ),
    (
        "MACD Strategy",
        "macd",
        "Follows momentum: the MACD line crosses its signal line.",
    ),
    (
        "Bollinger Bands",
        "bollinger",
        "Expects a close outside the band of two standard deviations to come back.",
    ),
    (
        "VWAP Strategy",
        "vwap",
        "The price crosses the session's volume-weighted average; buying needs high volume.",
    ),
    (
        "SuperTrend",
        "supertrend",
        "Follows the turn of a trend line kept at three times the average true range.",
    ),
    (
        "Stochastic RSI",
        "stochastic_rsi",
        "RSI and the stochastic oscillator must both be oversold, or both overbought.",
    ),
)


def default_strategies() -> list[dict[str, Any]]:
    """Rows with name, description, kind, is_active and complete parameters, without ids."""
    return [
        {
            "name": name,
            "description": description,
            "kind": kind,
            "is_active": True,
            "parameters": check_parameters(kind, {}).model_dump(mode="json"),
        }
        for name, kind, description in _ROWS
    ]
