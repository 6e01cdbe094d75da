"""One symbol's made-up session: prices and volumes as a pure function of their arguments.

A session runs from the close of the trading day before (with a gap) to its own close, and both
closes are known without any other session: they are a slow wave around the base price plus one
day's noise, so a market can begin on any day. In between the path is a bridge over what makes real
candles interesting: trends, oscillation around a level, sudden shocks with their volume, and
volatility and volume that are high at the open, low at noon and rising into the close.

The generator is numpy's PCG64 seeded by SHA-256 of the arguments (Python's `hash` differs between
processes). Returns are natural logarithms of price; volatility is per square root of a minute.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Slow waves of the daily close: (period in calendar days, amplitude of the log price).
_WAVES = ((23.0, 0.02), (67.0, 0.05), (173.0, 0.08))
_DAY_NOISE = 0.007
_GAP = 0.002
_MINUTE_VOLATILITY = 0.0005
# Length of a regime in minutes (mean of an exponential) and the shortest.
_REGIME_MINUTES = 55.0
_SHORTEST_REGIME = 20.0
_TREND = 0.00014  # log return a minute, standard deviation over regimes
_SWING = 0.0024  # amplitude of oscillation in log price
_SHOCKS = 1.5  # expected a session
_SHOCK_SIZE = 0.005
_TURNOVER_MINUTE = 4e6  # rupees traded a minute at noon
_BURST = 6.0


@dataclass(frozen=True, slots=True)
class GeneratedSession:
    """Prices in rupees on the tick and shares traded, one of each a step."""

    prices: Floats
    volumes: Floats


@dataclass(frozen=True, slots=True)
class Character:
    """Whose prices these are: the market's seed, the symbol and its rough price level."""

    seed: int
    symbol: str
    base_price: float
    tick_size: Decimal


def daily_close(character: Character, day: date) -> float:
    """The unrounded close of a day, in rupees; within about a quarter of the base price."""
    phases = _generator(character, "waves").uniform(0, 2 * np.pi, len(_WAVES))
    wave = sum(
        amplitude * np.sin(2 * np.pi * day.toordinal() / period + phase)
        for (period, amplitude), phase in zip(_WAVES, phases, strict=True)
    )
    noise = _DAY_NOISE * _generator(character, f"close {day}").normal()
    return float(character.base_price * np.exp(wave + noise))


def generate_session(
    character: Character, *, previous_day: date, day: date, minutes: float, steps: int
) -> GeneratedSession:
    """The session of `day`: `steps` prices over `minutes` of trading."""
    random = _generator(character, f"session {day}")
    step = minutes / steps
    clock: Floats = np.arange(steps, dtype=np.float64) * step
    activity = _activity(clock / minutes)
    shocks = _shocks(random, clock, step)
    returns = _regimes(random, clock, step) + shocks
    calm = _MINUTE_VOLATILITY * np.sqrt(step) * activity
    noise = calm * random.standard_t(5, steps) * np.sqrt(3 / 5)
    prices = _bridge(
        np.cumsum(returns + noise),
        opens=np.log(daily_close(character, previous_day)) + _GAP * random.normal(),
        closes=np.log(daily_close(character, day)),
    )
    surprise = np.abs(returns + noise) / calm
    shares = _TURNOVER_MINUTE * step / character.base_price
    volumes = shares * activity**2 * random.lognormal(0, 0.35, steps) * (0.5 + 0.5 * surprise)
    volumes *= 1 + _BURST * _afterglow(shocks != 0, clock)
    return GeneratedSession(
        _on_tick(np.exp(prices), float(character.tick_size)), np.maximum(1, np.rint(volumes))
    )


def _generator(character: Character, purpose: str) -> np.random.Generator:
    name = f"{character.seed}|{character.symbol}|{purpose}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big"))


def _activity(share_of_day: Floats) -> Floats:
    # The intraday U, mean near 1: busiest at the open, quiet at noon, busy again at the close.
    return np.asarray(0.75 + 1.1 * np.exp(-share_of_day / 0.08) + 0.6 * share_of_day**6)


def _regimes(random: np.random.Generator, clock: Floats, step: float) -> Floats:
    returns = np.zeros_like(clock)
    start = 0.0
    while start <= clock[-1]:
        length = max(_SHORTEST_REGIME, random.exponential(_REGIME_MINUTES))
        inside = (clock >= start) & (clock < start + length)
        if random.random() < 0.5:
            returns[inside] += _TREND * random.normal() * step
        else:
            period = random.uniform(35.0, 80.0)
            phase = 2 * np.pi * (clock[inside] - start) / period
            pull = _SWING * random.uniform(0.5, 1.5) * random.choice((-1, 1))
            returns[inside] += pull * 2 * np.pi / period * step * np.cos(phase)
        start += length
    return returns


def _shocks(random: np.random.Generator, clock: Floats, step: float) -> Floats:
    returns = np.zeros_like(clock)
    for _ in range(random.poisson(_SHOCKS)):
        at = random.integers(len(clock))
        returns[at] += _SHOCK_SIZE * random.choice((-1, 1)) * random.uniform(0.5, 1.5)
    return returns


def _afterglow(shocked: NDArray[np.bool_], clock: Floats) -> Floats:
    glow = np.zeros_like(clock)
    for moment in clock[shocked]:
        after = clock >= moment
        glow[after] += np.exp(-(clock[after] - moment) / 8.0)
    return glow


def _bridge(path: Floats, *, opens: float, closes: float) -> Floats:
    # Keeps the path's shape and moves its ends to where the neighbouring sessions expect them.
    share = np.linspace(0, 1, len(path))
    path = path - path[0]
    return opens + path + share * (closes - opens - path[-1])


def _on_tick(prices: Floats, tick: float) -> Floats:
    return np.maximum(tick, np.round(np.round(prices / tick) * tick, 2))
