"""What a run over history produced; reports and metrics start from these values."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from hftray.core.ledger import TradeRecord
from hftray.core.position import Position


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Shares bought and sold again (or the other way round): the exit's row and what it closed.

    `closed` is the position as it stood at its exit, `entry_charges` what its entry cost in rupees.
    """

    closed: Position
    exit: TradeRecord
    entry_charges: Decimal


@dataclass(slots=True)
class Outcome:
    """Round trips in the order of their exits, equity at the end of each day, candles played."""

    trips: list[RoundTrip] = field(default_factory=list)
    curve: list[tuple[datetime, Decimal]] = field(default_factory=list)
    candles: int = 0
