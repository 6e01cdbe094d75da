"""The paths below /_test, by which another process drives and reads the loopback.

They need no token, count against no limit and are never struck by a fault.

    GET  /_test/clock      {"now", "next_tick"}
    POST /_test/clock      {"to": iso} or {"step_seconds": n} or {"next_tick": true}, and
                           {"speed": n} for a clock that runs, 0 to have it stand
    GET  /_test/limits     counts and highest counts by category;  DELETE forgets them
    GET  /_test/faults     {"faults": [...], "struck": {...}}
    POST /_test/faults     {"kind", ...see Fault};  {"release": number} lets held replies go
    DELETE /_test/faults   all, or ?number=n
    POST /_test/session    any of expire, approved, subscription, newest_only, lifetime_seconds
    GET  /_test/behaviour  the switches;  POST changes some
    GET  /_test/book       every order with its trades, the truth behind all faults
    GET  /_test/positions  the account's positions, the truth behind all faults
    GET  /_test/journal    every request that arrived;  DELETE forgets them
    POST /_test/foreign    {"order": create body} or {"position": {symbol, quantity, price}}
    POST /_test/holdings   {symbol: [quantity, average price]}
    GET  /_test/feed       the live feed's faults and counts;  POST changes it (see `feed_market`)
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hftray.core.errors import RejectError
from hftray.testing.groww.clock import RunningClock
from hftray.testing.groww.order_form import read_new_order
from hftray.testing.groww.order_rows import position_row
from hftray.testing.groww.wire import Answer, Call, GrowwFailure
from hftray.testing.groww.world import World


def control(world: World, call: Call) -> Answer:
    """Answer a call below /_test; 400 says what is wrong with it, 404 that there is none."""
    handler = {**_HANDLERS, **world.controls}.get((call.method, call.path))
    if handler is None:
        return Answer(404, {"error": f"{call.method} {call.path} is unknown"})
    body = call.body if isinstance(call.body, dict) else {}
    try:
        return Answer(body=handler(world, call, body))
    except (ValueError, TypeError, KeyError, RejectError) as error:
        return Answer(400, {"error": f"{type(error).__name__}: {error}"})


def _clock(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    now = world.settle()
    upcoming = world.market.next_tick(now)
    return {"now": now.isoformat(), "next_tick": upcoming and upcoming.isoformat()}


def _move_clock(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    clock = world.market.clock
    if "speed" in body:
        if not isinstance(clock, RunningClock):
            raise ValueError("speed: this clock is stepped")
        clock.run_at(float(body["speed"]))
        if len(body) == 1:
            return _clock(world, call, body)
    if "to" in body:
        clock.to(datetime.fromisoformat(body["to"]))
    elif "step_seconds" in body:
        clock.to(clock.now() + timedelta(seconds=float(body["step_seconds"])))
    elif body.get("next_tick"):
        upcoming = world.market.next_tick(clock.now())
        if upcoming is None:
            raise ValueError("the candles are used up")
        clock.to(upcoming)
    else:
        raise ValueError("needs to, step_seconds, next_tick or speed")
    return _clock(world, call, body)


def _limits(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return world.limits.report()


def _forget_limits(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    world.limits.reset()
    return world.limits.report()


def _faults(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return {"faults": world.faults.listing(), "struck": world.faults.struck}


def _add_fault(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    if "release" in body:
        world.faults.release(int(body["release"]))
        return {"number": int(body["release"])}
    return {"number": world.faults.add(**body)}


def _clear_faults(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    number = call.query.get("number")
    world.faults.clear(int(number[0]) if number else None)
    return _faults(world, call, body)


def _session(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    sessions = world.sessions
    for name, value in body.items():
        if name == "lifetime_seconds":
            sessions.lifetime = None if value is None else timedelta(seconds=float(value))
        elif name in ("approved", "subscription", "newest_only") and isinstance(value, bool):
            setattr(sessions, name, value)
        elif name == "expire" and value is True:
            sessions.expire()
        else:
            raise ValueError(f"{name}: {value!r} is not allowed")
    return {
        "approved": sessions.approved,
        "subscription": sessions.subscription,
        "newest_only": sessions.newest_only,
        "minted": sessions.minted,
    }


def _behaviour(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    world.behaviour.change(body)
    return asdict(world.behaviour)


def _book(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return {"orders": world.book_rows()}


def _positions(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    world.settle()
    return {"positions": [position_row(own, world.market) for own in world.account.positions()]}


def _journal(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return {"requests": [entry.row() for entry in world.journal]}


def _forget_journal(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    world.journal.clear()
    return {"requests": []}


def _foreign(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    if "order" in body:
        entry = world.place_foreign(read_new_order(body["order"]))
        return {"groww_order_id": entry.groww_order_id, "order_status": entry.status}
    if "position" not in body:
        raise ValueError("needs order or position")
    position = dict(body["position"])
    world.account.set_foreign_position(
        position.pop("symbol"), position.pop("quantity"), position.pop("price"), **position
    )
    return _positions(world, call, body)


def _holdings(world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    for symbol, (quantity, average) in body.items():
        if ("NSE", symbol) not in {(own.exchange, own.symbol) for own in world.market.shares()}:
            raise GrowwFailure("GA004", f"{symbol} is not listed")
        world.account.holdings[symbol] = (int(quantity), Decimal(str(average)))
    return {name: [held[0], float(held[1])] for name, held in world.account.holdings.items()}


_HANDLERS: dict[tuple[str, str], Callable[[World, Call, dict[str, Any]], dict[str, Any]]] = {
    ("GET", "/clock"): _clock,
    ("POST", "/clock"): _move_clock,
    ("GET", "/limits"): _limits,
    ("DELETE", "/limits"): _forget_limits,
    ("GET", "/faults"): _faults,
    ("POST", "/faults"): _add_fault,
    ("DELETE", "/faults"): _clear_faults,
    ("POST", "/session"): _session,
    ("GET", "/behaviour"): _behaviour,
    ("POST", "/behaviour"): _behaviour,
    ("GET", "/book"): _book,
    ("GET", "/positions"): _positions,
    ("GET", "/journal"): _journal,
    ("DELETE", "/journal"): _forget_journal,
    ("POST", "/foreign"): _foreign,
    ("POST", "/holdings"): _holdings,
}
