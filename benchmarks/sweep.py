"""Sets a second of a parameter sweep on one symbol-year, on one worker and on several.

    python benchmarks/sweep.py [--sets 1000] [--workers 2] [--rounds 1] [--data DIR --symbol TCS]
                               [--no-peers] [--only-pairs]

Without --data the candles are generated: 250 sessions of 75 five-minute candles. Every sweep is
drawn at random and begins when its workers have played a first set, so neither imports nor Ray's
start count; no votes are kept from one sweep to the next. Wall time suffers from whatever else the
machine does; processor time, that of this process and all its workers, hardly does: where two cores
do nothing else and `busy` is 1, the efficiency by wall time is that by processor time. Memory is
what the processes hold for themselves.
vectorbt is installed into an environment of its own, under --peers, and kept there.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import ray
from rich.console import Console
from rich.table import Table
from sweep_peers import VECTORBT, vectorbt

from hftray.actors.workers import Workers
from hftray.backtest.order import BacktestOrder, choose_rows
from hftray.backtest.players import Alone, Player, Players, explore
from hftray.backtest.search import Method, Search
from hftray.backtest.space import ParameterSet, Space
from hftray.backtest.sweep import Ground, Result
from hftray.commands.backtest import open_market
from hftray.commands.study import load_ground, ray_cluster
from hftray.strategies.defaults import default_strategies

ONE = ("rsi.period=5:30", "rsi.oversold=15:40:0.5", "rsi.overbought=60:85:0.5")
ALL = (
    *ONE,
    "ma_crossover.short_period=5:40", "ma_crossover.long_period=41:120",
    "macd.fast_period=5:20", "macd.slow_period=21:40", "bollinger.period=10:40",
    "vwap.volume_period=10:40", "supertrend.period=5:20", "stochastic_rsi.rsi_period=5:30",
)  # fmt: skip
PAIRS = ("ma_crossover.short_period=5:50:5", "ma_crossover.long_period=60:150:10")
PAIR_ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--symbol", default="RELIANCE")
    parser.add_argument("--days", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=1, help="in turns; the median counts")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--only-pairs", action="store_true", help="only beside vectorbt")
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / "hftray-peers")
    chosen = parser.parse_args()
    console = Console(highlight=False, width=120)
    ground = year_of(chosen.data, chosen.symbol, chosen.days)
    candles = len(ground.histories[0].candles) - ground.histories[0].start
    console.print(f"{chosen.symbol}: {candles:,} candles, {chosen.sets:,} sets a sweep\n")
    if not chosen.only_pairs:
        console.print(speed(ground, chosen.sets, chosen.workers, chosen.rounds))
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
    """One sweep, watched: its rate, and the processor time of all its processes.

    With `look` also their memory; looking at that takes so long that the rest is worth nothing.
    """

    def __init__(
        self, ground: Ground, crew: Players, sets: int, workers: int, *, look: bool = False
    ) -> None:
        self._finished, self._many = 0, workers > 1
        self._looks = [sets // 10, sets] if look else []
        self._called = 0.0  # seconds within calls
        self.memory: list[float] = []
        # Long enough that no worker can take the calls of all.
        warm_up: list[ParameterSet] = [{}] * 8
        while crew.free:
            crew.submit(None, warm_up)
        while crew.busy:
            crew.take()
        search = Search(ground.space, Method.RANDOM, sets, seed=1)
        used, began = processor_seconds(), time.perf_counter()
        explore(search, _Watched(crew, self._answered), "sharpe", self._found)
        seconds = time.perf_counter() - began
        self.rate = self._finished / seconds
        self.processor = (processor_seconds() - used) / self._finished
        self.busy = min(1.0, self._called / seconds / workers)

    def _answered(self, seconds: float) -> None:
        self._called += seconds

    def _found(self, results: Sequence[Result]) -> None:
        self._finished += len(results)
        while self._looks and self._finished >= self._looks[0]:
            del self._looks[0]
            held = family() if self._many else [psutil.Process()]
            self.memory.append(sum(process.memory_full_info().uss for process in held) / 1e6)


class _Watched:
    """Players, and how long each call took where it was made."""

    def __init__(self, crew: Players, answered: Callable[[float], None]) -> None:
        self._crew, self._tell = crew, answered
        self.submit = crew.submit

    @property
    def free(self) -> bool:
        return self._crew.free

    @property
    def busy(self) -> bool:
        return self._crew.busy

    @property
    def at_once(self) -> int:
        return self._crew.at_once

    def take(self) -> Any:
        results, seconds = self._crew.take()
        self._tell(seconds)
        return results, seconds


def family() -> list[psutil.Process]:
    """This process and its players; Ray's own processes do not count."""
    here = psutil.Process()
    return [here, *filter(is_player, here.children(recursive=True))]


def processor_seconds() -> float:
    """User and system time of the family so far."""
    return sum(times.user + times.system for times in (p.cpu_times() for p in family()))


def is_player(process: psutil.Process) -> bool:
    title = " ".join(process.cmdline()[:1])
    return title.startswith(("ray::_call_kept", "ray::IDLE"))


def speed(ground: Ground, sets: int, workers: int, rounds: int) -> Table:
    """Sweeps with one strategy varied and with all, by this process alone and by the workers.

    In turns, so that a machine which gets slower or quicker does so for both. Then as many sweeps
    at once that know nothing of each other: what they lose, no way to share work could save.
    """
    table = Table(
        "varied", "workers", "sets/s", "processor\nms a set", "busy",
        "efficiency:\nby wall", "\nby processor", f"MB after\n{sets // 10} and {sets}",
    )  # fmt: skip
    for title, params in (("one", ONE), ("all", ALL)):
        world = varied(ground, *params)
        alone: list[Sweep] = []
        many: list[Sweep] = []
        apart: list[float] = []
        with ray_cluster(None, workers):
            for _ in range(rounds):
                alone.append(Sweep(world, Alone(world), sets, 1))
                many.append(Sweep(world, Workers(Player, workers, world), sets, workers))
                apart.append(rate_apart(world, sets, workers) / rate_apart(world, sets, 1))
            held = [
                Sweep(world, crew, sets, count, look=True).memory
                for count, crew in ((1, Alone(world)), (workers, Workers(Player, workers, world)))
            ]
        wall = [b.rate / a.rate / workers for a, b in zip(alone, many, strict=True)]
        processor = [a.processor / b.processor for a, b in zip(alone, many, strict=True)]
        efficiency = map(spread, (wall, processor))
        table.add_row(title, "this process", *figures(alone), "1", "1", memory(held[0]))
        table.add_row(title, str(workers), *figures(many), *efficiency, memory(held[1]))
        table.add_row(title, f"{workers} apart", "", "", "", spread([r / workers for r in apart]))
    return table


def rate_apart(ground: Ground, sets: int, count: int) -> float:
    """Sets a second of so many sweeps at once, each in a process of its own."""
    task, there = ray.remote(num_cpus=1)(_sweep_there), ray.put(ground)
    return sum(ray.get([task.remote(there, sets) for _ in range(count)]))


def _sweep_there(ground: Ground, sets: int) -> float:
    crew = Alone(ground)
    crew.submit(None, [{}] * 8)
    crew.take()
    began = time.perf_counter()
    explore(Search(ground.space, Method.RANDOM, sets, seed=1), crew, "sharpe", lambda _: None)
    return sets / (time.perf_counter() - began)


def figures(sweeps: Sequence[Sweep]) -> tuple[str, str, str]:
    """Sets a second, processor ms a set, how busy the workers were."""
    rate, processor = median(sweep.rate for sweep in sweeps), median(s.processor for s in sweeps)
    return f"{rate:.0f}", f"{1000 * processor:.1f}", f"{median(s.busy for s in sweeps):.2f}"


def spread(ratios: Sequence[float]) -> str:
    """The median, and the quartiles around it."""
    if len(ratios) < 4:
        return f"{median(ratios):.2f}"
    low, middle, high = quantiles(ratios, method="inclusive")
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def memory(sizes: Sequence[float]) -> str:
    return " ".join(f"{size:.0f}" for size in sizes)


def pairs(ground: Ground, peers: Path | None) -> Table:
    """100 pairs of the SMA cross; hftray with stops, target, charges and square-off as always."""
    world = varied(ground, *PAIRS, strategies=["ma_crossover:sma"])
    sets: list[ParameterSet] = [
        {"ma_crossover.short_period": short, "ma_crossover.long_period": long}
        for short in range(5, 51, 5)
        for long in range(60, 151, 10)
    ]
    candles = len(world.histories[0].candles) - world.histories[0].start
    runs = []
    for _ in range(PAIR_ROUNDS):
        player = Player(world)  # nothing is known of the votes yet
        player(None, [{}])
        began = time.process_time()
        results, _ = player(None, sets)
        runs.append(time.process_time() - began)
    trades = sum(result.figures["trades"] for result in results)
    table = Table(
        "100 pairs of the SMA cross", "trades a pair", "seconds", "candles/s", "first run"
    )
    rows = [("hftray, one process", trades, median(runs), "")]
    if peers is not None:
        peer = vectorbt(world.histories[0], peers, PAIR_ROUNDS)
        rows.append((VECTORBT, peer["trades"], peer["seconds"], f"{peer['first']:.1f} s"))
    for title, count, seconds, first in rows:
        rate = f"{100 * candles / seconds:,.0f}"
        table.add_row(title, f"{count / 100:.0f}", f"{seconds:.2f}", rate, first)
    return table


if __name__ == "__main__":
    main()
