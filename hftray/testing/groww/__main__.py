"""`python -m hftray.testing.groww`: a Groww on loopback in a process of its own.

Prints one JSON line with its addresses and the made-up keys when it accepts connections, and serves
until SIGTERM or Ctrl-C.
"""

import json
import signal
import threading
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from hftray.adapters.candle_files import find_candle_files, read_candles
from hftray.core.candles import Candles
from hftray.core.errors import HftrayError
from hftray.core.session import IST
from hftray.testing.groww.behaviour import Behaviour
from hftray.testing.groww.clock import Clock, RunningClock, SteppedClock
from hftray.testing.groww.loopback import LoopbackGroww
from hftray.testing.groww.market import Market


def main(
    candles: Annotated[
        Path, typer.Option(help="Folder of candle files, one a symbol, or a single file.")
    ],
    port: Annotated[int, typer.Option(help="TCP port on 127.0.0.1; 0: a free one.")] = 0,
    symbols: Annotated[str, typer.Option(help="Comma-separated; empty: all files.")] = "",
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
    """Serve Groww's API on 127.0.0.1 with prices from candle files."""
    try:
        played = _read(candles, [name.strip().upper() for name in symbols.split(",") if name])
        begin = _start(start, played)
        clock: Clock = SteppedClock(begin) if stepped else RunningClock(begin, speed)
        groww = LoopbackGroww(
            Market(played, clock),
            port=port,
            capital=capital,
            behaviour=Behaviour(slippage_bps=slippage_bps),
        ).start()
    except (HftrayError, ConnectionError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    keys = groww.sessions.keys
    ready = {
        "url": groww.url,
        "api": groww.api,
        "api_key": keys.api_key,
        "api_secret": keys.secret,
        "totp_secret": keys.totp_secret,
        "now": clock.now().isoformat(),
    }
    print(json.dumps(ready), flush=True)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    over.wait()
    groww.stop()


def _read(path: Path, wanted: list[str]) -> dict[str, Candles]:
    files = find_candle_files(path)
    missing = [name for name in wanted if name not in files]
    if missing:
        raise ValueError(f"{path}: no candles of {', '.join(missing)}")
    names = wanted or list(files)
    return {name: read_candles(name, files[name], strict=False).candles for name in names}


def _start(text: str, candles: dict[str, Candles]) -> datetime:
    if not text:
        first = min(int(own.time[0]) for own in candles.values())
        return datetime.fromtimestamp(first, IST)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=IST)


if __name__ == "__main__":
    typer.run(main)
