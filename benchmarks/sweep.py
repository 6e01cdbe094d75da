"""Sets a second of a parameter sweep on one symbol-year, on one worker and on several.

    python benchmarks/sweep.py [--sets 1000] [--workers 2] [--data DIR --symbol TCS] [--no-peers]

Without --data the candles are generated: 250 sessions of 75 five-minute candles. Every sweep is
drawn at random and begins when its workers have played a first set, so neither imports nor Ray's
start count. Efficiency is sets a second a worker, beside this process alone. vectorbt is installed
into an environment of its own, under --peers, and kept there.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from hftray.backtest.order import BacktestOrder, choose_rows
from hftray.backtest.players import Player, Players, explore
from hftray.backtest.search import Method, Search
from hftray.backtest.space import ParameterSet, Space
from hftray.backtest.sweep import Ground, Result
from hftray.commands.backtest import open_market
from hftray.commands.study import load_ground, players
from hftray.strategies.defaults import default_strategies

ONE = ("rsi.period=5:30", "rsi.oversold=15:40:0.5", "rsi.overbought=60:85:0.5")
ALL = (
    *ONE,
    "ma_crossover.short_period=5:40", "ma_crossover.long_period=41:120",
    "macd.fast_period=5:20", "macd.slow_period=21:40", "bollinger.period=10:40",
    "vwap.volume_period=10:40", "supertrend.period=5:20", "stochastic_rsi.rsi_period=5:30",
)  # fmt: skip
PAIRS = ("ma_crossover.short_period=5:50:5", "ma_crossover.long_period=60:150:10")
VECTORBT = "vectorbt==1.2.0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--symbol", default="RELIANCE")
    parser.add_argument("--days", type=int, default=250)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / "hftray-peers")
    chosen = parser.parse_args()
    console = Console(highlight=False)
    ground = year_of(chosen.data, chosen.symbol, chosen.days)
    candles = len(ground.histories[0].candles) - ground.histories[0].start
    console.print(f"{chosen.symbol}: {candles:,} candles, {chosen.sets:,} sets a sweep\n")
    console.print(speed(ground, chosen.sets, chosen.workers))
    console.print(pairs(ground, None if chosen.no_peers else chosen.peers))


def year_of(data: Path | None, symbol: str, days: int) -> Ground:
    """The first `days` sessions of the file, or generated ones."""
    market = open_market(data, None)
    span = asyncio.run(market.feed.span(symbol))
    first, last = span or (date(2024, 1, 1), date(2025, 1, 20))
    order = BacktestOrder(
        symbols=(symbol,),
        roster=choose_rows(["ensemble"], default_strategies()),
        start_date=first,
        end_date=last,
        initial_capital=market.capital,
    )
    ground = asyncio.run(load_ground(market.terms, order, ONE))
    played = ground.days()[:days]
    return ground.within((played[0], played[-1]))


def varied(ground: Ground, *params: str, strategies: Sequence[str] = ("ensemble",)) -> Ground:
    """The same candles, other parameters."""
    rows = choose_rows(strategies, default_strategies())
    return replace(ground, space=Space.parse(params, rows, ground.space.rules))


class Sweep:
    """One sweep, watched: sets a second, and the memory of all its processes as it goes on."""

    def __init__(self, ground: Ground, crew: Players, sets: int, method: Method) -> None:
        self._sets, self._finished = sets, 0
        self._next_look = 0.0
        self.memory: list[float] = []
        warm_up = [{}] * 8  # long enough that no worker can take the calls of all
        while crew.free:
            crew.submit(None, warm_up)
        while crew.busy:
            crew.take()
        search = Search(ground.space, method, sets, seed=1)
        began = time.perf_counter()
        explore(search, crew, "sharpe", self._found)
        self.seconds = time.perf_counter() - began
        self.rate = self._finished / self.seconds

    def _found(self, results: Sequence[Result]) -> None:
        self._finished += len(results)
        if self._finished >= self._next_look:
            self.memory.append(megabytes())
            self._next_look += self._sets / 4


def megabytes() -> float:
    """What this process and its players hold for themselves; Ray's own processes do not count."""
    here = psutil.Process()
    family = [here, *filter(is_player, here.children(recursive=True))]
    return sum(process.memory_full_info().uss for process in family) / 1e6


def is_player(process: psutil.Process) -> bool:
    title = " ".join(process.cmdline()[:1])
    return title.startswith(("ray::_call_kept", "ray::IDLE"))


def speed(ground: Ground, sets: int, workers: int) -> Table:
    table = Table("varied", "workers", "sets/s", "candles/s", "efficiency", "MB on the way")
    candles = len(ground.histories[0].candles) - ground.histories[0].start
    for title, params in (("one strategy", ONE), ("all strategies", ALL)):
        world = varied(ground, *params)
        alone = 0.0
        for count in (1, workers):
            with players(world, count, None) as crew:
                sweep = Sweep(world, crew, sets, Method.RANDOM)
            alone = alone or sweep.rate
            table.add_row(
                title, "this process" if count == 1 else str(count),
                f"{sweep.rate:.1f}", f"{sweep.rate * candles:,.0f}",
                f"{sweep.rate / alone / count:.2f}",
                " ".join(f"{size:.0f}" for size in sweep.memory),
            )  # fmt: skip
    return table


def pairs(ground: Ground, peers: Path | None) -> Table:
    """100 pairs of the SMA cross; hftray with stops, target, charges and square-off as always."""
    world = varied(ground, *PAIRS, strategies=["ma_crossover:sma"])
    sets: list[ParameterSet] = [
        {"ma_crossover.short_period": short, "ma_crossover.long_period": long}
        for short in range(5, 51, 5)
        for long in range(60, 151, 10)
    ]
    player = Player(world)
    player(None, sets[:1])
    results, seconds = player(None, sets)
    candles = len(world.histories[0].candles) - world.histories[0].start
    trades = sum(result.figures["trades"] for result in results)
    table = Table(
        "100 pairs of the SMA cross", "trades a pair", "seconds", "candles/s", "first run"
    )
    table.add_row(
        "hftray, one process", f"{trades / 100:.0f}", f"{seconds:.2f}",
        f"{100 * candles / seconds:,.0f}", "",
    )  # fmt: skip
    if peers is not None:
        peer = vectorbt(world, peers)
        table.add_row(
            VECTORBT, f"{peer['trades'] / 100:.0f}", f"{peer['seconds']:.2f}",
            f"{100 * candles / peer['seconds']:,.0f}", f"{peer['first']:.1f} s",
        )  # fmt: skip
    return table


# Stops at the percentages that hftray falls back to, entries and exits on the cross, fees of three
# basis points. Both runs include reading the result, as the first use of a lazy figure computes it.
PEER_SCRIPT = """
import json, sys, time
import numpy as np, pandas as pd, vectorbt as vbt
times, opened, high, low, close = np.load(sys.argv[1])
index = pd.to_datetime(times, unit="s", utc=True)
opened, high, low, close = (pd.Series(x, index=index) for x in (opened, high, low, close))
short = [s for s in range(5, 51, 5) for _ in range(10)]
long = [l for _ in range(10) for l in range(60, 151, 10)]
def run():
    began = time.perf_counter()
    fast, slow = vbt.MA.run(close, short), vbt.MA.run(close, long)
    up, down = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    book = vbt.Portfolio.from_signals(
        close, entries=up, short_entries=down, open=opened, high=high, low=low,
        sl_stop=0.01, sl_trail=True, tp_stop=0.03, fees=0.0003, init_cash=100_000, freq="5min",
    )
    trades = int(book.trades.count().sum())
    book.total_return()
    return time.perf_counter() - began, trades
first, _ = run()
seconds, trades = run()
print(json.dumps({"first": first, "seconds": seconds, "trades": trades}))
"""


def vectorbt(ground: Ground, folder: Path) -> dict[str, float]:
    """The same candles and pairs in vectorbt, in its own environment."""
    python = folder / "vectorbt" / "bin" / "python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", VECTORBT], check=True)
    history = ground.histories[0]
    candles = history.candles.rows(slice(history.start, None))
    columns = [candles.time.astype(float), candles.open, candles.high, candles.low, candles.close]
    with tempfile.TemporaryDirectory() as private:
        file = Path(private) / "candles.npy"
        np.save(file, np.array(columns))
        answer = subprocess.run(
            [python, "-c", PEER_SCRIPT, file], check=True, stdout=subprocess.PIPE, text=True
        )
    result: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    sys.exit(main())
