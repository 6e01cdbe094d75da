"""Where the system under chaos trades: what the adversary and the audit need of an exchange."""

from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from adversity.fault import Fault
from adversity.record import Book
from adversity.schedule import Deck
from hftray.settings import Settings
from hftray.venues import BuildBroker

# Much trading: any single vote enters on any tick, and stops are tight.
BUSY: dict[str, Any] = {
    "initial_capital": 10_000_000,
    "risk.risk_per_trade_percent": 0.4,
    "risk.max_daily_loss_percent": 60,
    "risk.max_trades_per_symbol_day": 14,
    "risk.max_trades_per_day": 240,
    "risk.max_symbol_exposure_percent": 8,
    "exits.stop_loss_atr": 0.8,
    "exits.take_profit_atr": 1.0,
    "exits.trailing_stop_percent": 0.3,
    "signals.entry_on": "tick",
    "signals.threshold": 0.05,
    "engine.scan_timeout": 0.5,
}


class Venue(Protocol):
    """An exchange with its market, its clock and its faults."""

    deck: Deck
    build_broker: BuildBroker | None

    def settings(self, data_dir: Path, symbols: tuple[str, ...], seed: int) -> Settings:
        """Settings of a system that trades here all the time, on a directory of its own."""
        ...

    def read_book(self, data_dir: Path) -> Book:
        """The exchange's own book."""
        ...

    def day_is_over(self, now: datetime) -> bool:
        """Whether it is time to compare the books, by the market's time."""
        ...

    def must_be_flat(self, now: datetime) -> bool:
        """Whether no position should be left at a comparison."""
        ...

    async def calm(self) -> None:
        """A comparison is near: the market slows down, so that its hours last until it is made."""
        ...

    async def still(self) -> None:
        """The engine has stopped: nothing moves until the books are compared."""
        ...

    async def go_on(self) -> None:
        """The comparison is made: on with the market, with the next day where one is over."""
        ...

    async def to_square_off(self) -> bool:
        """Go to where positions are closed; False where the market cannot be moved."""
        ...

    async def strike(self, fault: Fault) -> None:
        """Carry out one of the exchange's own faults. NotThereError."""
        ...

    async def slow_answer(self, number: int) -> None:
        """Have the next order answered slowly, and wait a little until one is."""
        ...

    def limits(self) -> dict[str, Any]:
        """The highest counts of calls by category; empty where nobody counts."""
        ...
