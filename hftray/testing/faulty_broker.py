"""A broker whose connection fails on demand, for tests that break a running system.

Each fault is a token: a file in a directory that another process may write to (`order_fault`). Its
name carries the order of use, the kind and, for kinds that take time, milliseconds
(`0007-late-accept-400`). The first suitable call takes the token by renaming it into `done/`, so a
token acts once however many processes look at it, and `injected` counts what really happened.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from hftray.core.errors import BrokerUnavailable, OrderRejected, UnknownOutcome
from hftray.core.orders import BrokerPosition, Order, OrderReport, OrderStatus
from hftray.ports import Broker, MarketBatch


class Fault(StrEnum):
    """What can go wrong between us and a broker."""

    LATE_ACCEPT = "late-accept"  # the request is under way for that long before it arrives
    LATE_REPLY = "late-reply"  # it arrives at once, its answer takes that long
    DROP_REPLY = "drop-reply"  # it arrives, its answer never does
    LOST_REQUEST = "lost-request"  # it never arrives, and nobody can tell
    UNAVAILABLE = "unavailable"  # no connection, so it certainly does not arrive
    REJECT = "reject"  # the exchange refuses it
    DUPLICATE_FILL = "duplicate-fill"  # news come twice, and then older news after them
    LOSE_REPORT = "lose-report"  # the news of an order's end never come
    DARK = "dark"  # no connection for that long; only the market's news come through


PLACE_FAULTS = frozenset(
    {
        Fault.LATE_ACCEPT,
        Fault.LATE_REPLY,
        Fault.DROP_REPLY,
        Fault.LOST_REQUEST,
        Fault.UNAVAILABLE,
        Fault.REJECT,
    }
)
AMEND_FAULTS = frozenset({Fault.DROP_REPLY, Fault.LOST_REQUEST, Fault.UNAVAILABLE, Fault.REJECT})
TIMED = frozenset({Fault.LATE_ACCEPT, Fault.LATE_REPLY, Fault.DARK})
_NAME = re.compile(rf"\d+-({'|'.join(Fault)})(?:-(\d+))?")


def order_fault(tokens: Path, kind: Fault, number: int, milliseconds: int = 0) -> Path:
    """Let the next suitable call fail; the lowest number comes first.

    ValueError unless the kinds that take time, and no others, come with milliseconds.
    """
    if (kind in TIMED) != (milliseconds > 0):
        raise ValueError(f"{kind} for {milliseconds} ms")
    token = tokens / (f"{number:06d}-{kind}" + (f"-{milliseconds}" if milliseconds else ""))
    token.touch(exist_ok=False)
    return token


def injected(tokens: Path) -> Counter[Fault]:
    """How many faults of each kind have happened."""
    found = (_NAME.fullmatch(token.name) for token in (tokens / "done").glob("*"))
    return Counter(Fault(match[1]) for match in found if match)


class FaultyBroker:
    """Another broker behind a connection that fails as the tokens say."""

    def __init__(self, inner: Broker, tokens: Path) -> None:
        self._inner = inner
        self._tokens = tokens
        (tokens / "done").mkdir(parents=True, exist_ok=True)
        self._dark_until = 0.0  # by the event loop's clock
        self._told: dict[str, OrderReport] = {}  # the last news of each order that works
        self._stale: list[OrderReport] = []  # old news that are still under way

    async def place(self, order: Order) -> OrderReport:
        """Send the order, or lose, delay or refuse it."""
        self._require_connection()
        fault, seconds = self._take(PLACE_FAULTS) or (None, 0.0)
        match fault:
            case Fault.LOST_REQUEST:
                raise UnknownOutcome(f"{order.reference}: the request was lost")
            case Fault.UNAVAILABLE:
                raise BrokerUnavailable(f"{order.reference}: no connection")
            case Fault.REJECT:
                await self._inner.resolve(order.reference, order.symbol)
                return await self._send(order)
            case Fault.DROP_REPLY:
                with suppress(OrderRejected):
                    await self._send(order)
                raise UnknownOutcome(f"{order.reference}: the answer was lost")
            case Fault.LATE_ACCEPT:
                await asyncio.sleep(seconds)
        try:
            return await self._send(order)
        finally:
            if fault is Fault.LATE_REPLY:
                await asyncio.sleep(seconds)

    async def cancel(self, reference: str) -> OrderReport:
        """Withdraw what is not filled."""
        self._require_connection()
        return await self._inner.cancel(reference)

    async def amend(
        self, reference: str, *, trigger: Decimal, limit_price: Decimal | None
    ) -> OrderReport:
        """Move a stop order, or lose or refuse the request."""
        self._require_connection()
        fault, _ = self._take(AMEND_FAULTS) or (None, 0.0)
        match fault:
            case Fault.LOST_REQUEST:
                raise UnknownOutcome(f"{reference}: the request was lost")
            case Fault.UNAVAILABLE:
                raise BrokerUnavailable(f"{reference}: no connection")
            case Fault.REJECT:
                raise OrderRejected(f"{reference}: not moved")
        report = await self._inner.amend(reference, trigger=trigger, limit_price=limit_price)
        self._remember(report)
        if fault is Fault.DROP_REPLY:
            raise UnknownOutcome(f"{reference}: the answer was lost")
        return report

    async def report(self, reference: str) -> OrderReport | None:
        """Look an order up."""
        self._require_connection()
        return await self._inner.report(reference)

    async def resolve(self, reference: str, symbol: str) -> OrderReport | None:
        """What became of an order whose outcome is unknown."""
        self._require_connection()
        return await self._inner.resolve(reference, symbol)

    async def reports(self) -> list[OrderReport]:
        """Every order of the broker's present book."""
        self._require_connection()
        return await self._inner.reports()

    async def positions(self) -> list[BrokerPosition]:
        """What the broker holds for us."""
        self._require_connection()
        return await self._inner.positions()

    async def on_market(self, batch: MarketBatch) -> list[OrderReport]:
        """Reports that changed, or fewer, or more."""
        news = await self._inner.on_market(batch)
        arriving, self._stale = self._stale, []
        ended = next((report for report in news if report.status.terminal), None)
        heard = news
        if ended is not None and self._take({Fault.LOSE_REPORT}):
            heard = [report for report in news if report is not ended]
        if heard and self._take({Fault.DUPLICATE_FILL}):
            self._stale = [self._told.get(report.reference, report) for report in heard]
            heard = [*heard, *heard]
        for report in news:
            self._remember(report)
        return [*heard, *arriving]

    async def close(self) -> None:
        """Release files and connections."""
        await self._inner.close()

    async def _send(self, order: Order) -> OrderReport:
        report = await self._inner.place(order)
        self._remember(report)
        return report

    def _remember(self, report: OrderReport) -> None:
        if report.status is OrderStatus.WORKING:
            self._told[report.reference] = report
        else:
            self._told.pop(report.reference, None)

    def _require_connection(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._dark_until and (dark := self._take({Fault.DARK})):
            self._dark_until = now + dark[1]
        if now < self._dark_until:
            raise BrokerUnavailable("no connection to the broker")

    def _take(self, kinds: Collection[Fault]) -> tuple[Fault, float] | None:
        """Use up the first token of one of these kinds: it and its seconds."""
        for token in sorted(self._tokens.iterdir()):
            match = _NAME.fullmatch(token.name)
            if match is None or match[1] not in kinds:
                continue
            with suppress(FileNotFoundError):  # another process was quicker
                token.rename(self._tokens / "done" / token.name)
                return Fault(match[1]), int(match[2] or 0) / 1000
        return None
