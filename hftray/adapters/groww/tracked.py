"""What this process knows of one order: its parts at Groww, and what is still uncertain.

All of it can be rebuilt from Groww: the parts and what they filled are read there; only the
quantity asked for and the note are of the process that sent the order.
"""

from dataclasses import dataclass, field, replace

from hftray import observe
from hftray.adapters.groww.parts import MOST_PARTS, part_reference
from hftray.adapters.groww.reports import Part, report_of, with_row, with_trades
from hftray.adapters.groww.rows import OrderRow, TradeRow
from hftray.core.errors import DataError, RetryError
from hftray.core.orders import OrderReport

FILL_PATIENCE = 15.0  # seconds that trades may come later than the status that speaks of them
BOOK_PATIENCE = 2 * FILL_PATIENCE  # after an order's end; then its row alone is believed

log = observe.logger("groww.broker")


@dataclass(slots=True)
class TrackedOrder:
    """One order under our reference. `freeze` is the largest quantity of one part, if known.

    `unsure` is the number of a part that may be at Groww although nothing shows it yet, `since`
    when (seconds of the broker's clock) it was looked for first, and not found.
    """

    reference: str
    symbol: str
    freeze: int | None = None
    asked: int | None = None
    note: str = ""
    parts: dict[int, Part] = field(default_factory=dict)
    unsure: int | None = None
    since: float | None = None
    late_since: float | None = None
    faults: dict[int, str] = field(default_factory=dict)  # of a part's trades
    ended: dict[int, float] = field(default_factory=dict)  # since when a part's are missing
    told: OrderReport | None = None

    def take_row(self, number: int, row: OrderRow) -> None:
        """Take a part's row, newer or not."""
        known = self.parts.get(number)
        self.parts[number] = Part(row) if known is None else with_row(known, row)
        if known is None:
            self._expect_more(number)

    def take_trades(self, number: int, trades: list[TradeRow]) -> None:
        """Take a part's trades; what cannot be booked is kept as `fault` and books nothing."""
        before = self.parts[number]
        try:
            self.parts[number] = after = with_trades(before, trades)
        except DataError as error:
            self.faults[number] = str(error)
            return
        self.faults.pop(number, None)
        if before.by_row and not after.by_row:
            self._confirm(before, after)

    def _confirm(self, before: Part, after: Part) -> None:
        """Say how the trades compare with what was booked without them; nothing is booked anew."""
        was, now = self._report([before]), self._report([after])
        booked = f"{was.filled_quantity} at {was.average_price}"
        told = f"{now.filled_quantity} at {now.average_price}"
        names = {"symbol": self.symbol, "reference": self.reference, "booked": booked}
        if booked == told:
            log.warning("the trades confirm what was booked by the row", **names)
        else:
            log.error("the trades differ from what was booked by the row", told=told, **names)

    @property
    def fault(self) -> str:
        """Why what Groww tells of the order's trades cannot be right."""
        found = (text for n, text in self.faults.items() if not self.parts[n].by_row)
        return next(found, "")

    def unread(self) -> list[int]:
        """Parts whose trades should be read."""
        return [number for number, part in self.parts.items() if part.unread]

    def waits_for_trades(self) -> bool:
        """Whether what the order filled is not booked yet."""
        return any(part.unread and not part.by_row for part in self.parts.values())

    def open_parts(self) -> dict[int, OrderRow]:
        """The rows of the parts that can still change."""
        return {n: part.row for n, part in self.parts.items() if not part.row.status.terminal}

    def doubt(self, number: int) -> None:
        """A part may have been sent, and nobody knows what became of it."""
        self.unsure, self.since = number, None

    def no_trace(self, now: float, patience: float) -> bool:
        """Note that the part in doubt was not found; whether it is given up, as never taken."""
        self.since = now if self.since is None else self.since
        if now - self.since < patience:
            return False
        self.unsure = None
        return True

    @property
    def unsure_reference(self) -> str:
        """The reference of the part in doubt."""
        assert self.unsure is not None
        return part_reference(self.reference, self.unsure)

    def report(self, now: float) -> OrderReport:
        """The order as it is known, by its rows where the trades have been missing for too long."""
        for number, part in self.parts.items():
            if not (part.unread and part.row.status.terminal and not part.by_row):
                self.ended.pop(number, None)
            elif now - self.ended.setdefault(number, now) >= BOOK_PATIENCE and part.can_do_without:
                self.parts[number] = believed = replace(part, by_row=True)
                report, why = self._report([believed]), self.faults.get(number, "")
                log.error(report.unconfirmed, symbol=self.symbol, reason=why)
        if self.waits_for_trades():
            self.late_since = now if self.late_since is None else self.late_since
        else:
            self.late_since = None
        return self._report([self.parts[number] for number in sorted(self.parts)])

    def _report(self, parts: list[Part]) -> OrderReport:
        return report_of(
            self.reference,
            self.symbol,
            parts,
            asked=self.asked,
            unsure=self.unsure is not None or bool(self.fault),
            note=self.fault or self.note,
        )

    def booked(self, now: float) -> OrderReport:
        """The report, for whoever builds on it: DataError for fills that cannot be right.

        RetryError for trades that are late beyond patience.
        """
        report = self.report(now)
        if self.fault:
            raise DataError(self.fault)
        if late := self._late(now):
            raise RetryError(late)
        return report

    def doubts(self, now: float) -> list[str]:
        """What is wrong with the order's fills."""
        return [text for text in (self.fault, self._late(now)) if text]

    def tells(self, report: OrderReport) -> bool:
        """Whether the report is news: the market, or an end, came to the order since it was told.

        To somebody who has heard nothing yet, an order that merely rests is none.
        """
        told = self.told
        if told is None:
            return report.status.terminal or report.filled_quantity > 0
        return _essence(told) != _essence(report)

    def _late(self, now: float) -> str:
        if self.late_since is None or now - self.late_since < FILL_PATIENCE:
            return ""
        return f"{self.reference}: Groww calls it filled, or ended, and does not tell its trades"

    def _expect_more(self, number: int) -> None:
        # A part of the full freeze quantity was perhaps not the last. Who sent it knows what it
        # asked for; anybody else looks for the next one for as long as a trace may take.
        if self.asked is not None:
            if self.unsure == number:
                self.unsure = None
            return
        last = max(self.parts)
        full = self.freeze is not None and self.parts[last].row.quantity == self.freeze
        if full and last + 1 < MOST_PARTS:
            self.doubt(last + 1)
        elif self.unsure is not None and self.unsure <= last:
            self.unsure = None


def _essence(report: OrderReport) -> tuple[object, ...]:
    return report.status, report.filled_quantity, report.average_price
