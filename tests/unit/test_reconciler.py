"""The comparison beside the scans: what it does about what it finds."""

import asyncio
from dataclasses import replace

import pytest
from test_reconcile import RUN, TODAY, Books, guarded

from hftray.actors.reconciler import Reconciler
from hftray.core.errors import BrokerUnavailable, UnknownOutcome
from hftray.core.ledger import RunState
from hftray.core.orders import BrokerPosition, OrderStatus, TradeStatus


class Both:
    """Ledger and broker of the same books; `faults` are raised by `cancel` one after the other."""

    def __init__(self, books, *faults):
        self.books, self.faults, self.cancelled = books, list(faults), []

    async def run_state(self):
        trades = tuple(self.books.trades)
        pending = tuple(t for t in trades if t.status is TradeStatus.PENDING)
        held = tuple(self.books.positions)
        return RunState(RUN, TODAY, trades_today=trades, pending=pending, positions=held)

    async def reports(self):
        return list(self.books.reports.values())

    async def positions(self):
        return [BrokerPosition(name, n) for name, n in self.books.net.items() if n]

    async def cancel(self, reference):
        self.cancelled.append(reference)
        if self.faults:
            raise self.faults.pop(0)
        report = replace(self.books.reports[reference], status=OrderStatus.CANCELLED)
        self.books.reports[reference] = report
        return report


async def compared(reconciler):
    reconciler._due = 0.0
    assert reconciler.begin()
    assert await reconciler.finish((), patience=1.0)
    if reconciler._withdrawing is not None:
        await asyncio.wait([reconciler._withdrawing])


def strays():
    """Books of two symbols' guards that have ended in the ledger and work at the broker."""
    books = Books()
    for _ in range(2):
        row = guarded(books)
        books.trades[-1] = replace(row, status=TradeStatus.FAILED)
        books.told(row, OrderStatus.WORKING, 0)
    books.positions.clear()
    return books


async def test_what_should_not_live_any_more_is_withdrawn():
    both = Both(strays())
    reconciler = Reconciler(both, both, interval=60.0)
    await compared(reconciler)
    assert len(both.cancelled) == 2
    assert set(reconciler.locks) == {"TCS"}
    await compared(reconciler)
    assert len(both.cancelled) == 2
    assert not any(difference.stray for difference in reconciler.differences)


@pytest.mark.parametrize("error", [BrokerUnavailable, UnknownOutcome])
async def test_a_withdrawal_that_fails_holds_up_no_other_and_is_tried_again_soon(error):
    both = Both(strays(), error("no"))
    reconciler = Reconciler(both, both, interval=60.0, clock=lambda: 100.0)
    await compared(reconciler)
    assert len(both.cancelled) == 2
    assert reconciler._due == 101.0
    await compared(reconciler)
    assert both.cancelled[2:] == both.cancelled[:1]


async def test_a_guard_that_is_not_listed_is_asked_for():
    books = Books()
    guarded(books)
    both = Both(books)
    reconciler = Reconciler(both, both, interval=60.0)
    await compared(reconciler)
    assert (reconciler.unseen, reconciler.repairable) == ({"TCS"}, set())


def gone():
    """A long of 10 shares with a guard at the broker, which holds none of it."""
    books = Books()
    books.told(guarded(books), OrderStatus.WORKING, 0)
    books.net["TCS"] = 0
    return books


async def test_a_position_that_is_gone_under_its_guard_is_believed_the_second_time():
    both = Both(gone())
    reconciler = Reconciler(both, both, interval=60.0, clock=lambda: 100.0)
    await compared(reconciler)
    assert (reconciler.locks, reconciler.holding, reconciler._due) == ({}, {}, 105.0)
    await compared(reconciler)
    assert set(reconciler.locks) == {"TCS"}
    assert "holds +0 shares" in reconciler.holding["TCS"]
    assert reconciler._due == 105.0
    both.books.net["TCS"] = 10
    await compared(reconciler)
    assert (reconciler.locks, reconciler.holding) == ({}, {"TCS": ""})
    assert reconciler._due == 160.0


async def test_a_guard_that_filled_between_two_readings_is_no_difference():
    both = Both(gone())
    reconciler = Reconciler(both, both, interval=60.0)
    await compared(reconciler)
    both.books.net["TCS"] = 10
    await compared(reconciler)
    both.books.net["TCS"] = 0
    await compared(reconciler)  # not twice in a row
    assert reconciler.locks == {}


async def test_a_hurry_during_a_comparison_is_followed_by_another():
    both = Both(Books())
    reconciler = Reconciler(both, both, interval=60.0, clock=lambda: 100.0)
    assert reconciler.begin()
    reconciler.hurry()
    assert await reconciler.finish((), patience=1.0)
    assert reconciler._due == 101.0
    await compared(reconciler)
    assert reconciler._due == 160.0
