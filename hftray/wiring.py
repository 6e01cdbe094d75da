"""The one place where everything is put together.

The builders import what they build inside the function: they are sent to actors, and an actor
should load only what it needs.
"""

import hashlib
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hftray.actors import handles, ray_calls
from hftray.actors.broker import BrokerShell
from hftray.actors.engine import EngineActor
from hftray.actors.loop import EngineOptions
from hftray.actors.persistence import PersistenceShell
from hftray.actors.risk import RiskShell
from hftray.actors.symbol import SymbolShell
from hftray.core.errors import ConfigError, NotFound, RetryError, StopError
from hftray.core.ledger import RunInfo
from hftray.core.market import Instrument
from hftray.core.risk import RiskBook
from hftray.layers import default_file, read_yaml
from hftray.planning import Plan
from hftray.ports import Ledger
from hftray.settings import Settings
from hftray.strategies.plugins import StrategyFile
from hftray.venues import WITH_BROKER, BuildBroker, build_broker, build_feed, venue_of_run

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from hftray.backtest.runner import Terms
    from hftray.core.charges import ChargeSchedule
    from hftray.storage.catalog import Catalog


def build_ledger(database_url: str, directory: Path, max_events: int) -> Ledger:
    """The ledger in PostgreSQL, behind a journal on this machine's disk."""
    from hftray.storage.database import connect
    from hftray.storage.journaled_ledger import JournaledLedger
    from hftray.storage.ledger import PostgresLedger

    return JournaledLedger(PostgresLedger(connect(database_url)), directory, max_events=max_events)


def build_book(
    settings: Settings,
    instruments: Mapping[str, Instrument],
    run: RunInfo,
    epoch_floor: int,
    *,
    database: str = "",
) -> RiskBook:
    """An empty risk book of a run.

    A real account may be traded from several databases, so there the orders are named after theirs
    (`schema.identity`); elsewhere the same run gives the same names everywhere.
    """
    rules = settings.trading_rules()
    candle = timedelta(minutes=rules.signals.candle_minutes)
    return RiskBook(
        run=run,
        limits=rules.risk,
        exits=rules.exits,
        charges=charge_schedule(),
        instruments=instruments,
        epoch_floor=epoch_floor,
        max_intent_age=candle + timedelta(seconds=rules.feed.future_tolerance_seconds),
        database=database if run.mode == "live" else "",
    )


def charge_schedule() -> "ChargeSchedule":
    """The dated charges of config/charges.yaml. ConfigError."""
    from hftray.core.charges import ChargeSchedule

    return ChargeSchedule.from_mapping(read_yaml(default_file("charges.yaml")))


def backtest_terms(
    settings: Settings, start_day: date, strategy_files: tuple[StrategyFile, ...] = ()
) -> "Terms":
    """What backtests of the mode's market are played on."""
    from hftray.backtest.runner import Terms

    return Terms(
        build_feed=partial(build_feed, settings, start_day),
        rules=settings.trading_rules(),
        charges=charge_schedule(),
        slippage_bps=settings.simulation.slippage_bps,
        strategy_files=strategy_files,
    )


async def prepare_database(settings: Settings, database_url: str) -> None:
    """Bring the schema up to date and seed it once. SchemaError, StopError."""
    from hftray.storage.database import connect
    from hftray.storage.schema import migrate, seed
    from hftray.strategies.defaults import default_strategies

    await migrate(database_url)
    engine = connect(database_url)
    try:
        await seed(
            engine,
            default_strategies(),
            user_id=settings.storage.user_id,
            initial_capital=settings.initial_capital,
        )
    finally:
        await engine.dispose()


def engine_options(chosen: Plan, interval: float) -> EngineOptions:
    """How fast the loop runs: market seconds a step over the speed."""
    settings = chosen.settings
    if chosen.mode in WITH_BROKER:
        pause, closed = settings.engine.scan_interval, settings.engine.closed_interval
    else:
        section = settings.replay if chosen.mode == "replay" else settings.simulation
        pause = interval / section.speed if section.speed else 0.0
        closed = 0.0  # generated and replayed markets skip closed hours
    return EngineOptions(
        interval=pause,
        closed_interval=closed,
        scan_timeout=settings.engine.scan_timeout,
        snapshot_interval=settings.engine.snapshot_interval,
        reconcile_interval=settings.engine.reconcile_interval,
        signal_log=settings.engine.signal_log,
        failures_before_reducing=settings.engine.failures_before_reducing,
        equity_interval=settings.engine.equity_interval,
        source=chosen.source,
    )


def require_free_cluster() -> None:
    """StopError when hftray's actors already live on the connected cluster."""
    there = ray_calls.living()
    if there:
        raise StopError(f"hftray already runs on this Ray cluster (actors {', '.join(there)})")


async def start_actors(chosen: Plan, build_broker: BuildBroker = build_broker) -> RunInfo:
    """Create all actors on the connected cluster; the run they work on.

    ConfigError when the run holds a position in a symbol that would not be traded.
    """
    settings = chosen.settings
    rules = settings.trading_rules()
    ledger, risk, broker = handles.LedgerHandle(), handles.RiskHandle(), handles.BrokerHandle()
    capital, identity = await read_account(settings, chosen.database_url)
    journal, limit = record_directory(settings, identity), settings.storage.journal_max_events
    record = partial(build_ledger, chosen.database_url, journal, limit)
    ray_calls.create(ray_calls.PERSISTENCE, PersistenceShell, record)
    run = await ledger.open_run(chosen.mode, chosen.source, settings.storage.user_id, capital)
    await require_symbols_of_positions(chosen, ledger, run)
    book = partial(build_book, settings, chosen.instruments, database=identity)
    heartbeat = settings.engine.heartbeat_timeout
    ray_calls.create(ray_calls.RISK, RiskShell, run, book, ledger, heartbeat_timeout=heartbeat)
    books = book_name(chosen, identity)
    venue = partial(
        venue_of_run, build_broker, settings, chosen.instruments, books, chosen.database_url
    )
    ray_calls.create(ray_calls.BROKER, BrokerShell, venue, run, ledger)
    await require_access(chosen)
    symbols = {}
    for symbol, instrument in chosen.instruments.items():
        name = ray_calls.symbol_actor(symbol)
        parts = (instrument, rules, risk, broker, chosen.strategy_files)
        ray_calls.create(name, SymbolShell, *parts, spread=True)
        symbols[symbol] = handles.SymbolHandle(name)
    ray_calls.create(
        ray_calls.ENGINE,
        EngineActor,
        run,
        rules,
        engine_options(chosen, chosen.feed_interval),
        partial(build_feed, settings, chosen.start_day),
        symbols,
        broker=broker,
        risk=risk,
        ledger=ledger,
    )
    return run


async def require_access(chosen: Plan) -> None:
    """StopError when the broker does not take our keys, or cannot be asked."""
    if chosen.mode in WITH_BROKER:
        try:
            await handles.SourceHandle().require_access()
        except RetryError as error:
            raise StopError(f"mode {chosen.mode}: Groww cannot be asked: {error}") from error


async def require_symbols_of_positions(chosen: Plan, ledger: Ledger, run: RunInfo) -> None:
    """ConfigError naming symbols with a position or an order that nobody would look after."""
    state = await ledger.run_state(run.run_id)
    held = {position.symbol for position in state.positions} | {t.symbol for t in state.under_way}
    left_alone = sorted(held - set(chosen.instruments))
    if left_alone:
        raise ConfigError(
            f"symbols: run {run.run_id} holds positions in {', '.join(left_alone)}; "
            "add them to the symbols so that they stay guarded"
        )


def book_name(chosen: Plan, database_identity: str) -> str:
    """How the exchange's books are called: others for each market and database.

    An order of another market would fill at this one's prices, and a new database on an old data
    directory would find the fills of orders it never made.
    """
    return file_name("exchange", f"{database_identity} {chosen.mode} {chosen.source}")


def record_directory(settings: Settings, database_identity: str) -> Path:
    """Where the journal before this database lies."""
    return settings.storage.data_dir / file_name("journal", database_identity)


def file_name(kind: str, identity: str) -> str:
    """A name in the data directory that goes with what it belongs to, and with nothing else."""
    return f"{kind}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


async def read_account(settings: Settings, database_url: str) -> tuple[Decimal, str]:
    """What a new run of the configured user starts with, and what tells the database from others.

    ConfigError for an unknown user.
    """
    from hftray.storage.database import connect
    from hftray.storage.schema import identity

    engine = connect(database_url)
    try:
        user = await build_catalog(settings, engine).get_user(settings.storage.user_id)
        return user.initial_capital, await identity(engine)
    except NotFound as error:
        raise ConfigError(f"storage.user_id: {error}") from error
    finally:
        await engine.dispose()


def build_catalog(settings: Settings, engine: "AsyncEngine") -> "Catalog":
    """Users, strategies and the record, for the API."""
    from hftray.storage.catalog import Catalog
    from hftray.storage.secrets import SecretBox

    return Catalog(engine, SecretBox.open(settings.storage.data_dir))
