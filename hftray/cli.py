"""The command line: `hftray up` and what goes with it."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from hftray import __version__, launch, remote
from hftray.commands import backtest, check, doctor, note, sweep
from hftray.core.errors import RetryError, StopError
from hftray.core.session import IST
from hftray.data_dir import DataDirLock, Running, is_locked
from hftray.layers import DEFAULTS
from hftray.remote import require_running
from hftray.settings import Settings
from hftray.terminal import ConfigFile, DataDir, console, load_layers, readable_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
for group in (remote, backtest, sweep, note, doctor):
    app.add_typer(group.commands)
app.add_typer(check.commands, name="check")

STOP_PATIENCE = 60.0  # seconds `hftray down` waits


@app.command()
def up(
    mode: Annotated[str | None, typer.Option(help="auto|simulation|replay|paper|live")] = None,
    symbols: Annotated[str | None, typer.Option(help="Comma-separated, e.g. TCS,ITC.")] = None,
    data: Annotated[Path | None, typer.Option(help="Replay: folder or file of candles.")] = None,
    speed: Annotated[
        float | None, typer.Option(help="Market seconds a second; 0 = as fast as it goes.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Simulation: another seed, another market.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address of the API.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API.")] = None,
    data_dir: DataDir = None,
    strategy_file: Annotated[
        list[Path] | None, typer.Option(help="A Python file with strategies of your own.")
    ] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict", help="Replay: stop at the first malformed row.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; default: start one.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Start everything and trade until Ctrl-C."""
    with readable_errors():
        loaded = load_layers(
            config,
            mode=mode,
            symbols=symbols.split(",") if symbols else None,
            replay__data=data.expanduser().absolute() if data else None,
            replay__speed=speed,
            replay__strict=strict,
            strategies__files=[str(path) for path in strategy_file] if strategy_file else None,
            simulation__speed=speed,
            simulation__seed=seed,
            server__host=host,
            server__port=port,
            storage__data_dir=data_dir,
        )
        by_default = loaded.origins["symbols"] == DEFAULTS
        _run(loaded.settings, ray_address, any_symbols=by_default)


def _run(settings: Settings, ray_address: str | None, *, any_symbols: bool) -> None:
    mode = settings.effective_mode
    console.print(f"[bold reverse] {mode.upper()} [/bold reverse] hftray {__version__}")
    url = f"http://{settings.server.host}:{settings.server.port}"
    lock = DataDirLock(settings.storage.data_dir)
    lock.acquire()
    _interruptible()
    with ExitStack() as stack:
        stack.callback(lock.release)
        launch.check_address(settings)
        lock.publish(Running(os.getpid(), url, mode, ""))
        with console.status("starting") as status:
            system = launch.System(settings, ray_address, status.update, any_symbols=any_symbols)
            stack.callback(_stop_calmly, system)
            system.start()
        _interruptible()  # Ray put handlers of its own in place
        lock.publish(Running(os.getpid(), url, mode, system.dashboard))
        console.print(f"API      {url}   documentation {url}/docs")
        console.print(f"Ray      {_dashboard(system)}")
        console.print(f"Files    {settings.storage.data_dir}")
        console.print("Ctrl-C stops everything.\n")
        _follow(system)


def _dashboard(system: launch.System) -> str:
    return f"http://{system.dashboard}" if system.dashboard else "(no dashboard)"


def _stop_calmly(system: launch.System) -> None:
    # From here on a second Ctrl-C must not leave half of the system running.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with console.status("stopping") as status:
        system.say = status.update
        system.stop()
    console.print("stopped")


def _interruptible() -> None:
    """Ctrl-C and SIGTERM both end the waiting, and the way out stops everything in order."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _follow(system: launch.System) -> None:
    try:
        asyncio.run(_print_scans(system))
    except KeyboardInterrupt:
        console.print()


async def _print_scans(system: launch.System) -> None:
    known, shown = -1, (0, "")
    while True:
        try:
            known, picture = await system.engine.snapshot(known, 5.0)
        except RetryError as error:
            console.print(f"[yellow]engine away:[/yellow] {error}")
            known = -1
            await asyncio.sleep(1.0)
            continue
        status = picture.get("status", {})
        news = (status.get("scans", 0), "" if status.get("running", True) else status["note"])
        if news != shown:
            shown = news
            console.print(scan_line(status), soft_wrap=True)
        await asyncio.sleep(1.0)


def scan_line(status: dict[str, Any]) -> str:
    """One scan in one line."""
    moment = status["session"]["market_time"]
    when = moment.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S") if moment else "—"
    parts = [
        when,
        f"scan {status['scans']}",
        f"{status['scan_ms']:.0f} ms",
        f"equity ₹{status['equity']:,.2f}",
        f"realised ₹{status['realised_pnl']:,.2f}",
        f"open {status['open_positions']}",
        f"trades today {status['trades_today']}",
        status["risk_state"],
    ]
    if status["note"]:
        parts.append(status["note"])
    if not status["running"]:
        parts.append("[bold]engine stopped[/bold]")
    if status["degraded"]:
        parts.append(f"[yellow]{status['degraded'][0]}[/yellow]")
    return "  ".join(parts)


@app.command()
def down(data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Stop the running system, in order."""
    with readable_errors():
        settings = load_layers(config, storage__data_dir=data_dir).settings
        if _stopped_leftovers(settings):
            return
        there = require_running(settings)
        os.kill(there.pid, signal.SIGINT)
        until = time.monotonic() + STOP_PATIENCE
        with console.status(f"stopping pid {there.pid}"):
            while is_locked(settings.storage.data_dir):
                if time.monotonic() > until:
                    raise StopError(f"pid {there.pid} has not stopped in {STOP_PATIENCE:.0f} s")
                time.sleep(0.1)
        console.print("stopped")


def _stopped_leftovers(settings: Settings) -> bool:
    """Whether only an embedded PostgreSQL was left, of a system that was killed; it is stopped."""
    if is_locked(settings.storage.data_dir):
        return False
    from hftray.storage import embedded

    if not embedded.is_running(settings.storage.data_dir):
        return False
    embedded.start(settings.storage.data_dir).stop()
    console.print("nothing but PostgreSQL was left running; stopped")
    return True


@app.command()
def migrate(data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Bring the database to this version's schema."""
    with readable_errors():
        settings = load_layers(config, storage__data_dir=data_dir).settings
        lock = DataDirLock(settings.storage.data_dir)
        lock.acquire()
        try:
            with launch.database(settings, console.print):
                console.print("the database is up to date")
        finally:
            lock.release()


@app.command("config")
def show_config(data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Print every setting in force and where it came from; secrets are masked."""
    with readable_errors():
        loaded = load_layers(config, storage__data_dir=data_dir)
        for key, value in sorted(_leaves(loaded.settings.model_dump())):
            shown = "" if value is None else str(value)
            origin = loaded.origins.get(key, "default")
            console.print(f"{key:<36} {shown:<28} [dim]{escape(origin)}[/dim]", soft_wrap=True)


def _leaves(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{name}.")
        elif name == "storage.database_url" and value is not None:
            from hftray.storage.database import masked

            yield name, masked(value.get_secret_value())
        else:
            yield name, ", ".join(map(str, value)) if isinstance(value, tuple) else value


if __name__ == "__main__":
    app()
