"""The simulated exchange beside a live feed: it fills at prices of now, never at those of a candle.

A live feed's candles come after their ticks. Their opens, highs and lows are past, so nothing may
trade there: only ticks match, and a candle is no more than a tick at its close, if no newer price
of its symbol was seen. An exit whose level a candle has shown fills at the next price.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from hftray.adapters.simulated_exchange import SimulatedExchange
from hftray.core.market import Candle, Instrument, Tick
from hftray.core.orders import OrderReport
from hftray.ports import MarketBatch


class PaperExchange(SimulatedExchange):
    """`ports.Broker` for paper trading."""

    def __init__(
        self,
        path: Path | str,
        instruments: Mapping[str, Instrument],
        *,
        candle_minutes: int = 5,
        slippage_bps: float = 0.0,
        reject_rate: float = 0.0,
        partial_fill_rate: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            path,
            instruments,
            slippage_bps=slippage_bps,
            reject_rate=reject_rate,
            partial_fill_rate=partial_fill_rate,
            seed=seed,
        )
        self._length = timedelta(minutes=candle_minutes)
        self._newest: dict[str, datetime] = {}  # time of the newest price of each symbol
        self._taken: tuple[MarketBatch, MarketBatch] | None = None

    async def on_market(self, batch: MarketBatch) -> list[OrderReport]:
        """Match working orders against the batch's ticks; the same batch again fills nothing."""
        if self._taken is None or self._taken[0] != batch:
            self._taken = batch, replace(batch, ticks=self._prices_of(batch), candles={})
        return await super().on_market(self._taken[1])

    def _prices_of(self, batch: MarketBatch) -> dict[str, Tick]:
        closes = {symbol: self._close(candle) for symbol, candle in batch.candles.items()}
        ticks = batch.ticks | {
            symbol: tick
            for symbol, tick in closes.items()
            if symbol not in self._newest or tick.time > self._newest[symbol]
        }
        for symbol, tick in ticks.items():
            self._newest[symbol] = max(tick.time, self._newest.get(symbol, tick.time))
        return ticks

    def _close(self, candle: Candle) -> Tick:
        return Tick(candle.symbol, candle.time + self._length, candle.close, candle.volume)
