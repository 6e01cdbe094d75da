"""Each mode's market and exchange: the feed that prices come from, the venue that orders go to.

The builders import what they build inside the function: they are sent to actors, and an actor
should load only what it needs.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import Any

from hftray.core.errors import StopError
from hftray.core.ledger import RunInfo
from hftray.core.market import Instrument
from hftray.exchange_data import exchange_tables
from hftray.ports import Broker, Feed, Venue
from hftray.settings import Settings

WITH_BROKER = ("paper", "live")
"""The modes whose prices come from a broker."""

BuildBroker = Callable[[Settings, Mapping[str, Instrument], str], Broker]


def build_feed(settings: Settings, start_day: date) -> Feed:
    """The market of the mode."""
    if settings.effective_mode in WITH_BROKER:
        return _live_feed(settings)
    listings, calendar = exchange_tables()
    rules = settings.trading_rules().session
    if settings.effective_mode == "replay":
        from hftray.adapters.replay import ReplayFeed

        chosen = settings.replay
        if chosen.data is None:
            raise StopError("replay.data is not set")
        return ReplayFeed(
            chosen.data,
            listings,
            calendar,
            rules=rules,
            candle_minutes=settings.signals.candle_minutes,
            strict=chosen.strict,
            from_day=chosen.from_day,
            to_day=chosen.to_day,
            common_sessions=chosen.common_sessions,
        )
    from hftray.adapters.simulated_market import SimulatedFeed

    return SimulatedFeed(
        listings,
        calendar,
        seed=settings.simulation.seed,
        start_day=start_day,
        rules=rules,
        candle_minutes=settings.signals.candle_minutes,
        ticks_per_candle=settings.simulation.ticks_per_candle,
    )


def _live_feed(settings: Settings) -> Feed:
    """Prices through the broker actor, wherever the feed itself is."""
    from hftray.actors.handles import SourceHandle
    from hftray.adapters.live_feed import LiveFeed

    _, calendar = exchange_tables()
    return LiveFeed(
        SourceHandle(),
        calendar,
        folder=settings.storage.data_dir / "candles",
        rules=settings.trading_rules().session,
        candle_minutes=settings.signals.candle_minutes,
        candle_patience=settings.groww.candle_patience,
        interval=settings.engine.scan_interval,
    )


def build_broker(
    settings: Settings, instruments: Mapping[str, Instrument], book_name: str
) -> Broker:
    """The simulated exchange; its book is a file of the data directory."""
    from hftray.adapters.paper_exchange import PaperExchange
    from hftray.adapters.simulated_exchange import SimulatedExchange

    chosen = settings.simulation
    book = settings.storage.data_dir / book_name
    chances: dict[str, Any] = {
        "slippage_bps": chosen.slippage_bps,
        "reject_rate": chosen.reject_rate,
        "partial_fill_rate": chosen.partial_fill_rate,
        "seed": chosen.seed,
    }
    if settings.effective_mode == "paper":
        minutes = settings.signals.candle_minutes
        return PaperExchange(book, instruments, candle_minutes=minutes, **chances)
    return SimulatedExchange(book, instruments, **chances)


async def venue_of_run(
    build: BuildBroker,
    settings: Settings,
    instruments: Mapping[str, Instrument],
    books: str,
    database_url: str,
    run: RunInfo,
) -> Venue:
    """The venue of one account; accounts share no book, as two clients of a broker share none."""
    from hftray.groww_venue import open_venue

    exchange = partial(build, settings, instruments, f"{books}-{run.run_id}.sqlite")
    if run.mode in WITH_BROKER:
        return await open_venue(settings, instruments, database_url, exchange, run)
    return Venue(exchange())
