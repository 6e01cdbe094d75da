"""What every ledger must do: PostgreSQL, the in-memory one, and the journal before either."""

import pickle
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from hftray.core.errors import Conflict, IllegalTransition, NotFound, StaleEpoch
from hftray.core.events import Decision, Signal
from hftray.core.ledger import (
    EquityMarked,
    OrderIntended,
    OrderSettled,
    PositionMarked,
    RiskStateChanged,
    RunInfo,
    SessionStarted,
    SignalRecorded,
    TradeRecord,
)
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.core.position import Position
from hftray.core.session import IST
from hftray.ports import Ledger
from hftray.storage.journaled_ledger import JournaledLedger
from hftray.storage.ledger import PostgresLedger
from hftray.storage.outage import SharedLedger
from hftray.storage.schema import seed
from hftray.testing.memory_ledger import MemoryLedger

STRATEGIES = [
    {
        "name": "RSI Mean Reversion",
        "description": "",
        "kind": "rsi",
        "is_active": True,
        "parameters": {"period": 14, "weight": 0.8},
    }
]
DAY = date(2026, 11, 23)
OPEN = datetime(2026, 11, 23, 9, 15, tzinfo=IST)


@pytest.fixture
def memory_ledger() -> MemoryLedger:
    return MemoryLedger(STRATEGIES)


@pytest.fixture
async def postgres_ledger(engine: AsyncEngine) -> PostgresLedger:
    await seed(engine, STRATEGIES)
    return PostgresLedger(engine)


@pytest.fixture
async def journaled_memory(
    memory_ledger: MemoryLedger, tmp_path: Path
) -> AsyncIterator[JournaledLedger]:
    ledger = JournaledLedger(memory_ledger, tmp_path, max_events=1_000)
    yield ledger
    await ledger.close()


@pytest.fixture
async def journaled_postgres(
    postgres_ledger: PostgresLedger, tmp_path: Path
) -> AsyncIterator[JournaledLedger]:
    ledger = JournaledLedger(postgres_ledger, tmp_path, max_events=1_000)
    yield ledger
    await ledger.close()


@pytest.fixture(
    params=["memory_ledger", "postgres_ledger", "journaled_memory", "journaled_postgres"]
)
def ledger(request: pytest.FixtureRequest) -> Ledger:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["memory_ledger", "postgres_ledger"])
def shared(request: pytest.FixtureRequest) -> SharedLedger:
    """Those that a journal can stand in front of."""
    return request.getfixturevalue(request.param)


@pytest.fixture
async def run(ledger: Ledger) -> RunInfo:
    return await ledger.open_run("simulation", "seed 7", "default", Decimal("100000.00"))


def intended(run_id: int, reference: str = "E1", **changes: object) -> TradeRecord:
    trade = TradeRecord(
        reference=reference,
        run_id=run_id,
        user_id="default",
        symbol="RELIANCE",
        exchange="NSE",
        side=Side.BUY,
        leg=Leg.ENTRY,
        requested_quantity=20,
        reason="vote 0.57",
        timestamp=OPEN + timedelta(minutes=30),
        session_day=DAY,
        limit_price=Decimal("1512.55"),
        trigger=Decimal("1500.05"),
        reserved=Decimal("30251.00"),
        decision_price=Decimal("1505.00"),
        candle_time=OPEN + timedelta(minutes=25),
        strategy_id=1,
        atr=12.25,
        score=4.2 / 7.4,
        votes={"rsi": 1, "macd": 0},
        sequence=3,
    )
    return replace(trade, **changes)


def executed(trade: TradeRecord, **changes: object) -> TradeRecord:
    return replace(
        trade,
        status=TradeStatus.EXECUTED,
        quantity=trade.requested_quantity,
        price=Decimal("1506.10"),
        timestamp=trade.timestamp + timedelta(seconds=2),
        broker_order_id="GW-1",
        charges=Decimal("11.43"),
        **changes,
    )


def held(trade: TradeRecord, **changes: object) -> Position:
    position = Position(
        reference=trade.reference,
        symbol=trade.symbol,
        side=trade.side,
        quantity=trade.requested_quantity,
        entry_price=Decimal("1506.10"),
        entry_time=trade.timestamp,
        session_day=DAY,
        stop_loss=Decimal("1481.60"),
        take_profit=Decimal("1555.10"),
        best_price=1506.1,
        atr=12.25,
        strategy_id=1,
        score=trade.score,
        votes=trade.votes,
    )
    return replace(position, **changes)


def exit_of(entry: TradeRecord, reference: str = "X1", **changes: object) -> TradeRecord:
    later = entry.timestamp + timedelta(minutes=10)
    changes = {"leg": Leg.EXIT, "side": Side.SELL, "position": entry.reference} | changes
    return intended(entry.run_id, reference, timestamp=later, reason="target", **changes)


def signal(minutes: int, symbol: str = "RELIANCE") -> Signal:
    return Signal(
        symbol=symbol,
        signal=Decision.BUY,
        score=0.57,
        votes={"rsi": 1},
        price=1505.0,
        candle_time=OPEN + timedelta(minutes=minutes),
        timestamp=OPEN + timedelta(minutes=minutes + 5),
        final=True,
        action="entered",
    )


def equity(run_id: int, minutes: int) -> EquityMarked:
    return EquityMarked(
        run_id=run_id,
        time=OPEN + timedelta(minutes=minutes),
        session_day=DAY,
        capital=Decimal("100000"),
        equity=Decimal("100010.50"),
        realised_pnl=Decimal("0"),
        open_pnl=Decimal("10.50"),
        open_positions=1,
    )


async def enter(ledger: Ledger, run: RunInfo, reference: str = "E1") -> TradeRecord:
    entry = executed(intended(run.run_id, reference))
    await ledger.append([OrderIntended(intended(run.run_id, reference))])
    await ledger.append([OrderSettled(entry, position=held(entry))])
    return entry


async def test_an_unfinished_run_is_continued_as_it_was_begun(ledger: Ledger, run: RunInfo) -> None:
    again = await ledger.open_run("simulation", "seed 7", "default", Decimal(5))
    assert again == run
    assert again.initial_capital == Decimal(100_000)
    assert (await ledger.open_run("simulation", "seed 8", "default", Decimal(5))) != run


async def test_a_finished_run_is_followed_by_a_new_one(ledger: Ledger, run: RunInfo) -> None:
    await ledger.finish_run(run.run_id, OPEN)
    await ledger.finish_run(run.run_id, OPEN)
    again = await ledger.open_run("simulation", "seed 7", "default", Decimal(5))
    assert again.run_id != run.run_id


async def test_unknown_runs_and_users_are_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await ledger.open_run("paper", "", "nobody", Decimal(1))
    with pytest.raises(NotFound):
        await ledger.run_state(4711)
    with pytest.raises(NotFound):
        await ledger.finish_run(4711, OPEN)
    with pytest.raises(NotFound):
        await ledger.append([equity(4711, 5)])


async def test_a_fresh_run_is_empty_and_active(ledger: Ledger, run: RunInfo) -> None:
    state = await ledger.run_state(run.run_id)
    assert (state.run, state.risk_state, state.realised_total) == (run, "ACTIVE", Decimal(0))
    assert (state.session_day, state.market_time, state.pending) == (None, None, ())


async def test_a_pending_order_comes_back_whole(ledger: Ledger, run: RunInfo) -> None:
    trade = intended(run.run_id)
    await ledger.append([OrderIntended(trade)])
    state = await ledger.run_state(run.run_id)
    assert state.pending == (trade,)
    assert str(state.pending[0].limit_price) == "1512.55"
    assert state.pending[0].timestamp.utcoffset() is not None


async def test_a_filled_entry_becomes_an_open_position(ledger: Ledger, run: RunInfo) -> None:
    entry = await enter(ledger, run)
    state = await ledger.run_state(run.run_id)
    assert state.pending == ()
    assert state.positions == (held(entry),)


async def test_a_partial_exit_leaves_the_rest_open_and_counts_its_pnl(
    ledger: Ledger, run: RunInfo
) -> None:
    entry = await enter(ledger, run)
    first, last = exit_of(entry, "X1"), exit_of(entry, "X2")
    rest = held(entry, quantity=5, best_price=1540.0)
    await ledger.append(
        [
            OrderIntended(first),
            OrderSettled(
                executed(first, pnl=Decimal("100.25")),
                position=rest,
                closed=held(entry, quantity=15, best_price=1540.0),
            ),
        ]
    )
    state = await ledger.run_state(run.run_id)
    assert state.positions == (rest,)
    assert state.realised_total == Decimal("100.25")
    await ledger.append(
        [OrderIntended(last), OrderSettled(executed(last, pnl=Decimal("-20.05")), closed=rest)]
    )
    state = await ledger.run_state(run.run_id)
    assert state.positions == ()
    assert state.realised_total == Decimal("80.20")


async def test_a_confirmed_fill_moves_no_position_and_its_difference_counts(
    ledger: Ledger, run: RunInfo
) -> None:
    entry = await enter(ledger, run)
    by_hand = replace(
        entry, reference="M1", leg=Leg.MANUAL, status=TradeStatus.PENDING, quantity=0, price=None,
        charges=None, reason="confirmed: read in the app (by api)", position=entry.reference,
    )  # fmt: skip
    done = replace(executed(by_hand, pnl=Decimal("-30.02")), price=Decimal("1507.60"))
    opened = SessionStarted(run.run_id, DAY, Decimal(100_000), OPEN)
    await ledger.append([opened, OrderIntended(by_hand), OrderSettled(done)])
    state = await ledger.run_state(run.run_id)
    assert (state.positions, state.pending) == ((held(entry),), ())
    assert state.realised_total == Decimal("-30.02")
    [found] = [trade for trade in state.trades_today if trade.leg is Leg.MANUAL]
    assert (found.confirms, found.price) == (entry.reference, Decimal("1507.60"))
    [kept] = [trade for trade in state.trades_today if trade.leg is Leg.ENTRY]
    assert kept.price == entry.price


async def test_each_confirmation_of_a_fill_counts(ledger: Ledger, run: RunInfo) -> None:
    entry = await enter(ledger, run)
    opened = SessionStarted(run.run_id, DAY, Decimal(100_000), OPEN)
    await ledger.append([opened])
    for number, pnl in ((1, "-30.02"), (2, "30.02"), (3, "-0.40")):
        by_hand = replace(
            entry, reference=f"M{number}", leg=Leg.MANUAL, status=TradeStatus.PENDING, quantity=0,
            price=None, charges=None, reason="confirmed: in the app", position=entry.reference,
            sequence=number,
        )  # fmt: skip
        await ledger.append([OrderIntended(by_hand)])
        await ledger.append([OrderSettled(executed(by_hand, pnl=Decimal(pnl)))])
    state = await ledger.run_state(run.run_id)
    assert (state.positions, state.pending) == ((held(entry),), ())
    assert state.realised_total == Decimal("-0.40")
    found = [t.sequence for t in state.trades_today if t.confirms == entry.reference]
    assert found == [1, 2, 3]


async def test_an_order_of_a_day_that_is_over_counts_once_though_it_is_told_again(
    ledger: Ledger, run: RunInfo
) -> None:
    """Skipped by its event id, or refused by a journal that has forgotten it."""
    over = intended(run.run_id, leg=Leg.EXIT, reason="stop_loss")
    steps = [OrderIntended(over), OrderSettled(executed(over, pnl=Decimal(7)))]
    await ledger.append([SessionStarted(run.run_id, DAY, Decimal(100_000), OPEN), *steps])
    for later in (1, 2):
        day, moment = DAY + timedelta(days=later), OPEN + timedelta(days=later)
        await ledger.append([SessionStarted(run.run_id, day, Decimal(100_000), moment)])
        if isinstance(ledger, JournaledLedger):  # it forgets what the database has
            assert await ledger.drained(10.0)
    for step in steps:
        with suppress(NotFound, IllegalTransition):
            await ledger.append([step])
    state = await ledger.run_state(run.run_id)
    assert (state.realised_total, state.pending) == (7, ())


async def test_a_failed_entry_leaves_nothing_open(ledger: Ledger, run: RunInfo) -> None:
    trade = intended(run.run_id)
    failed = replace(trade, status=TradeStatus.FAILED, reason="rejected: margin")
    await ledger.append([OrderIntended(trade), OrderSettled(failed)])
    state = await ledger.run_state(run.run_id)
    assert (state.pending, state.positions) == ((), ())


async def test_a_failed_exit_leaves_the_position_open(ledger: Ledger, run: RunInfo) -> None:
    entry = await enter(ledger, run)
    leaving = exit_of(entry)
    failed = replace(leaving, status=TradeStatus.FAILED, reason="rejected: circuit")
    await ledger.append(
        [OrderIntended(leaving), OrderSettled(failed, position=held(entry, best_price=1511.0))]
    )
    state = await ledger.run_state(run.run_id)
    assert state.positions == (held(entry, best_price=1511.0),)
    assert state.realised_total == 0


async def test_what_is_appended_twice_happens_once(ledger: Ledger, run: RunInfo) -> None:
    entry = executed(intended(run.run_id))
    closing = exit_of(entry)
    events = [
        SessionStarted(run.run_id, DAY, Decimal(100_000), OPEN),
        OrderIntended(intended(run.run_id)),
        OrderSettled(entry, position=held(entry)),
        OrderIntended(closing),
        OrderSettled(executed(closing, pnl=Decimal("98.00")), closed=held(entry)),
        SignalRecorded(run.run_id, signal(25)),
        equity(run.run_id, 30),
        RiskStateChanged(run.run_id, "REDUCING", "loss limit", "risk", OPEN),
    ]
    await ledger.append(events)
    once = await ledger.run_state(run.run_id)
    await ledger.append(events)
    await ledger.append([*events, *events])
    assert await ledger.run_state(run.run_id) == once
    assert once.realised_total == Decimal("98.00")
    assert len(once.trades_today) == 2


async def test_an_event_twice_in_one_append_happens_once(ledger: Ledger, run: RunInfo) -> None:
    entry = executed(intended(run.run_id))
    closing = exit_of(entry)
    ended = OrderSettled(executed(closing, pnl=Decimal("98.00")), closed=held(entry))
    opened = [OrderIntended(intended(run.run_id)), OrderSettled(entry, position=held(entry))]
    await ledger.append([*opened, *opened, OrderIntended(closing), ended, ended])
    assert (await ledger.run_state(run.run_id)).realised_total == Decimal("98.00")


async def test_a_settled_order_cannot_end_differently(ledger: Ledger, run: RunInfo) -> None:
    """The event id is the order's, so a second end is a repetition; a wrong first end is not."""
    trade = intended(run.run_id)
    await ledger.append([OrderIntended(trade)])
    with pytest.raises(IllegalTransition, match="PENDING"):
        await ledger.append([OrderSettled(trade)])
    entry = executed(trade)
    await ledger.append([OrderSettled(entry, position=held(entry))])
    await ledger.append([OrderSettled(replace(trade, status=TradeStatus.FAILED))])
    assert (await ledger.run_state(run.run_id)).positions == (held(entry),)


async def test_a_refused_event_takes_the_whole_append_back(ledger: Ledger, run: RunInfo) -> None:
    stranger = executed(intended(run.run_id, "never intended"))
    with pytest.raises(NotFound, match="never intended"):
        await ledger.append([OrderIntended(intended(run.run_id)), OrderSettled(stranger)])
    assert (await ledger.run_state(run.run_id)).pending == ()
    await ledger.append([OrderIntended(intended(run.run_id))])
    assert len((await ledger.run_state(run.run_id)).pending) == 1


@pytest.mark.parametrize(("side", "best"), [(Side.BUY, 1530.0), (Side.SELL, 1490.0)])
async def test_a_best_price_only_improves(
    ledger: Ledger, run: RunInfo, side: Side, best: float
) -> None:
    entry = executed(intended(run.run_id, side=side))
    await ledger.append([OrderIntended(intended(run.run_id, side=side))])
    await ledger.append([OrderSettled(entry, position=held(entry))])
    marks = [PositionMarked(run.run_id, "E1", price, OPEN) for price in (1530.0, 1490.0, 1510.0)]
    await ledger.append(marks)
    await ledger.append(marks[::-1])
    (position,) = (await ledger.run_state(run.run_id)).positions
    assert position.best_price == best


async def test_today_is_the_latest_session(ledger: Ledger, run: RunInfo) -> None:
    yesterday = DAY - timedelta(days=1)
    old = intended(run.run_id, "old", session_day=yesterday)
    done = replace(old, status=TradeStatus.FAILED)
    today = [intended(run.run_id, "T1"), intended(run.run_id, "T2", timestamp=OPEN)]
    await ledger.append(
        [
            SessionStarted(run.run_id, yesterday, Decimal(100_000), OPEN - timedelta(days=1)),
            OrderIntended(old),
            OrderSettled(done),
            SessionStarted(run.run_id, DAY, Decimal("100080.20"), OPEN),
            *(OrderIntended(trade) for trade in today),
        ]
    )
    state = await ledger.run_state(run.run_id)
    assert (state.session_day, state.opening_capital) == (DAY, Decimal("100080.20"))
    assert [trade.reference for trade in state.trades_today] == ["T1", "T2"]


async def test_the_latest_risk_state_counts(ledger: Ledger, run: RunInfo) -> None:
    for minute, state in enumerate(["HALTED", "ACTIVE", "REDUCING"]):
        time = OPEN + timedelta(minutes=minute)
        await ledger.append([RiskStateChanged(run.run_id, state, f"why {state}", "anita", time)])
    state = await ledger.run_state(run.run_id)
    assert (state.risk_state, state.risk_reason) == ("REDUCING", "why REDUCING")


async def test_risk_changes_that_are_alike_count_each(ledger: Ledger, run: RunInfo) -> None:
    """Market time stands still between them when a batch of candles comes once more."""
    states = ["REDUCING", "ACTIVE", "REDUCING"]
    changes = [
        RiskStateChanged(run.run_id, state, "impaired: no scan", "risk", OPEN, sequence)
        for sequence, state in enumerate(states, 1)
    ]
    for change in changes:
        await ledger.append([change])
        await ledger.append([change])  # its answer was lost
    found = await ledger.run_state(run.run_id)
    assert (found.risk_state, found.risk_sequence) == ("REDUCING", 3)
    await ledger.append(changes)
    assert await ledger.run_state(run.run_id) == found


async def test_market_time_is_the_latest_signal_or_mark(ledger: Ledger, run: RunInfo) -> None:
    await ledger.append([SignalRecorded(run.run_id, signal(0)), equity(run.run_id, 3)])
    assert (await ledger.run_state(run.run_id)).market_time == OPEN + timedelta(minutes=5)
    await ledger.append([equity(run.run_id, 9)])
    state = await ledger.run_state(run.run_id)
    assert state.market_time == datetime(2026, 11, 23, 3, 54, tzinfo=UTC)


async def test_runs_do_not_see_each_other(ledger: Ledger, run: RunInfo) -> None:
    other = await ledger.open_run("paper", "groww", "default", Decimal(50_000))
    empty = await ledger.run_state(other.run_id)
    entry = await enter(ledger, run)
    closing = exit_of(entry)
    await ledger.append(
        [
            SessionStarted(run.run_id, DAY, Decimal(1), OPEN),
            OrderIntended(closing),
            OrderSettled(executed(closing, pnl=Decimal(9)), position=held(entry, quantity=1)),
            OrderIntended(intended(run.run_id, "E2")),
            SignalRecorded(run.run_id, signal(25)),
            RiskStateChanged(run.run_id, "HALTED", "kill", "anita", OPEN),
        ]
    )
    assert await ledger.run_state(other.run_id) == empty
    assert (await ledger.run_state(run.run_id)).risk_state == "HALTED"


async def test_what_other_processes_unpickle_takes_no_database_library_along(
    ledger: Ledger,
) -> None:
    run = await ledger.open_run("simulation", "seed 1", "default", Decimal(100_000))
    for answer in (await ledger.roster(0), run, await ledger.run_state(run.run_id)):
        assert b"sqlalchemy" not in pickle.dumps(answer)
        assert b"asyncpg" not in pickle.dumps(answer)


async def test_the_roster_is_given_until_its_version_is_known(ledger: Ledger) -> None:
    roster = await ledger.roster(0)
    assert roster is not None
    version, rows = roster
    assert rows == [
        {
            "id": 1,
            "name": "RSI Mean Reversion",
            "kind": "rsi",
            "is_active": True,
            "parameters": {"period": 14, "weight": 0.8},
        }
    ]
    assert await ledger.roster(version) is None


async def test_an_order_of_a_vanished_strategy_is_recorded(ledger: Ledger, run: RunInfo) -> None:
    trade = intended(run.run_id, strategy_id=4711)
    await ledger.append([OrderIntended(trade)])
    assert (await ledger.run_state(run.run_id)).pending == (replace(trade, strategy_id=None),)


async def test_the_wish_to_scan_is_remembered(ledger: Ledger, run: RunInfo) -> None:
    assert not (await ledger.run_state(run.run_id)).scanning
    for wish in (True, False, True):
        await ledger.set_scanning(run.run_id, wish)
        assert (await ledger.run_state(run.run_id)).scanning is wish
    with pytest.raises(NotFound):
        await ledger.set_scanning(4711, True)


async def test_a_superseded_writer_of_orders_is_refused(ledger: Ledger, run: RunInfo) -> None:
    first = await ledger.open_term()
    await ledger.append([OrderIntended(intended(run.run_id, "E1"))], first)
    second = await ledger.open_term()
    assert second > first
    with pytest.raises(StaleEpoch):
        await ledger.append([OrderIntended(intended(run.run_id, "E2"))], first)
    await ledger.append([OrderIntended(intended(run.run_id, "E3"))], second)
    await ledger.append([SignalRecorded(run.run_id, signal(25))])  # no order: no term
    state = await ledger.run_state(run.run_id)
    assert [trade.reference for trade in state.pending] == ["E1", "E3"]


async def test_an_empty_append_tells_how_the_record_is_doing(ledger: Ledger) -> None:
    health = await ledger.append([])
    assert (health.waiting, health.impairment, health.notes) == (0, "", ())


async def test_a_mark_that_comes_before_a_partial_exit_or_after_it_counts_alike(
    ledger: Ledger, run: RunInfo
) -> None:
    """A batch may be written in another order than it came in."""
    entry = await enter(ledger, run)
    leaving = exit_of(entry)
    rest = held(entry, quantity=5, best_price=1520.0)
    await ledger.append([PositionMarked(run.run_id, "E1", 1540.0, OPEN), OrderIntended(leaving)])
    await ledger.append([OrderSettled(executed(leaving), position=rest, closed=held(entry))])
    (position,) = (await ledger.run_state(run.run_id)).positions
    assert (position.quantity, position.best_price) == (5, 1540.0)


async def test_only_the_owners_events_are_taken(shared: SharedLedger) -> None:
    run = await shared.open_run("simulation", "seed 7", "default", Decimal(100_000))
    assert await shared.owner() == ""
    await shared.append([OrderIntended(intended(run.run_id, "E1"))], owner="a")
    await shared.take_over("a", "")
    await shared.append([OrderIntended(intended(run.run_id, "E2"))], owner="a")
    with pytest.raises(StaleEpoch, match="stop it, or stop the other one"):
        await shared.append([OrderIntended(intended(run.run_id, "E3"))], owner="b")
    with pytest.raises(Conflict):
        await shared.take_over("b", "")
    await shared.take_over("b", "a")
    assert await shared.owner() == "b"
    with pytest.raises(StaleEpoch):
        await shared.append([OrderIntended(intended(run.run_id, "E4"))], owner="a")
    await shared.append([OrderIntended(intended(run.run_id, "E5"))])  # no journal's
    pending = (await shared.run_state(run.run_id)).pending
    assert [trade.reference for trade in pending] == ["E1", "E2", "E5"]
