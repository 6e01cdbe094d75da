"""Faults that can be switched on while the loopback runs, and how often each one struck.

A fault names the calls it suits (`path`, a shell pattern below /v1 such as "/order/create"; for
fills the pattern is a symbol), the first suitable call it strikes (`nth`, from 1) and how many
(`times`, None: until it is cleared).
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from hftray.core.errors import RejectError
from hftray.testing.groww.wire import MEANING


class FaultKind(StrEnum):
    """What can go wrong between Groww and a client."""

    DROP_REPLY = "drop_reply"  # the call is carried out, the connection is closed without an answer
    DROP_REQUEST = "drop_request"  # the connection is closed, nothing is carried out
    HTTP_STATUS = "http_status"  # answered with `status`; carried out when `taken`
    HTML = "html"  # an HTML page with `status` (502); carried out when `taken`
    ERROR = "error"  # a FAILURE envelope with `code`; carried out when `taken`
    SLOW = "slow"  # carried out at once (not `taken`: afterwards), answered after `seconds` or
    #                once it is released
    DUPLICATE_TRADES = "duplicate_trades"  # the trades call lists every trade twice
    LATE_FILLS = "late_fills"  # a fill shows `seconds` of market time after it happened
    PARTIAL_FILLS = "partial_fills"  # an order's first fill is half of it
    LOOKUP_DELAY = "lookup_delay"  # look-ups do not know an order younger than `seconds`, or any
    WRONG_AVERAGE = "wrong_average"  # average_fill_price is off by `percent`
    PRICE_JUMP = "price_jump"  # prices of `symbol` move by `percent`, for market `seconds` or ever
    NETWORK_AWAY = "network_away"  # connections are closed, for `seconds`, `market_seconds` or ever
    TIME_SKEW = "time_skew"  # the server's clock (Date, token checks) is ahead by `seconds`


AT_REQUEST = (
    FaultKind.DROP_REPLY,
    FaultKind.DROP_REQUEST,
    FaultKind.HTTP_STATUS,
    FaultKind.HTML,
    FaultKind.ERROR,
    FaultKind.SLOW,
)


@dataclass(slots=True)
class Fault:
    """One fault and its counters: `seen` suitable calls, `struck` ones."""

    kind: FaultKind
    path: str = "*"
    nth: int = 1
    times: int | None = 1
    seconds: float | None = None
    market_seconds: float | None = None
    status: int = 500
    code: str = "GA000"
    taken: bool = False
    percent: float = 1.0
    symbol: str | None = None
    number: int = 0
    seen: int = 0
    struck: int = 0
    since: float = field(default_factory=time.monotonic)
    market_until: datetime | None = None

    def __post_init__(self) -> None:
        self.kind = FaultKind(self.kind)
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise ValueError("nth and times count from 1")
        if self.code not in MEANING:
            raise ValueError(f"code: {self.code!r}; allowed: {', '.join(MEANING)}")
        if not 100 <= self.status <= 599:
            raise ValueError(f"status: {self.status} is not an HTTP status")
        if self.kind is FaultKind.PRICE_JUMP and not self.symbol:
            raise ValueError("symbol: a price jump needs one")

    def suits(self, subject: str) -> bool:
        """Count a suitable call; whether it is struck."""
        if not fnmatchcase(subject, self.path):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times is not None and self.struck >= self.times):
            return False
        self.struck += 1
        return True


class Faults:
    """The faults in force. Safe to use from any thread."""

    def __init__(self, market_now: Callable[[], datetime]) -> None:
        self._market_now = market_now
        self._lock = threading.RLock()
        self._holding = threading.Condition(self._lock)
        self._faults: dict[int, Fault] = {}
        self._numbers = 0
        self._struck: dict[str, int] = {}
        self._held: dict[int, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._callbacks: list[Callable[[Fault], None]] = []

    def on_add(self, callback: Callable[[Fault], None]) -> None:
        """Hear of every new fault, in the thread that adds it."""
        self._callbacks.append(callback)

    def add(self, kind: FaultKind | str, **settings: Any) -> int:
        """Switch a fault on; its number. ValueError or NotFound name what is not allowed."""
        try:
            fault = Fault(FaultKind(kind), **settings)
        except TypeError as error:
            raise ValueError(str(error)) from error
        with self._lock:
            self._numbers += 1
            fault.number = self._numbers
            self._faults[fault.number] = fault
        try:
            for callback in self._callbacks:
                callback(fault)
        except (ValueError, RejectError):
            self.clear(fault.number)
            raise
        return fault.number

    def clear(self, number: int | None = None) -> None:
        """Switch one fault off, or all; replies they hold are released."""
        with self._lock:
            gone = list(self._faults) if number is None else [number]
            for each in gone:
                self._faults.pop(each, None)
                self.release(each)

    def release(self, number: int) -> None:
        """Let the replies go that a fault holds."""
        with self._lock:
            held = self._held.pop(number, [])
        for loop, event in held:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def listing(self) -> list[dict[str, Any]]:
        """The faults in force with their counters."""
        with self._lock:
            rows = [asdict(fault) for fault in self._faults.values()]
            held = {number: len(waiting) for number, waiting in self._held.items()}
        for row in rows:
            row["holding"] = held.get(row["number"], 0)
            row["market_until"] = row["market_until"] and row["market_until"].isoformat()
            del row["since"]
        return rows

    @property
    def struck(self) -> dict[str, int]:
        """How often each kind has struck since the start, cleared ones included."""
        with self._lock:
            return dict(self._struck)

    def wait_until_held(self, number: int, seconds: float) -> bool:
        """Wait, in a thread that is not the server's, until a fault holds a reply."""
        with self._holding:
            return self._holding.wait_for(lambda: bool(self._held.get(number)), seconds)

    def at_request(self, path: str) -> list[Fault]:
        """The faults that strike one call, counted."""
        with self._lock:
            return self._strike(AT_REQUEST, path)

    def strike(self, kind: FaultKind, subject: str) -> Fault | None:
        """The fault of a kind that strikes a call or a symbol, counted; None when there is none."""
        with self._lock:
            return next(iter(self._strike((kind,), subject)), None)

    def count(self, kind: FaultKind) -> None:
        """Count a fault that strikes without a call."""
        with self._lock:
            self._struck[kind] = self._struck.get(kind, 0) + 1

    def network_away(self) -> bool:
        """Whether connections are being closed at this moment."""
        with self._lock:
            for fault in self._of(FaultKind.NETWORK_AWAY):
                over = fault.seconds is not None and (
                    time.monotonic() - fault.since >= fault.seconds
                )
                if fault.market_until is not None:
                    over = over or self._market_now() >= fault.market_until
                if not over:
                    return True
            return False

    def skew(self) -> float:
        """By how many seconds the server's clock is ahead."""
        with self._lock:
            return sum(fault.seconds or 0.0 for fault in self._of(FaultKind.TIME_SKEW))

    async def hold(self, fault: Fault) -> None:
        """Wait as long as a slow fault says, or until it is released or cleared."""
        event = asyncio.Event()
        with self._lock:
            if fault.number not in self._faults:
                return
            self._held.setdefault(fault.number, []).append((asyncio.get_running_loop(), event))
            self._holding.notify_all()
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), fault.seconds)

    def _of(self, kind: FaultKind) -> list[Fault]:
        return [fault for fault in self._faults.values() if fault.kind is kind]

    def _strike(self, kinds: tuple[FaultKind, ...], subject: str) -> list[Fault]:
        hit = [f for f in self._faults.values() if f.kind in kinds and f.suits(subject)]
        for fault in hit:
            self._struck[fault.kind] = self._struck.get(fault.kind, 0) + 1
        return hit
