"""Groww's market data and account answers as values.

Strict about what a value needs, deaf to the rest: unknown keys, nulls and numbers as text are
met with. Money and prices of one share are Decimal rupees, read by their shortest text; candle
prices are floats. Times without a zone are India's. `UnreadableReply` names the field.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from hftray.adapters.groww.errors import UnreadableReply
from hftray.core.market import Candle, candle_fault
from hftray.core.session import IST
from hftray.observe import logger

log = logger("groww.wire")

# Of the text `{open: 149.50,high: 150.50}`, with or without quotes around the names.
_BLOB_PAIR = re.compile(r"(\w+)[\"']?\s*:\s*[\"']?(-?[\d.]+)")
_OHLC = ("open", "high", "low", "close")
# Epoch numbers above this are milliseconds: in seconds it is the year 5138.
_MILLISECONDS = 1e11


@dataclass(frozen=True, slots=True)
class CircuitLimits:
    """Today's price band of a share in rupees; None where Groww does not say."""

    lower: Decimal | None
    upper: Decimal | None


@dataclass(frozen=True, slots=True)
class FullQuote:
    """Everything the quote call says that trading needs. Prices in rupees, quantities shares.

    An absent bid or offer (a share locked at its limit has none on one side) is None.
    """

    last_price: Decimal
    time: datetime | None
    day_volume: int | None
    bid_price: Decimal | None
    bid_quantity: int | None
    offer_price: Decimal | None
    offer_quantity: int | None
    day_open: Decimal | None
    day_high: Decimal | None
    day_low: Decimal | None
    limits: CircuitLimits


@dataclass(frozen=True, slots=True)
class Profile:
    """Whose account it is and what it may trade."""

    client_code: str
    nse_enabled: bool
    bse_enabled: bool
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Margins:
    """The account's money in rupees. `intraday_*` are the MIS figures; None where not told."""

    clear_cash: Decimal
    margin_used: Decimal | None
    charges: Decimal | None
    intraday_available: Decimal | None
    intraday_used: Decimal | None


def read_last_prices(payload: Any) -> dict[str, float]:
    """The ltp call: prices by name (NSE_RELIANCE); a name without a usable price is left out."""
    found = {}
    for name, value in _object(payload, "ltp").items():
        price = _number(value)
        if price is not None and price > 0:
            found[str(name)] = float(price)
    return found


def read_quote(payload: Any) -> FullQuote:
    """The quote call."""
    row = _object(payload, "quote")
    last = _positive(row, "last_price")
    if last is None:
        raise UnreadableReply("last_price: missing in Groww's quote")
    ohlc = _ohlc(row.get("ohlc"))
    return FullQuote(
        last_price=last,
        time=read_moment(row.get("last_trade_time")),
        day_volume=_shares(row, "volume"),
        bid_price=_positive(row, "bid_price"),
        bid_quantity=_shares(row, "bid_quantity"),
        offer_price=_positive(row, "offer_price"),
        offer_quantity=_shares(row, "offer_quantity"),
        day_open=_positive(ohlc, "open"),
        day_high=_positive(ohlc, "high"),
        day_low=_positive(ohlc, "low"),
        limits=CircuitLimits(
            lower=_positive(row, "lower_circuit_limit"),
            upper=_positive(row, "upper_circuit_limit"),
        ),
    )


def read_candles(payload: Any, symbol: str) -> list[Candle]:
    """The candles call, oldest first, one for each time; unsound rows are left out and logged.

    UnreadableReply when there are rows and none can be used.
    """
    rows = _object(payload, "candles").get("candles")
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise UnreadableReply("candles: not a list in Groww's answer")
    found: dict[datetime, Candle] = {}
    faults = []
    for row in rows:
        candle, fault = _candle(row, symbol)
        if candle is None:
            faults.append(fault)
        else:
            found[candle.time] = candle
    if faults:
        log.warning("candles left out", symbol=symbol, rows=len(faults), first=faults[0])
        if not found:
            raise UnreadableReply(f"candles of {symbol}: none can be used ({faults[0]})")
    return [found[time] for time in sorted(found)]


def read_profile(payload: Any) -> Profile:
    """The user detail call."""
    row = _object(payload, "user detail")
    segments = row.get("active_segments")
    return Profile(
        client_code=str(row.get("ucc") or ""),
        nse_enabled=row.get("nse_enabled") is True,
        bse_enabled=row.get("bse_enabled") is True,
        segments=tuple(map(str, segments)) if isinstance(segments, list) else (),
    )


def read_margins(payload: Any) -> Margins:
    """The margin detail call."""
    row = _object(payload, "margins")
    cash = _number(row.get("clear_cash"))
    if cash is None:
        raise UnreadableReply("clear_cash: missing in Groww's margins")
    equity = row.get("equity_margin_details")
    equity = equity if isinstance(equity, Mapping) else {}
    return Margins(
        clear_cash=cash,
        margin_used=_number(row.get("net_margin_used")),
        charges=_number(row.get("brokerage_and_charges")),
        intraday_available=_number(equity.get("mis_balance_available")),
        intraday_used=_number(equity.get("mis_margin_used")),
    )


def read_moment(value: object) -> datetime | None:
    """A time as text (with T or a blank) or as an epoch number (s or ms); None when it is none."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=IST)
    number = _number(value)
    if number is None or number <= 0:
        return None
    try:
        seconds = float(number / 1000 if number > _MILLISECONDS else number)
        return datetime.fromtimestamp(seconds, UTC).astimezone(IST)
    except (ValueError, ArithmeticError, OSError):  # no day of the calendar: micro- or nanoseconds
        return None


def _candle(row: Any, symbol: str) -> tuple[Candle | None, str]:
    if not isinstance(row, list) or len(row) < 5:
        return None, f"a row of {len(row) if isinstance(row, list) else 0} values"
    time = read_moment(row[0])
    prices = [number for value in row[1:5] if (number := _number(value)) is not None]
    if time is None or len(prices) < 4:
        return None, f"{row[0]!r} or one of its prices cannot be read"
    opened, high, low, close = map(float, prices)
    volume = _number(row[5]) if len(row) > 5 else None
    candle = Candle(symbol, time, opened, high, low, close, float(volume or 0))
    fault = candle_fault(candle)
    return (candle, "") if fault is None else (None, f"{row[0]}: {fault}")


def _ohlc(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        return {name: number for name, number in _BLOB_PAIR.findall(value) if name in _OHLC}
    return dict(value) if isinstance(value, Mapping) else {}


def _object(payload: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(payload, Mapping):
        raise UnreadableReply(f"{what}: not an object in Groww's answer")
    return payload


def _number(value: object) -> Decimal | None:
    """A finite number given as a number or as text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _positive(row: Mapping[str, Any], name: str) -> Decimal | None:
    number = _number(row.get(name))
    return number if number is not None and number > 0 else None


def _shares(row: Mapping[str, Any], name: str) -> int | None:
    number = _number(row.get(name))
    return int(number) if number is not None and number >= 0 else None
