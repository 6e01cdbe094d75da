"""The shares that are listed at the loopback, and its instrument file.

Every symbol is listed on NSE and, as a twin with the same prices, on BSE. Tick sizes come from
hftray's dated table, tokens are numbered in the symbols' order. Prices and ticks are rupees.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from hftray.adapters.instruments import Listings
from hftray.core.market import Instrument

EXCHANGES = ("NSE", "BSE")
_FIRST_TOKEN = {"NSE": 1001, "BSE": 500_001}

CSV_COLUMNS = (
    "exchange", "exchange_token", "trading_symbol", "groww_symbol", "name", "instrument_type",
    "segment", "series", "isin", "underlying_symbol", "underlying_exchange_token", "expiry_date",
    "strike_price", "lot_size", "tick_size", "freeze_quantity", "is_reserved", "buy_allowed",
    "sell_allowed", "internal_trading_symbol", "is_intraday",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Share:
    """One listing. `band_percent` is the price band around the close of the day before.

    The band of a share with derivatives widens when its price comes near, others are locked at
    it. `freeze_quantity` is the largest quantity of one order.
    """

    symbol: str
    exchange: str
    exchange_token: str
    isin: str
    tick_size: Decimal
    derivatives: bool
    band_percent: Decimal
    lot_size: int = 1
    freeze_quantity: int = 100_000
    intraday: bool = True
    buy_allowed: bool = True
    sell_allowed: bool = True
    series: str = "EQ"

    @property
    def groww_symbol(self) -> str:
        """The name in the candles call, such as NSE-RELIANCE."""
        return f"{self.exchange}-{self.symbol}"

    @property
    def key(self) -> str:
        """The name in the ltp and ohlc calls, such as NSE_RELIANCE."""
        return f"{self.exchange}_{self.symbol}"

    @property
    def instrument(self) -> Instrument:
        """The same as hftray's core knows it."""
        return Instrument(self.symbol, self.exchange, self.tick_size, self.derivatives)


def list_shares(prices: Mapping[str, float], day: date, listings: Listings) -> Iterator[Share]:
    """The listings of all symbols on both exchanges, ticks judged at the given prices."""
    for number, symbol in enumerate(sorted(prices)):
        known = listings.instrument(symbol, day, Decimal(str(prices[symbol])))
        for exchange in EXCHANGES:
            yield Share(
                symbol=symbol,
                exchange=exchange,
                exchange_token=str(_FIRST_TOKEN[exchange] + number),
                isin=_isin(symbol),
                tick_size=known.tick_size,
                derivatives=known.derivatives,
                band_percent=Decimal(10) if known.derivatives else Decimal(20),
            )


def instrument_csv(shares: Iterable[Share]) -> str:
    """The instrument file: all columns text, as Groww's."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)
    for share in shares:
        row = {
            "exchange": share.exchange,
            "exchange_token": share.exchange_token,
            "trading_symbol": share.symbol,
            "groww_symbol": share.groww_symbol,
            "name": share.symbol.title(),
            "instrument_type": "EQ",
            "segment": "CASH",
            "series": share.series,
            "isin": share.isin,
            "lot_size": share.lot_size,
            "tick_size": share.tick_size,
            "freeze_quantity": share.freeze_quantity,
            "is_reserved": 0,
            "buy_allowed": int(share.buy_allowed),
            "sell_allowed": int(share.sell_allowed),
            "internal_trading_symbol": f"{share.symbol}-{share.series}",
            "is_intraday": int(share.intraday),
        }
        writer.writerow([row.get(column, "") for column in CSV_COLUMNS])
    return file.getvalue()


def _isin(symbol: str) -> str:
    digits = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:4], "big")
    return f"INE{digits % 10**6:06d}010"
