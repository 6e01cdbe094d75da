"""The backtest as plainly as it can be said: every symbol, every candle, in a live scan's order.

`backtest.play` gives the same outcome in a fraction of the time; this is what it is held against.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hftray.backtest.history import SymbolHistory
from hftray.backtest.interpreter import Interpreter
from hftray.backtest.outcome import Outcome
from hftray.backtest.timeline import Clock, Hours, Timeline, timeline, trading_days, when
from hftray.core.engine import SymbolEngine
from hftray.core.position import Phase
from hftray.core.risk import RiskBook
from hftray.core.rules import TradingRules
from hftray.core.session import TradingSession
from hftray.strategies.ensemble import Ensemble


def reference(
    histories: Sequence[SymbolHistory],
    roster: Sequence[Mapping[str, Any]],
    *,
    rules: TradingRules,
    book: RiskBook,
    slippage_bps: float,
) -> Outcome:
    """Play the histories on one account, candle by candle; see `backtest.play.play`."""
    outcome = Outcome()
    ensemble = Ensemble(roster, rules.signals.threshold)
    seconds = rules.signals.candle_minutes * 60
    lines = [timeline(history, seconds) for history in histories]
    players = []
    for history in histories:
        engine = SymbolEngine(history.instrument, rules, ensemble)
        earliest = max(0, history.start - rules.signals.candle_buffer)
        engine.warm([history.candle(row) for row in range(earliest, history.start)])
        players.append(Interpreter(engine, book, slippage_bps=slippage_bps, outcome=outcome))
    for day, clock in trading_days(lines).items():
        _play_day([line.days.get(day) for line in lines], clock, histories, lines, players, book)
        outcome.curve.append((clock.closes, book.equity))
    outcome.candles = sum(len(line.rows) for line in lines)
    return outcome


def _play_day(
    hours: Sequence[Hours | None],
    clock: Clock,
    histories: Sequence[SymbolHistory],
    lines: Sequence[Timeline],
    players: Sequence[Interpreter],
    book: RiskBook,
) -> None:
    places = [{} if h is None else _places(line, h) for line, h in zip(lines, hours, strict=True)]
    for number, moment in enumerate(clock.moments.tolist()):
        now = when(moment)
        if number == 0:
            book.open_day(now.date(), now)
        open_now = [_trading(h, moment) for h in hours]
        for player, history, of_day, session in zip(
            players, histories, places, open_now, strict=True
        ):
            row = of_day.get(moment)
            player.see(None if row is None else history.candle(row), session, now)
        for player, of_day, session in zip(players, places, open_now, strict=True):
            if moment in of_day or player.engine.phase is not Phase.FLAT:
                player.decide(session, now)
        for player in players:
            player.enter()
        book.mark({player.engine.symbol: player.engine.open_pnl() for player in players}, now)
    end = clock.closes
    for player in players:
        player.see(None, None, end)
    for player in players:
        player.decide(None, end)
    book.mark({player.engine.symbol: player.engine.open_pnl() for player in players}, end)


def _places(line: Timeline, hours: Hours) -> dict[int, int]:
    """Row in the history by the moment its candle closes."""
    part = slice(hours.rows.start, hours.rows.stop)
    return dict(zip(line.moments[part].tolist(), line.rows[part].tolist(), strict=True))


def _trading(hours: Hours | None, moment: int) -> TradingSession | None:
    return None if hours is None or moment > hours.closes else hours.session
