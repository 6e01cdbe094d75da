"""The terms an entry is granted: its shares, its limit price, and what is set aside for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from hftray.core.market import Instrument
from hftray.core.orders import Side
from hftray.core.risk_limits import LimitCheck
from hftray.core.rules import ExitRules
from hftray.core.sizing import entry_band, position_size


class Terms(NamedTuple):
    """What an entry is granted: its shares, its limit, the most rupees a share may deploy."""

    quantity: int
    limit: Decimal
    most: Decimal

    @property
    def reserved(self) -> Decimal:
        """The most rupees that all its shares may deploy."""
        return self.most * self.quantity


@dataclass(frozen=True, slots=True)
class EntryTerms:
    """The rules of sizing, held against the present account of one book."""

    check: LimitCheck
    exits: ExitRules
    instruments: Mapping[str, Instrument]

    def of(self, symbol: str, side: Side, price: float, atr: float | None) -> Terms | None:
        """The terms of an entry decided now at `price` rupees, None for nothing."""
        limits = self.check.limits
        limit, most = entry_band(
            side,
            price,
            percent=limits.entry_band_percent,
            tick=self.instruments[symbol].tick_size,
        )
        quantity = position_size(
            capital=self.check.account.capital,
            risk_percent=limits.risk_per_trade_percent,
            atr=atr,
            stop_multiple=self.exits.stop_loss_atr,
            price=most,
            fallback_stop_percent=self.exits.stop_loss_percent,
            free=self.check.free,
            max_exposure_percent=limits.max_symbol_exposure_percent,
        )
        return Terms(quantity, limit, most) if quantity else None
