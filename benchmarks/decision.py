"""Microseconds of one eight-strategy decision beside the bare TA-Lib calls it needs.

Both work on the same 375-candle buffer (a random walk over five sessions) in the same run, in
short turns one after the other, so that a busy machine slows both. The bare side calls TA-Lib's
plain functions on the buffer's columns and throws the results away: no rules, no sharing out, no
score. Time is this thread's own processor time.

Run: `python benchmarks/decision.py [--rounds 400]`.
"""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from time import thread_time
from timeit import timeit

import numpy as np

from hftray.core import talib
from hftray.core.candles import Candles
from hftray.strategies.defaults import default_strategies
from hftray.strategies.ensemble import Ensemble

SESSIONS, PER_SESSION = 5, 75
CALLS_A_TURN = 25


def random_walk(seed: int = 7) -> Candles:
    random = np.random.default_rng(seed)
    count = SESSIONS * PER_SESSION
    close = 1_000 * np.exp(np.cumsum(random.normal(0, 0.001, count)))
    spread = close * np.abs(random.normal(0, 0.0007, (2, count)))
    return Candles(
        time=np.arange(count) * 300,
        day=np.repeat(np.arange(738_000, 738_000 + SESSIONS), PER_SESSION),
        open=close,
        high=close + spread[0],
        low=close - spread[1],
        close=close,
        volume=random.integers(1_000, 100_000, count).astype(np.float64),
    )


def bare_calls(candles: Candles) -> dict[str, Callable[[], object]]:
    high, low, close, volume = candles.high, candles.low, candles.close, candles.volume
    today = slice(-PER_SESSION, None)

    def vwap() -> object:
        return talib.VWAP(high[today], low[today], close[today], volume[today])

    return {
        "SMA(20)": partial(talib.SMA, close, 20),
        "SMA(50)": partial(talib.SMA, close, 50),
        "EMA(20)": partial(talib.EMA, close, 20),
        "EMA(50)": partial(talib.EMA, close, 50),
        "RSI(14)": partial(talib.RSI, close, 14),
        "MACD(12, 26, 9)": partial(talib.MACD, close, 12, 26, 9),
        "BBANDS(20, 2)": partial(talib.BBANDS, close, 20, 2.0, 2.0, talib.SIMPLE),
        "VWAP, one session": vwap,
        "SMA(20) of volume": partial(talib.SMA, volume, 20),
        "SUPERTREND(10, 3)": partial(talib.SUPERTREND, high, low, close, 10, 3.0),
        "STOCH(14, 3, 3)": partial(
            talib.STOCH, high, low, close, 14, 3, talib.SIMPLE, 3, talib.SIMPLE
        ),
    }


def microseconds(work: Callable[[], object]) -> float:
    return timeit(work, timer=thread_time, number=CALLS_A_TURN) / CALLS_A_TURN * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds

    candles = random_walk()
    ensemble = Ensemble(default_strategies())
    calls = bare_calls(candles)

    def bare() -> None:
        for call in calls.values():
            call()

    timings: dict[str, list[float]] = {"decision": [], "bare": [], **{name: [] for name in calls}}
    for _ in range(rounds):
        timings["decision"].append(microseconds(lambda: ensemble.vote(candles)))
        timings["bare"].append(microseconds(bare))
        for name, call in calls.items():
            timings[name].append(microseconds(call))

    print(f"one decision on {len(candles)} candles, medians of {rounds} turns, in microseconds")
    for name in calls:
        print(f"  {name:24}{median(timings[name]):8.2f}")
    decision, together = median(timings["decision"]), median(timings["bare"])
    print(f"{'bare TA-Lib calls':26}{together:8.2f}")
    print(f"{'decision, eight voters':26}{decision:8.2f}")
    turns = zip(timings["decision"], timings["bare"], strict=True)
    print(f"{'ratio of the medians':26}{decision / together:8.2f}")
    print(f"{'median of the ratios':26}{median(ours / base for ours, base in turns):8.2f}")


if __name__ == "__main__":
    main()
