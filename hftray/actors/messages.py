"""What the engine sends a symbol actor each scan, and what comes back.

Both cross a process boundary every scan for every symbol, so they are small.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from hftray.core.events import Signal
from hftray.core.market import Candle, Tick
from hftray.core.orders import Order, OrderReport
from hftray.core.position import Position
from hftray.core.session import TradingSession


@dataclass(frozen=True, slots=True)
class Step:
    """One scan's news for one symbol.

    `reports` come before `tick` or `candle`: what the exchange filled on this step was there
    before the strategies saw it. `history` and `forming` (the candle that ticks before this step
    have begun) warm an empty buffer, `roster` replaces the voters, `awaiting` says that a candle
    which is over is still to come,
    `flatten` closes and forbids entries until a step comes without it, `recover` re-reads the
    ledger first, `look_up` asks the broker about the order under way. `blind` is why the history
    cannot be had: the step is taken without it, by a position and its orders, without a vote.
    `holding` is why the broker does not hold the symbol's position, "" when it was seen to.
    `proceed` brings no news: it
    lets an entry take its next step, to risk and then to the broker.
    """

    now: datetime
    session: TradingSession | None = None
    reports: tuple[OrderReport, ...] = ()
    tick: Tick | None = None
    candle: Candle | None = None
    awaiting: bool = False
    history: list[Candle] | None = None
    forming: Candle | None = None
    roster: tuple[int, list[dict[str, Any]]] | None = None
    flatten: str | None = None
    recover: bool = False
    look_up: bool = False
    blind: str = ""
    holding: str | None = None
    proceed: bool = False


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one symbol made of a step.

    `trouble` is what kept the step from being finished, `feed_fault` why prices are not trusted.
    `unready` means the market was not voted on: the actor is new, has missed a candle, or was told
    to recover, and wants the step again with history and roster. `wants_turn` means that an entry
    waits for a step that says `proceed`; the report of that one replaces this one. `guard` is the
    stop order at the broker, or on its way there, with the trigger it has as far as is known.
    `absent`: why the broker refused the position's exit, if it does not hold the shares.
    """

    symbol: str
    phase: str
    signals: tuple[Signal, ...]
    position: Position | None
    last_price: float | None
    open_pnl: Decimal
    roster_version: int
    unready: bool = False
    wants_turn: bool = False
    traded: bool = False
    trouble: str = ""
    feed_fault: str = ""
    rejected: dict[str, int] = field(default_factory=dict)
    guard: Order | None = None
    absent: str = ""
