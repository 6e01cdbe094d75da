"""`hftray doctor`, the broker: keys, token, clocks, subscription, prices, margins, address."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from hftray.commands.findings import Finding, Health, failing, fine, warning
from hftray.core.errors import HftrayError
from hftray.core.market import Instrument
from hftray.core.session import IST
from hftray.settings import Settings

if TYPE_CHECKING:
    from hftray.adapters.groww.source import GrowwSource

SKEW = timedelta(seconds=2)
"""A login's timestamp is good for ten minutes; candles are cut by the clock, so seconds matter."""
TOKEN_SOON = timedelta(minutes=30)
OLD = timedelta(minutes=5)
HOME = "groww.in/trade-api/api-keys"
ADDRESS = (
    "orders are taken only from the address registered with Groww (SEBI, since 1 April 2026); it "
    "cannot be seen from here whether this machine's is"
)


async def broker(settings: Settings, user_id: str, database_url: str) -> AsyncIterator[Finding]:
    """Everything that asks Groww, with the keys of that user; nothing of it can place an order."""
    from hftray.groww_venue import credentials_of, looking_source

    try:
        await credentials_of(settings, database_url, user_id)
    except HftrayError as error:
        yield failing("keys", str(error), f"keys are made at {HOME}")
        return
    source = await looking_source(settings, database_url, user_id)
    try:
        now = await source.market_time()
        account = await _account(source)
        yield account
        if account.health is Health.FAILING:
            return
        yield _token(source, now)
        yield _clock(source)
        yield await _margins(source, settings.initial_capital)
        async for finding in _prices(source, settings, now):
            yield finding
    finally:
        await source.close()
    yield _stream()
    yield warning("address", ADDRESS, f"compare it with the one at {HOME}")


async def _account(source: "GrowwSource") -> Finding:
    try:
        profile = await source.profile()
    except HftrayError as error:
        return failing("keys", str(error), f"look at the key, its approval and the plan at {HOME}")
    if not (profile.nse_enabled and "CASH" in profile.segments):
        detail = (
            f"client {profile.client_code} may trade {', '.join(profile.segments) or 'nothing'}"
        )
        return failing("keys", detail, "have the NSE cash segment activated in the Groww app")
    return fine("keys", f"Groww knows client {profile.client_code}")


def _token(source: "GrowwSource", now: datetime) -> Finding:
    expiry = source.token_expiry
    if expiry is None:
        return fine("token", "issued; Groww does not say until when (usually 06:00 IST)")
    detail = f"good until {expiry.astimezone(IST):%Y-%m-%d %H:%M} IST"
    if expiry - now < TOKEN_SOON:
        return warning("token", detail, "hftray renews it by itself; a key with a secret needs its "
                       f"daily approval at {HOME} for that")  # fmt: skip
    return fine("token", detail)


def _clock(source: "GrowwSource") -> Finding:
    skew = source.clock_skew
    if skew is None:
        return warning("clock", "Groww's answers carry no time", "compare with another clock")
    detail = f"Groww's is {skew.total_seconds():+.1f} s from ours"
    if abs(skew) > SKEW:
        return failing(
            "clock", detail, "set this machine's clock by NTP (timedatectl set-ntp true)"
        )
    return fine("clock", detail)


async def _margins(source: "GrowwSource", capital: Decimal) -> Finding:
    try:
        money = await source.margins()
    except HftrayError as error:
        return failing("margins", str(error), "look at the account in the Groww app")
    free = money.clear_cash if money.intraday_available is None else money.intraday_available
    detail = f"₹{free:,.2f} for intraday trades, initial_capital is ₹{capital:,.2f}"
    if free < capital:
        remedy = "orders beyond the margin are refused: add money, or lower initial_capital"
        return warning("margins", detail, remedy)
    return fine("margins", detail)


async def _prices(
    source: "GrowwSource", settings: Settings, now: datetime
) -> AsyncIterator[Finding]:
    try:
        known = await source.instruments()
    except HftrayError as error:
        yield failing("instruments", str(error), "see groww.instruments_url and the network")
        return
    missing = [symbol for symbol in settings.symbols if symbol not in known]
    if missing:
        detail = f"{', '.join(missing)} cannot be traded intraday"
        yield failing("instruments", detail, "take them from `symbols`")
    else:
        yield fine("instruments", f"all {len(settings.symbols)} symbols may be traded intraday")
    present = [symbol for symbol in settings.symbols if symbol in known]
    if present:
        yield await _freshness(source, known[present[0]], now)


async def _freshness(source: "GrowwSource", share: Instrument, now: datetime) -> Finding:
    """Whether market data is subscribed to, and how old the newest price is."""
    from hftray.exchange_data import exchange_tables

    try:
        quote = await source.quote(share.symbol)
    except HftrayError as error:
        remedy = "market data by API is a paid plan: groww.in/trade-api"
        return failing("market data", str(error), remedy)
    detail = f"{share.symbol} at ₹{quote.last_price}"
    if quote.time is None:
        return fine("market data", detail)
    detail += f", traded {quote.time.astimezone(IST):%Y-%m-%d %H:%M:%S} IST"
    _, calendar = exchange_tables()
    if calendar.state(now, share).open and now - quote.time > OLD:
        return warning("market data", detail, "the market is open, so this is old: ask Groww")
    return fine("market data", detail)


def _stream() -> Finding:
    from hftray.adapters.groww.stream_state import HOW_TO_INSTALL, stream_available

    if stream_available():
        return fine("live feed", "its libraries are installed")
    return warning("live feed", "prices are polled", HOW_TO_INSTALL)
