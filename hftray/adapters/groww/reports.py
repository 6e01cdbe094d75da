"""From rows and trades to one cumulative report of an order.

What an order filled, and at what price, comes from its trades. An order is over when all its parts
are and the trades account for every share that the rows say was filled. The row of an order that
ended short of its quantity may lag behind its trades, so those are read once more before its end is
told. Trades that cannot be had for long are done without (`Part.by_row`), for nobody guards shares
that are not booked; such a report says that it is `unconfirmed`. Prices are Decimal rupees.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from hftray.adapters.groww.rows import OrderRow, TradeRow
from hftray.core.errors import DataError
from hftray.core.matching import Traded, average_price
from hftray.core.money import in_line, percent_of
from hftray.core.orders import Execution, OrderReport, OrderStatus

# The average price of an order's row was seen to be wrong (x100, a stale one). Where trades are
# missing it is taken when it lies at most so many percent better than the order's limit, and not
# beyond it; else the limit is, the worst that the order can have traded at.
BEST_PERCENT = Decimal(5)


@dataclass(frozen=True, slots=True)
class Presumed:
    """Shares that an order's row says were filled, at the price they are taken to have had."""

    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class Part:
    """The newest row of one order at Groww and its trades so far, by trade id.

    `read_at_end`: the trades were read after the row had told the end. `by_row`: they were waited
    for long enough, what they do not show is taken from the row.
    """

    row: OrderRow
    fills: Mapping[str, Execution] = field(default_factory=dict)
    read_at_end: bool = False
    by_row: bool = False

    @property
    def booked(self) -> int:
        """Shares that trades account for."""
        return sum(fill.quantity for fill in self.fills.values())

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to it, and everything is known."""
        return self.row.status.terminal and (self.by_row or not self.unread)

    @property
    def unread(self) -> bool:
        """Whether its trades have to be read: shares are missing, or it ended short of some."""
        ended_short = self.row.status in (OrderStatus.CANCELLED, OrderStatus.REJECTED)
        return self.unaccounted > 0 or (ended_short and not self.read_at_end)

    @property
    def unaccounted(self) -> int:
        """Shares that the row says were filled and no trade shows yet."""
        return max(0, self.row.claimed - self.booked)

    @property
    def presumed(self) -> Presumed | None:
        """What the row adds to the trades; None for nothing, or without a price to book it at."""
        price = price_by_row(self.row)
        return Presumed(self.unaccounted, price) if self.unaccounted and price else None

    @property
    def can_do_without(self) -> bool:
        """Whether the row alone can be booked."""
        return self.row.status.terminal and (not self.unaccounted or self.presumed is not None)


def price_by_row(row: OrderRow) -> Decimal | None:
    """What shares cost of which only the row is known; None for an order without a limit."""
    limit, average = row.price, row.average
    if limit is None or average is None:
        return limit
    better = (limit - average) * row.side.sign
    return average if 0 <= better <= percent_of(limit, BEST_PERCENT) else limit


def with_row(part: Part, read: OrderRow) -> Part:
    """The part after reading its row again; an answer that is older than a known one is dropped.

    What has ended stays ended and what was filled stays filled: a list may lag behind the detail.
    """
    known = part.row
    if read.filled < known.filled or (known.status.terminal and not read.status.terminal):
        return part
    # What we sent stands where Groww does not say.
    price, trigger = read.price or known.price, read.trigger or known.trigger
    time = read.time or known.time
    row = replace(read, price=price, trigger=trigger, time=time)
    return replace(part, row=row, read_at_end=part.read_at_end and known.status.terminal)


def with_trades(part: Part, trades: Iterable[TradeRow]) -> Part:
    """The part after reading its trades; those already known count once.

    DataError for a price out of line with the order's own, and for more shares than were ordered:
    then nothing of this reading is booked.
    """
    row, fills = part.row, dict(part.fills)
    for trade in trades:
        if trade.annulled:
            continue
        _require_in_line(trade, row)
        known = fills.get(trade.trade_id)
        fill = Execution(trade.trade_id, trade.quantity, trade.price, trade.time)
        if known is not None and (known.quantity, known.price) != (fill.quantity, fill.price):
            raise DataError(
                f"order {row.order_id}: trade {trade.trade_id} was {known.quantity} at "
                f"{known.price}, now it is {fill.quantity} at {fill.price}"
            )
        fills.setdefault(trade.trade_id, fill)
    after = Part(row, fills, read_at_end=row.status.terminal)
    after = replace(after, by_row=part.by_row and after.unread)
    if after.booked > row.quantity:
        raise DataError(
            f"order {row.order_id} of {row.quantity} shares has trades of {after.booked}"
        )
    return after


def _require_in_line(trade: TradeRow, row: OrderRow) -> None:
    own = row.price or row.trigger
    if own is None:
        raise DataError(
            f"order {row.order_id}: without a price of its own, trade {trade.trade_id} "
            f"at {trade.price} cannot be checked"
        )
    if not in_line(trade.price, own):
        raise DataError(
            f"order {row.order_id} at {own}: trade {trade.trade_id} at {trade.price} is out of "
            "line (paise instead of rupees?); it is not booked"
        )


def report_of(
    reference: str,
    symbol: str,
    parts: Sequence[Part],
    *,
    asked: int | None = None,
    unsure: bool = False,
    note: str = "",
) -> OrderReport:
    """The order's report from its parts, in their order.

    `asked` is the quantity ordered, None when only the parts tell; `unsure` says that another part
    may be at Groww, so the order is not over, nor is one without parts; `note` is what a working
    order waits for.
    """
    rows = [part.row for part in parts]
    fills = sorted(
        (fill for part in parts for fill in part.fills.values()),
        key=lambda fill: (fill.time, fill.trade_id),
    )
    presumed = [part.presumed for part in parts if part.by_row and part.presumed]
    traded: list[Traded] = [*fills, *presumed]
    filled = sum(shares.quantity for shares in traded)
    quantity = asked or sum(row.quantity for row in rows)
    if unsure or not parts or not all(part.over for part in parts):
        status, reason = OrderStatus.WORKING, note
        if missing := sum(part.unaccounted for part in parts):
            reason = f"{missing} shares are filled, their trades are not told yet"
        elif any(part.unread for part in parts):
            reason = "an end is told, the trades before it are not read yet"
    else:
        status = _end(rows, filled, quantity)
        reasons = dict.fromkeys(row.remark for row in rows if row.remark)
        reason = (
            "" if status is OrderStatus.FILLED else "; ".join([*reasons, *([note] if note else [])])
        )
    times = [fill.time for fill in fills] or [row.time for row in rows if row.time is not None]
    return OrderReport(
        reference=reference,
        symbol=symbol,
        status=status,
        broker_order_id=rows[0].order_id if rows else "",
        quantity=quantity,
        filled_quantity=filled,
        average_price=average_price(traded),
        time=max(times) if times and (traded or status.terminal) else None,
        reason=reason,
        executions=tuple(fills),
        trigger=rows[0].trigger if rows and rows[0].is_stop else None,
        limit_price=rows[0].price if rows else None,
        unconfirmed="; ".join(_unconfirmed(part) for part in parts if part.by_row),
    )


def _unconfirmed(part: Part) -> str:
    told = f"unconfirmed: by the row of order {part.row.order_id} alone, {part.row.claimed} shares"
    if part.presumed is not None:
        told += f", {part.presumed.quantity} of them at {part.presumed.price}"
    return f"{told}; Groww does not tell its trades, compare them in its app"


def _end(rows: Sequence[OrderRow], filled: int, quantity: int) -> OrderStatus:
    if filled >= quantity:
        return OrderStatus.FILLED
    refused = all(row.status is OrderStatus.REJECTED for row in rows)
    return OrderStatus.REJECTED if refused and filled == 0 else OrderStatus.CANCELLED


def foreign_report(symbol: str, row: OrderRow) -> OrderReport:
    """An order somebody else placed, under a name that stays the same; its price is not asked."""
    return OrderReport(
        reference=f"groww:{row.order_id}",
        symbol=symbol,
        status=row.status,
        broker_order_id=row.order_id,
        quantity=row.quantity,
        filled_quantity=row.claimed,
        time=row.time,
        reason="not placed by this engine",
    )
