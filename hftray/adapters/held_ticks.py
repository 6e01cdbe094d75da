"""Ticks that wait for the candle before them: a candle's vote must not come after newer prices."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from hftray.adapters.official_candles import OfficialCandles
from hftray.core.market import Candle, Tick


class HeldTicks:
    """For each symbol that waits for an official candle the ticks since then, as one."""

    def __init__(self, official: OfficialCandles, length: timedelta) -> None:
        self._official = official
        self._length = length  # of a candle
        self._held: dict[str, Tick] = {}

    def forget(self) -> None:
        """What is held is of another time."""
        self._held = {}

    def hand(self, fresh: Mapping[str, Tick], candles: Mapping[str, Candle]) -> dict[str, Tick]:
        """The ticks that may go now, beside the candles that have come; the others are held."""
        handed = {}
        for symbol in {**self._held, **fresh}:
            tick = _conflated(self._held.pop(symbol, None), fresh.get(symbol))
            candle = candles.get(symbol)
            if candle is not None and tick.time < candle.time + self._length:
                continue  # the candle has it
            if candle is not None or self._official.awaited(symbol) is not None:
                self._held[symbol] = tick
            else:
                handed[symbol] = tick
        return handed


def _conflated(earlier: Tick | None, later: Tick | None) -> Tick:
    """Two ticks as one: the newer price, the shares of both."""
    if earlier is None or later is None:
        only = later or earlier
        assert only is not None  # one of them is there
        return only
    return replace(later, volume=earlier.volume + later.volume)
