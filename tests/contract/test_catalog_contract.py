"""What every catalogue must do; run on PostgreSQL and on the in-memory one."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from cryptography.fernet import Fernet
from sqlalchemy.ext.asyncio import AsyncEngine

from hftray.catalog_rows import MANUAL_RUN, ManualTrade, NewUser, TradeFilter
from hftray.core.errors import Conflict, NotFound
from hftray.core.events import Decision, Signal
from hftray.core.ledger import (
    EquityMarked,
    OrderIntended,
    OrderSettled,
    RiskStateChanged,
    SessionStarted,
    SignalRecorded,
    TradeRecord,
)
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.core.position import Position
from hftray.core.session import IST
from hftray.ports import Ledger
from hftray.ports_catalog import CatalogPort
from hftray.storage.catalog import Catalog
from hftray.storage.ledger import PostgresLedger
from hftray.storage.schema import seed
from hftray.storage.secrets import SecretBox
from hftray.testing.memory_catalog import MemoryCatalog
from hftray.testing.memory_ledger import MemoryLedger

STRATEGIES = [
    {
        "name": name,
        "description": "",
        "kind": kind,
        "is_active": True,
        "parameters": {},
    }
    for name, kind in (("RSI Mean Reversion", "rsi"), ("MACD Strategy", "macd"))
]
DAY = date(2026, 11, 23)
OPEN = datetime(2026, 11, 23, 9, 15, tzinfo=IST)


@dataclass
class Store:
    ledger: Ledger
    catalog: CatalogPort


@pytest.fixture
def memory_store() -> Store:
    ledger = MemoryLedger(STRATEGIES)
    return Store(ledger, MemoryCatalog(ledger))


@pytest.fixture
async def postgres_store(engine: AsyncEngine) -> Store:
    await seed(engine, STRATEGIES)
    box = SecretBox(Fernet.generate_key().decode(), "test")
    return Store(PostgresLedger(engine), Catalog(engine, box))


@pytest.fixture(params=["memory_store", "postgres_store"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


@pytest.fixture
def catalog(store: Store) -> CatalogPort:
    return store.catalog


def order(run_id: int, reference: str, minute: int, **changes: object) -> TradeRecord:
    trade = TradeRecord(
        reference=reference,
        run_id=run_id,
        user_id="default",
        symbol="INFY",
        exchange="NSE",
        side=Side.BUY,
        leg=Leg.ENTRY,
        requested_quantity=10,
        reason="vote",
        timestamp=OPEN + timedelta(minutes=minute),
        session_day=DAY,
        strategy_id=1,
        votes={"rsi": 1},
    )
    return replace(trade, **changes)


def holding(trade: TradeRecord) -> Position:
    return Position(
        reference=trade.reference,
        symbol=trade.symbol,
        side=trade.side,
        quantity=10,
        entry_price=Decimal("1500.00"),
        entry_time=trade.timestamp,
        session_day=DAY,
        stop_loss=Decimal("1480.00"),
        take_profit=Decimal("1540.00"),
        best_price=1500.0,
        strategy_id=trade.strategy_id,
    )


async def round_trip(ledger: Ledger, run_id: int, number: int, pnl: str) -> None:
    """An entry and, five minutes later, its exit with this net P&L."""
    entry = order(run_id, f"E{run_id}-{number}", number * 10)
    leaving = order(
        run_id,
        f"X{run_id}-{number}",
        number * 10 + 5,
        leg=Leg.EXIT,
        side=Side.SELL,
        position=entry.reference,
        reason="take-profit",
    )
    done = {"status": TradeStatus.EXECUTED, "quantity": 10, "price": Decimal("1510.00")}
    await ledger.append(
        [
            OrderIntended(entry),
            OrderSettled(replace(entry, **done), position=holding(entry)),
            OrderIntended(leaving),
            OrderSettled(replace(leaving, **done, pnl=Decimal(pnl)), closed=holding(entry)),
        ]
    )


async def open_run(ledger: Ledger, source: str = "seed 7") -> int:
    return (await ledger.open_run("simulation", source, "default", Decimal(100_000))).run_id


async def test_strategies_can_be_made_read_changed_and_deleted(catalog: CatalogPort) -> None:
    made = await catalog.create_strategy(
        name="Fast RSI", description="short", kind="rsi", is_active=False, parameters={"period": 7}
    )
    assert await catalog.get_strategy(made.id) == made
    assert made.created_at.utcoffset() is not None
    changed = await catalog.update_strategy(made.id, {"is_active": True, "parameters": {"p": 5}})
    assert changed == replace(made, is_active=True, parameters={"p": 5})
    assert [row.id for row in await catalog.list_strategies()] == [1, 2, made.id]
    await catalog.delete_strategy(made.id)
    assert [row.id for row in await catalog.list_strategies()] == [1, 2]


async def test_a_strategy_name_is_given_once(catalog: CatalogPort) -> None:
    with pytest.raises(Conflict, match="MACD Strategy"):
        await catalog.create_strategy(
            name="MACD Strategy", description="", kind="macd", is_active=True, parameters={}
        )
    with pytest.raises(Conflict, match="MACD Strategy"):
        await catalog.update_strategy(1, {"name": "MACD Strategy"})
    assert (await catalog.update_strategy(2, {"name": "MACD Strategy"})).id == 2


async def test_unknown_ids_are_not_found(catalog: CatalogPort) -> None:
    for attempt in (
        catalog.get_strategy(99),
        catalog.update_strategy(99, {"is_active": False}),
        catalog.update_strategy(99, {}),
        catalog.delete_strategy(99),
        catalog.get_user("nobody"),
        catalog.update_user("nobody", {"first_name": "A"}),
        catalog.groww_credentials("nobody"),
        catalog.get_trade(99),
    ):
        with pytest.raises(NotFound, match=r"99|nobody"):
            await attempt


async def test_every_change_of_a_strategy_reaches_the_roster(store: Store) -> None:
    roster = await store.ledger.roster(0)
    assert roster is not None
    known = roster[0]

    async def changed() -> list[str]:
        nonlocal known
        update = await store.ledger.roster(known)
        assert update is not None
        assert update[0] > known
        known = update[0]
        return [f"{row['id']} {row['is_active']}" for row in update[1]]

    await store.catalog.update_strategy(2, {"is_active": False})
    assert await changed() == ["1 True", "2 False"]
    await store.catalog.delete_strategy(1)
    assert await changed() == ["2 False"]
    new = await store.catalog.create_strategy(
        name="New", description="", kind="rsi", is_active=True, parameters={}
    )
    assert await changed() == ["2 False", f"{new.id} True"]
    await store.catalog.get_strategy(2)
    await store.catalog.update_user("default", {"first_name": "D"})
    assert await store.ledger.roster(known) is None


async def test_users_can_be_made_read_and_changed(catalog: CatalogPort) -> None:
    made = await catalog.create_user(NewUser("anita", "a@example.in", "Anita", "Rao", Decimal(5)))
    assert await catalog.get_user("anita") == made
    changed = await catalog.update_user("anita", {"initial_capital": Decimal("250000.50")})
    assert changed == replace(made, initial_capital=Decimal("250000.50"))
    assert await catalog.update_user("anita", {}) == changed


async def test_user_ids_and_emails_are_given_once(catalog: CatalogPort) -> None:
    await catalog.create_user(NewUser("anita", "a@example.in"))
    with pytest.raises(Conflict, match="anita"):
        await catalog.create_user(NewUser("anita"))
    with pytest.raises(Conflict, match=r"a@example\.in"):
        await catalog.create_user(NewUser("ravi", "a@example.in"))
    with pytest.raises(Conflict, match=r"a@example\.in"):
        await catalog.update_user("default", {"email": "a@example.in"})
    await catalog.create_user(NewUser("ravi"))  # two users without an email do not clash


async def test_groww_keys_are_kept_shown_as_a_flag_and_cleared(catalog: CatalogPort) -> None:
    made = await catalog.create_user(NewUser("anita", groww_api_key="key"))
    assert not made.has_groww_credentials
    assert await catalog.groww_credentials("anita") is None
    assert (await catalog.update_user("anita", {"groww_api_secret": "s3"})).has_groww_credentials
    keys = await catalog.groww_credentials("anita")
    assert keys is not None
    assert (keys.api_key, keys.api_secret) == ("key", "s3")
    assert "key" not in repr(keys).replace("api_key", "")
    assert not (await catalog.update_user("anita", {"groww_api_key": ""})).has_groww_credentials


async def test_trades_are_listed_newest_first_in_pages(store: Store) -> None:
    run = await open_run(store.ledger)
    for number in range(3):
        await round_trip(store.ledger, run, number, "10.00")
    every = await store.catalog.list_trades(TradeFilter())
    names = [row.trade.reference for row in every]
    assert names == [f"{leg}{run}-{n}" for n in (2, 1, 0) for leg in "XE"]
    page = await store.catalog.list_trades(TradeFilter(), limit=2, offset=1)
    assert page == every[1:3]
    assert await store.catalog.get_trade(page[0].id) == page[0]


async def test_each_trade_filter_selects(store: Store) -> None:
    run, other = await open_run(store.ledger), await open_run(store.ledger, "seed 8")
    await round_trip(store.ledger, run, 0, "10.00")
    sbin = order(run, "pending", 30, symbol="SBIN", strategy_id=2)
    await store.ledger.append([OrderIntended(sbin), OrderIntended(order(other, "other", 40))])

    async def found(**wanted: object) -> set[str]:
        rows = await store.catalog.list_trades(TradeFilter(**wanted))
        return {row.trade.reference for row in rows}

    entry, leaving = f"E{run}-0", f"X{run}-0"
    assert await found(run_id=run) == {entry, leaving, "pending"}
    assert await found(symbol="SBIN") == {"pending"}
    assert await found(side=Side.SELL) == {leaving}
    assert await found(status=TradeStatus.EXECUTED) == {entry, leaving}
    assert await found(leg=Leg.ENTRY, run_id=run) == {entry, "pending"}
    assert await found(strategy_id=2) == {"pending"}
    start, end = OPEN + timedelta(minutes=5), OPEN + timedelta(minutes=40)
    assert await found(start=start, end=end) == {leaving, "pending"}


async def test_a_sessions_trades_are_the_executed_ones_of_one_run_oldest_first(
    store: Store,
) -> None:
    run, other = await open_run(store.ledger), await open_run(store.ledger, "seed 8")
    for number in range(2):
        await round_trip(store.ledger, run, number, "10.00")
    await round_trip(store.ledger, other, 0, "10.00")
    next_day = order(run, "later", 2000, session_day=DAY + timedelta(days=1))
    pending = order(run, "pending", 30)
    await store.ledger.append([OrderIntended(pending), OrderIntended(next_day)])
    by_hand = ManualTrade(
        user_id="default", symbol="INFY", side=Side.BUY, quantity=1, price=Decimal(1500),
        timestamp=OPEN,
    )  # fmt: skip
    await store.catalog.record_manual_trade(by_hand)
    found = await store.catalog.session_trades(run, DAY)
    names = [trade.reference for trade in found]
    assert names == [f"{leg}{run}-{n}" for n in (0, 1) for leg in "EX"]
    assert await store.catalog.session_trades(run, DAY + timedelta(days=1)) == []
    assert await store.catalog.session_trades(MANUAL_RUN, DAY) == []
    word = order(run, "word", 40, leg=Leg.MANUAL, reason="confirmed: read in the app")
    done = replace(word, status=TradeStatus.EXECUTED, quantity=1, price=Decimal(1500))
    await store.ledger.append([OrderIntended(word), OrderSettled(done)])
    assert (await store.catalog.session_trades(run, DAY))[-1].reference == "word"


async def test_a_deleted_strategy_leaves_its_name_on_its_trades(store: Store) -> None:
    run = await open_run(store.ledger)
    await round_trip(store.ledger, run, 0, "10.00")
    await store.ledger.append([OrderIntended(order(run, "under way", 30))])
    await store.catalog.delete_strategy(1)
    late = order(run, "under way", 30, status=TradeStatus.FAILED)
    await store.ledger.append([OrderSettled(late)])
    rows = await store.catalog.list_trades(TradeFilter())
    assert {row.strategy_name for row in rows} == {"RSI Mean Reversion"}
    assert {row.trade.strategy_id for row in rows} == {None}
    assert [row.position.strategy_id for row in await store.catalog.list_positions()] == [None]


async def test_a_manual_trade_is_listed_but_moves_nothing(store: Store) -> None:
    run = await open_run(store.ledger)
    before = await store.ledger.run_state(run)
    late_evening = datetime(2026, 11, 23, 23, 0, tzinfo=IST)
    made = await store.catalog.record_manual_trade(
        ManualTrade(
            user_id="default",
            symbol="TCS",
            side=Side.SELL,
            quantity=3,
            price=Decimal("3105.25"),
            timestamp=late_evening,
            strategy_id=2,
            pnl=Decimal("-12.40"),
        )
    )
    trade = made.trade
    assert (trade.leg, trade.run_id, made.strategy_name) == (
        Leg.MANUAL,
        MANUAL_RUN,
        "MACD Strategy",
    )
    assert (trade.price, trade.pnl, trade.quantity) == (Decimal("3105.25"), Decimal("-12.40"), 3)
    assert trade.session_day == DAY
    assert await store.catalog.list_trades(TradeFilter(run_id=run)) == [made]
    assert await store.ledger.run_state(run) == before
    assert await store.catalog.list_positions() == []


async def test_a_manual_trade_needs_its_user_and_strategy(catalog: CatalogPort) -> None:
    trade = ManualTrade(
        user_id="nobody",
        symbol="TCS",
        side=Side.BUY,
        quantity=1,
        price=Decimal(1),
        timestamp=OPEN,
    )
    with pytest.raises(NotFound, match="nobody"):
        await catalog.record_manual_trade(trade)
    with pytest.raises(NotFound, match="99"):
        await catalog.record_manual_trade(replace(trade, user_id="default", strategy_id=99))
    assert await catalog.list_trades(TradeFilter()) == []


async def test_positions_are_listed_open_and_closed(store: Store) -> None:
    run = await open_run(store.ledger)
    await round_trip(store.ledger, run, 0, "93.20")
    entry = order(run, "open", 30, symbol="SBIN")
    done = replace(entry, status=TradeStatus.EXECUTED, quantity=10, price=Decimal(800))
    await store.ledger.append([OrderIntended(entry), OrderSettled(done, position=holding(entry))])
    catalog = store.catalog
    names = [row.position.reference for row in await catalog.list_positions(run_id=run)]
    assert names == ["open", f"E{run}-0"]
    (still,) = await catalog.list_positions(is_open=True)
    assert (still.position, still.closed_at, still.exit_price) == (holding(entry), None, None)
    (closed,) = await catalog.list_positions(is_open=False)
    assert closed.closed_at == OPEN + timedelta(minutes=5)
    assert (closed.exit_price, closed.exit_reason) == (Decimal(1510), "take-profit")
    assert closed.pnl == Decimal("93.20")
    assert len(await catalog.list_positions(symbol="SBIN")) == 1
    assert await catalog.list_positions(run_id=run + 1) == []


async def test_a_position_closed_in_two_steps_shows_the_whole(store: Store) -> None:
    run = await open_run(store.ledger)
    entry = order(run, "E", 0)
    done = {"status": TradeStatus.EXECUTED, "price": Decimal("1510.00")}
    whole = holding(entry)
    first, failed, last = (
        order(run, name, minute, leg=Leg.EXIT, side=Side.SELL, position="E", reason=name)
        for name, minute in (("stop-loss", 5), ("refused", 6), ("square-off", 9))
    )

    async def settle(trade: TradeRecord, after: int, gone: int, **values: object) -> None:
        position, closed = (replace(whole, quantity=n) if n else None for n in (after, gone))
        ended = OrderSettled(replace(trade, **values), position, closed)
        await store.ledger.append([OrderIntended(trade), ended])

    await settle(entry, 10, 0, **done, quantity=10)
    await settle(first, 4, 6, **done, quantity=6, pnl=Decimal("60.00"))
    await settle(failed, 4, 0, status=TradeStatus.FAILED)
    (row,) = await store.catalog.list_positions()
    assert (row.position.quantity, row.pnl, row.closed_at) == (4, Decimal("60.00"), None)
    assert (row.exit_price, row.exit_reason) == (Decimal("1510.00"), "stop-loss")
    assert await store.catalog.closed_pnls(run) == []
    await settle(last, 0, 4, **done | {"price": Decimal("1490.00")}, quantity=4, pnl=Decimal(-40))
    (row,) = await store.catalog.list_positions(is_open=False)
    assert (row.position.quantity, row.pnl) == (10, Decimal("20.00"))
    assert (row.exit_price, row.exit_reason) == (Decimal("1490.00"), "square-off")
    assert await store.catalog.closed_pnls(run) == [Decimal("20.00")]


async def test_closed_pnls_are_of_one_run_oldest_first(store: Store) -> None:
    run, other = await open_run(store.ledger), await open_run(store.ledger, "seed 8")
    for number, pnl in ((2, "3.00"), (0, "1.00"), (1, "-2.50")):
        await round_trip(store.ledger, run, number, pnl)
    await round_trip(store.ledger, other, 0, "99.00")
    pnls = await store.catalog.closed_pnls(run)
    assert pnls == [Decimal("1.00"), Decimal("-2.50"), Decimal("3.00")]


async def test_signals_are_listed_newest_first_in_pages(store: Store) -> None:
    run = await open_run(store.ledger)
    voted = [
        Signal(
            symbol=symbol,
            signal=Decision.SELL,
            score=-0.4,
            votes={"rsi": -1},
            price=1500.5,
            candle_time=OPEN + timedelta(minutes=5 * n),
            timestamp=OPEN + timedelta(minutes=5 * n + 5),
            final=True,
            action="denied: size",
        )
        for n in range(4)
        for symbol in ("INFY", "SBIN")
    ]
    await store.ledger.append([SignalRecorded(run, signal) for signal in voted])
    newest = sorted(voted, key=lambda s: (-s.candle_time.timestamp(), s.symbol))
    assert await store.catalog.list_signals(run_id=run) == newest
    assert await store.catalog.list_signals(limit=3, offset=2) == newest[2:5]
    infy = await store.catalog.list_signals(
        symbol="INFY", start=OPEN + timedelta(minutes=5), end=OPEN + timedelta(minutes=15)
    )
    assert infy == [signal for signal in newest if signal.symbol == "INFY"][1:3]


async def test_the_equity_curve_is_oldest_first_and_ends_now(store: Store) -> None:
    run = await open_run(store.ledger)
    points = [
        EquityMarked(
            run_id=run,
            time=OPEN + timedelta(minutes=n),
            session_day=DAY,
            capital=Decimal(100_000),
            equity=Decimal(100_000 + n),
            realised_pnl=Decimal(0),
            open_pnl=Decimal(n),
            open_positions=1,
        )
        for n in range(5)
    ]
    await store.ledger.append(points)
    assert await store.catalog.list_equity(run) == points
    assert await store.catalog.list_equity(run, limit=2) == points[-2:]
    start, end = points[1].time, points[3].time
    assert await store.catalog.list_equity(run, start=start, end=end) == points[1:3]


async def test_days_risk_events_and_runs_are_listed_newest_first(store: Store) -> None:
    first, second = await open_run(store.ledger), await open_run(store.ledger, "seed 8")
    days = [
        SessionStarted(first, DAY + timedelta(days=n), Decimal(n), OPEN + timedelta(days=n))
        for n in range(3)
    ]
    events = [
        RiskStateChanged(first, state, "why", "anita", OPEN + timedelta(minutes=n))
        for n, state in enumerate(["REDUCING", "HALTED", "ACTIVE"])
    ]
    await store.ledger.append([*days, *events])
    catalog = store.catalog
    assert await catalog.list_sessions(run_id=first) == days[::-1]
    assert await catalog.list_sessions(limit=1, offset=1) == [days[1]]
    assert await catalog.list_risk_events(run_id=first) == events[::-1]
    assert await catalog.list_risk_events(run_id=second) == []
    assert [run.run_id for run in await catalog.list_runs()] == [second, first]
