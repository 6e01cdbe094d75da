"""A day through a Groww on loopback in live mode, beside the same day replayed from files.

What is decided must be the same: every final signal with all its votes, every entry, every exit
with its candle and its reason. Where inside a candle a position is left differs, as the live system
sees prices within it, and so do prices a little; docs/live-trading.md says how.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from live_world import BUSY, DAY, SYMBOLS, GrowwDay, generated, moments, play, write_files
from running_system import RunningSystem

from hftray.core.session import IST
from hftray.testing.groww.limits import Category

SEED = 11
CANDLES_A_DAY = 72
CLOSES = datetime.combine(DAY, time(15, 15), IST)
AT_STOPS = {"stop_loss", "trailing_stop", "guard"}
"""Live, the order at the broker carries out what the replay's stops do."""


@dataclass(frozen=True, slots=True)
class Played:
    """What a system did in a day."""

    signals: list[dict[str, Any]]
    trades: list[dict[str, Any]]


@pytest.fixture(scope="module")
def days(system_directory: Path) -> Iterator[tuple[Played, Played, GrowwDay]]:
    candles = generated(SYMBOLS, DAY, SEED)
    files = write_files(candles, system_directory / "candles")
    replayed = replay(system_directory / "replay", files)
    world = GrowwDay(candles, DAY)
    with world.groww:
        yield replayed, live(system_directory / "live", world), world


def replay(directory: Path, files: Path) -> Played:
    """The day as a replay plays it."""
    directory.mkdir()
    arguments = ("--mode", "replay", "--data", str(files), "--speed", "0")
    only = {"HFTRAY_REPLAY__FROM_DAY": f"{DAY}", "HFTRAY_REPLAY__TO_DAY": f"{DAY}"}
    system = RunningSystem(directory, *arguments, **BUSY, **only)
    try:
        system.start()
        over = "replay ended"
        system.wait_for(
            lambda: system.get("/api/engine/status")["note"].startswith(over), 300, "the end"
        )
        return what_was_done(system)
    finally:
        system.discard()


def live(directory: Path, world: GrowwDay) -> Played:
    """The day as it is traded at the loopback."""
    directory.mkdir()
    symbols = ("--mode", "live", "--symbols", ",".join(SYMBOLS))
    system = RunningSystem(directory, *symbols, **BUSY, **world.environment())
    try:
        system.start()
        play(system, world.clock, moments(world.opens, CLOSES))
        return what_was_done(system)
    finally:
        system.discard()


def what_was_done(system: RunningSystem) -> Played:
    """The record of a system's day, oldest first."""
    return Played(everything(system, "/api/signals"), everything(system, "/api/trades"))


def everything(system: RunningSystem, path: str) -> list[dict[str, Any]]:
    """All rows of a list, oldest first."""
    rows: list[dict[str, Any]] = []
    while page := system.get(path, limit=500, offset=len(rows)):
        rows += page
    return rows[::-1]


def test_every_final_signal_is_the_same(days: tuple[Played, Played, GrowwDay]) -> None:
    replayed, traded, _ = days

    def essence(row: dict[str, Any]) -> tuple[Any, ...]:
        votes = tuple(sorted(row["votes"].items()))
        return row["symbol"], row["candle_time"], row["signal"], row["score"], votes

    first, second = (sorted(map(essence, played.signals)) for played in (replayed, traded))
    print(f"compared {len(first)} signals")
    assert len(first) == len(SYMBOLS) * CANDLES_A_DAY
    assert first == second


def test_every_entry_and_every_exit_is_the_same(days: tuple[Played, Played, GrowwDay]) -> None:
    replayed, traded, _ = days
    first, second = decisions(replayed.trades), decisions(traded.trades)
    print(f"compared {len(first)} decisions")
    assert len(first) > 20
    assert first == second


def decisions(trades: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Symbol, leg, side, candle and why, of everything that traded."""
    found = []
    for trade in trades:
        if trade["status"] != "EXECUTED":
            continue
        why = "stop" if trade["reason"] in AT_STOPS else trade["reason"]
        found.append((trade["symbol"], candle_of(trade), trade["leg"], trade["side"], why))
    return sorted(found)


def candle_of(trade: dict[str, Any]) -> str:
    """The candle in which an order was decided, or for a stop at the broker: in which it traded."""
    if trade["reason"] != "guard":
        return str(trade["candle_time"])
    when = datetime.fromisoformat(trade["timestamp"])
    opens = datetime.combine(DAY, time(9, 15), IST)
    length = timedelta(minutes=5)
    return (opens + (when - opens) // length * length).isoformat()


def test_entries_cost_the_same_to_the_paisa(days: tuple[Played, Played, GrowwDay]) -> None:
    replayed, traded, _ = days
    prices = [
        sorted(
            (trade["symbol"], trade["candle_time"], Decimal(trade["price"]))
            for trade in played.trades
            if trade["leg"] == "ENTRY" and trade["status"] == "EXECUTED"
        )
        for played in (replayed, traded)
    ]
    assert prices[0] == prices[1]


def test_the_ledger_is_the_brokers_book_order_by_order(
    days: tuple[Played, Played, GrowwDay],
) -> None:
    _, traded, world = days
    book = {row["order_reference_id"]: row for row in world.groww.world.book_rows()}
    ledger = {trade["reference"]: trade for trade in traded.trades}
    assert book.keys() == ledger.keys()
    for reference, row in book.items():
        told = ledger[reference]
        fills = [(trade["quantity"], Decimal(str(trade["price"]))) for trade in row["trades"]]
        shares = sum(quantity for quantity, _ in fills)
        assert told["side"] == row["transaction_type"], reference
        assert told["quantity"] == shares, reference
        assert (told["status"] == "EXECUTED") == (shares > 0), reference
        if shares:
            mean = sum(quantity * price for quantity, price in fills) / shares
            assert abs(Decimal(told["price"]) - mean) < Decimal("0.005"), reference
    print(f"compared {len(book)} orders")


def test_nothing_is_left_open_and_no_order_limit_was_passed(
    days: tuple[Played, Played, GrowwDay],
) -> None:
    _, _, world = days
    assert [held for held in world.groww.account.positions() if held.net] == []
    highest = world.groww.limits.highest(Category.ORDERS)
    print(f"highest: {highest} orders in a second")
    assert highest <= 10
