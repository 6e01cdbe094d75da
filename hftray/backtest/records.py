"""The records of a round trip that was taken whole: its position, and its exit's row.

They are those that the engine, the broker and the risk book would have made of it.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

from hftray.backtest.outcome import RoundTrip
from hftray.backtest.timeline import when
from hftray.backtest.track import Track
from hftray.core.events import Vote
from hftray.core.exits import ExitReason
from hftray.core.ledger import RunInfo, TradeRecord
from hftray.core.money import paisa, rupees
from hftray.core.orders import Leg, Side, TradeStatus, order_reference
from hftray.core.position import Position
from hftray.core.risk_records import gross_result


class Way(NamedTuple):
    """How a position is left: decided on the candle at `row`, filled as `next` begins or in it."""

    position: Position
    reason: ExitReason
    row: int
    filled: int  # the row whose candle brought the fill
    price: Decimal
    trigger: Decimal | None


class Records:
    """Makes records of one symbol's trips. Rows are places among the played candles."""

    def __init__(self, track: Track, run: RunInfo) -> None:
        self._track, self._run, self._share = track, run, track.history.instrument

    def position(
        self, vote: Vote, row: int, day: date, *, quantity: int, price: Decimal,
        levels: tuple[Decimal, Decimal], atr: float | None, sequence: int, best: float,
    ) -> Position:  # fmt: skip
        """The position of an entry that was decided at `row` and filled by the next candle."""
        symbol = self._share.symbol
        stop, target = levels
        return Position(
            reference=order_reference(self._run.run_id, day, symbol, Leg.ENTRY, sequence),
            symbol=symbol,
            side=Side(vote.decision.value),
            quantity=quantity,
            entry_price=price,
            entry_time=when(self._track.close_of(row + 1)),
            session_day=day,
            stop_loss=stop,
            take_profit=target,
            best_price=best,
            atr=atr,
            strategy_id=vote.strategy_id,
            score=vote.score,
            votes=vote.votes,
        )

    def trip(self, way: Way, *, paid: Decimal, charges: Decimal, sequence: int) -> RoundTrip:
        """The trip that ended so, for `paid` at its entry and `charges` at its exit, in rupees."""
        track, run, share, position = self._track, self._run, self._share, way.position
        day, quantity = position.session_day, position.quantity
        entered = paisa(position.entry_price * quantity)
        gross = gross_result(way.price * quantity, entered, position.side)
        left = TradeRecord(
            reference=order_reference(run.run_id, day, share.symbol, Leg.EXIT, sequence),
            run_id=run.run_id,
            user_id=run.user_id,
            symbol=share.symbol,
            exchange=share.exchange,
            side=position.side.opposite,
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
        return RoundTrip(position, left, paid)
