"""The edges of the core as Protocols: what a feed, a broker, a ledger and a risk gate must do.

Adapters implement them with a network, a database or Ray; the shells get them injected, so
tests run the same shells on in-memory ones. See `tests/contract` for what each must pass.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from hftray.core.candles import Candles
from hftray.core.ledger import LedgerEvent, LedgerHealth, RunInfo, RunState
from hftray.core.market import Candle, Instrument, Tick
from hftray.core.orders import (
    Approval,
    BrokerPosition,
    Denial,
    Order,
    OrderIntent,
    OrderReport,
)
from hftray.core.position import Position
from hftray.core.session import TradingSession
from hftray.ports_source import MarketSource


@dataclass(frozen=True, slots=True)
class MarketBatch:
    """What one poll of a feed brought, for all symbols.

    `sessions` holds each symbol's trading day while it is open and is empty when the market is
    closed; `next_change` is when the market opens or closes next. A feed gives ticks or closed
    candles (`candles`), never both for one symbol in one batch. `awaiting` are the symbols whose
    newest candle is over and will still be told: until then no clock closes what ticks have built.
    `missed` are symbols some of whose candles were never told, so that their history has to be read
    again. `live` says that the market does not wait for whoever takes the batch. `fault` is what
    kept all ticks away; `note` is for whoever reads the status, and has it too.
    """

    now: datetime
    open: bool
    next_change: datetime | None = None
    sessions: dict[str, TradingSession] = field(default_factory=dict)
    ticks: dict[str, Tick] = field(default_factory=dict)
    candles: dict[str, Candle] = field(default_factory=dict)
    awaiting: frozenset[str] = frozenset()
    missed: frozenset[str] = frozenset()
    live: bool = False
    ended: bool = False
    fault: str = ""
    note: str = ""

    @property
    def waits(self) -> bool:
        """Whether market time stands still until it is taken: a replay's candles come once."""
        return bool(self.candles) and not self.live


class Feed(Protocol):
    """Where prices come from, and with them market time."""

    interval: float
    """Market seconds that one poll advances (pacing divides it by the speed)."""

    async def instruments(self) -> dict[str, Instrument]:
        """Every symbol this feed can serve."""
        ...

    async def start(self, symbols: Sequence[str], resume_after: datetime | None) -> None:
        """Begin with these symbols; skip what happened up to `resume_after`.

        NotFound names the symbols the feed does not know.
        """
        ...

    async def history(
        self, symbol: str, count: int, before: datetime | None = None
    ) -> list[Candle]:
        """Up to `count` closed candles that closed by `before` (default: now), oldest first."""
        ...

    async def columns(
        self, symbol: str, first: datetime, before: datetime, warm_up: int = 0
    ) -> Candles:
        """Closed candles that open from `first` on and close by `before`, whatever "now" is.

        Up to `warm_up` earlier ones come in front of them. NotFound, DataError.
        """
        ...

    async def span(self, symbol: str) -> tuple[date, date] | None:
        """The first and the last day that have candles; None when there is no such bound."""
        ...

    async def forming(self, symbol: str, before: datetime) -> Candle | None:
        """The candle that the day's newest tick before a moment belongs to, from its ticks so far.

        None without such a tick, and from feeds that cannot tell. Its bucket may be over: then
        nobody has voted on it yet.
        """
        ...

    def session(self, symbol: str, day: date) -> TradingSession | None:
        """The symbol's trading day, None when the market is closed. NotFound."""
        ...

    async def poll(self) -> MarketBatch:
        """The next step of the market. RetryError when the source is away for the moment."""
        ...

    async def close(self) -> None:
        """Release files and connections."""
        ...


class Broker(Protocol):
    """Where orders go. Reports are cumulative, so a repeated one changes nothing."""

    async def place(self, order: Order) -> OrderReport:
        """Send the order once: a known reference returns the order that exists.

        OrderRejected, BrokerUnavailable (certainly not taken) or UnknownOutcome.
        """
        ...

    async def cancel(self, reference: str) -> OrderReport:
        """Withdraw what is not filled; a finished order is returned as it is. NotFound."""
        ...

    async def amend(
        self, reference: str, *, trigger: Decimal, limit_price: Decimal | None
    ) -> OrderReport:
        """Move a stop order that rests to another trigger and limit.

        One that stands there already, has triggered or has ended is returned as it is; the report's
        `trigger` says where it stands. OrderRejected (it stands where it stood, or is no stop
        order), BrokerUnavailable (certainly not moved), UnknownOutcome or NotFound.
        """
        ...

    async def report(self, reference: str) -> OrderReport | None:
        """Look an order up; None when the broker has not seen the reference so far."""
        ...

    async def resolve(self, reference: str, symbol: str) -> OrderReport | None:
        """What became of an order whose outcome is unknown; None while nobody can tell yet.

        An order that never came is reported REJECTED only once it is certain that it never will:
        a request that is still under way must not trade after that.
        """
        ...

    async def reports(self) -> list[OrderReport]:
        """Every order of the broker's present book."""
        ...

    async def positions(self) -> list[BrokerPosition]:
        """What the broker holds for us, symbols that are not flat."""
        ...

    async def on_market(self, batch: MarketBatch) -> list[OrderReport]:
        """Reports that changed since the last call.

        A simulated exchange matches its working orders against the batch first.
        """
        ...

    async def close(self) -> None:
        """Release files and connections."""
        ...


@dataclass(frozen=True, slots=True)
class Venue:
    """Where a run trades, and where its prices come from when they come from a broker.

    `end_stream` ends a live feed that pushes prices to the source.
    """

    broker: Broker
    source: MarketSource | None = None
    end_stream: Callable[[], Awaitable[None]] | None = None

    async def close(self) -> None:
        """Release files and connections of all of it."""
        if self.end_stream is not None:
            await self.end_stream()
        await self.broker.close()
        if self.source is not None:
            await self.source.close()


class Ledger(Protocol):
    """The durable record. What `append` returned from is on disk."""

    async def open_run(
        self, mode: str, source: str, user_id: str, initial_capital: Decimal
    ) -> RunInfo:
        """The user's unfinished run of this mode and source, or a new one. NotFound."""
        ...

    async def current_run(self, mode: str, source: str) -> RunInfo | None:
        """The run of this mode and source that was opened last; None before the first."""
        ...

    async def finish_run(self, run_id: int, time: datetime) -> None:
        """The run's data is at its end; the next `open_run` begins a new one."""
        ...

    async def set_scanning(self, run_id: int, scanning: bool) -> None:
        """Remember whether the engine is meant to scan, for when its process comes back."""
        ...

    async def open_term(self) -> int:
        """A new term for the one writer of orders: `append` refuses older ones from now on."""
        ...

    async def append(self, events: Sequence[LedgerEvent], term: int | None = None) -> LedgerHealth:
        """Record all events in one transaction; an event already recorded is skipped.

        With none it only tells how the record is doing. `term`: StaleEpoch when a newer one has
        been opened since.
        """
        ...

    async def run_state(self, run_id: int) -> RunState:
        """What recovery needs."""
        ...

    async def roster(self, known_version: int) -> tuple[int, list[dict[str, Any]]] | None:
        """Version and rows (id, name, kind, is_active, parameters) of the strategies.

        None when nothing changed since `known_version`.
        """
        ...


class RiskGate(Protocol):
    """The one place that grants capital."""

    async def register(self, symbol: str) -> tuple[int, RunState]:
        """A new epoch for this symbol (older ones are refused from now on) and what is known."""
        ...

    async def reserve(self, intent: OrderIntent, epoch: int) -> Approval | Denial:
        """Approve with a durable order, or deny. StaleEpoch, LedgerUnavailable."""
        ...

    async def settle(
        self, report: OrderReport, epoch: int, after: Position | None, closed: Position | None
    ) -> Decimal | None:
        """Record a finished order and the position it left; net P&L when it closed something.

        Settling twice is settling once. StaleEpoch, LedgerUnavailable.
        """
        ...
