"""`python -m hftray.testing.groww`: a Groww on loopback in a process of its own.

Prints one JSON line with its addresses and the made-up keys when it accepts connections, and serves
until SIGTERM or Ctrl-C.
"""

import asyncio
import json
import signal
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from hftray.adapters.candle_files import find_candle_files, read_candles
from hftray.core.candles import Candles
from hftray.core.errors import HftrayError
from hftray.core.session import IST
from hftray.testing.groww.behaviour import Behaviour
from hftray.testing.groww.clock import Clock, RunningClock, SteppedClock
from hftray.testing.groww.feed_market import LoopbackFeed
from hftray.testing.groww.generated import generated_candles
from hftray.testing.groww.loopback import LoopbackGroww
from hftray.testing.groww.market import Market

# Generated history before the start, and days to trade after it.
_DAYS_BEFORE, _DAYS_AFTER = timedelta(days=30), timedelta(days=10)


def main(
    candles: Annotated[
        Path | None, typer.Option(help="Folder of candle files, one a symbol, or a single file.")
    ] = None,
    symbols: Annotated[
        str, typer.Option(help="Comma-separated; empty: all files. Generated without --candles.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of generated prices.")] = 0,
    port: Annotated[int, typer.Option(help="TCP port on 127.0.0.1; 0: a free one.")] = 0,
    start: Annotated[
        str, typer.Option(help="First market moment, ISO 8601 (IST); empty: the first candle.")
    ] = "",
    speed: Annotated[float, typer.Option(help="Market seconds a second.")] = 1.0,
    stepped: Annotated[
        bool, typer.Option("--stepped", help="The clock moves only by POST /_test/clock.")
    ] = False,
    capital: Annotated[float, typer.Option(help="Rupees of the account.")] = 1_000_000.0,
    slippage_bps: Annotated[float, typer.Option(help="Slippage of marketable orders.")] = 0.0,
) -> None:
    """Serve Groww's API on 127.0.0.1 with prices from candle files, or generated ones."""
    names = [name.strip().upper() for name in symbols.split(",") if name.strip()]
    try:
        begin = _moment(start) if start else None
        played = _generated(names, begin, seed) if candles is None else _read(candles, names)
        if begin is None:
            first = min(int(own.time[0]) for own in played.values())
            begin = datetime.fromtimestamp(first, IST)
        clock: Clock = SteppedClock(begin) if stepped else RunningClock(begin, speed)
        market = Market(played, clock)
        feed = LoopbackFeed(market).start()
        groww = LoopbackGroww(
            market,
            port=port,
            capital=capital,
            behaviour=Behaviour(slippage_bps=slippage_bps),
            more=feed.routes,
        ).start()
        feed.attach(groww.world)
    except (HftrayError, ConnectionError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    _serve(groww, feed)


def _serve(groww: LoopbackGroww, feed: LoopbackFeed) -> None:
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    keys = groww.sessions.keys
    ready = {
        "url": groww.url,
        "api": groww.api,
        "stream": feed.url,
        "api_key": keys.api_key,
        "api_secret": keys.secret,
        "totp_secret": keys.totp_secret,
        "now": groww.clock.now().isoformat(),
    }
    print(json.dumps(ready), flush=True)
    over.wait()
    feed.stop()
    groww.stop()


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=IST)


def _generated(names: list[str], begin: datetime | None, seed: int) -> dict[str, Candles]:
    if not names or begin is None:
        raise ValueError("generated prices need --symbols and --start; or give --candles")
    day = begin.astimezone(IST).date()
    return asyncio.run(generated_candles(names, day - _DAYS_BEFORE, day + _DAYS_AFTER, seed=seed))


def _read(path: Path, wanted: list[str]) -> dict[str, Candles]:
    files = find_candle_files(path)
    missing = [name for name in wanted if name not in files]
    if missing:
        raise ValueError(f"{path}: no candles of {', '.join(missing)}")
    return {name: read_candles(name, files[name], strict=False).candles for name in wanted or files}


if __name__ == "__main__":
    typer.run(main)
