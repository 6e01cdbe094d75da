"""What a system is made of, resolved before anything starts: mode, symbols, market, strategies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from hftray import groww_venue
from hftray.core.errors import ConfigError, RetryError, StopError
from hftray.core.market import Instrument
from hftray.core.session import IST
from hftray.core.symbols import alternatives
from hftray.settings import Settings
from hftray.strategies.plugins import StrategyFile, load_plugins, read_plugins
from hftray.venues import WITH_BROKER, build_feed


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the actors are built from, resolved once by the process that starts them."""

    settings: Settings
    instruments: Mapping[str, Instrument]
    start_day: date
    feed_interval: float
    strategy_files: tuple[StrategyFile, ...] = ()
    database_url: str = field(default="", repr=False)

    @property
    def mode(self) -> str:
        """simulation, replay, paper or live."""
        return self.settings.effective_mode

    @property
    def source(self) -> str:
        """What makes a run continue: the same market again."""
        minutes = self.settings.signals.candle_minutes
        if self.mode == "replay":
            chosen = self.settings.replay
            days = f"{chosen.from_day or ''}..{chosen.to_day or ''}"
            shared = " common sessions" if chosen.common_sessions else ""
            return f"{chosen.data} {minutes} min {days}{shared}"
        if self.mode in WITH_BROKER:
            return f"{self.settings.groww.base_url} {minutes} min"
        chosen_market = self.settings.simulation
        return f"seed {chosen_market.seed} {minutes} min x{chosen_market.ticks_per_candle}"


async def plan(settings: Settings, *, any_symbols: bool = False) -> Plan:
    """Resolve mode, symbols and instruments. ConfigError names what is wrong.

    `any_symbols`: nobody asked for certain symbols, so a replay plays those of the settings that
    its data has, or else all that it has.
    """
    files = read_plugins(settings.strategies.files)
    load_plugins(files)  # here first, so that a mistake shows before anything starts
    mode = settings.effective_mode
    if mode == "replay" and settings.replay.data is None:
        raise ConfigError("replay.data: name a folder or file of candles (--data DIR)")
    start_day = settings.simulation.start_day or datetime.now(IST).date()
    known, interval = await _market(settings, start_day)
    wanted = settings.symbols
    if any_symbols and mode == "replay":
        wanted = tuple(symbol for symbol in wanted if symbol in known) or tuple(sorted(known))
        settings = settings.model_copy(update={"symbols": wanted})
    missing = [symbol for symbol in wanted if symbol not in known]
    if missing:
        raise ConfigError(
            f"symbols: {', '.join(missing)} not known in mode {mode}; "
            f"{alternatives(missing, known)}"
        )
    chosen = {symbol: known[symbol] for symbol in wanted}
    return Plan(settings, chosen, start_day, interval, files)


async def _market(settings: Settings, start_day: date) -> tuple[Mapping[str, Instrument], float]:
    """Every share of the mode's market, and the market seconds between two polls of it."""
    if settings.effective_mode in WITH_BROKER:
        # The feed asks through the broker actor, which does not live yet.
        try:
            return await groww_venue.tradable(settings), settings.engine.scan_interval
        except RetryError as error:
            raise StopError(f"no list of shares: {error}") from error
    feed = build_feed(settings, start_day)
    return await feed.instruments(), feed.interval
