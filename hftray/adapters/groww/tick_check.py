"""Tells when Groww's tick size of a share is not the one that the exchange's table gives its price.

The exchange sets the size once a month by the last close, so a share near the border of two bands
may rightly differ; a size of the wrong order (paise for rupees) shows as well. It is only told:
Groww's list is what orders are priced by.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from hftray.adapters.groww.master import Master
from hftray.adapters.instruments import Listings
from hftray.observe import logger

log = logger("groww.source")


class TickCheck:
    """Looks at each share once a day."""

    def __init__(self, listings: Listings) -> None:
        self._listings = listings
        self._looked: dict[str, date] = {}

    def look(self, prices: Mapping[str, float], master: Master) -> None:
        """Log the shares of the list whose tick size is not that of their price in rupees."""
        for symbol, price in prices.items():
            listing = master.shares.get(symbol)
            if listing is None or self._looked.get(symbol) == master.day:
                continue
            self._looked[symbol] = master.day
            listed = listing.tick_size
            expected = self._listings.tick_size(Decimal(str(price)), master.day)
            if listed != expected:
                log.warning(
                    "a tick size is not that of its price band",
                    symbol=symbol,
                    price=price,
                    listed=str(listed),
                    expected=str(expected),
                )
