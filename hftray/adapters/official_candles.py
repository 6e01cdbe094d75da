"""Waits for the exchange's own candle of every bucket that ends, symbol by symbol.

When a bucket of a symbol is over its candle is asked for, again and again ever more rarely, until
it is there or the next bucket is over. For the first `patience` the symbol's ticks are to be held
back; a candle that comes later still corrects what was made of its ticks.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hftray.adapters.source_candles import SourceCandles
from hftray.core.errors import HftrayError
from hftray.core.market import Candle
from hftray.core.session import TradingSession
from hftray.observe import logger

log = logger("feed")

_FIRST_PAUSE = timedelta(seconds=1)  # market time between the first two attempts


@dataclass(slots=True)
class _Wait:
    """One symbol's candle that is over and not there yet."""

    opens: datetime
    ends: datetime
    due: datetime  # when to ask next
    attempt: asyncio.Task[list[Candle]] | None = None
    pause: timedelta = field(default=_FIRST_PAUSE)
    overdue: bool = False


class OfficialCandles:
    """The candles under way. `late` counts those that did not come in time."""

    def __init__(self, source: SourceCandles, *, patience: timedelta, settle: timedelta) -> None:
        self.late = 0
        self._source = source
        self._patience = patience
        self._settle = settle
        self._waits: dict[str, _Wait] = {}
        self._done: dict[str, datetime] = {}  # opening of the newest candle that is dealt with
        self._heard: dict[str, datetime] = {}  # opening of the bucket of its newest price
        self._resumed: datetime | None = None

    def begin(self, resume_after: datetime | None) -> None:
        """Forget everything; candles that ended well before `resume_after` are not waited for."""
        self.close()
        self._done, self._heard, self._resumed = {}, {}, resume_after

    def close(self) -> None:
        """Ask no more."""
        for wait in self._waits.values():
            if wait.attempt is not None:
                wait.attempt.cancel()
        self._waits = {}

    def look(self, symbol: str, session: TradingSession, now: datetime) -> None:
        """See which candle is over, and ask for it."""
        length = self._source.length
        count = (min(now, session.closes) - session.opens) // length
        ends = session.opens + count * length
        opens = ends - length
        if symbol in self._waits and self._waits[symbol].opens != opens:
            self._drop(symbol)
        if symbol not in self._done:  # the first look
            seen = self._resumed is not None and self._resumed >= ends + self._patience
            fresh = not seen and now <= ends + self._patience
            self._done[symbol] = opens - length if fresh else opens
        if count and self._done[symbol] < opens:
            self._ask(symbol, opens, ends, now)
            if self._waits[symbol].overdue and now >= session.closes:
                self._drop(symbol)  # there is no later vote today for it to correct

    def heard(self, symbol: str, session: TradingSession, now: datetime) -> bool:
        """The symbol's price is known again; whether whole buckets went by since it last was.

        Their candles are history by now, and so is the one that just ended, if it is overdue.
        """
        length = self._source.length
        present = session.opens + (now - session.opens) // length * length
        before, self._heard[symbol] = self._heard.get(symbol), present
        if before is None or present == session.opens or before >= present - length:
            return False
        if symbol in self._waits and self._waits[symbol].overdue:
            self._drop(symbol)
        return True

    def awaited(self, symbol: str) -> datetime | None:
        """When the candle opened for which ticks are to be held back; None for none."""
        wait = self._waits.get(symbol)
        return None if wait is None or wait.overdue else wait.opens

    async def come(self, grace: float) -> None:
        """Give candles that are on their way a moment, in real seconds."""
        under_way = [w.attempt for w in self._waits.values() if w.attempt and not w.attempt.done()]
        if under_way:
            await asyncio.wait(under_way, timeout=grace)

    def collect(self, symbols: Sequence[str]) -> dict[str, Candle]:
        """The candles that are there; each is given out once."""
        found = {}
        for symbol in symbols:
            wait = self._waits.get(symbol)
            if wait is None or wait.attempt is None or not wait.attempt.done():
                continue
            attempt, wait.attempt = wait.attempt, None
            try:
                candles = attempt.result()
            except HftrayError as error:
                log.warning("candle not there", symbol=symbol, reason=str(error))
                continue
            for candle in candles:
                if candle.time == wait.opens:
                    found[symbol] = candle
                    self._done[symbol] = wait.opens
                    del self._waits[symbol]
        return found

    def _ask(self, symbol: str, opens: datetime, ends: datetime, now: datetime) -> None:
        wait = self._waits.get(symbol)
        if wait is None:
            wait = self._waits[symbol] = _Wait(opens, ends, due=ends + self._settle)
        if not wait.overdue and now > ends + self._patience:
            wait.overdue = True
            self.late += 1
            log.warning("candle is late", symbol=symbol, opened=opens.isoformat())
        if wait.attempt is None and now >= wait.due:
            wait.due, wait.pause = now + wait.pause, 2 * wait.pause
            wait.attempt = asyncio.create_task(self._source.fetch(symbol, opens, ends))

    def _drop(self, symbol: str) -> None:
        wait = self._waits.pop(symbol, None)
        if wait is not None:
            self._done[symbol] = wait.opens
            if wait.attempt is not None:
                wait.attempt.cancel()
