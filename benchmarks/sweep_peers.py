"""The sweep of the SMA cross in vectorbt, for `sweep.py`."""

import json
import subprocess
import tempfile
import venv
from pathlib import Path

import numpy as np

from hftray.backtest.history import SymbolHistory

VECTORBT = "vectorbt==1.2.0"

# Stops at the percentages that hftray falls back to, entries and exits on the cross, fees of three
# basis points. Every run includes reading the result, as the first use of a lazy
# figure computes it. The first run compiles.
PEER_SCRIPT = """
import json, sys, time
import numpy as np, pandas as pd, vectorbt as vbt
times, opened, high, low, close = np.load(sys.argv[1])
index = pd.to_datetime(times, unit="s", utc=True)
opened, high, low, close = (pd.Series(x, index=index) for x in (opened, high, low, close))
short = [s for s in range(5, 51, 5) for _ in range(10)]
long = [l for _ in range(10) for l in range(60, 151, 10)]
def run():
    began = time.process_time()
    fast, slow = vbt.MA.run(close, short), vbt.MA.run(close, long)
    up, down = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    book = vbt.Portfolio.from_signals(
        close, entries=up, short_entries=down, open=opened, high=high, low=low,
        sl_stop=0.01, sl_trail=True, tp_stop=0.03, fees=0.0003, init_cash=100_000, freq="5min",
    )
    trades = int(book.trades.count().sum())
    book.total_return()
    return time.process_time() - began, trades
first, _ = run()
rounds = sorted(run() for _ in range(int(sys.argv[2])))
seconds, trades = rounds[len(rounds) // 2]
print(json.dumps({"first": first, "seconds": seconds, "trades": trades}))
"""


def vectorbt(history: SymbolHistory, folder: Path, rounds: int) -> dict[str, float]:
    """The played candles and the pairs in vectorbt, in its own environment under `folder`.

    Processor seconds of the `first` run and of the median of `rounds` later ones, and the trades.
    """
    python = folder / "vectorbt" / "bin" / "python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", VECTORBT], check=True)
    candles = history.candles.rows(slice(history.start, None))
    columns = [candles.time.astype(float), candles.open, candles.high, candles.low, candles.close]
    with tempfile.TemporaryDirectory() as private:
        file = Path(private) / "candles.npy"
        np.save(file, np.array(columns))
        command: list[str | Path] = [python, "-c", PEER_SCRIPT, file, str(rounds)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return result
