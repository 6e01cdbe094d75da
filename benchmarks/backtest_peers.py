"""vectorbt and backtesting.py on the candles and signals that `backtest.py` wrote; prints JSON.

Runs in an environment of its own, which has these two and not hftray. Both get the signals ready
made, so their time is that of trading alone. Each does as much of the rest as it can:

- vectorbt: stop at 2 ATR that trails, target at 4 ATR, out before the day's end, a fee and slippage
  in percent. It knows one stop, not a fixed and a trailing one together.
- backtesting.py: stop at 2 ATR, target at 4 ATR, a trailing stop moved on every candle, out before
  the day's end, a fee in percent.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

FEE, SLIPPAGE, TRAIL = 0.0006, 0.0002, 0.01


def best_of(run: Callable[[], Any], rounds: int) -> tuple[float, float, Any]:
    """Seconds of the first call, processor seconds of the quickest later one, the last answer."""
    times = []
    answer = None
    for _ in range(rounds + 1):
        began, worked = time.perf_counter(), time.process_time()
        answer = run()
        times.append((time.perf_counter() - began, time.process_time() - worked))
    return times[0][0], min(cpu for _, cpu in times[1:]), answer


def vectorbt(data: dict[str, np.ndarray], rounds: int) -> dict[str, float]:
    """Portfolio.from_signals; the first call compiles."""
    began = time.perf_counter()
    import vectorbt as vbt

    imported = time.perf_counter() - began
    last = data["last"].astype(bool)
    stop = np.nan_to_num(data["atr"] / data["close"], nan=0.0075)

    def run() -> Any:
        portfolio = vbt.Portfolio.from_signals(
            data["close"], open=data["open"], high=data["high"], low=data["low"],
            entries=data["buy"].astype(bool), exits=last,
            short_entries=data["sell"].astype(bool), short_exits=last,
            sl_stop=2 * stop, sl_trail=True, tp_stop=4 * stop, fees=FEE, slippage=SLIPPAGE,
            size=0.25, size_type="percent", upon_opposite_entry="ignore", init_cash=100_000.0,
            freq="5min",
        )  # fmt: skip
        portfolio.value()
        return len(portfolio.trades.records)

    first, steady, trades = best_of(run, rounds)
    return {"first": imported + first, "steady": steady, "trades": trades}


def backtesting(data: dict[str, np.ndarray], rounds: int) -> dict[str, float]:
    """Backtest.run with a strategy that reads the signals."""
    began = time.perf_counter()
    import pandas as pd
    from backtesting import Backtest, Strategy

    frame = pd.DataFrame(
        {name.title(): data[name] for name in ("open", "high", "low", "close", "volume")},
        index=pd.to_datetime(data["time"], unit="s"),
    )
    signal = (data["buy"] - data["sell"]).astype(float)

    class Signals(Strategy):
        def init(self) -> None:
            self.signal = self.I(lambda: signal)
            self.atr = self.I(data.__getitem__, "atr")
            self.last = self.I(data.__getitem__, "last")

        def next(self) -> None:
            if self.position:
                if self.last[-1]:
                    self.position.close()
                    return
                for trade in self.trades:
                    close, sign = self.data.Close[-1], 1 if trade.is_long else -1
                    level = close * (1 - sign * TRAIL)
                    if trade.sl is None or (level - trade.sl) * sign > 0:
                        trade.sl = level
            elif self.signal[-1] and not self.last[-1]:
                close, atr, sign = self.data.Close[-1], self.atr[-1], self.signal[-1]
                order = self.buy if sign > 0 else self.sell
                order(size=0.25, sl=close - sign * 2 * atr, tp=close + sign * 4 * atr)

    test = Backtest(frame, Signals, cash=100_000, commission=FEE, exclusive_orders=False)
    imported = time.perf_counter() - began
    first, steady, stats = best_of(test.run, rounds)
    return {"first": imported + first, "steady": steady, "trades": int(stats["# Trades"])}


def main() -> None:
    path, rounds = sys.argv[1], int(sys.argv[2])
    warnings.simplefilter("ignore")
    os.environ["TQDM_DISABLE"] = "1"  # a progress bar of backtesting.py
    with np.load(path) as file:
        data = {name: file[name] for name in file.files}
    answer = {"vectorbt": vectorbt(data, rounds), "backtesting.py": backtesting(data, rounds)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
