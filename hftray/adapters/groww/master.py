"""Groww's instrument list: which shares there are on NSE and BSE, and how each is traded.

The file has one row for every share, index and derivative, all columns as text. Shares are kept;
of the derivatives only the names of the shares they are written on. Prices are rupees.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation

from hftray.adapters.groww.errors import UnreadableReply
from hftray.core.market import Instrument
from hftray.core.symbols import BSE, NSE, symbol_on
from hftray.observe import logger

log = logger("groww.master")

EXCHANGES = (NSE, BSE)
_NEEDED = {"exchange", "exchange_token", "trading_symbol", "groww_symbol", "segment", "tick_size"}
_DERIVATIVES = "FNO"
_INDEX = "IDX"
# Trade-to-trade series and groups: every purchase is delivered, so nothing can be closed intraday.
_DELIVERY_ONLY = {
    "NSE": {"BE", "BZ", "BT", "SZ", "ST"},
    "BSE": {"T", "TS", "XT", "Z", "ZP", "MT", "P"},
}
_YES = {"1", "true", "t", "yes", "y"}
_NO = {"0", "false", "f", "no", "n"}


@dataclass(frozen=True, slots=True)
class Listing:
    """A share on one exchange.

    `symbol` is our name, `freeze_quantity` the most shares of one order (None: not told);
    `intraday` is None where the list does not say. `derivatives` is None when the list holds no
    derivatives at all.
    """

    symbol: str
    exchange: str
    trading_symbol: str
    groww_symbol: str
    exchange_token: str
    tick_size: Decimal
    lot_size: int = 1
    freeze_quantity: int | None = None
    series: str = ""
    isin: str = ""
    buy_allowed: bool = True
    sell_allowed: bool = True
    intraday: bool | None = None
    derivatives: bool | None = None

    @property
    def key(self) -> str:
        """The name in the ltp and ohlc calls, such as NSE_RELIANCE."""
        return f"{self.exchange}_{self.trading_symbol}"

    def why_not_intraday(self) -> str | None:
        """Why the share cannot be opened and closed on one day; None when it can."""
        if not (self.buy_allowed and self.sell_allowed):
            return f"Groww's list does not allow {'selling' if self.buy_allowed else 'buying'} it"
        if self.intraday is False:
            return "Groww's list does not allow it intraday"
        if self.series in _DELIVERY_ONLY[self.exchange]:
            return f"series {self.series} is traded for delivery only"
        return None

    def instrument(self) -> Instrument:
        """The share as the core knows it.

        When nobody says whether it has derivatives, it is taken to: its session ends earlier then.
        """
        return Instrument(self.symbol, self.exchange, self.tick_size, self.derivatives is not False)


@dataclass(frozen=True, slots=True)
class Master:
    """The shares of one day's list by our symbol. `left_out` counts rows that cannot be used."""

    day: date
    shares: Mapping[str, Listing]
    left_out: int = 0


def read_master(lines: Iterable[str], day: date) -> Master:
    """The list from the lines of its file. UnreadableReply when it is no instrument list."""
    rows = csv.reader(lines)
    names = [name.strip() for name in next(rows, [])]
    missing = _NEEDED - set(names)
    if missing:
        raise UnreadableReply(f"the instrument list has no column {min(missing)}")
    segment = names.index("segment")
    underlying = names.index("underlying_symbol") if "underlying_symbol" in names else None
    shares: dict[str, Listing] = {}
    underlyings: set[str] = set()
    left_out = 0
    for values in rows:
        if len(values) != len(names):
            left_out += bool(values)  # an empty line is none
        elif values[segment] == _DERIVATIVES:  # nine of ten rows: no more is done with them
            if underlying is not None:
                underlyings.add(values[underlying])
        elif _is_share(row := dict(zip(names, values, strict=True))):
            listing = _listing(row)
            if listing is None:
                left_out += 1
            elif listing.symbol not in shares or listing.series == "EQ":
                shares[listing.symbol] = listing
    if not shares:
        raise UnreadableReply("the instrument list holds no share")
    if left_out:
        log.warning("rows of the instrument list left out", rows=left_out)
    return Master(day, _with_derivatives(_with_intraday(shares), underlyings), left_out)


def _is_share(row: Mapping[str, str]) -> bool:
    listed = row["segment"] == "CASH" and row["exchange"] in EXCHANGES
    return listed and row.get("instrument_type") != _INDEX


def _listing(row: Mapping[str, str]) -> Listing | None:
    exchange, symbol = row["exchange"], row["trading_symbol"]
    token, tick = row["exchange_token"], _decimal(row["tick_size"])
    if not (symbol and token and tick):
        return None
    lot, freeze = _decimal(row.get("lot_size")), _decimal(row.get("freeze_quantity"))
    return Listing(
        symbol=symbol_on(exchange, symbol),
        exchange=exchange,
        trading_symbol=symbol,
        groww_symbol=row["groww_symbol"] or f"{exchange}-{symbol}",
        exchange_token=token,
        tick_size=tick,
        lot_size=max(1, int(lot or 1)),
        freeze_quantity=int(freeze) if freeze and freeze >= 1 else None,
        series=(row.get("series") or "").strip().upper(),
        isin=row.get("isin") or "",
        buy_allowed=_flag(row.get("buy_allowed")) is not False,
        sell_allowed=_flag(row.get("sell_allowed")) is not False,
        intraday=_flag(row.get("is_intraday")),
    )


def _with_intraday(shares: dict[str, Listing]) -> dict[str, Listing]:
    """A column that allows nobody says nothing: its meaning is not documented."""
    said = [share.intraday for share in shares.values() if share.intraday is not None]
    if not said or any(said):
        return shares
    log.warning("is_intraday is ignored: the instrument list allows no share intraday")
    return {name: replace(share, intraday=None) for name, share in shares.items()}


def _with_derivatives(shares: dict[str, Listing], underlyings: set[str]) -> dict[str, Listing]:
    """Contracts on either exchange count for both: in doubt the session ends earlier."""
    if not underlyings:
        return shares
    return {
        name: replace(share, derivatives=share.trading_symbol in underlyings)
        for name, share in shares.items()
    }


def _decimal(text: str | None) -> Decimal | None:
    try:
        number = Decimal((text or "").strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None


def _flag(text: str | None) -> bool | None:
    word = (text or "").strip().lower()
    if word in _YES:
        return True
    return False if word in _NO else None
