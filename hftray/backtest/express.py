"""Whole round trips at once, for a symbol that is alone on its account.

A usual trade is decided, filled at the next open and left when a level is touched or the day ends.
Here its pieces follow one another without events and orders in between, by the same functions of
`core` that the engine, the exchange and the risk book go by. Nothing is changed before the trip is
known to its end; of anything unusual (no grant, no fill, the daily loss near, a day that ends under
a working order) nothing is taken, and it is played step by step.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

from hftray.backtest.lane import Lane
from hftray.backtest.outcome import RoundTrip
from hftray.backtest.timeline import Hours, when
from hftray.core.events import Vote
from hftray.core.exits import ExitReason, entry_levels, exit_at_price, exit_within
from hftray.core.ledger import TradeRecord
from hftray.core.market import Instrument
from hftray.core.matching import level_price, limited_price, taker_price
from hftray.core.money import paisa, rupees
from hftray.core.orders import Leg, Side, TradeStatus, order_reference
from hftray.core.position import Position
from hftray.core.risk import RiskBook
from hftray.core.risk_records import gross_result
from hftray.core.rules import TradingRules


class _Way(NamedTuple):
    """How a position is left: decided on the candle at `row`, filled as `next` begins or in it."""

    position: Position
    reason: ExitReason
    row: int
    filled: int  # the row whose candle brought the fill
    price: Decimal
    trigger: Decimal | None


class Express:
    """Takes the round trips of one lane."""

    def __init__(self, lane: Lane, rules: TradingRules, book: RiskBook, slippage_bps: float):
        self._lane, self._track = lane, lane.track
        self._rules = rules
        self._book = book
        self._slippage = slippage_bps
        self._share: Instrument = lane.history.instrument

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
        trip = RoundTrip(way.position, self._left(way, paid), paid)
        self._book.pass_through(trip.exit)
        lane.stand_behind(way.row)
        return trip

    def _entered(
        self, vote: Vote, row: int, quantity: int, price: Decimal, atr: float | None, hours: Hours
    ) -> Position:
        day, share, run = hours.session.day, self._share, self._book.run
        side = Side(vote.decision.value)
        sequence = self._book.next_sequence(share.symbol, Leg.ENTRY)
        stop, target = entry_levels(side, price, atr, self._rules.exits, share.tick_size)
        return Position(
            reference=order_reference(run.run_id, day, share.symbol, Leg.ENTRY, sequence),
            symbol=share.symbol,
            side=side,
            quantity=quantity,
            entry_price=price,
            entry_time=when(self._track.close_of(row + 1)),
            session_day=day,
            stop_loss=stop,
            take_profit=target,
            best_price=float(price),
            atr=atr,
            strategy_id=vote.strategy_id,
            score=vote.score,
            votes=vote.votes,
        )

    def _way_out(self, position: Position, row: int, hours: Hours) -> _Way | None:
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
                return _Way(position, reason, row, row, price, level)
            before = track.close(row)
            at_close = exit_at_price(position, before, rules, tick)
            if at_close is None and row >= hours.square_off_row:
                at_close = ExitReason.SQUARE_OFF
            if at_close is not None:
                if row + 1 >= hours.rows.stop:
                    return None
                begins = track.open(row + 1)
                price = taker_price(begins, leaving, share, slippage_bps=self._slippage)
                return _Way(position, at_close, row, row + 1, price, None)
            begin = row + 1
            row, best = track.touch_from(position, begin, max(begin, hours.square_off_row))
            position = position.improved_by(best)
            before = track.close(row - 1)
        return None

    def _left(self, way: _Way, paid: Decimal) -> TradeRecord:
        """The exit's row."""
        track, run, share, position = self._track, self._book.run, self._share, way.position
        day, side, quantity = position.session_day, position.side.opposite, position.quantity
        sequence = self._book.next_sequence(share.symbol, Leg.EXIT)
        charges = self._charges(side, quantity, way.price, day)
        entered = paisa(position.entry_price * quantity)
        gross = gross_result(way.price * quantity, entered, position.side)
        return TradeRecord(
            reference=order_reference(run.run_id, day, share.symbol, Leg.EXIT, sequence),
            run_id=run.run_id,
            user_id=run.user_id,
            symbol=share.symbol,
            exchange=share.exchange,
            side=side,
            leg=Leg.EXIT,
            requested_quantity=quantity,
            reason=way.reason.value,
            timestamp=when(track.close_of(way.filled)),
            session_day=day,
            quantity=quantity,
            price=way.price,
            status=TradeStatus.EXECUTED,
            trigger=way.trigger,
            decision_price=rupees(track.close(way.row)),
            candle_time=datetime.fromtimestamp(track.opened(way.row), UTC),
            strategy_id=position.strategy_id,
            position=position.reference,
            charges=charges,
            gross_pnl=gross,
            pnl=gross - charges - paid,
            sequence=sequence,
        )

    def _charges(self, side: Side, quantity: int, price: Decimal, day: date) -> Decimal:
        exchange = self._share.exchange
        return self._book.charges.charges(
            side, quantity=quantity, price=price, day=day, exchange=exchange
        ).total
