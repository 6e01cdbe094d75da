"""The account behind the risk book: capital, reservations and what open positions tie up.

The identity it keeps, to the paisa and after every fill:

    capital  = initial + net P&L of everything closed + what confirmed fills were booked wrong by
    equity   = capital + open P&L, which carries the entry charges of what is still open
             = cash + market value of the open positions

A confirmed fill reaches `capital` at once, also an entry's whose shares are still open: these stay
at the price they were booked at, and so does their open P&L.

An entry's charges reach `capital` when its shares are closed, in proportion to the quantity.
Costs and charges of a partly closed entry are split by `portion`, so no paisa is lost on the way,
and what is left depends only on the entry and the open quantity, never on the path.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from hftray.core.errors import NotFound
from hftray.core.ledger import TradeRecord
from hftray.core.money import ZERO, portion
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.core.values import changed


@dataclass(frozen=True, slots=True)
class Holding:
    """What is still open of one executed entry; `gross` is its open P&L before charges."""

    entry: TradeRecord
    quantity: int
    gross: Decimal = ZERO

    @property
    def entered(self) -> Decimal:
        """What the open shares were entered at, in rupees."""
        assert self.entry.price is not None  # an executed entry has a price
        return portion(self.entry.price * self.entry.quantity, self.quantity, self.entry.quantity)

    @property
    def deployed(self) -> Decimal:
        """Rupees the open shares tie up: what they were entered at.

        A short that found a better price than its band foresaw counts at the band's edge: the
        excess is money received, not money committed.
        """
        entry = self.entry
        if entry.side is not Side.SELL or not entry.reserved:
            return self.entered
        return min(self.entered, portion(entry.reserved, self.quantity, entry.requested_quantity))

    @property
    def charges(self) -> Decimal:
        """The entry charges that belong to the open shares."""
        return portion(self.entry.charges or ZERO, self.quantity, self.entry.quantity)

    @property
    def open_pnl(self) -> Decimal:
        """Open P&L less the entry charges already paid."""
        return self.gross - self.charges

    def keeping(self, quantity: int) -> "Holding":
        """What is left when only `quantity` shares stay; the mark shrinks with them."""
        gross = portion(self.gross, quantity, self.quantity)
        return changed(self, quantity=quantity, gross=gross)


class Account:
    """Money of one run; holdings by symbol, orders under way by reference."""

    def __init__(self, initial: Decimal) -> None:
        self.initial = initial
        self.realised = ZERO
        self.pending: dict[str, TradeRecord] = {}
        self.holdings: dict[str, Holding] = {}

    @property
    def capital(self) -> Decimal:
        """Initial capital plus realised net P&L."""
        return self.initial + self.realised

    @property
    def deployed(self) -> Decimal:
        """Rupees in open positions, at entry prices."""
        held = self.holdings
        return sum((holding.deployed for holding in held.values()), ZERO) if held else ZERO

    @property
    def reserved(self) -> Decimal:
        """Rupees set aside for entries under way."""
        working = self.pending
        return sum((trade.reserved for trade in working.values()), ZERO) if working else ZERO

    @property
    def open_pnl(self) -> Decimal:
        """Open P&L of all positions, less the entry charges paid for them."""
        held = self.holdings
        return sum((holding.open_pnl for holding in held.values()), ZERO) if held else ZERO

    @property
    def equity(self) -> Decimal:
        """What the account would be worth if all positions closed at their marks, uncharged."""
        return self.capital + self.open_pnl

    def working(self, symbol: str) -> TradeRecord | None:
        """The order under way in this symbol."""
        return next((t for t in self.pending.values() if t.symbol == symbol), None)

    def order(self, reference: str) -> TradeRecord:
        """The order under way with this reference. NotFound."""
        try:
            return self.pending[reference]
        except KeyError:
            raise NotFound(f"no order {reference} is under way") from None

    def mark(self, symbol: str, gross: Decimal) -> None:
        """The open P&L of the symbol's position before charges; nothing without a position."""
        if (held := self.holdings.get(symbol)) is not None:
            self.holdings[symbol] = changed(held, gross=gross)

    def settle(self, record: TradeRecord) -> None:
        """Take a finished order: its reservation goes, what it filled opens or closes shares."""
        del self.pending[record.reference]
        if record.status is TradeStatus.FAILED:
            return
        if record.leg is Leg.ENTRY:
            self.holdings[record.symbol] = Holding(record, record.quantity)
            return
        holding = self.holdings.pop(record.symbol)
        self.realised += record.pnl or ZERO
        if left := holding.quantity - record.quantity:
            self.holdings[record.symbol] = holding.keeping(left)

    def recover(
        self, realised: Decimal, pending: Iterable[TradeRecord], holdings: Iterable[Holding]
    ) -> None:
        """Start from what the ledger knows."""
        self.realised = realised
        self.pending = {trade.reference: trade for trade in pending}
        self.holdings = {held.entry.symbol: held for held in holdings}

    def snapshot(self) -> dict[str, Any]:
        """State as picklable values."""
        return {
            "realised": self.realised,
            "pending": dict(self.pending),
            "holdings": dict(self.holdings),
        }

    def restore(self, state: dict[str, Any]) -> Self:
        """Continue from a snapshot."""
        self.realised = state["realised"]
        self.pending = dict(state["pending"])
        self.holdings = dict(state["holdings"])
        return self
