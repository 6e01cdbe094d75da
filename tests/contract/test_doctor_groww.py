"""`hftray doctor` against the Groww on loopback: every line, and when it warns or fails."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from loopback_world import FIVE, FRIDAY, MONDAY, flat_day
from typer.testing import CliRunner

from hftray.adapters.groww.source import GrowwSource
from hftray.catalog_rows import NewUser
from hftray.commands import doctor
from hftray.commands.doctor_broker import broker
from hftray.commands.findings import Finding, Health
from hftray.layers import load
from hftray.storage.catalog import Catalog
from hftray.storage.database import connect
from hftray.storage.secrets import SecretBox
from hftray.testing.groww import Behaviour, LoopbackGroww, Market, RunningClock

FINE, WARNING, FAILING = Health.FINE, Health.WARNING, Health.FAILING
SUBJECTS = [
    "keys", "token", "clock", "margins", "instruments", "market data", "live feed", "address",
]  # fmt: skip


@dataclass
class Examined:
    """A loopback and how hftray is set to it."""

    groww: LoopbackGroww
    folder: Path

    def environment(self, **changes: str) -> dict[str, str]:
        keys = self.groww.sessions.keys
        return {
            "GROWW_API_KEY": keys.api_key,
            "GROWW_API_SECRET": keys.secret,
            "HFTRAY_MODE": "live",
            "HFTRAY_SYMBOLS": "RELIANCE,BSE:RELIANCE",
            "HFTRAY_DATA_DIR": str(self.folder),
            "HFTRAY_GROWW__BASE_URL": self.groww.api,
            "HFTRAY_GROWW__INSTRUMENTS_URL": self.groww.instruments_url,
            "HFTRAY_GROWW__CLOCK_URL": f"{self.groww.url}/_test/clock",
            **changes,
        }

    async def look(self, **changes: str) -> dict[str, Finding]:
        settings = load(environment=self.environment(**changes)).settings
        return {found.subject: found async for found in broker(settings, "default", "")}


@contextmanager
def groww_at(moment: datetime) -> Iterator[LoopbackGroww]:
    """One whose clocks, also that of its answers, show a moment and go on from there."""
    days = [*flat_day(FRIDAY, 1000.0), *flat_day(MONDAY, 1000.0)]
    market = Market({"RELIANCE": days}, RunningClock(moment))
    behaviour = Behaviour(square_off_minutes=None)
    with LoopbackGroww(market, behaviour=behaviour, capital=10_000_000) as groww:
        ahead = (groww.clock.now() - datetime.now(UTC)).total_seconds()
        groww.faults.add("time_skew", seconds=ahead)
        yield groww
    asked = {entry.path for entry in groww.world.journal}
    assert not [path for path in asked if "/order" in path], "doctor touched orders"


@pytest.fixture
def examined(tmp_path: Path) -> Iterator[Examined]:
    """A quarter of an hour after Monday's opening, with a crore to trade with."""
    with groww_at(MONDAY + 3 * FIVE) as groww:
        yield Examined(groww, tmp_path)


async def test_all_is_well(examined: Examined) -> None:
    found = await examined.look()
    assert list(found) == SUBJECTS
    states = {one.health for subject, one in found.items() if subject != "address"}
    assert states == {FINE}, found
    assert found["address"].health is WARNING  # nobody can see it from here
    assert found["keys"].detail == "Groww knows client 000000"
    assert found["token"].detail == "good until 2026-11-24 06:00 IST"
    assert found["instruments"].detail == "all 2 symbols may be traded intraday"
    assert found["market data"].detail.startswith("RELIANCE at ₹1000")
    assert all(not one.remedy for one in found.values() if one.health is FINE)


async def test_without_keys_there_is_one_line(examined: Examined) -> None:
    found = await examined.look(GROWW_API_SECRET="")
    assert list(found) == ["keys"]
    assert found["keys"].health is FAILING
    assert "set GROWW_API_KEY and GROWW_API_SECRET" in found["keys"].detail
    assert examined.groww.world.journal == []


@pytest.mark.parametrize(
    ("changes", "approved", "told"),
    [
        ({"GROWW_API_SECRET": "another-secret-7"}, True, "checksum"),
        ({"GROWW_API_KEY": "another-key-7"}, True, ""),
        ({}, False, "approved for today"),
    ],
)
async def test_keys_that_are_refused(
    examined: Examined, changes: dict[str, str], approved: bool, told: str
) -> None:
    examined.groww.sessions.approved = approved
    found = await examined.look(**changes)
    assert list(found) == ["keys"]
    assert found["keys"].health is FAILING
    assert told in found["keys"].detail
    assert "approval" in found["keys"].remedy
    assert not [word for word in changes.values() if word in repr(found)]


async def test_groww_that_cannot_be_reached(examined: Examined) -> None:
    found = await examined.look(HFTRAY_GROWW__BASE_URL="http://127.0.0.1:9/v1")
    assert [(one.subject, one.health) for one in found.values()] == [("keys", FAILING)]


async def test_a_token_that_ends_soon(examined: Examined) -> None:
    examined.groww.sessions.lifetime = timedelta(minutes=20)
    token = (await examined.look())["token"]
    assert (token.health, token.detail) == (WARNING, "good until 2026-11-23 09:50 IST")


@pytest.mark.parametrize("seconds", [-30.0, 30.0])
async def test_a_clock_that_is_off(examined: Examined, seconds: float) -> None:
    examined.groww.faults.add("time_skew", seconds=seconds)
    clock = (await examined.look())["clock"]
    assert clock.health is FAILING
    assert float(clock.detail.split()[2]) == pytest.approx(seconds, abs=1.5)
    assert "timedatectl" in clock.remedy


async def test_no_subscription_to_market_data(examined: Examined) -> None:
    examined.groww.sessions.subscription = False
    found = await examined.look()
    assert found["market data"].health is FAILING
    assert "paid plan" in found["market data"].remedy
    assert found["margins"].health is FINE


async def test_less_margin_than_capital(examined: Examined) -> None:
    margins = (await examined.look(INITIAL_CAPITAL="20000000"))["margins"]
    assert margins.health is WARNING
    assert "initial_capital is ₹20,000,000.00" in margins.detail


async def test_margins_that_cannot_be_asked(examined: Examined) -> None:
    examined.groww.faults.add("error", path="/margins/*", code="GA003", times=None)
    assert (await examined.look())["margins"].health is FAILING


async def test_symbols_that_may_not_be_traded(examined: Examined) -> None:
    found = await examined.look(HFTRAY_SYMBOLS="NOPE,RELIANCE,BSE:NOPE")
    assert found["instruments"].health is FAILING
    assert found["instruments"].detail == "NOPE, BSE:NOPE cannot be traded intraday"
    assert found["market data"].health is FINE


async def test_a_price_that_is_old_while_the_market_is_open(
    examined: Examined, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = GrowwSource.quote

    async def old(self: GrowwSource, symbol: str, **more: Any) -> Any:
        quote = await plain(self, symbol, **more)
        assert quote.time is not None
        return replace(quote, time=quote.time - timedelta(minutes=10))

    monkeypatch.setattr(GrowwSource, "quote", old)
    data = (await examined.look())["market data"]
    assert (data.health, "2026-11-23 09:" in data.detail) == (WARNING, True)
    with groww_at(MONDAY + timedelta(hours=9)) as groww:
        data = (await Examined(groww, tmp_path).look())["market data"]
    assert data.health is FINE, "closed: nothing is newer"


def run(examined: Examined, *arguments: str, **environment: str) -> Any:
    names = ("DATABASE_URL", *(name for name in environment if not environment[name]))
    plain = dict.fromkeys(names) | {k: v for k, v in environment.items() if v}
    return CliRunner().invoke(doctor.commands, arguments, env=plain)


def test_the_command_says_all_of_it_and_no_secret(examined: Examined, database_url: str) -> None:
    done = run(examined, **examined.environment(DATABASE_URL=database_url))
    assert done.exit_code == 0, done.output
    for subject in ("disk", "database", "Ray", "calendar", *SUBJECTS):
        assert f" {subject} " in done.output
    keys = examined.groww.sessions.keys
    assert not [secret for secret in (keys.api_key, keys.secret) if secret in done.output]
    examined.groww.sessions.subscription = False
    done = run(examined, **examined.environment(DATABASE_URL=database_url))
    assert done.exit_code == 1
    assert "failing  market data" in done.output


async def _store(examined: Examined, url: str) -> None:
    keys = examined.groww.sessions.keys
    engine = connect(url)
    catalog = Catalog(engine, SecretBox.open(examined.folder))
    try:
        await catalog.create_user(
            NewUser(
                id="anita",
                initial_capital=Decimal(1000),
                groww_api_key=keys.api_key,
                groww_api_secret=keys.secret,
            )
        )
    finally:
        await engine.dispose()


async def test_stored_keys_are_read_from_the_database(
    examined: Examined, database_url: str
) -> None:
    await _store(examined, database_url)
    none = {"GROWW_API_KEY": "", "GROWW_API_SECRET": ""}
    environment = examined.environment(DATABASE_URL=database_url, **none)
    done = await asyncio.to_thread(run, examined, "--user", "anita", **environment)
    assert done.exit_code == 0, done.output
    assert "Groww knows client 000000" in done.output
    assert examined.groww.sessions.keys.secret not in done.output
    unknown = await asyncio.to_thread(run, examined, "--user", "nobody", **environment)
    assert unknown.exit_code == 1
    assert "nobody" in unknown.output
