"""Each mode's market and exchange: the feed that prices come from, the venue that orders go to.

The builders import what they build inside the function: they are sent to actors, and an actor
should load only what it needs.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

from hftray.core.errors import StopError
from hftray.core.ledger import RunInfo
from hftray.core.market import Instrument
from hftray.layers import default_file, read_yaml
from hftray.ports import Broker, Feed, Venue
from hftray.settings import Settings

if TYPE_CHECKING:
    from hftray.adapters.calendar import SessionCalendar
    from hftray.adapters.instruments import Listings


BuildBroker = Callable[[Settings, Mapping[str, Instrument], str], Broker]


def build_feed(settings: Settings, start_day: date) -> Feed:
    """The market of the mode."""
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


@cache
def exchange_tables() -> tuple["Listings", "SessionCalendar"]:
    """Shares and hours, from config/; read once a process, for it takes a fifth of a second."""
    from hftray.adapters.calendar import SessionCalendar
    from hftray.adapters.instruments import Listings

    return (
        Listings.from_mapping(read_yaml(default_file("instruments.yaml"))),
        SessionCalendar.from_mapping(read_yaml(default_file("sessions.yaml"))),
    )


def build_broker(
    settings: Settings, instruments: Mapping[str, Instrument], book_name: str
) -> Broker:
    """The simulated exchange; its book is a file of the data directory."""
    from hftray.adapters.simulated_exchange import SimulatedExchange

    chosen = settings.simulation
    return SimulatedExchange(
        settings.storage.data_dir / book_name,
        instruments,
        slippage_bps=chosen.slippage_bps,
        reject_rate=chosen.reject_rate,
        partial_fill_rate=chosen.partial_fill_rate,
        seed=chosen.seed,
    )


def venue_of_run(
    build: BuildBroker,
    settings: Settings,
    instruments: Mapping[str, Instrument],
    books: str,
    run: RunInfo,
) -> Venue:
    """The venue of one account; accounts share no book, as two clients of a broker share none."""
    return Venue(build(settings, instruments, f"{books}-{run.run_id}.sqlite"))
