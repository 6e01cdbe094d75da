"""The numbers the adapter works with: the `groww` section of the settings without its secrets."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from hftray.adapters.groww.governor import Category, Limit

_SECOND = 1.0
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class GrowwOptions:
    """Field by field the `groww` section of config/hftray.yaml, which explains each."""

    base_url: str
    instruments_url: str
    stream_url: str
    stream: Literal["auto", "off"] = "auto"
    timeout_seconds: float = 10.0
    candle_patience: float = 10.0
    exit_band_percent: Decimal = Decimal("1.0")
    lookup_patience: float = 60.0
    guard: bool = True
    guard_band_percent: Decimal = Decimal("1.0")
    guard_step_percent: Decimal = Decimal("0.1")
    orders_per_second: int = 10
    orders_per_minute: int = 250
    live_data_per_second: int = 10
    live_data_per_minute: int = 300
    non_trading_per_second: int = 20
    non_trading_per_minute: int = 500
    historical_per_second: int = 5
    historical_per_minute: int = 300

    def limits(self) -> Mapping[Category, tuple[Limit, ...]]:
        """The configured limits, for a `Governor`; it adds those that are not configurable."""
        return {
            Category.ORDERS: _pair(self.orders_per_second, self.orders_per_minute),
            Category.LIVE_DATA: _pair(self.live_data_per_second, self.live_data_per_minute),
            Category.NON_TRADING: _pair(self.non_trading_per_second, self.non_trading_per_minute),
            Category.HISTORICAL: _pair(self.historical_per_second, self.historical_per_minute),
        }


def _pair(per_second: int, per_minute: int) -> tuple[Limit, ...]:
    return Limit(per_second, _SECOND), Limit(per_minute, _MINUTE)
