"""A day of troubles in live mode at a Groww on loopback: what docs/live-trading.md promises.

One account, one day, three starts. Every share has a trouble of its own (`troubled_day`), so that
they can follow one another in one system: a lost answer, a token that ends, ten minutes without
network, a restart with a foreign position, a locked circuit with everything killed under it, a live
feed that goes mute and then no news at all, and a kill to end it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import troubled_day
from live_world import PATIENCE, GrowwDay, moments, play, settle
from running_system import RunningSystem
from troubled_day import DAY, STORIES, opens

from hftray.testing.groww.limits import Category

QUARTER = timedelta(seconds=75)
JUST_AFTER = timedelta(seconds=2)
SYSTEM = {"HFTRAY_RISK__MAX_SYMBOL_EXPOSURE_PERCENT": "10"}
HELD_OVERNIGHT = 50


@dataclass
class Seen:
    """What was seen while the day was played, by the name of the moment."""

    told: dict[str, list[str]] = field(default_factory=dict)
    locks: dict[str, dict[str, str]] = field(default_factory=dict)
    guards: dict[str, dict[str, str]] = field(default_factory=dict)
    logins: dict[str, int] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=dict)
    trades: list[dict[str, Any]] = field(default_factory=list)
    signals: list[dict[str, Any]] = field(default_factory=list)
    book: list[dict[str, Any]] = field(default_factory=list)
    left_running: list[str] = field(default_factory=list)


class Day:
    """The day as it is played: each method is one trouble, in this order.

    What the status has to say in between is waited for, so that a busy machine makes no difference.
    """

    def __init__(self, system: RunningSystem, world: GrowwDay) -> None:
        self.system, self.world, self.groww = system, world, world.groww
        self.clock = world.clock
        self.seen = Seen()

    def begin(self) -> None:
        """Only the Bollinger bands vote, and five shares are entered on the second candle."""
        self.system.start()
        for row in self.system.get("/api/strategies"):
            if row["kind"] != "bollinger":
                path = f"/api/strategies/{row['id']}"
                answer = self.system.client.patch(path, json={"is_active": False})
                assert answer.status_code == 200, answer.text
        play(self.system, self.clock, moments(opens(0), opens(2)))
        self.until_guarded("TOKEN", "AWAY", "OURS", "MUTE", "LOCK")

    def lose_an_answer(self) -> None:
        """The entry's answer is lost and no look-up knows it at first; its guard's is a GA007."""
        faults = self.groww.faults
        faults.add("drop_reply", path="/order/create")
        faults.add("lookup_delay", path="/order/status/reference/*")
        faults.add("error", path="/order/create", nth=2, code="GA007", taken=True)
        self.to(opens(2) + QUARTER, opens(3), opens(3) + JUST_AFTER)
        self.until_guarded("REPLY")
        self.seen.calls["struck"] = sorted(faults.struck)
        faults.clear()

    def end_the_token(self) -> None:
        """Just before a take-profit is touched."""
        self.to(opens(3) + QUARTER, opens(4), opens(4) + JUST_AFTER, opens(4) + QUARTER)
        self.seen.logins["before"] = self.groww.sessions.minted
        self.groww.sessions.expire()
        self.to(opens(4) + 2 * QUARTER)
        self.until_flat("TOKEN")
        self.until_well()
        self.seen.logins["after"] = self.groww.sessions.minted

    def cut_the_network(self) -> None:
        """For ten minutes, in which a stop is due."""
        away, back = opens(5) + QUARTER, opens(7) + QUARTER
        self.to(opens(4) + 3 * QUARTER, opens(5), opens(5) + JUST_AFTER, away)
        fault = self.groww.faults.add("network_away")
        self.until_told("feed: no quotes")
        while self.clock.now() < back:
            self.clock.to(self.clock.now() + QUARTER)
        self.groww.faults.clear(fault)
        settle(self.system, back)
        self.until_flat("AWAY")
        self.until_well()

    def restart(self) -> None:
        """Ctrl-C; meanwhile there is a position that the ledger knows nothing of."""
        self.to(opens(7) + 2 * QUARTER, opens(8), opens(8) + JUST_AFTER)
        self.seen.guards["before"] = self.guards()
        self.seen.left_running = self.system.stop()
        self.groww.account.set_foreign_position("FOREIGN", HELD_OVERNIGHT, 1000)
        self.clock.to(opens(8) + 2 * QUARTER)
        self.system.extra |= {
            "HFTRAY_GROWW__STREAM": "auto",
            "HFTRAY_GROWW__STREAM_URL": self.world.feed.url,
        }
        self.start_again("restart", "OURS", "MUTE", "LOCK", "REPLY")

    def lock_the_circuit(self) -> None:
        """The short's share leaps to the upper circuit; everything is killed under its exit."""
        self.to(opens(8) + 3 * QUARTER, opens(9), opens(9) + JUST_AFTER)
        self.until(self.exit_of_lock, "an exit at the circuit")
        for candle in (opens(9), opens(10)):
            self.to(*(candle + n * QUARTER for n in (1, 2, 3)), candle + 4 * QUARTER + JUST_AFTER)
            if candle == opens(9):
                self.until_told("upper circuit limit")
                self.system.kill_everything()
                self.start_again("killed", "OURS", "MUTE", "REPLY")
        # The eleventh candle opens below the circuit.
        self.until_flat("LOCK")

    def mute_the_feed(self) -> None:
        """The live feed says nothing, then a take-profit is touched."""
        self.until(lambda: self.world.feed.clients, "the live feed to be listened to")
        self.world.feed.faults.mute = True
        before = len(self.groww.world.journal)
        self.to(opens(11) + QUARTER, opens(11) + 2 * QUARTER)
        self.until_flat("MUTE")
        polled = self.groww.world.journal[before:]
        self.seen.calls["polled"] = [entry.path for entry in polled]

    def bring_no_news(self) -> None:
        """The feed is mute, prices stand still, and candles are not served either."""
        self.to(opens(11) + 3 * QUARTER, opens(12))
        self.groww.faults.add("http_status", path="/historical/*", times=None, status=500)
        self.to(opens(12) + QUARTER, opens(12) + 2 * QUARTER, opens(12) + 3 * QUARTER)
        late = opens(13) + PATIENCE + JUST_AFTER
        self.to(opens(13), late, late + JUST_AFTER)
        self.until(lambda: self.signal("STALE", 12), "the vote on the last candle")
        self.until_told("OURS: feed stale")

    def kill(self) -> None:
        """What is left goes, stale or not."""
        self.system.post("/api/engine/kill", {"reason": "the end of a bad day"})
        self.until(lambda: not self.held(), "everything to be flat")
        self.groww.faults.clear()
        self.seen.trades = self.system.get("/api/trades", limit=500)
        self.seen.signals = self.system.get("/api/signals", limit=500)
        self.seen.book = self.groww.world.book_rows()

    # The tools of the troubles

    def start_again(self, name: str, *guarded: str) -> None:
        self.system.start()
        settle(self.system, self.clock.now())
        self.until(lambda: self.get("/api/risk")["locks"], "the broker's book to be compared")
        self.until_guarded(*guarded)  # a symbol on a busy machine may still look its guard up
        self.seen.guards[name] = self.guards()
        self.seen.told[name] = self.status()["degraded"]
        self.seen.locks[name] = self.get("/api/risk")["locks"]

    def get(self, path: str, **parameters: Any) -> Any:
        return self.system.get(path, **parameters)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/api/engine/status")
        return found

    def to(self, *when: datetime) -> None:
        play(self.system, self.clock, when)

    def until(self, reached: Any, what: str) -> None:
        self.system.wait_for(reached, 120.0, what, every=0.05)

    def until_told(self, what: str) -> None:
        """Wait until the status says it."""
        told = "\n".join
        self.until(lambda: what in told(self.status()["degraded"]), f"the status to say {what!r}")

    def until_well(self) -> None:
        self.until(lambda: not self.status()["degraded"], "the status to have nothing to say")

    def held(self) -> set[str]:
        return {row["symbol"] for row in self.get("/api/positions")}

    def guards(self) -> dict[str, str]:
        """Where the guard of each open position stands."""
        rows = self.get("/api/positions")
        return {row["symbol"]: row["guard_level"] for row in rows if row.get("guard_level")}

    def until_guarded(self, *symbols: str) -> None:
        self.until(lambda: set(symbols) <= self.guards().keys(), f"guards of {symbols}")

    def until_flat(self, symbol: str) -> None:
        self.until(lambda: symbol not in self.held(), f"{symbol} to be flat")

    def exit_of_lock(self) -> bool:
        newest = self.groww.world.book_rows()[-1]
        return newest["trading_symbol"] == "LOCK" and newest["order_type"] == "LIMIT"

    def signal(self, symbol: str, number: int) -> list[dict[str, Any]]:
        return final_signals(self.get("/api/signals", limit=500), symbol, number)


def final_signals(rows: list[dict[str, Any]], symbol: str, number: int) -> list[dict[str, Any]]:
    """The decisions on a share's candle."""
    return [
        row
        for row in rows
        if row["symbol"] == symbol
        and row["final"]
        and datetime.fromisoformat(row["candle_time"]) == opens(number)
    ]


@pytest.fixture(scope="module")
def day(system_directory: Path) -> Iterator[Day]:
    world = GrowwDay(troubled_day.candles(), DAY)
    world.groww.market.relist("LOCK", band_percent=Decimal(5))
    arguments = ("--mode", "live", "--symbols", ",".join(STORIES))
    with world.feed, world.groww:
        system = RunningSystem(system_directory, *arguments, **world.environment(), **SYSTEM)
        played = Day(system, world)
        try:
            played.begin()
            played.lose_an_answer()
            played.end_the_token()
            played.cut_the_network()
            played.restart()
            played.lock_the_circuit()
            played.mute_the_feed()
            played.bring_no_news()
            played.kill()
            yield played
        finally:
            system.discard()


def orders(day: Day, symbol: str) -> list[dict[str, Any]]:
    """The orders of a share at the exchange, oldest first."""
    return [row for row in day.seen.book if row["trading_symbol"] == symbol]


def kinds(day: Day, symbol: str) -> list[tuple[str, str, str]]:
    """Side, type and end of a share's orders at the exchange, oldest first."""
    return [
        (row["transaction_type"], row["order_type"], row["order_status"])
        for row in orders(day, symbol)
    ]


def exits(day: Day, symbol: str) -> list[tuple[str, str]]:
    """Reason and status of a share's exits in the ledger, oldest first, without withdrawn ones."""
    rows = [t for t in day.seen.trades[::-1] if t["symbol"] == symbol and t["leg"] == "EXIT"]
    return [(t["reason"], t["status"]) for t in rows if t["status"] != "FAILED"]


BOUGHT = ("BUY", "LIMIT", "EXECUTED")
GUARD_WITHDRAWN = ("SELL", "SL", "CANCELLED")
SOLD = ("SELL", "LIMIT", "EXECUTED")


def test_a_lost_answer_and_a_GA007_make_one_order_each(day: Day) -> None:
    assert {"drop_reply", "lookup_delay", "error"} <= set(day.seen.calls["struck"])
    assert kinds(day, "REPLY") == [BOUGHT, GUARD_WITHDRAWN, SOLD]
    entries = [t for t in day.seen.trades if (t["symbol"], t["leg"]) == ("REPLY", "ENTRY")]
    assert [t["status"] for t in entries] == ["EXECUTED"]


def test_a_token_that_ends_costs_one_login_and_no_order(day: Day) -> None:
    assert day.seen.logins["after"] == day.seen.logins["before"] + 1
    assert kinds(day, "TOKEN") == [BOUGHT, GUARD_WITHDRAWN, SOLD]
    assert exits(day, "TOKEN") == [("take_profit", "EXECUTED")]


def test_without_network_the_guard_closes_at_its_level_and_nothing_else_does(day: Day) -> None:
    assert kinds(day, "AWAY") == [BOUGHT, ("SELL", "SL", "EXECUTED")]
    guard = orders(day, "AWAY")[-1]
    [fill] = guard["trades"]
    level = Decimal(str(guard["trigger_price"]))
    assert level * Decimal("0.999") < Decimal(str(fill["price"])) <= level
    assert exits(day, "AWAY") == [("guard", "EXECUTED")]
    [told] = [t for t in day.seen.trades if t["reference"] == guard["order_reference_id"]]
    assert Decimal(told["price"]) == Decimal(str(fill["price"]))
    assert opens(5) < datetime.fromisoformat(told["timestamp"]) < opens(6)


def test_a_restart_takes_over_what_is_ours_and_locks_what_is_not(day: Day) -> None:
    assert day.seen.left_running == []
    assert {"OURS", "MUTE", "LOCK", "REPLY"} == day.seen.guards["before"].keys()
    assert day.seen.guards["restart"] == day.seen.guards["before"]
    assert any(why.startswith("FOREIGN: foreign position") for why in day.seen.told["restart"])
    assert day.seen.locks["restart"].keys() == {"FOREIGN"}
    [vote] = final_signals(day.seen.signals, "FOREIGN", 9)
    assert vote["signal"] == "BUY"
    assert "denied" in vote["action"]
    assert orders(day, "FOREIGN") == []
    left = {held.symbol: held.net for held in day.groww.account.positions() if held.net}
    assert left == {"FOREIGN": HELD_OVERNIGHT}


def test_an_exit_at_a_locked_circuit_rests_there_and_is_sent_once(day: Day) -> None:
    assert kinds(day, "LOCK") == [
        ("SELL", "LIMIT", "EXECUTED"),
        ("BUY", "SL", "CANCELLED"),
        BOUGHT,
    ]
    cover = orders(day, "LOCK")[-1]
    circuit = Decimal("1050.5")
    assert Decimal(str(cover["price"])) == circuit
    [fill] = cover["trades"]
    assert Decimal(str(fill["price"])) < circuit
    assert exits(day, "LOCK") == [("stop_loss", "EXECUTED")]


def test_after_a_kill_of_everything_a_resting_exit_is_found_and_keeps_its_place(day: Day) -> None:
    cover = orders(day, "LOCK")[-1]
    [told] = [t for t in day.seen.trades if t["reference"] == cover["order_reference_id"]]
    assert told["status"] == "EXECUTED"
    assert datetime.fromisoformat(told["timestamp"]) >= opens(11)
    assert day.seen.guards["killed"].keys() == {"OURS", "MUTE", "REPLY"}


def test_a_mute_feed_is_replaced_by_polling(day: Day) -> None:
    assert any("/live-data/" in path for path in day.seen.calls["polled"])
    assert exits(day, "MUTE") == [("take_profit", "EXECUTED")]
    assert kinds(day, "MUTE") == [BOUGHT, GUARD_WITHDRAWN, SOLD]


def test_without_any_news_nothing_is_opened_and_exits_go_on(day: Day) -> None:
    [vote] = final_signals(day.seen.signals, "STALE", 12)
    assert vote["signal"] == "BUY"
    assert "feed stale" in vote["action"]
    assert orders(day, "STALE") == []
    assert exits(day, "OURS") == [("kill_switch", "EXECUTED")]


def test_the_ledger_is_the_brokers_book_and_no_limit_was_passed(day: Day) -> None:
    book = {row["order_reference_id"]: row for row in day.seen.book}
    ledger = {trade["reference"]: trade for trade in day.seen.trades}
    assert book.keys() == ledger.keys()
    for reference, row in book.items():
        filled = sum(trade["quantity"] for trade in row["trades"])
        assert ledger[reference]["quantity"] == filled, reference
        assert (ledger[reference]["status"] == "EXECUTED") == (filled > 0), reference
    assert day.groww.limits.highest(Category.ORDERS) <= 10
