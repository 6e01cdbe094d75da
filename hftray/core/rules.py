"""The tunable numbers of the rules, as values; `settings` fills them from config/hftray.yaml."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from hftray.core.session import SessionRules


@dataclass(frozen=True, slots=True)
class ExitRules:
    """Where a position is closed. Multiples are of ATR, the rest percent of the price.

    `guard`: whether a stop order at the broker stands for the stops here, see `core.guard`.
    """

    stop_loss_atr: float = 2.0
    take_profit_atr: float = 4.0
    stop_loss_percent: float = 1.5  # fallback when there is no ATR
    take_profit_percent: float = 3.0  # fallback when there is no ATR
    trailing_stop_percent: float = 1.0
    guard: bool = False
    guard_step_percent: Decimal = Decimal("0.1")  # smaller moves of the trailing stop are not sent
    guard_band_percent: Decimal = Decimal("1.0")  # how far beyond its trigger it may fill


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """What risk lets through. Percentages are of capital unless a field says otherwise."""

    risk_per_trade_percent: Decimal = Decimal("2.0")
    max_daily_loss_percent: Decimal = Decimal("5.0")
    max_trades_per_symbol_day: int = 50
    max_trades_per_day: int = 500
    max_symbol_exposure_percent: Decimal = Decimal("25")
    leverage: Decimal = Decimal("1")
    # An entry's limit price lies this far beyond the decision price, so that what is reserved
    # covers whatever the fill may cost.
    entry_band_percent: Decimal = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class SignalRules:
    """How candles are built and when a vote may become an entry."""

    candle_minutes: int = 5
    candle_buffer: int = 375
    entry_on: Literal["close", "tick"] = "close"
    threshold: float = 0.3
    atr_period: int = 14
    # An entry order that found no counterparty is withdrawn after this many market steps.
    entry_patience: int = 2


@dataclass(frozen=True, slots=True)
class FeedRules:
    """When market data is not trusted; see `core.feed_guard`."""

    stale_seconds: float = 180.0  # market time without news
    frozen_candles: int = 6  # closed candles of a day with one and the same price
    price_band_percent: float = 20.0  # of the last good price of the day
    jump_confirmations: int = 3  # ticks or candles in a row that make a jump believed
    future_tolerance_seconds: float = 60.0  # feeds' stamps may run ahead of the clock


@dataclass(frozen=True, slots=True)
class TradingRules:
    """All rules of one symbol."""

    exits: ExitRules = field(default_factory=ExitRules)
    risk: RiskLimits = field(default_factory=RiskLimits)
    signals: SignalRules = field(default_factory=SignalRules)
    session: SessionRules = field(default_factory=SessionRules)
    feed: FeedRules = field(default_factory=FeedRules)
