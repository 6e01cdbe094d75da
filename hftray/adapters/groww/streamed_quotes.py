"""Which of the streamed prices may be trusted: polled prices are held against them.

A stream can be alive and yet silent about one share, because a subscription was lost. Such a share
shows as one whose polled price moved from one check to the next while its streamed quote did not.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from hftray.observe import logger
from hftray.ports_source import Quote

log = logger("groww.source")


class QuoteStream(Protocol):
    """A live feed that knows the newest quotes."""

    def newest(self) -> Mapping[str, Quote]:
        """The newest quote by symbol; nothing when the feed is not live."""
        ...


class StreamedQuotes:
    """The streamed quotes less those of shares the stream has gone silent about."""

    def __init__(self, stream: QuoteStream | None) -> None:
        self._stream = stream
        self._checked: dict[str, tuple[Quote, float]] = {}  # streamed and polled at the last check
        self._silent: dict[str, Quote] = {}  # the streamed quote that outlived a polled move

    def newest(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The trusted streamed quotes of these symbols."""
        if self._stream is None:
            return {}
        streamed = self._stream.newest()
        trusted = {}
        for symbol in symbols:
            quote = streamed.get(symbol)
            if quote is None:
                continue
            if self._silent.get(symbol) == quote:
                continue
            self._silent.pop(symbol, None)
            trusted[symbol] = quote
        return trusted

    def check(self, polled: Mapping[str, float]) -> None:
        """Hold prices that were just asked for against the stream's."""
        streamed = self._stream.newest() if self._stream else {}
        for symbol, price in polled.items():
            quote = streamed.get(symbol)
            if quote is None:
                self._checked.pop(symbol, None)
                continue
            before = self._checked.get(symbol)
            # Polled twice at another price than streamed, and nothing new was streamed between.
            if (
                before is not None
                and before[0] == quote
                and quote.price not in (before[1], price)
                and symbol not in self._silent
            ):
                self._silent[symbol] = quote
                log.warning("the stream is silent about a share; it is polled", symbol=symbol)
            self._checked[symbol] = (quote, price)
