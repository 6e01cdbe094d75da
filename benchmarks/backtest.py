"""Candles a second of a backtest on one core, beside bare TA-Lib, vectorbt and backtesting.py.

The whole ensemble with ATR stop, target, trailing stop and charges, on 18,750 and 187,500
five-minute candles: RELIANCE's own where they lie beside the checkout (the long run repeats them
with later dates), a random walk otherwise. Every engine runs on the same core, in the same run.

- `first` is what a person waits for: a new process, imports, data from a file, the first outcome
  with its records, played without compiling anything, as a single backtest is.
- The rest is the best of the rounds in one process, compiled, the way a sweep runs, in processor
  time, so that a busy machine counts for nobody. Each round gets a history of which nothing is
  known yet. Trades come as numbers, as vectorbt's do; `and records` also makes the rows of them
  that reports read.
- `TA-Lib` is the floor: the indicators' plain calls on the columns, nothing done with them.
- The peers get ready-made signals and do less (see `backtest_peers.py`);
  each hands out its trades and its equity, as hftray does. They are installed into an
  environment that is deleted afterwards; `--no-peers` leaves them out, `--peers PYTHON` names an
  interpreter that has them.

Writes nothing. Run: `python benchmarks/backtest.py [--rounds 15] [--no-peers]`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hftray.backtest.history import SymbolHistory
from hftray.backtest.outcome import Outcome
from hftray.backtest.play import play
from hftray.core import talib
from hftray.core.candles import COLUMNS, Candles
from hftray.core.charges import ChargeSchedule
from hftray.core.ledger import RunInfo
from hftray.core.market import Instrument
from hftray.core.risk import RiskBook
from hftray.core.rules import TradingRules
from hftray.core.session import IST, TradingSession, trading_session
from hftray.strategies.defaults import default_strategies
from hftray.strategies.ensemble import Ensemble

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "bars5m" / "RELIANCE.csv.gz"
WARM, PER_DAY = 375, 75
SHORT, LONG = 18_750, 187_500
RULES = TradingRules()
ROSTER = [dict(row, id=number) for number, row in enumerate(default_strategies(), start=1)]


def candles_of(count: int) -> tuple[Candles, str]:
    """That many candles after a warm-up, and where they come from."""
    if not REAL.exists():
        return random_walk(WARM + count), "a random walk"
    rows = np.genfromtxt(REAL, delimiter=",", skip_header=1, usecols=range(1, 6))
    stamps = np.genfromtxt(REAL, delimiter=",", skip_header=1, usecols=0, dtype=str)
    times = np.array([int(datetime.fromisoformat(stamp).timestamp()) for stamp in stamps])
    return tiled(times, rows, WARM + count), "RELIANCE"


def tiled(times: np.ndarray, rows: np.ndarray, count: int) -> Candles:
    """The candles, again and again with later dates, cut to the count."""
    spread = int(times[-1] - times[0]) // 86_400 + 1
    copies = -(-count // len(times))
    late = np.concatenate([times + number * spread * 86_400 for number in range(copies)])[:count]
    many = np.tile(rows, (copies, 1))[:count]
    days = date(1970, 1, 1).toordinal() + (late + 19_800) // 86_400
    return Candles(late, days, *(np.ascontiguousarray(many[:, n]) for n in range(5)))


def random_walk(count: int, seed: int = 7) -> Candles:
    random = np.random.default_rng(seed)
    close = np.round(1_000 * np.exp(np.cumsum(random.normal(0, 0.001, count))) * 20) / 20
    spread = np.round(close * np.abs(random.normal(0, 0.0007, (2, count))) * 20) / 20
    days = np.arange(count) // PER_DAY
    start = int(datetime(2020, 1, 1, 9, 15, tzinfo=IST).timestamp())
    times = start + days * 86_400 + np.arange(count) % PER_DAY * 300
    return Candles(
        times, date(2020, 1, 1).toordinal() + days, close, close + spread[0], close - spread[1],
        close, random.integers(1_000, 100_000, count).astype(np.float64),
    )  # fmt: skip


def history_of(candles: Candles) -> SymbolHistory:
    sessions: dict[date, TradingSession] = {}
    for ordinal in np.unique(candles.day).tolist():
        day = date.fromordinal(ordinal)
        opens = datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST)
        closes = opens + timedelta(minutes=375)
        sessions[day] = trading_session(day, opens, closes, RULES.session)
    return SymbolHistory(Instrument("RELIANCE"), candles, WARM, sessions)


def book_of(history: SymbolHistory) -> RiskBook:
    text = (ROOT / "config" / "charges.yaml").read_text(encoding="utf-8")
    charges = ChargeSchedule.from_mapping(yaml.safe_load(text))
    run = RunInfo(0, "backtest", "benchmark", "benchmark", Decimal(100_000))
    return RiskBook(
        run=run, limits=RULES.risk, exits=RULES.exits, charges=charges,
        instruments={history.symbol: history.instrument},
    )  # fmt: skip


def unplayed(candles: Candles) -> tuple[SymbolHistory, RiskBook]:
    """A history of which nothing is known yet, as it keeps what a run finds, and its account."""
    history = history_of(candles)
    return history, book_of(history)


def play_once(history: SymbolHistory, book: RiskBook, *, compiled: bool = True) -> Outcome:
    return play([history], ROSTER, rules=RULES, book=book, slippage_bps=2.0, compiled=compiled)


def bare(candles: Candles) -> None:
    """The ensemble's TA-Lib calls and the ATR, nothing else."""
    high, low, close, volume = candles.high, candles.low, candles.close, candles.volume
    for period in (20, 50):
        talib.SMA(close, period)
        talib.EMA(close, period)
    talib.RSI(close, 14)
    talib.MACD(close, 12, 26, 9)
    talib.BBANDS(close, 20, 2.0, 2.0, talib.SIMPLE)
    for day in range(0, len(close), PER_DAY):
        part = slice(day, day + PER_DAY)
        talib.VWAP(high[part], low[part], close[part], volume[part])
    talib.SMA(volume, 20)
    talib.SUPERTREND(high, low, close, 10, 3.0)
    talib.STOCH(high, low, close, 14, 3, talib.SIMPLE, 3, talib.SIMPLE)
    talib.ATR(high, low, close, 14)


def best_of(run: Callable[[Any], Any], rounds: int, prepare: Callable[[], Any]) -> float:
    """Seconds of the quickest round; what `prepare` makes for each does not count."""
    times = []
    for _ in range(rounds):
        made = prepare()
        began = time.process_time()
        run(made)
        times.append(time.process_time() - began)
    return min(times)


def save(path: Path, candles: Candles) -> None:
    """The candles, and for the peers the ensemble's signals and the ATR."""
    ensemble = Ensemble(ROSTER, RULES.signals.threshold)
    score, _ = ensemble.vote_history(candles)
    place = np.arange(len(candles)) % PER_DAY
    early = place < PER_DAY - 6
    beyond = RULES.signals.threshold * (1 + 1e-9)
    columns = {name: getattr(candles, name) for name in ("time", "day", *COLUMNS)}
    atr = talib.ATR(candles.high, candles.low, candles.close, RULES.signals.atr_period)
    np.savez(
        path, **columns, atr=atr, last=place >= PER_DAY - 3,
        buy=((score > beyond) & early).astype(int), sell=((score < -beyond) & early).astype(int),
    )  # fmt: skip


def cold(path: Path) -> None:
    """What the child process of a cold start does."""
    with np.load(path) as file:
        candles = Candles(*(file[name] for name in ("time", "day", *COLUMNS)))
    history = history_of(candles)
    print(len(play_once(history, book_of(history), compiled=False).trips))


def cold_start(path: Path, rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        command = [sys.executable, __file__, "--cold", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return min(times)


def peers_python(folder: Path) -> Path:
    """An environment with the peers, made now."""
    print("installing vectorbt and backtesting.py ...", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    packages = ["vectorbt", "backtesting"]
    subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
    return python


def peers(python: Path, path: Path, rounds: int) -> dict[str, dict[str, float]]:
    script = Path(__file__).with_name("backtest_peers.py")
    made = subprocess.run(
        [str(python), str(script), str(path), str(rounds)],
        check=True, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": ""},
    )  # fmt: skip
    answer: dict[str, dict[str, float]] = json.loads(made.stdout.splitlines()[-1])
    return answer


def measure(count: int, rounds: int, python: Path | None) -> None:
    candles, source = candles_of(count)
    history = history_of(candles)
    outcome = play_once(history, book_of(history))
    rows: dict[str, tuple[float, float | None, int | None]] = {}
    floor = best_of(bare, rounds, lambda: candles)
    rows["TA-Lib, bare calls"] = (floor, None, None)
    steady = best_of(lambda made: play_once(*made), rounds, lambda: unplayed(candles))
    read = best_of(lambda made: play_once(*made).trips, rounds, lambda: unplayed(candles))
    with tempfile.TemporaryDirectory(prefix="hftray-bench-") as folder:
        path = Path(folder) / "candles.npz"
        save(path, candles)
        rows["hftray"] = (steady, cold_start(path), outcome.count)
        rows["hftray and records"] = (read, None, len(outcome.trips))
        if python is not None:
            for name, row in peers(python, path, max(3, rounds // 3)).items():
                rows[name] = (row["steady"], row["first"], int(row["trades"]))
    print(f"\n{count:,} candles ({source}), one core")
    print(f"{'':20}{'candles/s':>12}{'ms':>10}{'first s':>10}{'trades':>8}{'hftray is':>12}")
    for name, (seconds, first, trades) in rows.items():
        print(
            f"{name:20}{count / seconds:12,.0f}{seconds * 1e3:10.1f}"
            f"{'' if first is None else f'{first:.2f}':>10}{'' if trades is None else trades:>8}"
            f"{seconds / steady:11.2f}x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--peers", type=Path, metavar="PYTHON")
    parser.add_argument("--cold", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.cold:
        cold(chosen.cold)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="hftray-peers-") as folder:
        python = chosen.peers
        if python is None and not chosen.no_peers:
            python = peers_python(Path(folder))
        for count in (SHORT, LONG):
            measure(count, chosen.rounds, python)


if __name__ == "__main__":
    main()
