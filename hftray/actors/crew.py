"""The symbols a scan is told to: who gets which news, who is still busy, what came of it.

A symbol that is still busy with an order when the next scan comes is not waited for beyond
`timeout`: it gets the newest tick when it is free, older ones are conflated and counted.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from hftray.actors.messages import Step, StepReport
from hftray.core.errors import RejectError, RetryError, UnknownOutcome
from hftray.core.market import Candle
from hftray.core.orders import OrderReport
from hftray.core.position import Phase
from hftray.observe import logger
from hftray.ports import Feed, MarketBatch

log = logger("engine")


class SymbolPort(Protocol):
    """A symbol actor or a plain shell."""

    async def step(self, step: Step) -> StepReport:
        """One scan's news."""
        ...


class Crew:
    """The symbols by name, and what is known of them from one scan to the next.

    `history` is how many candles one without any is given. Real seconds for `timeout`.
    """

    def __init__(
        self, symbols: Mapping[str, SymbolPort], feed: Feed, *, history: int, timeout: float
    ) -> None:
        self.reports: dict[str, StepReport] = {}
        self.conflated = 0
        self.roster: tuple[int, list[dict[str, Any]]] = (-1, [])
        self.recover: set[str] = set()  # symbols to read the ledger again
        self.look_up: set[str] = set()  # symbols to ask the broker about their order
        self.holding: dict[str, str] = {}  # symbol -> whether the broker holds its position (Step)
        self.acted: set[str] = set()  # symbols that had to do with an order since it was cleared
        self.untold: dict[str, Candle] = {}  # a live market's, that their symbols do not have yet
        self._symbols = symbols
        self._feed = feed
        self._history = history
        self._timeout = timeout
        self._busy: dict[str, asyncio.Task[StepReport]] = {}
        self._owed: dict[str, list[OrderReport]] = {}

    @property
    def busy(self) -> set[str]:
        """Symbols that have not finished the newest step they were given, or wait for news."""
        return {name for name, task in self._busy.items() if not task.done()} | set(self._owed)

    @property
    def absent(self) -> dict[str, str]:
        """Symbols whose position the broker refused to close because it does not hold it."""
        return {name: report.absent for name, report in self.reports.items() if report.absent}

    def begin_anew(self) -> None:
        """Market time may be another, and so may the ledger."""
        self.recover = set(self._symbols)
        self.untold = {}

    def missed(self, symbols: frozenset[str]) -> None:
        """Candles of these symbols went by: they begin with history again."""
        self.recover |= symbols & self._symbols.keys()

    def owe(self, reports: Sequence[OrderReport]) -> None:
        """Keep the exchange's news until their symbols can take them."""
        for report in reports:
            self._owed.setdefault(report.symbol, []).append(report)

    def look_up_orders(self) -> None:
        """Orders under way are to be asked about: news of them may just have been lost."""
        waiting = (Phase.ENTERING, Phase.EXITING)
        self.look_up |= {
            name for name, report in self.reports.items() if report.phase in waiting or report.guard
        }

    async def take(
        self, batch: MarketBatch, flatten: str | None
    ) -> tuple[list[StepReport], dict[str, str]]:
        """Give each symbol the batch's news; the reports that came, and what went wrong where.

        `flatten`: why everything is to be closed.
        """
        # A closed candle is a decision that must not be skipped, so it is always waited for.
        patience = None if batch.waits else self._timeout
        awaited = [task for name, task in self._busy.items() if name in batch.candles]
        if awaited:
            await asyncio.wait(awaited, timeout=patience)
        busy = {name for name, task in self._busy.items() if not task.done()}
        self.conflated += len(busy & batch.ticks.keys())
        begun = {
            name: asyncio.create_task(self._step(name, self._news(name, batch, flatten)))
            for name in self._symbols
            if name not in busy and self._concerned(name, batch)
        }
        self.untold = {name: one for name, one in self.untold.items() if name not in begun}
        self.recover -= begun.keys()
        self.look_up -= begun.keys()
        self.holding = {name: why for name, why in self.holding.items() if name not in begun}
        if begun:
            await asyncio.wait(begun.values(), timeout=patience)
            begun |= await self._enter(begun, batch.now, patience)
        steps = [*self._busy.items(), *begun.items()]
        self._busy = {name: task for name, task in steps if not task.done()}
        fresh, trouble = [], dict.fromkeys(self._busy, "busy")
        for name, task in steps:
            if not task.done():
                continue
            try:
                report = task.result()
            except (RetryError, RejectError, UnknownOutcome) as error:
                trouble[name] = str(error)
                self.recover.add(name)  # what it made of the step is unknown here
                continue
            fresh.append(report)
            if why := self._troubles(report):
                trouble[name] = why
            before, self.reports[name] = self.reports.get(name), report
            if report.traded or before is None or _orders_of(before) != _orders_of(report):
                self.acted.add(name)
        return fresh, trouble

    async def _enter(
        self, steps: Mapping[str, asyncio.Task[StepReport]], now: datetime, patience: float | None
    ) -> dict[str, asyncio.Task[StepReport]]:
        """Let entries go ahead once all exits have: to risk one by one, in the symbols' order.

        So what risk has left for whom does not depend on which process was quicker. The broker is
        asked by all at once.
        """
        begun: dict[str, asyncio.Task[StepReport]] = {}
        before = asyncio.Event()
        before.set()
        for name, task in steps.items():
            if not task.done() or task.exception() or not task.result().wants_turn:
                continue
            after = asyncio.Event()
            begun[name] = asyncio.create_task(self._turns(name, now, before, after, patience))
            before = after
        if begun:
            await asyncio.wait(begun.values(), timeout=patience)
        return begun

    async def _turns(
        self,
        name: str,
        now: datetime,
        before: asyncio.Event,
        after: asyncio.Event,
        patience: float | None,
    ) -> StepReport:
        symbol, turn = self._symbols[name], Step(now, proceed=True)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(before.wait(), patience)
            report = await symbol.step(turn)
        finally:
            after.set()
        return await symbol.step(turn) if report.wants_turn else report

    def _concerned(self, name: str, batch: MarketBatch) -> bool:
        """Whether a step could change anything: not for a flat symbol without a candle of its own
        among the candles of others, which in a long replay spares most of the calls.
        """
        wanted = batch.candles.keys() | self._owed.keys() | self.recover | self.look_up
        if not batch.waits or name in wanted:
            return True
        known = self.reports.get(name)
        return known is not None and (known.position is not None or known.phase != Phase.FLAT)

    def _troubles(self, report: StepReport) -> str:
        """What was not as it should be with this step; news about the data goes to the log."""
        known = self.reports.get(report.symbol)
        before = known.rejected if known else {}
        new = {why: n for why, n in report.rejected.items() if n > before.get(why, 0)}
        if new:
            log.warning("data rejected", symbol=report.symbol, counts=new)
        if bool(report.feed_fault) != bool(known and known.feed_fault):
            log.warning("feed", symbol=report.symbol, fault=report.feed_fault or "over")
        rejected = f"data rejected: {'; '.join(new)}" if new else ""
        return report.trouble or report.feed_fault or rejected

    async def _step(self, name: str, step: Step) -> StepReport:
        symbol = self._symbols[name]
        report = await symbol.step(step)
        if not report.unready:
            return report
        full = replace(step, roster=self.roster)
        try:
            forming = None if step.candle else await self._feed.forming(name, step.now)
            newest = step.candle or forming
            until = newest.time if newest else step.now
            history = await self._feed.history(name, self._history, until)
        except (RetryError, RejectError, UnknownOutcome) as error:
            # Nobody votes without it, but a position has to get out all the same.
            log.warning("no history", symbol=name, reason=str(error))
            return await symbol.step(replace(full, blind=f"no history: {error}"))
        return await symbol.step(replace(full, history=history, forming=forming))

    def _news(self, name: str, batch: MarketBatch, flatten: str | None) -> Step:
        known = self.reports.get(name)
        stale = known is not None and known.roster_version != self.roster[0]
        return Step(
            now=batch.now,
            session=batch.sessions.get(name),
            reports=tuple(self._owed.pop(name, ())),
            tick=batch.ticks.get(name),
            candle=batch.candles.get(name),
            awaiting=name in batch.awaiting,
            roster=self.roster if stale else None,
            flatten=flatten,
            recover=name in self.recover,
            look_up=name in self.look_up,
            holding=self.holding.get(name),
        )


def _orders_of(report: StepReport) -> tuple[str, str]:
    """What differs when an order came or went since another report."""
    return report.phase, "" if report.guard is None else report.guard.reference
