"""The ports implemented over actor handles: what each actor answers, and what a lost call means.

Calls that can place an order or change the book are never retried by Ray: an error may come
after success, so it surfaces as UnknownOutcome and the caller looks the order up. Reads and
idempotent appends surface as RetryError.

How commands reach the engine is in `engine_handle`, how backtests are run in `backtests_handle`.
"""

import pickle
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from hftray.actors.messages import Step, StepReport
from hftray.actors.ray_calls import BROKER, PERSISTENCE, RISK, START_TIMEOUT, Named
from hftray.core.errors import LedgerUnavailable, UnknownOutcome
from hftray.core.ledger import LedgerEvent, LedgerHealth, RunInfo, RunState, TradeRecord
from hftray.core.market import Candle, Instrument
from hftray.core.orders import (
    Approval,
    BrokerPosition,
    Denial,
    Order,
    OrderIntent,
    OrderReport,
)
from hftray.core.position import Position
from hftray.core.risk_view import RiskView
from hftray.ports import MarketBatch
from hftray.ports_source import Quote


class LedgerHandle(Named):
    """ports.Ledger over the persistence actor."""

    def __init__(self) -> None:
        super().__init__(PERSISTENCE)

    async def open_run(
        self, mode: str, source: str, user_id: str, initial_capital: Decimal
    ) -> RunInfo:
        """The unfinished run of this mode and source, or a new one."""
        account = (mode, source, user_id, initial_capital)
        return await self.ask("open_run", *account, lost=LedgerUnavailable, patience=START_TIMEOUT)

    async def current_run(self, mode: str, source: str) -> RunInfo | None:
        """The run of this mode and source that was opened last."""
        return await self.ask("current_run", mode, source, lost=LedgerUnavailable)

    async def finish_run(self, run_id: int, time: datetime) -> None:
        """The run's data is at its end."""
        await self.ask("finish_run", run_id, time, lost=LedgerUnavailable)

    async def set_scanning(self, run_id: int, scanning: bool) -> None:
        """Remember whether the engine is meant to scan."""
        await self.ask("set_scanning", run_id, scanning, lost=LedgerUnavailable)

    async def open_term(self) -> int:
        """A new term for the one writer of orders; one whose answer was lost is never used."""
        return await self.ask("open_term", lost=LedgerUnavailable)

    async def append(self, events: Sequence[LedgerEvent], term: int | None = None) -> LedgerHealth:
        """Record events; idempotent, so a lost answer may simply be asked again."""
        return await self.ask("append", list(events), term, lost=LedgerUnavailable)

    async def run_state(self, run_id: int) -> RunState:
        """What recovery needs."""
        return await self.ask("run_state", run_id, lost=LedgerUnavailable)

    async def roster(self, known_version: int) -> tuple[int, list[dict[str, Any]]] | None:
        """The strategies, when they changed."""
        return await self.ask("roster", known_version, lost=LedgerUnavailable)


class RiskHandle(Named):
    """ports.RiskGate over the risk actor, and what the engine asks of it."""

    def __init__(self) -> None:
        super().__init__(RISK)

    async def register(self, symbol: str) -> tuple[int, RunState]:
        """A new epoch for the symbol and what the ledger knows of it."""
        return await self.ask("register", symbol)

    async def reserve(self, intent: OrderIntent, epoch: int) -> Approval | Denial:
        """Approve with a durable order, or deny."""
        return await self.ask("reserve", intent, epoch, lost=UnknownOutcome)

    async def settle(
        self, report: OrderReport, epoch: int, after: Position | None, closed: Position | None
    ) -> Decimal | None:
        """Record a finished order."""
        return await self.ask("settle", report, epoch, after, closed, lost=UnknownOutcome)

    async def settle_by_hand(
        self, symbol: str, quantity: int, price: Decimal, why: str
    ) -> TradeRecord:
        """Record that shares of a position left elsewhere."""
        return await self.ask("settle_by_hand", symbol, quantity, price, why, lost=UnknownOutcome)

    async def confirm_fill(
        self, reference: str, price: Decimal | None, why: str, after: str | None
    ) -> TradeRecord:
        """Record what a person says an order filled at."""
        return await self.ask("confirm_fill", reference, price, why, after, lost=UnknownOutcome)

    async def open_day(self, day: date, now: datetime) -> RiskView:
        """A trading day begins."""
        return await self.ask("open_day", day, now, lost=UnknownOutcome)

    async def mark(
        self,
        now: datetime,
        open_pnl: Mapping[str, Decimal],
        impairment: str = "",
        locks: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> RiskView:
        """Open P&L of every symbol, what stands against entries, and when to expect the next."""
        return await self.ask("mark", now, open_pnl, impairment, locks, patience)

    async def impair(self, reason: str) -> RiskView:
        """No entries until a mark comes without an impairment."""
        return await self.ask("impair", reason)

    async def change_state(self, verb: str, reason: str, actor: str) -> RiskView:
        """Kill, resume or reduce."""
        return await self.ask("change_state", verb, reason, actor, lost=UnknownOutcome)

    async def view(self) -> RiskView:
        """The book as it stands."""
        return await self.ask("view")

    async def use_run(self, run: RunInfo) -> None:
        """Change to another account."""
        await self.ask("use_run", run, lost=UnknownOutcome)

    async def run_state(self) -> RunState:
        """The run as the ledger has it."""
        return await self.ask("run_state")


class BrokerHandle(Named):
    """ports.Broker over the broker actor."""

    def __init__(self) -> None:
        super().__init__(BROKER)

    async def place(self, order: Order) -> OrderReport:
        """Send the order once."""
        return await self.ask("place", order, lost=UnknownOutcome)

    async def cancel(self, reference: str) -> OrderReport:
        """Withdraw what is not filled."""
        return await self.ask("cancel", reference, lost=UnknownOutcome)

    async def amend(
        self, reference: str, *, trigger: Decimal, limit_price: Decimal | None
    ) -> OrderReport:
        """Move a stop order that rests to another trigger."""
        return await self.ask("amend", reference, trigger, limit_price, lost=UnknownOutcome)

    async def report(self, reference: str) -> OrderReport | None:
        """Look an order up."""
        return await self.ask("report", reference)

    async def resolve(self, reference: str, symbol: str) -> OrderReport | None:
        """What became of an order of unknown outcome, once that is certain."""
        return await self.ask("resolve", reference, symbol)

    async def reports(self) -> list[OrderReport]:
        """Every order of the book."""
        return await self.ask("reports")

    async def positions(self) -> list[BrokerPosition]:
        """What the broker holds for us."""
        return await self.ask("positions")

    async def on_market(self, batch: MarketBatch) -> list[OrderReport]:
        """Reports that changed with this step of the market."""
        return await self.ask("on_market", batch)

    async def use_run(self, run: RunInfo) -> None:
        """Change to another account."""
        await self.ask("use_run", run, lost=UnknownOutcome)

    async def close(self) -> None:
        """Release files and connections."""
        await self.ask("close")


class SourceHandle(Named):
    """ports_source.MarketSource over the broker actor."""

    def __init__(self) -> None:
        super().__init__(BROKER)

    async def market_time(self) -> datetime:
        """The present moment by the exchange's clock."""
        return await self.ask("market_time")

    async def instruments(self) -> dict[str, Instrument]:
        """Every symbol that can be traded."""
        return await self.ask("instruments", patience=START_TIMEOUT)

    async def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The newest price of each symbol."""
        return await self.ask("quotes", list(symbols))

    async def candles(
        self, symbol: str, first: datetime, before: datetime, minutes: int
    ) -> list[Candle]:
        """The exchange's own candles."""
        return await self.ask("candles", symbol, first, before, minutes, patience=START_TIMEOUT)

    async def require_access(self) -> None:
        """StopError when the broker does not take our keys."""
        await self.ask("require_access", patience=START_TIMEOUT)

    async def close(self) -> None:
        """The connection is the broker actor's and stays open."""


class SymbolHandle(Named):
    """One symbol actor, as the engine sees it."""

    async def step(self, step: Step) -> StepReport:
        """One scan's news; pickled here, which is cheaper than Ray's way for arguments."""
        report: StepReport = pickle.loads(await self.ask("step_packed", pickle.dumps(step, 5)))
        return report
