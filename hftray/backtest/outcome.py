"""What a run over history produced; reports and metrics start from these values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from hftray.core.ledger import TradeRecord
from hftray.core.money import ZERO
from hftray.core.position import Position


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Shares bought and sold again (or the other way round): the exit's row and what it closed.

    `closed` is the position as it stood at its exit, `entry_charges` what its entry cost in rupees.
    """

    closed: Position
    exit: TradeRecord
    entry_charges: Decimal


class Batch(Protocol):
    """Round trips one after the other whose records are made when somebody reads them."""

    def __len__(self) -> int:
        """How many."""
        ...

    @property
    def pnls(self) -> Sequence[Decimal]:
        """Each trip's net P&L in rupees."""
        ...

    def trips(self) -> Sequence[RoundTrip]:
        """The trips themselves."""
        ...


class Outcome:
    """Round trips in the order of their exits, equity at the end of each day, candles played.

    `count` is how many trips there are.
    """

    def __init__(
        self,
        trips: Sequence[RoundTrip] = (),
        curve: Sequence[tuple[datetime, Decimal]] = (),
        candles: int = 0,
    ) -> None:
        self.curve = list(curve)
        self.candles = candles
        self.count = len(trips)
        self._parts: list[RoundTrip | Batch] = list(trips)
        self._trips: list[RoundTrip] | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Outcome):
            return NotImplemented
        mine, theirs = (self.curve, self.candles), (other.curve, other.candles)
        return mine == theirs and self.trips == other.trips

    __hash__ = None  # type: ignore[assignment]  # it grows

    def add(self, trip: RoundTrip) -> None:
        """One more trip."""
        self._parts.append(trip)
        self.count, self._trips = self.count + 1, None

    def add_all(self, batch: Batch) -> None:
        """More trips, all at once."""
        self._parts.append(batch)
        self.count, self._trips = self.count + len(batch), None

    @property
    def trips(self) -> list[RoundTrip]:
        """The trips, which the first reader waits for; see `pnls`."""
        if self._trips is None:
            self._trips = []
            for part in self._parts:
                self._trips += [part] if isinstance(part, RoundTrip) else part.trips()
        return self._trips

    @property
    def pnls(self) -> list[Decimal]:
        """Each trip's net P&L in rupees, which is there without the rest of it."""
        pnls: list[Decimal] = []
        for part in self._parts:
            pnls += [part.exit.pnl or ZERO] if isinstance(part, RoundTrip) else part.pnls
        return pnls
