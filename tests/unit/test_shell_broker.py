"""What the broker's actor tells an engine that runs about faults only the operator can end."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from hftray.actors.broker import BrokerShell
from hftray.adapters.simulated_exchange import SimulatedExchange
from hftray.core.errors import (
    BrokerUnavailable,
    ConfigError,
    DataError,
    HftrayError,
    NotFound,
    RetryError,
    StopError,
)
from hftray.core.ledger import RunInfo
from hftray.core.market import Instrument
from hftray.core.orders import Leg, Order, Side
from hftray.ports import MarketBatch, Venue

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
RUN = RunInfo(1, "live", "groww", "default", Decimal(100_000))
EXIT = Order("20261120X0000000001", "TCS", "NSE", Leg.EXIT, Side.SELL, 10, NOW)
CALLS = {
    "place": (EXIT,),
    "cancel": (EXIT.reference,),
    "amend": (EXIT.reference, Decimal(95), None),
    "report": (EXIT.reference,),
    "resolve": (EXIT.reference, "TCS"),
    "reports": (),
    "positions": (),
    "on_market": (MarketBatch(now=NOW, open=True, sessions={}, ticks={}),),
}


class OneRun:
    """A ledger that knows one run."""

    async def current_run(self, mode: str, source: str) -> RunInfo:
        return RUN


class FaultyExchange(SimulatedExchange):
    """A book in memory whose every question and order ends in a fault."""

    def __init__(self, fault: HftrayError) -> None:
        super().__init__(Path(":memory:"), {"TCS": Instrument("TCS")})
        for name in CALLS:
            setattr(self, name, self._fail)
        self._fault = fault

    async def _fail(self, *args: object, **kwargs: object) -> None:
        raise self._fault


def shell_that(build) -> BrokerShell:
    return BrokerShell(build, RUN, OneRun())


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", [ConfigError("no keys"), NotFound("no keys")])
async def test_a_venue_that_cannot_be_built_took_nothing_and_is_tried_again(call, fault):
    tried = []

    async def build(run: RunInfo) -> Venue:
        tried.append(run)
        raise fault

    shell = shell_that(build)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match="no keys"):
            await getattr(shell, call)(*CALLS[call])
    assert len(tried) == 2


@pytest.mark.parametrize("call", CALLS)
async def test_a_fault_for_the_operator_does_not_end_the_engine(call):
    async def build(run: RunInfo) -> Venue:
        return Venue(FaultyExchange(StopError("no access")))

    kind = BrokerUnavailable if call == "place" else RetryError
    with pytest.raises(kind, match="no access"):
        await getattr(shell_that(build), call)(*CALLS[call])


@pytest.mark.parametrize("call", ["place", "report"])
async def test_fills_that_cannot_be_right_are_told_as_they_are(call):
    async def build(run: RunInfo) -> Venue:
        return Venue(FaultyExchange(DataError("paise")))

    with pytest.raises(DataError, match="paise"):
        await getattr(shell_that(build), call)(*CALLS[call])


async def test_at_the_start_the_operator_is_told():
    async def build(run: RunInfo) -> Venue:
        raise ConfigError("no keys")

    with pytest.raises(ConfigError, match="no keys"):
        await shell_that(build).require_access()
    with pytest.raises(RetryError, match="no keys"):
        await shell_that(build).quotes(["TCS"])
