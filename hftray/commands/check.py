"""`hftray check`: is a strategy honest, does it warm up, is the data sound?

Every check ends with exit code 1 when something fails.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hftray.backtest.checks import (
    Lookahead,
    WarmUp,
    check_lookahead,
    check_warm_up,
    faults,
    named_voters,
)
from hftray.core.candles import Candles
from hftray.core.errors import ConfigError, DataError
from hftray.layers import default_file, read_yaml
from hftray.settings import Settings
from hftray.strategies.plugins import StrategyFile, kinds_of, load_plugins, read_plugins
from hftray.strategies.registry import known_kinds, strategy_class
from hftray.terminal import ConfigFile, console, load_layers, readable_errors

commands = typer.Typer(
    no_args_is_help=True, help="Checks of strategies and data; exit code 1 when one fails."
)

SIMULATED_UNTIL = date(2026, 6, 1)
"""Simulated candles end before this day, so that a check gives the same answer every day."""

StrategyName = Annotated[
    str | None,
    typer.Option("--strategy", help="A kind, or a Python file; default: every kind known."),
]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Folder or file of candles; default: simulated candles."),
]
Symbol = Annotated[str | None, typer.Option(help="Whose candles; default: the first there is.")]
Count = Annotated[int, typer.Option("--candles", min=100, help="How many, the newest ones.")]
AsJson = Annotated[bool, typer.Option("--json", help="The findings as JSON.")]


@commands.command()
def lookahead(
    strategy: StrategyName = None,
    data: DataFolder = None,
    symbol: Symbol = None,
    count: Count = 3000,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Votes must not change when the future is cut away."""
    with readable_errors():
        settings = _settings(config)
        kinds, candles = _kinds(strategy, settings), sample(settings, data, symbol, count)
        found = [
            check_lookahead(name, voter, candles)
            for kind in kinds
            for name, voter in named_voters(kind).items()
        ]
        if as_json:
            _print_json(found)
        else:
            rows = [(f.voter, str(f.cuts), str(f.votes), f.fault) for f in found]
            console.print(_table(("voter", "cuts", "votes"), rows))
    _finish(faults(found))


@commands.command()
def warmup(
    strategy: StrategyName = None,
    data: DataFolder = None,
    symbol: Symbol = None,
    count: Count = 6000,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """How many candles until votes stop depending on where the history begins."""
    with readable_errors():
        settings = _settings(config)
        kinds, candles = _kinds(strategy, settings), sample(settings, data, symbol, count)
        buffer = settings.signals.candle_buffer
        found = [
            check_warm_up(name, voter, candles, buffer)
            for kind in kinds
            for name, voter in named_voters(kind).items()
        ]
        if as_json:
            _print_json(found)
        else:
            names = ("voter", "silent", "typical", "most", "votes", "late")
            rows = [(*(str(getattr(f, name)) for name in names), f.fault) for f in found]
            console.print(_table(names, rows))
            console.print(
                f"candles; live, {buffer} are kept (signals.candle_buffer). late: votes in a full "
                "buffer that a longer history casts otherwise",
                soft_wrap=True,
            )
    _finish(faults(found))


@commands.command("strategy")
def contract(
    name: Annotated[str, typer.Argument(metavar="FILE|KIND", help="A strategy of your own.")],
    data: DataFolder = None,
    symbol: Symbol = None,
    count: Count = 3000,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Run the contract that every strategy must keep on a file of yours, or on a kind."""
    from hftray.testing.strategy_contract import broken, strategy_contract

    with readable_errors():
        settings = _settings(config)
        kinds, candles = _kinds(name, settings), sample(settings, data, symbol, count)
        buffer = settings.signals.candle_buffer
        found = {kind: strategy_contract(kind, candles, buffer=buffer) for kind in kinds}
    if as_json:
        typer.echo(json.dumps({k: [asdict(v) for v in vs] for k, vs in found.items()}, indent=2))
    for kind, verdicts in found.items() if not as_json else ():
        console.print(f"[bold]{kind}[/bold]  {escape(strategy_class(kind).__doc__ or '')}")
        table = Table(box=None, show_header=False, pad_edge=False)
        for verdict in verdicts:
            mark = "[green]kept[/green]" if verdict.kept else "[red]broken[/red]"
            table.add_row(mark, verdict.promise, f"[dim]{escape(verdict.seen)}[/dim]")
        console.print(table)
    _finish([fault for verdicts in found.values() for fault in broken(verdicts)])


@commands.command("data")
def quality(
    data: Annotated[Path, typer.Option("--data", help="Folder or file of candles.")],
    as_json: AsJson = False,
) -> None:
    """Gaps, bad rows, untraded candles, and nights that look like unadjusted splits."""
    from hftray.adapters.calendar import SessionCalendar
    from hftray.adapters.data_quality import inspect, summary
    from hftray.adapters.instruments import Listings

    with readable_errors():
        listings = Listings.from_mapping(read_yaml(default_file("instruments.yaml")))
        calendar = SessionCalendar.from_mapping(read_yaml(default_file("sessions.yaml")))
        reports = inspect(data.expanduser(), listings, calendar)
    if as_json:
        typer.echo(json.dumps([asdict(report) for report in reports], default=str, indent=2))
    else:
        table = Table("file", "candles", "sessions", "from", "to", "minutes", "found", box=None)
        table.columns[0].no_wrap = True
        for report in reports:
            cells = (report.candles, report.sessions, report.first_day, report.last_day)
            told = [
                f"[{'red' if f.serious else 'yellow'}]{f.count} × {f.kind}[/] from {f.first}: "
                f"{escape(f.detail)}"
                for f in report.findings
            ]
            shown = ("–" if cell is None else str(cell) for cell in cells)
            table.add_row(report.path.name, *shown, f"{report.minutes:g}", "\n".join(told))
        console.print(table)
        console.print(summary(reports) or f"no faults in {len(reports)} files", soft_wrap=True)
    if any(report.serious for report in reports):
        raise typer.Exit(1)


def sample(settings: Settings, path: Path | None, symbol: str | None, count: int) -> Candles:
    """The newest `count` candles of a symbol, from files or simulated. ConfigError, DataError."""
    if path is None:
        return _simulated(settings, symbol, count)
    from hftray.adapters.candle_files import find_candle_files, read_candles

    files = find_candle_files(path.expanduser())
    name = symbol.upper() if symbol else next(iter(files))
    if name not in files:
        raise ConfigError(f"--symbol {name}: there are candles of {', '.join(files)}")
    candles = read_candles(name, files[name], strict=False).candles
    if not len(candles):
        raise DataError(f"{files[name]}: no usable candle")
    return candles.tail(count)


def _simulated(settings: Settings, symbol: str | None, count: int) -> Candles:
    from hftray.venues import build_feed

    feed = build_feed(settings, settings.simulation.start_day or SIMULATED_UNTIL)
    name = symbol.upper() if symbol else settings.symbols[0]
    known = asyncio.run(feed.instruments())
    if name not in known:
        raise ConfigError(f"--symbol {name}: simulated are {', '.join(sorted(known))}")
    return Candles.of(asyncio.run(feed.history(name, count)))


def _settings(config: Path | None) -> Settings:
    return load_layers(config, mode="simulation").settings


def _kinds(name: str | None, settings: Settings) -> tuple[str, ...]:
    """The kinds to check: every one known, one by its name, or those that a file brings."""
    load_plugins(read_plugins(settings.strategies.files))
    if name is None:
        return known_kinds()
    if name in known_kinds():
        return (name,)
    if not name.endswith(".py"):
        known = ", ".join(known_kinds())
        raise ConfigError(f"{name}: neither a Python file nor a known kind ({known})")
    file = StrategyFile.read(Path(name))
    load_plugins([file])
    return kinds_of(file)


def _table(names: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(names[0])
    for name in names[1:]:
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for row in rows:
        verdict = f"[red]{escape(row[-1])}[/red]" if row[-1] else "[green]ok[/green]"
        table.add_row(*row[:-1], verdict)
    return table


def _print_json(found: Sequence[Lookahead | WarmUp]) -> None:
    rows: list[dict[str, Any]] = [asdict(one) for one in found]
    typer.echo(json.dumps(rows, indent=2))


def _finish(failed: Sequence[str]) -> None:
    if failed:
        raise typer.Exit(1)
