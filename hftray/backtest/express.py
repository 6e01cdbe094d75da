"""Whole round trips at once, for a symbol that is alone on its account.

A usual trade is decided, filled at the next open and left when a level is touched or the day ends.
Here its pieces follow one another without events and orders in between, by the same functions of
`core` that the engine, the exchange and the risk book go by. Nothing is changed before the trip is
known to its end; of anything unusual (no grant, no fill, the daily loss near, a day that ends under
a working order) nothing is taken, and it is played step by step.
"""

from datetime import date, datetime
from decimal import Decimal

from hftray.backtest.lane import Lane
from hftray.backtest.outcome import RoundTrip
from hftray.backtest.records import Records, Way
from hftray.backtest.timeline import Hours
from hftray.core.events import Vote
from hftray.core.exits import ExitReason, entry_levels, exit_at_price, exit_within
from hftray.core.market import Instrument
from hftray.core.matching import level_price, limited_price, taker_price
from hftray.core.money import ZERO
from hftray.core.orders import Leg, Side
from hftray.core.position import Position
from hftray.core.risk import RiskBook
from hftray.core.rules import TradingRules


class Express:
    """Takes the round trips of one lane."""

    def __init__(self, lane: Lane, rules: TradingRules, book: RiskBook, slippage_bps: float):
        self._lane, self._track = lane, lane.track
        self._rules = rules
        self._book = book
        self._slippage = slippage_bps
        self._share: Instrument = lane.history.instrument
        self._records = Records(lane.track, book.run)

    def take(self, room: Decimal, now: datetime) -> RoundTrip | None:
        """The trip that begins with the decision due now, if it is a usual one.

        The lane then stands behind it, and the book has it. `room` is the most the position may be
        down without a look at the daily loss, in rupees.
        """
        lane, track, hours, row = self._lane, self._track, self._lane.hours, self._lane.due_row
        if hours is None or row + 1 >= hours.rows.stop or (vote := lane.entry_due(now)) is None:
            return None
        atr = lane.engine.atr()
        side, price = Side(vote.decision.value), track.close(row)
        terms = self._book.terms(self._share.symbol, side, price, atr)
        if terms is None:
            return None
        filled = limited_price(
            track.open(row + 1), side, terms.limit, self._share, slippage_bps=self._slippage
        )
        if filled is None:
            return None
        position = self._entered(vote, row, terms.quantity, filled, atr, hours)
        paid = self._charges(side, position.quantity, filled, hours.session.day)
        if room - position.risk - paid <= 0:
            return None
        way = self._way_out(position, row + 1, hours)
        if way is None:
            return None
        leaving = side.opposite
        trip = self._records.trip(
            way,
            paid=paid,
            charges=self._charges(leaving, position.quantity, way.price, hours.session.day),
            sequence=self._book.next_sequence(self._share.symbol, Leg.EXIT),
        )
        self._book.pass_trips(self._share.symbol, 1, trip.exit.pnl or ZERO)
        lane.stand_behind(way.row)
        return trip

    def _entered(
        self, vote: Vote, row: int, quantity: int, price: Decimal, atr: float | None, hours: Hours
    ) -> Position:
        side, share = Side(vote.decision.value), self._share
        return self._records.position(
            vote,
            row,
            hours.session.day,
            quantity=quantity,
            price=price,
            levels=entry_levels(side, price, atr, self._rules.exits, share.tick_size),
            atr=atr,
            sequence=self._book.next_sequence(share.symbol, Leg.ENTRY),
            best=float(price),
        )

    def _way_out(self, position: Position, row: int, hours: Hours) -> Way | None:
        """From the candle of the fill on; None where the day ends before it is sold."""
        track, rules, share = self._track, self._rules.exits, self._share
        tick = share.tick_size
        before, leaving = track.open(row), position.side.opposite
        while row < hours.rows.stop:
            low, high = track.range(row)
            touched = exit_within(position, low, high, rules, tick)
            position = position.improved_within(low, high)
            if touched is not None:
                reason, level = touched
                reached = level_price(level, track.candle(row), before)
                price = taker_price(reached, leaving, share, slippage_bps=self._slippage)
                return Way(position, reason, row, row, price, level)
            before = track.close(row)
            at_close = exit_at_price(position, before, rules, tick)
            if at_close is None and row >= hours.square_off_row:
                at_close = ExitReason.SQUARE_OFF
            if at_close is not None:
                if row + 1 >= hours.rows.stop:
                    return None
                begins = track.open(row + 1)
                price = taker_price(begins, leaving, share, slippage_bps=self._slippage)
                return Way(position, at_close, row, row + 1, price, None)
            begin = row + 1
            row, best = track.touch_from(position, begin, max(begin, hours.square_off_row))
            position = position.improved_by(best)
            before = track.close(row - 1)
        return None

    def _charges(self, side: Side, quantity: int, price: Decimal, day: date) -> Decimal:
        exchange = self._share.exchange
        return self._book.charges.charges(
            side, quantity=quantity, price=price, day=day, exchange=exchange
        ).total
