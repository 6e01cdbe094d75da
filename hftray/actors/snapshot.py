"""What the API replicas hold of the engine: one immutable picture a scan.

The field names are the wire's (docs/decisions.md, "Names on the wire"); money stays Decimal
until the API writes it.
"""

from collections import deque
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from hftray.actors.messages import StepReport
from hftray.actors.reconciler import Reconciler
from hftray.actors.scan import Scanner, ScanOutcome
from hftray.core.events import Signal
from hftray.core.ledger import RunInfo, TradeRecord
from hftray.core.money import paisa
from hftray.core.risk_view import RiskView
from hftray.core.rules import TradingRules


class SignalLog:
    """The newest signals of all symbols, and the latest of each."""

    def __init__(self, size: int) -> None:
        self._log: deque[dict[str, Any]] = deque(maxlen=size)
        self.latest: dict[str, dict[str, Any]] = {}

    def add(self, signals: list[Signal]) -> None:
        """Take the signals of a scan."""
        for signal in signals:
            row = signal_row(signal)
            self._log.append(row)
            self.latest[signal.symbol] = row

    def newest_first(self) -> list[dict[str, Any]]:
        """The log, newest first."""
        return list(reversed(self._log))


def signal_row(signal: Signal) -> dict[str, Any]:
    """A signal under its names on the wire."""
    return {
        "symbol": signal.symbol,
        "signal": signal.signal.value,
        "score": round(signal.score, 6),
        "votes": signal.votes,
        "price": signal.price,
        "candle_time": signal.candle_time,
        "timestamp": signal.timestamp,
        "final": signal.final,
        "action": signal.action,
    }


class Progress:
    """Counters of the loop that the status shows."""

    def __init__(self) -> None:
        self.scans = 0
        self.scan_ms = 0.0
        self.last_scan_at: datetime | None = None
        self.failures = 0
        self.outcome: ScanOutcome | None = None
        self.note = ""
        self.fault = ""  # what ended the loop

    def scanned(self, outcome: ScanOutcome, seconds: float) -> None:
        """One scan finished."""
        self.scans += 1
        self.failures, self.note = 0, ""
        self.scan_ms = round(seconds * 1000, 2)
        self.last_scan_at = datetime.now(UTC)
        self.outcome = outcome


class Loop(Protocol):
    """What the picture is taken of (actors.loop.ScanLoop)."""

    progress: Progress
    scanner: Scanner
    scanning: bool
    reconciler: Reconciler


def engine_status(run: RunInfo, loop: Loop, *, symbols: list[str]) -> dict[str, Any]:
    """The fields of `GET /api/engine/status`."""
    progress, scanner = loop.progress, loop.scanner
    outcome, view = progress.outcome, scanner.view
    batch = outcome.batch if outcome else None
    return {
        "running": loop.scanning,
        "mode": run.mode,
        "user_id": run.user_id,
        "run_id": run.run_id,
        "session": {
            "open": bool(batch and batch.open),
            "next_change": batch.next_change if batch else None,
            "market_time": batch.now if batch else None,
            "ended": bool(batch and batch.ended),
        },
        "note": "; ".join(filter(None, (progress.note, batch.note if batch else ""))),
        "scans": progress.scans,
        "last_scan_at": progress.last_scan_at,
        "scan_ms": progress.scan_ms,
        "symbols": symbols,
        "initial_capital": run.initial_capital,
        "capital": view.capital if view else run.initial_capital,
        "equity": view.equity if view else run.initial_capital,
        "realised_pnl": view.realised_pnl if view else Decimal(0),
        "open_pnl": view.open_pnl if view else Decimal(0),
        "open_positions": sum(r.position is not None for r in scanner.crew.reports.values()),
        "trades_today": view.trades_today if view else 0,
        "risk_state": view.state.value if view else "ACTIVE",
        "conflated_ticks": scanner.crew.conflated,
        "degraded": degraded(loop),
    }


def degraded(loop: Loop) -> list[str]:
    """What is not as it should be, in words; empty when all is well."""
    progress, outbox = loop.progress, loop.scanner.outbox
    reasons = [progress.fault] if progress.fault else []
    if progress.failures:
        reasons.append(f"{progress.failures} scans in a row failed: {progress.note}")
    reasons += [f"ledger: {note}" for note in outbox.health.notes]
    if outbox.waiting > 1000:
        reasons.append(f"ledger: {outbox.waiting} events wait in the engine")
    if outbox.dropped:
        reasons.append(f"ledger: {outbox.dropped} events were dropped")
    reasons += [f"engine: {why}" for why in (loop.scanner.impairment,) if why and loop.scanning]
    if loop.scanner.kill:
        reasons.append("engine: the kill is obeyed, but not on record yet")
    reasons += [f"{d.symbol}: {d.kind}: {d.detail}" for d in loop.reconciler.differences]
    if progress.outcome:
        reasons += [f"{name}: {why}" for name, why in sorted(progress.outcome.trouble.items())]
    return reasons


def position_row(report: StepReport, rules: TradingRules) -> dict[str, Any]:
    """An open position with its levels and its open P&L."""
    held = report.position
    assert held is not None
    factor = 1 - held.side.sign * rules.exits.trailing_stop_percent / 100
    return {
        **asdict(held),
        "side": held.side.value,
        "last_price": report.last_price,
        "trailing_stop": paisa(held.best_price * factor),
        "guard_level": None if report.guard is None else report.guard.trigger,
        "open_pnl": paisa(report.open_pnl),
    }


def settled_row(trade: TradeRecord, left: int) -> dict[str, Any]:
    """An exit that a person recorded, and how many shares stay open."""
    return {
        "reference": trade.reference,
        "symbol": trade.symbol,
        "side": trade.side,
        "quantity": trade.quantity,
        "price": trade.price,
        "pnl": trade.pnl,
        "reason": trade.reason,
        "timestamp": trade.timestamp,
        "left": left,
    }


def confirmed_row(trade: TradeRecord, order: TradeRecord) -> dict[str, Any]:
    """A person's word for what an order filled at, and what was booked for it."""
    return {
        "reference": trade.reference,
        "order": order.reference,
        "symbol": trade.symbol,
        "side": trade.side,
        "quantity": trade.quantity,
        "price": trade.price,
        "booked_price": order.price,
        "pnl": trade.pnl,
        "reason": trade.reason,
        "timestamp": trade.timestamp,
    }


def risk_row(view: RiskView | None) -> dict[str, Any]:
    """The risk book under its names on the wire."""
    return {} if view is None else {**asdict(view), "state": view.state.value}
