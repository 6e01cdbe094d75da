"""Both records side by side, and what a difference between them is called."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from adversity.record import Book, Fill, Ledger


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not be; `subject` is a reference or a symbol."""

    kind: str
    rule: str
    subject: str
    text: str


class Facts:
    """Both records, indexed."""

    def __init__(self, book: Book, ledger: Ledger) -> None:
        self.book, self.ledger = book, ledger
        self.orders = {order.reference: order for order in book.orders}
        self.rows = {row.reference: row for row in ledger.rows}
        self.fills: dict[str, list[Fill]] = defaultdict(list)
        for fill in book.fills:
            self.fills[fill.reference].append(fill)

    def filled(self, reference: str) -> int:
        """Shares of an order that the exchange traded."""
        return sum(fill.quantity for fill in self.fills[reference])

    def mean(self, reference: str) -> Decimal:
        """Their mean price."""
        paid = sum((f.price * f.quantity for f in self.fills[reference]), Decimal(0))
        return paid / self.filled(reference)

    def both(self, reference: str) -> str:
        """Both sides' rows, for whoever looks for the fault."""
        fills = [(f.trade_id, f.quantity, str(f.price)) for f in self.fills[reference]]
        return (
            f"book {self.orders.get(reference)} fills {fills} | ledger {self.rows.get(reference)}"
        )
