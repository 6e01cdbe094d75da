"""The shares hftray knows without asking a broker, read from `config/instruments.yaml`.

The exchange sets tick sizes by price band and changes the bands now and then, so the table is
dated. A share of NSE is listed on BSE, too, under its name there (`BSE:RELIANCE`), with the same
derivatives and price steps. Prices here are rupees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from hftray.core.errors import ConfigError
from hftray.core.market import Instrument
from hftray.core.symbols import BSE, NSE, exchange_of, symbol_on

_SHARE_KEYS = {"exchange", "derivatives", "base_price", "tick_size"}


@dataclass(frozen=True, slots=True)
class TickBand:
    """The tick size of prices up to and including `up_to` rupees (None: of every price)."""

    up_to: Decimal | None
    tick: Decimal


@dataclass(frozen=True, slots=True)
class Share:
    """What is listed of one symbol. `tick_size` None means: by the price band."""

    symbol: str
    exchange: str
    derivatives: bool
    base_price: Decimal
    tick_size: Decimal | None = None


class Listings:
    """Known shares by symbol, on both exchanges, and the dated tick size table."""

    def __init__(
        self, shares: Mapping[str, Share], tick_sizes: list[tuple[date, list[TickBand]]]
    ) -> None:
        on_bse = {
            twin: replace(share, symbol=twin, exchange=BSE)
            for name, share in shares.items()
            if share.exchange == NSE and (twin := symbol_on(BSE, name)) not in shares
        }
        self.shares = {**shares, **on_bse}
        self._tick_sizes = sorted(tick_sizes, key=lambda entry: entry[0])

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """From the content of instruments.yaml; ConfigError names the key that is wrong."""
        for key in data:
            if key not in ("tick_sizes", "shares"):
                raise ConfigError(f"instruments.{key}: unknown key; allowed: tick_sizes, shares")
        tables = [
            _read_table(row, f"instruments.tick_sizes[{index}]")
            for index, row in enumerate(data.get("tick_sizes") or ())
        ]
        if not tables:
            raise ConfigError("instruments.tick_sizes: needs at least one dated table")
        shares = data.get("shares") or {}
        return cls({str(symbol): _read_share(str(symbol), row) for symbol, row in shares.items()},
                   tables)  # fmt: skip

    def tick_size(self, price: Decimal, day: date) -> Decimal:
        """The exchange's price step for a share at that price on that day."""
        bands = self._tick_sizes[0][1]
        for since, table in self._tick_sizes:
            if since <= day:
                bands = table
        for band in bands:
            if band.up_to is None or price <= band.up_to:
                return band.tick
        return bands[-1].tick

    def instrument(self, symbol: str, day: date, price: Decimal | None = None) -> Instrument:
        """The share as it trades on that day, its tick size judged at `price` (default: base).

        A symbol that is not listed needs a price and is taken for a share without derivatives;
        without a price it raises KeyError.
        """
        share = self.shares.get(symbol)
        if share is None:
            if price is None:
                raise KeyError(symbol)
            share = Share(symbol, exchange_of(symbol), derivatives=False, base_price=price)
        tick = share.tick_size or self.tick_size(price or share.base_price, day)
        return Instrument(symbol, share.exchange, tick, share.derivatives)


def _read_table(row: Any, where: str) -> tuple[date, list[TickBand]]:
    if not isinstance(row, Mapping) or set(row) != {"from", "bands"} or not row["bands"]:
        raise ConfigError(f"{where}: needs exactly the keys from, bands")
    if not isinstance(row["from"], date):
        raise ConfigError(f"{where}.from: {row['from']!r} is not a day such as 2025-04-15")
    bands = []
    for index, band in enumerate(row["bands"]):
        place = f"{where}.bands[{index}]"
        if not isinstance(band, Mapping) or set(band) != {"up_to", "tick"}:
            raise ConfigError(f"{place}: needs exactly the keys up_to, tick")
        up_to = None if band["up_to"] is None else _rupees(band["up_to"], f"{place}.up_to")
        bands.append(TickBand(up_to, _rupees(band["tick"], f"{place}.tick")))
    return row["from"], bands


def _read_share(symbol: str, row: Any) -> Share:
    where = f"instruments.shares.{symbol}"
    if not isinstance(row, Mapping) or "base_price" not in row:
        raise ConfigError(f"{where}: needs a base_price")
    unknown = set(row) - _SHARE_KEYS
    if unknown:
        raise ConfigError(f"{where}.{min(unknown)}: unknown key; allowed: {', '.join(_SHARE_KEYS)}")
    derivatives = row.get("derivatives", False)
    if not isinstance(derivatives, bool):
        raise ConfigError(f"{where}.derivatives: {derivatives!r} is not true or false")
    exchange = row.get("exchange", exchange_of(symbol))
    if exchange != exchange_of(symbol):
        raise ConfigError(
            f"{where}.exchange: {exchange!r} does not go with the name; a share is called NAME on "
            "NSE and BSE:NAME on BSE"
        )
    tick = row.get("tick_size")
    return Share(
        symbol=symbol,
        exchange=exchange,
        derivatives=derivatives,
        base_price=_rupees(row["base_price"], f"{where}.base_price"),
        tick_size=None if tick is None else _rupees(tick, f"{where}.tick_size"),
    )


def _rupees(value: object, where: str) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        raise ConfigError(f"{where}: {value!r} is not a positive number of rupees")
    return amount
