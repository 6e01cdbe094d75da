"""Paper and live put together: whose keys, which market, what is refused before anything starts.

Against the Groww on loopback and a real PostgreSQL, without Ray.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from loopback_world import FRIDAY, MONDAY, flat_day
from sqlalchemy import text

from hftray import planning, wiring
from hftray.actors.broker import BrokerShell
from hftray.actors.handles import SourceHandle
from hftray.adapters.groww.broker import GrowwBroker
from hftray.adapters.groww.errors import AccessDenied
from hftray.adapters.paper_exchange import PaperExchange
from hftray.catalog_rows import NewUser
from hftray.core.errors import BrokerUnavailable, ConfigError, HftrayError, NotFound, StopError
from hftray.core.ledger import RunInfo
from hftray.groww_venue import credentials_of
from hftray.layers import load
from hftray.ports import Venue
from hftray.settings import Settings
from hftray.storage.catalog import Catalog
from hftray.storage.database import connect
from hftray.storage.secrets import SecretBox
from hftray.testing.groww import Behaviour, LoopbackGroww, Market, SteppedClock
from hftray.testing.memory_ledger import MemoryLedger
from hftray.venues import build_broker, venue_of_run

WRONG = {"GROWW_API_KEY": "mine-1c0f", "GROWW_API_SECRET": "mine-2b7d"}


@pytest.fixture(scope="module")
def groww() -> Iterator[LoopbackGroww]:
    days = [*flat_day(FRIDAY, 1000.0), *flat_day(MONDAY, 1000.0)]
    market = Market({"RELIANCE": days}, SteppedClock(MONDAY))
    with LoopbackGroww(market, behaviour=Behaviour(square_off_minutes=None)) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(groww: LoopbackGroww) -> None:
    groww.limits.reset()
    groww.world.journal.clear()


def settings_of(groww: LoopbackGroww, folder: Path, **changes: str) -> Settings:
    keys = groww.sessions.keys
    environment = {
        "GROWW_API_KEY": keys.api_key,
        "GROWW_API_SECRET": keys.secret,
        "HFTRAY_MODE": "live",
        "HFTRAY_SYMBOLS": "RELIANCE,BSE:RELIANCE",
        "HFTRAY_DATA_DIR": str(folder),
        "HFTRAY_GROWW__BASE_URL": groww.api,
        "HFTRAY_GROWW__INSTRUMENTS_URL": groww.instruments_url,
        "HFTRAY_GROWW__CLOCK_URL": f"{groww.url}/_test/clock",
        "HFTRAY_GROWW__STREAM": "off",
    }
    return load(environment=environment | changes).settings


def run_of(user: str, mode: str = "live", number: int = 1) -> RunInfo:
    return RunInfo(number, mode, "groww", user, Decimal(100_000))


@pytest.fixture
async def stored(groww: LoopbackGroww, database_url: str, tmp_path: Path) -> str:
    """A database in which the user anita has the keys that Groww takes."""
    keys = groww.sessions.keys
    engine = connect(database_url)
    anita = NewUser(id="anita", groww_api_key=keys.api_key, groww_api_secret=keys.secret)
    try:
        catalog = Catalog(engine, SecretBox.open(tmp_path))
        await catalog.create_user(anita)
        await catalog.create_user(NewUser(id="keyless"))
    finally:
        await engine.dispose()
    return database_url


@asynccontextmanager
async def venue(settings: Settings, url: str, run: RunInfo) -> AsyncIterator[Venue]:
    plan = await planning.plan(settings)
    opened = await venue_of_run(build_broker, settings, plan.instruments, "books", url, run)
    try:
        yield opened
    finally:
        await opened.close()


# Whose keys


async def test_the_configured_user_has_the_keys_of_the_environment(groww, tmp_path, stored):
    settings = settings_of(groww, tmp_path, **WRONG)
    mine = await credentials_of(settings, stored, "default")
    assert (mine.api_key, mine.api_secret) == tuple(WRONG.values())
    code = settings_of(groww, tmp_path, GROWW_API_SECRET="", GROWW_TOTP_SECRET="JBSWY3DP")
    assert (await credentials_of(code, "", "default")).totp_secret == "JBSWY3DP"


async def test_another_user_has_the_stored_keys_which_the_database_cannot_read(
    groww, tmp_path, stored
):
    keys = groww.sessions.keys
    theirs = await credentials_of(settings_of(groww, tmp_path, **WRONG), stored, "anita")
    assert (theirs.api_key, theirs.api_secret) == (keys.api_key, keys.secret)
    engine = connect(stored)
    async with engine.connect() as connection:
        rows = repr((await connection.execute(text("SELECT * FROM users"))).all())
    await engine.dispose()
    assert "anita" in rows
    assert not [secret for secret in (keys.api_key, keys.secret) if secret in rows]


async def test_without_keys_it_is_told_what_to_set(groww, tmp_path, stored):
    settings = settings_of(groww, tmp_path)
    with pytest.raises(ConfigError, match=r"keyless .*GROWW_API_KEY .*PATCH /api/users/keyless"):
        await credentials_of(settings, stored, "keyless")
    with pytest.raises(NotFound, match="nobody"):
        await credentials_of(settings, stored, "nobody")


async def test_an_engine_that_changes_the_user_trades_with_that_users_keys(groww, tmp_path, stored):
    settings = settings_of(groww, tmp_path, **WRONG)
    plan = await planning.plan(settings)
    build = partial(venue_of_run, build_broker, settings, plan.instruments, "books", stored)
    shell = BrokerShell(build, run_of("default"), MemoryLedger([]))
    with pytest.raises(AccessDenied):
        await shell.require_access()
    await shell.use_run(run_of("anita", number=2))
    await shell.require_access()
    assert await shell.positions() == []
    assert set(await shell.quotes(["RELIANCE", "BSE:RELIANCE"])) == {"RELIANCE", "BSE:RELIANCE"}
    await shell.close()


# What is built


@pytest.mark.parametrize(("mode", "kind"), [("paper", PaperExchange), ("live", GrowwBroker)])
async def test_the_venue_of_a_mode(groww, tmp_path, mode, kind):
    settings = settings_of(groww, tmp_path, HFTRAY_MODE=mode)
    async with venue(settings, "", run_of("default", mode)) as opened:
        assert isinstance(opened.broker, kind)
        assert opened.source is not None
        await opened.source.require_access()
        assert set(await opened.source.quotes(["RELIANCE"])) == {"RELIANCE"}
    assert not [entry for entry in groww.world.journal if entry.path.startswith("/v1/order/create")]


async def test_nothing_shows_a_secret(groww, tmp_path):
    settings = settings_of(groww, tmp_path, GROWW_TOTP_SECRET="JBSWY3DPEHPK3PXP")
    plan = await planning.plan(settings)
    async with venue(settings, "", run_of("default")) as opened:
        shown = (
            f"{settings!r} {plan!r} {opened!r} {opened.broker!r} {opened.source!r} {plan.source}"
        )
    keys = groww.sessions.keys
    for secret in (keys.api_key, keys.secret, "JBSWY3DPEHPK3PXP"):
        assert secret not in shown


async def test_a_live_plan_has_the_markets_pace_and_groww_as_its_source(groww, tmp_path):
    changes = {"HFTRAY_ENGINE__SCAN_INTERVAL": "3", "HFTRAY_ENGINE__CLOSED_INTERVAL": "40"}
    plan = await planning.plan(settings_of(groww, tmp_path, **changes))
    options = wiring.engine_options(plan, plan.feed_interval)
    assert (plan.feed_interval, options.interval, options.closed_interval) == (3, 3, 40)
    assert options.source == f"{groww.api} 5 min"
    assert {name: share.exchange for name, share in plan.instruments.items()} == {
        "RELIANCE": "NSE", "BSE:RELIANCE": "BSE"
    }  # fmt: skip


def test_only_live_has_a_guard_at_the_broker(groww, tmp_path):
    def guarded(mode: str, **changes: str) -> bool:
        settings = settings_of(groww, tmp_path, HFTRAY_MODE=mode, **changes)
        return settings.trading_rules().exits.guard

    assert [guarded(mode) for mode in ("live", "paper", "simulation")] == [True, False, False]
    assert guarded("auto") is True
    assert guarded("live", HFTRAY_GROWW__GUARD="false") is False


# What is refused


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({}, "live"),
        ({"GROWW_API_SECRET": "", "GROWW_TOTP_SECRET": "JBSWY3DP"}, "live"),
        ({"GROWW_API_SECRET": ""}, "simulation"),
        ({"GROWW_API_KEY": ""}, "simulation"),
    ],
)
def test_auto_means_live_with_a_key_and_what_proves_it(groww, tmp_path, changes, mode):
    settings = settings_of(groww, tmp_path, HFTRAY_MODE="auto", **changes)
    assert settings.effective_mode == mode


@pytest.mark.parametrize(
    "url", ["http://192.0.2.7:80/clock", "https://127.0.0.1:1/", "http://127.0.0.1.example.org/"]
)
def test_only_a_test_exchange_on_this_machine_tells_the_time(groww, tmp_path, url):
    with pytest.raises(ConfigError, match=r"groww\.clock_url .*127\.0\.0\.1:PORT"):
        settings_of(groww, tmp_path, HFTRAY_GROWW__CLOCK_URL=url)


async def test_symbols_that_groww_does_not_have(groww, tmp_path):
    settings = settings_of(groww, tmp_path, HFTRAY_SYMBOLS="RELIANCE,BSE:RELIANC")
    told = r"symbols: BSE:RELIANC not known in mode live; known are RELIANCE, and .* BSE:NAME"
    with pytest.raises(ConfigError, match=told):
        await planning.plan(settings)


async def test_a_list_of_shares_that_cannot_be_had(groww, tmp_path):
    nowhere = "http://127.0.0.1:9/instrument.csv"
    settings = settings_of(groww, tmp_path, HFTRAY_GROWW__INSTRUMENTS_URL=nowhere)
    with pytest.raises(StopError, match="no list of shares: "):
        await planning.plan(settings)


@pytest.mark.parametrize("mode", ["paper", "live"])
async def test_keys_that_groww_does_not_take_are_told_in_one_line(groww, tmp_path, mode):
    settings = settings_of(groww, tmp_path, HFTRAY_MODE=mode, **WRONG)
    async with venue(settings, "", run_of("default", mode)) as opened:
        assert opened.source is not None
        with pytest.raises(StopError) as caught:
            await opened.source.require_access()
    told = str(caught.value)
    assert "\n" not in told
    assert "check the API key" in told
    assert not [word for word in WRONG.values() if word in told]


@pytest.mark.parametrize(
    ("answer", "raised", "told"),
    [
        (BrokerUnavailable("no route"), StopError, "mode live: Groww cannot be asked: no route"),
        (AccessDenied("Groww: no"), StopError, "Groww: no"),
    ],
)
async def test_a_start_ends_when_access_is_refused(
    groww, tmp_path, monkeypatch, answer: HftrayError, raised: type, told: str
):
    async def refused(self: Any) -> None:
        raise answer

    monkeypatch.setattr(SourceHandle, "require_access", refused)
    plan = planning.Plan(settings_of(groww, tmp_path), {}, date(2026, 11, 23), 1.0)
    with pytest.raises(raised, match=told):
        await wiring.require_access(plan)
