"""The port behind a live feed: whoever answers about prices, instruments and the exchange's clock.

One process talks to the broker (the broker actor), so the feed, which lives elsewhere, asks through
this port; it is implemented by the broker's adapter and by the handle of the broker actor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hftray.core.market import Candle, Instrument


@dataclass(frozen=True, slots=True)
class Quote:
    """The newest price of a symbol as the source knows it.

    `time` is when it traded and None where the source does not say; `day_volume` counts the
    session's shares so far and is None where the source does not say. `streamed` tells a price
    that was pushed to us from one that was asked for.
    """

    symbol: str
    price: float
    time: datetime | None = None
    day_volume: float | None = None
    streamed: bool = False


class MarketSource(Protocol):
    """Prices of a real market, asked for over a network."""

    async def market_time(self) -> datetime:
        """The present moment by the exchange's clock, timezone-aware."""
        ...

    async def instruments(self) -> dict[str, Instrument]:
        """Every symbol that can be traded intraday. RetryError."""
        ...

    async def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The newest price of each symbol; a symbol nothing is known of is left out.

        RetryError when the source is away or its rate limit is used up, RejectError when it
        refuses.
        """
        ...

    async def candles(
        self, symbol: str, first: datetime, before: datetime, minutes: int
    ) -> list[Candle]:
        """Candles that open from `first` on and before `before`, oldest first, as the exchange
        has them; the one that is still forming may be the last. RetryError, NotFound.
        """
        ...

    async def require_access(self) -> None:
        """Ask something that only the account's owner may. StopError says what is wrong."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
