"""What the broker's process builds under chaos; imported there, so it imports little."""

from collections.abc import Mapping
from pathlib import Path

from hftray.core.market import Instrument
from hftray.ports import Broker
from hftray.settings import Settings


def faulty_broker(
    tokens: Path, settings: Settings, instruments: Mapping[str, Instrument], book_name: str
) -> Broker:
    """The simulated exchange behind a connection that can be told to fail."""
    from hftray.adapters.simulated_exchange import SimulatedExchange
    from hftray.testing.faulty_broker import FaultyBroker

    chosen = settings.simulation
    exchange = SimulatedExchange(
        settings.storage.data_dir / book_name,
        instruments,
        slippage_bps=chosen.slippage_bps,
        reject_rate=chosen.reject_rate,
        partial_fill_rate=chosen.partial_fill_rate,
        seed=chosen.seed,
    )
    return FaultyBroker(exchange, tokens)
