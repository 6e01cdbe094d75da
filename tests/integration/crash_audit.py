"""What must hold of a `crash_world.World` at every moment, and once it has come to rest.

The broker's book is the truth. Each check says what went wrong; `audit` raises with the first.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal

from crash_processes import RULES, SYMBOLS
from crash_world import Mail, World
from engine_world import BUY

from hftray.core.ledger import RunState
from hftray.core.matching import average_price
from hftray.core.orders import Leg, TradeStatus
from hftray.core.position import Phase

ROUNDS = 3  # quiet steps of each symbol after which nothing may be open any more
_VIEW = (
    "state", "session_day", "opening_capital", "capital", "realised_pnl", "deployed", "reserved",
    "open_positions", "working_orders", "trades_today", "trades_by_symbol", "free",
)  # fmt: skip


def audit(world: World) -> None:
    """Everything that holds at every moment, whatever is under way."""
    state = world.state
    checks: tuple[Callable[[World, RunState], Iterator[str]], ...] = (
        _processes, _book, _rows, _shares, _limits, _risk, _symbols,
    )  # fmt: skip
    for check in checks:
        for wrong in check(world, state):
            raise AssertionError(wrong)


def come_to_rest(world: World) -> None:
    """No faults any more: late calls are given up, orders are filled, positions closed."""
    world.broker.blind = world.broker.refusals = 0
    world.network.give_up()
    world.deliver_all()
    for flatten in ("", "the day is over"):
        world.halted = flatten
        for _ in range(ROUNDS):
            world.reconcile()
            for symbol in SYMBOLS:
                world.begin_step(symbol, parts=(6,), mail=Mail.ALL)
                world.deliver_all()
            audit(world)
            if flatten and not world.state.positions:
                break
    world.halted = ""


def trades_again(world: World) -> None:
    """Entries and exits are possible as if nothing had been, at the latest when asked anew."""
    symbol = SYMBOLS[0]
    for _ in range(ROUNDS):
        if not world.broker.net(symbol):
            world.begin_step(symbol, decision=BUY, parts=(6,))
            world.deliver_all()
    assert world.broker.net(symbol) > 0, f"it trades no more: {world.reports[symbol].trouble}"
    come_to_rest(world)
    audit_at_rest(world)


def audit_at_rest(world: World) -> None:
    """The stronger promises: nothing is open, and both books tell the same story to the paisa."""
    audit(world)
    state = world.state
    troubles = {name: report.trouble for name, report in world.reports.items() if report.trouble}
    assert not troubles, troubles
    assert [process.name for process in world.symbols.values() if not process.idle] == []
    assert world.compare() == []
    assert state.pending == ()
    assert state.positions == ()
    assert [report.phase for report in world.reports.values()] == [Phase.FLAT] * len(SYMBOLS)
    assert [taken for taken in world.broker.book if not taken.status.terminal] == []
    traded = {taken.order.reference for taken in world.broker.book if taken.filled}
    rows = world.trade_rows()
    assert traded == {row.reference for row in rows if row.status is TradeStatus.EXECUTED}
    cash = sum(
        -taken.order.side.sign * fill.price * fill.quantity
        for taken in world.broker.book
        for fill in taken.executions
    )
    gross = sum((row.gross_pnl or Decimal(0) for row in rows), Decimal(0))
    charges = sum((row.charges or Decimal(0) for row in rows), Decimal(0))
    # Mean prices have four places, so a row of 100 shares may be off by half a paisa and rounding.
    assert abs(gross - cash) <= Decimal("0.02") * max(1, len(rows)), (gross, cash)
    assert state.realised_total == gross - charges


def _processes(world: World, _state: RunState) -> Iterator[str]:
    yield from (f"an error nobody foresaw: {fault!r}" for fault in world.network.faults)
    yield from world.breaches


def _book(world: World, _state: RunState) -> Iterator[str]:
    """The broker has each order once, only orders of ours, and one at work a symbol."""
    names = Counter(taken.order.reference for taken in world.broker.book)
    yield from (f"{name} is {n} times in the broker's book" for name, n in names.items() if n > 1)
    rows = {row.reference: row for row in world.trade_rows()}
    yield from (f"the ledger does not know {name}" for name in names if name not in rows)
    working = [t.order.symbol for t in world.broker.book if not t.status.terminal]
    yield from (f"{name}: two orders at work" for name, n in Counter(working).items() if n > 1)
    pending = [row.symbol for row in rows.values() if row.status is TradeStatus.PENDING]
    yield from (f"{name}: two PENDING rows" for name, n in Counter(pending).items() if n > 1)


def _rows(world: World, _state: RunState) -> Iterator[str]:
    """A finished row says what the broker's order says; no other order of ours ever trades."""
    book = {taken.order.reference: taken for taken in world.broker.book}
    for row in world.trade_rows():
        taken = book.get(row.reference)
        filled = taken.filled if taken else 0
        if row.status is TradeStatus.PENDING:
            continue
        if taken is not None and not taken.status.terminal:
            yield f"{row.reference} is {row.status}, and still works at the broker"
        if filled != row.quantity or (row.status is TradeStatus.EXECUTED) != (filled > 0):
            yield f"{row.reference}: {row.status} with {row.quantity}, filled {filled}"
        if taken is not None and filled and row.price != average_price(taken.executions):
            yield f"{row.reference}: {row.price}, not {average_price(taken.executions)}"


def _shares(world: World, state: RunState) -> Iterator[str]:
    """Shares held are those of the ledger's positions and of orders not recorded yet."""
    book = {taken.order.reference: taken for taken in world.broker.book}
    for name in SYMBOLS:
        held = [position for position in state.positions if position.symbol == name]
        if len(held) > 1:
            yield f"{name}: {len(held)} open positions"
        net = sum(position.side.sign * position.quantity for position in held)
        for row in state.pending:
            if row.symbol == name and row.reference in book:
                net += row.side.sign * book[row.reference].filled
        if net != world.broker.net(name):
            yield f"{name}: the ledger accounts for {net} shares of {world.broker.net(name)}"
    entered = {row.reference: row.quantity for row in world.trade_rows() if row.leg is Leg.ENTRY}
    left: Counter[str] = Counter()
    for row in world.trade_rows():
        if row.leg is Leg.EXIT and row.reference in book:
            left[row.position or ""] += book[row.reference].filled
    for name, shares in left.items():
        if shares > entered.get(name, 0):
            yield f"{name}: {shares} shares left a position of {entered.get(name, 0)}"
    for difference in world.compare():
        if not difference.certain:
            yield f"reconciling finds {difference}"


def _limits(world: World, _state: RunState) -> Iterator[str]:
    view = world.build_book().view()
    if view.deployed + view.reserved > view.opening_capital * RULES.risk.leverage:
        yield f"{view.deployed} deployed and {view.reserved} reserved of {view.opening_capital}"
    entries = Counter(
        row.symbol
        for row in world.trade_rows()
        if row.leg is Leg.ENTRY and row.status is not TradeStatus.FAILED
    )
    if entries.total() > RULES.risk.max_trades_per_day:
        yield f"{entries.total()} entries today"
    for name, count in entries.items():
        if count > RULES.risk.max_trades_per_symbol_day:
            yield f"{name}: {count} entries today"
    pnl = sum((row.pnl for row in world.trade_rows() if row.pnl is not None), Decimal(0))
    if view.realised_pnl != pnl:
        yield f"realised {view.realised_pnl}, by the rows {pnl}"


def _risk(world: World, _state: RunState) -> Iterator[str]:
    """What the risk actor believes is what it would read, unless another one may write now."""
    shell = world.risk.shell
    book = shell._durable.present
    if world.writer is not world.risk or book is None or shell._lock.locked():
        return
    believed, recorded = book.view(), world.build_book().view()
    for name in _VIEW:
        if getattr(believed, name) != getattr(recorded, name):
            yield f"risk: {name} {getattr(believed, name)}, {getattr(recorded, name)} recorded"


def _symbols(world: World, state: RunState) -> Iterator[str]:
    """A symbol's phase fits what it holds; one that is not in doubt believes what is recorded."""
    for name, process in world.symbols.items():
        shell, engine = process.shell, process.shell._engine
        if not process.idle or shell._unknown or shell._epoch is None:
            continue
        held, order, sent = engine.position, engine.order, engine.under_way
        legal = {
            Phase.FLAT: held is None and order is None,
            Phase.ENTERING: held is None and order is not None and order.leg is Leg.ENTRY,
            Phase.OPEN: held is not None and order is None,
            Phase.EXITING: held is not None and order is not None and order.leg is Leg.EXIT,
        }
        if not legal[engine.phase]:
            yield f"{name} is {engine.phase} with {held} and {order}"
        if world.epochs.get((name, world.risk)) is not process:
            continue
        recorded = [(p.reference, p.quantity) for p in state.positions if p.symbol == name]
        if recorded != ([(held.reference, held.quantity)] if held else []):
            yield f"{name} believes in {held}, {recorded} is recorded"
        pending = [row.reference for row in state.pending if row.symbol == name]
        if pending != ([sent.reference] if sent else []):
            yield f"{name} believes in {sent}, {pending} is recorded"
