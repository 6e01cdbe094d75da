"""A live system on one side, a Groww on loopback on the other, and a clock that a test moves."""

import asyncio
import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from running_system import RunningSystem

from hftray.adapters.simulated_market import SimulatedFeed
from hftray.core.candles import COLUMNS, Candles
from hftray.core.session import IST, SessionRules
from hftray.exchange_data import exchange_tables
from hftray.testing.groww.behaviour import Behaviour
from hftray.testing.groww.clock import Clock, SteppedClock
from hftray.testing.groww.feed_market import LoopbackFeed
from hftray.testing.groww.limits import Category, RateLimits, Window
from hftray.testing.groww.loopback import LoopbackGroww
from hftray.testing.groww.market import Market

SYMBOLS = ("RELIANCE", "TCS", "HDFCBANK", "INFY", "ITC")
DAY = date(2026, 9, 16)
"""A Wednesday, after the closing auction began: shares with derivatives trade to 15:15."""
WARM_UP = timedelta(days=14)
SLIPPAGE = 2.0  # basis points, in the replay and at the loopback
PATIENCE = timedelta(seconds=60)
"""How long a candle is waited for: the clock stands still while a busy machine fetches it."""
BUSY = {"HFTRAY_SIGNALS__THRESHOLD": "0.1"}
"""Any strategy alone can carry a decision, so that a day has many."""


def generated(symbols: Sequence[str], day: date, seed: int) -> dict[str, Candles]:
    """Candles of the days before and of the day itself, the same for the same seed."""
    print(f"generated candles of seed {seed}")
    listings, calendar = exchange_tables()
    feed = SimulatedFeed(listings, calendar, seed=seed, start_day=day, rules=SessionRules())
    first = datetime.combine(day - WARM_UP, time(), IST)
    until = datetime.combine(day + timedelta(days=1), time(), IST)
    return {symbol: asyncio.run(feed.columns(symbol, first, until)) for symbol in symbols}


def write_files(candles: dict[str, Candles], folder: Path) -> Path:
    """The candles as files that a replay reads."""
    folder.mkdir()
    for symbol, rows in candles.items():
        with (folder / f"{symbol}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("timestamp", *COLUMNS))
            columns = [getattr(rows, name).tolist() for name in COLUMNS]
            for opened, *prices in zip(rows.time.tolist(), *columns, strict=True):
                writer.writerow((datetime.fromtimestamp(opened, IST).isoformat(), *prices))
    return folder


class GrowwDay:
    """A loopback with the candles of a day, its clock just before the day's open.

    `feed` is its live feed, which is there once it is started, as a context manager.
    """

    def __init__(
        self, candles: dict[str, Candles], day: date, clock: Clock | None = None, **behaviour: Any
    ) -> None:
        self.opens = datetime.combine(day, time(9, 15), IST)
        self.clock = clock or SteppedClock(self.opens - timedelta(minutes=5))
        chosen = {"fill": "arrival", "slippage_bps": SLIPPAGE, **behaviour}
        market = Market(candles, self.clock, candle_minutes=5)
        self.feed = LoopbackFeed(market)
        self.groww = LoopbackGroww(
            market,
            capital=100_000_000,
            behaviour=Behaviour(**chosen),
            limits=roomy_limits(),
            more=self.feed.routes,
        )
        self.feed.attach(self.groww.world)

    def environment(self) -> dict[str, str]:
        """What a live system needs to trade here, as fast as the test's clock goes."""
        keys = self.groww.sessions.keys
        plenty = "10000"
        return {
            "GROWW_API_KEY": keys.api_key,
            "GROWW_API_SECRET": keys.secret,
            "HFTRAY_GROWW__BASE_URL": self.groww.api,
            "HFTRAY_GROWW__INSTRUMENTS_URL": self.groww.instruments_url,
            "HFTRAY_GROWW__CLOCK_URL": f"{self.groww.url}/_test/clock",
            "HFTRAY_GROWW__STREAM": "off",
            "HFTRAY_GROWW__GUARD_STEP_PERCENT": "0",
            "HFTRAY_GROWW__CANDLE_PATIENCE": str(PATIENCE.total_seconds()),
            "HFTRAY_ENGINE__SCAN_INTERVAL": "0.02",
            "HFTRAY_ENGINE__CLOSED_INTERVAL": "0.05",
            "HFTRAY_ENGINE__SNAPSHOT_INTERVAL": "0.01",
            "HFTRAY_ENGINE__HEARTBEAT_TIMEOUT": "300",
            **{
                f"HFTRAY_GROWW__{kind}_PER_{span}": plenty
                for kind in ("LIVE_DATA", "NON_TRADING", "HISTORICAL")
                for span in ("SECOND", "MINUTE")
            },
        }


def roomy_limits() -> RateLimits:
    """Groww's limits for orders; questions as many as a fast clock makes necessary."""
    limits = RateLimits()
    for category in (Category.LIVE_DATA, Category.NON_TRADING, Category.HISTORICAL):
        limits.windows[category] = (Window(1.0, 100_000), Window(60.0, 1_000_000))
    limits.windows[Category.ORDERS] = (Window(1.0, 10), Window(60.0, 600))
    return limits


def moments(opens: datetime, closes: datetime, minutes: int = 5) -> Iterator[datetime]:
    """The moments of a day at which there is news: each candle's ticks, and right after its end."""
    step = timedelta(minutes=minutes) / 4
    begin = opens
    while begin < closes:
        for number in range(4):
            yield begin + step * number
            if number == 0:
                # The exchange's own candle is asked for a second after the end of it.
                yield begin + timedelta(seconds=2)
        begin += timedelta(minutes=minutes)
    yield closes
    yield closes + timedelta(seconds=2)


def play(system: RunningSystem, clock: Clock, when: Iterable[datetime]) -> None:
    """Move the clock moment by moment, each once the system has seen and handled the one before."""
    for moment in when:
        clock.to(moment)
        settle(system, moment)


def settle(system: RunningSystem, moment: datetime, patience: float = 60.0) -> None:
    """Wait until the system has scanned at the moment, and once more after that."""
    first: int | None = None

    def seen() -> bool:
        nonlocal first
        status = system.get("/api/engine/status")
        told = status["session"]["market_time"]
        if told is None or datetime.fromisoformat(told) < moment:
            return False
        if first is None:
            first = status["scans"]
        return status["scans"] >= first + 2

    system.wait_for(seen, patience, f"scans at {moment:%H:%M:%S}", every=0.01)
