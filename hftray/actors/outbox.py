"""What scans leave for the ledger: votes, best prices, the equity curve.

They are written together, once a scan, and wait here, up to a limit, while the ledger is away.
Orders never pass here: risk writes those before anything is sent.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime

from hftray.actors.messages import StepReport
from hftray.core.errors import RejectError, RetryError
from hftray.core.events import Signal
from hftray.core.ledger import (
    EquityMarked,
    LedgerEvent,
    LedgerHealth,
    PositionMarked,
    SignalRecorded,
)
from hftray.core.risk_view import RiskView
from hftray.observe import logger
from hftray.ports import Ledger

log = logger("engine")

OUTBOX_LIMIT = 20_000  # ledger events kept while the ledger is away


class Outbox:
    """Ledger events of one run that are not written yet, and how the ledger is doing."""

    def __init__(self, ledger: Ledger, run_id: int, equity_interval: int) -> None:
        self.health = LedgerHealth()
        self.dropped = 0
        self._ledger = ledger
        self._run_id = run_id
        self._equity_interval = equity_interval
        self._equity_at: datetime | None = None
        self._events: list[LedgerEvent] = []
        self._best: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """Events not written yet."""
        return len(self._events)

    def add_signals(self, signals: Iterable[Signal]) -> None:
        """Keep the votes on closed candles."""
        self._events += [SignalRecorded(self._run_id, s) for s in signals if s.final]

    def add_best_prices(self, reports: Iterable[StepReport], now: datetime) -> None:
        """Keep every best price that moved: a trailing stop hangs on it."""
        for report in reports:
            held = report.position
            if held is None:
                self._best.pop(report.symbol, None)
            elif self._best.get(report.symbol) != held.best_price:
                self._best[report.symbol] = held.best_price
                mark = PositionMarked(self._run_id, held.reference, held.best_price, now)
                self._events.append(mark)

    def equity_due(self, now: datetime) -> bool:
        """Whether the equity curve wants another point."""
        last = self._equity_at
        return last is None or (now - last).total_seconds() >= self._equity_interval

    def add_equity(self, view: RiskView, day: date, now: datetime, open_positions: int) -> None:
        """Keep a point of the equity curve."""
        self._equity_at = now
        self._events.append(
            EquityMarked(
                run_id=self._run_id,
                time=now,
                session_day=day,
                capital=view.capital,
                equity=view.equity,
                realised_pnl=view.realised_pnl,
                open_pnl=view.open_pnl,
                open_positions=open_positions,
            )
        )

    async def flush(self, *, even_empty: bool = False) -> None:
        """Write what waits; it stays waiting while the ledger is away."""
        waiting = self._events
        if not (waiting or even_empty):
            return
        self._events = []
        try:
            self.health = await self._ledger.append(waiting)
        except RetryError as error:
            waiting += self._events
            self._events = waiting[-OUTBOX_LIMIT:]
            self.dropped += len(waiting) - len(self._events)
            self.health = replace(self.health, notes=(f"ledger away: {error}",))
            log.warning("ledger away", waiting=len(self._events), reason=str(error))
        except RejectError as error:
            # Written again it would be refused again, and hold up everything behind it.
            self.dropped += len(waiting)
            log.error("ledger refused events", dropped=len(waiting), reason=str(error))
