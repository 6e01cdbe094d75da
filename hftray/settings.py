"""The settings as values: every key, its type and its bounds. `layers.load` fills them."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from hftray.core.rules import ExitRules, FeedRules, RiskLimits, SignalRules, TradingRules
from hftray.core.session import SessionRules

Mode = Literal["auto", "simulation", "replay", "paper", "live"]


class Section(BaseModel):
    """One block of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RiskSection(Section):
    """Limits on what may be opened."""

    risk_per_trade_percent: Decimal = Field(gt=0, le=100)
    max_daily_loss_percent: Decimal = Field(gt=0, le=100)
    max_trades_per_symbol_day: int = Field(ge=0, le=100_000)
    max_trades_per_day: int = Field(ge=0, le=1_000_000)
    max_symbol_exposure_percent: Decimal = Field(gt=0, le=1000)
    leverage: Decimal = Field(gt=0, le=20)
    entry_band_percent: Decimal = Field(ge=0, le=20)


class ExitSection(Section):
    """Where positions are closed."""

    stop_loss_atr: float = Field(gt=0, le=100)
    take_profit_atr: float = Field(gt=0, le=100)
    stop_loss_percent: float = Field(gt=0, lt=100)
    take_profit_percent: float = Field(gt=0, lt=100)
    trailing_stop_percent: float = Field(gt=0, lt=100)


class SignalSection(Section):
    """Candles and votes."""

    candle_minutes: int = Field(ge=1, le=60)
    candle_buffer: int = Field(ge=60, le=10_000)
    entry_on: Literal["close", "tick"]
    threshold: float = Field(ge=0, lt=1)
    atr_period: int = Field(ge=1, le=200)
    entry_patience: int = Field(ge=1, le=1000)


class SessionSection(Section):
    """Distances from the end of the continuous session."""

    no_entry_minutes: int = Field(ge=0, le=375)
    square_off_minutes: int = Field(ge=0, le=375)


class FeedSection(Section):
    """When market data is not trusted."""

    stale_seconds: float = Field(gt=0, le=86_400)
    frozen_candles: int = Field(ge=2, le=1000)
    price_band_percent: float = Field(gt=0, le=1e6)
    jump_confirmations: int = Field(ge=1, le=1000)
    future_tolerance_seconds: float = Field(ge=0, le=86_400)


class EngineSection(Section):
    """The scanning loop."""

    scan_interval: float = Field(gt=0, le=3600)
    closed_interval: float = Field(gt=0, le=3600)
    scan_timeout: float = Field(gt=0, le=600)
    snapshot_interval: float = Field(ge=0.01, le=60)
    signal_log: int = Field(ge=1, le=100_000)
    failures_before_reducing: int = Field(ge=1, le=1000)
    equity_interval: int = Field(ge=1, le=86_400)
    reconcile_interval: float = Field(gt=0, le=86_400)
    heartbeat_timeout: float = Field(gt=0, le=86_400)


class SimulationSection(Section):
    """The generated market and its exchange."""

    seed: int = Field(ge=0, lt=2**31)
    speed: float = Field(ge=0, le=1e6)
    ticks_per_candle: int = Field(ge=1, le=300)
    start_day: date | None
    slippage_bps: float = Field(ge=0, le=1000)
    reject_rate: float = Field(ge=0, le=1)
    partial_fill_rate: float = Field(ge=0, le=1)


class ReplaySection(Section):
    """Replayed files."""

    data: Path | None
    speed: float = Field(ge=0, le=1e6)
    strict: bool
    from_day: date | None
    to_day: date | None
    common_sessions: bool


class StrategySection(Section):
    """Strategies that are not part of hftray."""

    files: tuple[Path, ...]

    @field_validator("files")
    @classmethod
    def _absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser().absolute() for path in value)


class ServerSection(Section):
    """The REST API."""

    host: str
    port: int = Field(ge=1, le=65_535)
    replicas: int = Field(ge=1, le=32)
    mutations_per_minute: int = Field(ge=0, le=1_000_000)
    api_token: SecretStr | None = None


class StorageSection(Section):
    """What is kept and where."""

    data_dir: Path
    database_url: SecretStr | None
    journal_max_events: int = Field(ge=1, le=10_000_000)
    secret_key: SecretStr | None = None
    user_id: str = Field(min_length=1, max_length=64)

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


class GrowwSection(Section):
    """The broker: where it answers, how it is spoken to, what guards a position there.

    The credentials come from the environment only.
    """

    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    totp_secret: SecretStr | None = None
    clock_url: str
    base_url: str
    instruments_url: str
    stream_url: str
    stream: Literal["auto", "off"]
    timeout_seconds: float = Field(gt=0, le=120)
    candle_patience: float = Field(ge=0, le=120)
    exit_band_percent: Decimal = Field(gt=0, le=20)
    lookup_patience: float = Field(ge=1, le=3600)
    guard: bool
    guard_band_percent: Decimal = Field(gt=0, le=20)
    guard_step_percent: Decimal = Field(ge=0, le=5)
    orders_per_second: int = Field(ge=1, le=10)
    orders_per_minute: int = Field(ge=1, le=250)
    live_data_per_second: int = Field(ge=1, le=10_000)
    live_data_per_minute: int = Field(ge=1, le=100_000)
    non_trading_per_second: int = Field(ge=1, le=10_000)
    non_trading_per_minute: int = Field(ge=1, le=100_000)
    historical_per_second: int = Field(ge=1, le=10_000)
    historical_per_minute: int = Field(ge=1, le=100_000)

    @property
    def has_keys(self) -> bool:
        """Whether there is a key and what proves it."""
        proof = self.api_secret is not None or self.totp_secret is not None
        return self.api_key is not None and proof

    @field_validator("clock_url")
    @classmethod
    def _loopback(cls, value: str | None) -> str:
        if value and not value.startswith("http://127.0.0.1:"):
            raise ValueError("only a test exchange on http://127.0.0.1:PORT has a clock of its own")
        return value or ""


class Settings(Section):
    """Everything `hftray up` needs to know."""

    mode: Mode
    symbols: tuple[str, ...] = Field(min_length=1)
    initial_capital: Decimal = Field(gt=0, le=Decimal("1e12"))
    risk: RiskSection
    exits: ExitSection
    signals: SignalSection
    session: SessionSection
    feed: FeedSection
    engine: EngineSection
    simulation: SimulationSection
    replay: ReplaySection
    strategies: StrategySection
    server: ServerSection
    storage: StorageSection
    groww: GrowwSection

    @field_validator("symbols")
    @classmethod
    def _symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(symbol.strip().upper() for symbol in value)
        if "" in names:
            raise ValueError("a symbol is empty")
        if len(set(names)) != len(names):
            raise ValueError("a symbol is listed twice")
        return names

    @property
    def effective_mode(self) -> str:
        """The mode after resolving `auto`: Groww keys mean live, none mean simulation."""
        if self.mode != "auto":
            return self.mode
        return "live" if self.groww.has_keys else "simulation"

    def trading_rules(self) -> TradingRules:
        """The numbers the pure core works with."""
        broker = self.groww
        return TradingRules(
            exits=ExitRules(
                **self.exits.model_dump(),
                # A simulated exchange goes nowhere while we are away.
                guard=broker.guard and self.effective_mode == "live",
                guard_step_percent=broker.guard_step_percent,
                guard_band_percent=broker.guard_band_percent,
            ),
            risk=RiskLimits(**self.risk.model_dump()),
            signals=SignalRules(**self.signals.model_dump()),
            session=SessionRules(**self.session.model_dump()),
            feed=FeedRules(**self.feed.model_dump()),
        )
