"""Which candle lengths Groww has, and how long a stretch of them one request may ask for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from hftray.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CandleSpan:
    """The name of a candle length in a request, and the days one request may span."""

    name: str
    days: int


# Groww's documentation of /historical/candles, by minutes.
SPANS = {
    1: CandleSpan("1minute", 30),
    2: CandleSpan("2minute", 30),
    3: CandleSpan("3minute", 30),
    5: CandleSpan("5minute", 30),
    10: CandleSpan("10minute", 90),
    15: CandleSpan("15minute", 90),
    30: CandleSpan("30minute", 90),
    60: CandleSpan("1hour", 180),
    240: CandleSpan("4hour", 180),
    1440: CandleSpan("1day", 180),
}


def span_of(minutes: int) -> CandleSpan:
    """The span of a candle length in minutes. ConfigError."""
    try:
        return SPANS[minutes]
    except KeyError:
        allowed = ", ".join(map(str, SPANS))
        raise ConfigError(f"candle_minutes: {minutes} is not one of Groww's: {allowed}") from None


def stretches(
    first: datetime, before: datetime, span: CandleSpan
) -> Iterator[tuple[datetime, datetime]]:
    """Stretches that cover everything from `first` to `before`, each ending where the next begins.

    A day shorter than documented: whether both ends count as days is not said.
    """
    step = timedelta(days=span.days - 1)
    while first < before:
        end = min(first + step, before)
        yield first, end
        first = end
