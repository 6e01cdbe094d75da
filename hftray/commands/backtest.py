"""`hftray backtest`: one backtest in this process, without a running system."""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from hftray.backtest.answer import answer_of, asked
from hftray.backtest.order import ENSEMBLE, BacktestOrder, choose_rows
from hftray.backtest.runner import Played, Terms, backtest
from hftray.commands.backtest_view import show
from hftray.core.errors import StopError
from hftray.core.session import IST
from hftray.ports import Feed
from hftray.strategies.defaults import default_strategies
from hftray.terminal import ConfigFile, load_layers, readable_errors

commands = typer.Typer()

YEAR = timedelta(days=365)
DAY = ["%Y-%m-%d"]

Symbols = Annotated[list[str], typer.Option("--symbol", help="May be given several times.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder or file of candles; default: simulated ones.")
]
Strategies = Annotated[
    list[str] | None,
    typer.Option("--strategy", help="ensemble, a kind or a voter; may be given several times."),
]
FirstDay = Annotated[
    datetime | None, typer.Option("--from", formats=DAY, help="Default: the first of the data.")
]
LastDay = Annotated[
    datetime | None, typer.Option("--to", formats=DAY, help="Default: the last of the data.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--param", help="kind.field=value, e.g. rsi.period=10; may be repeated."),
]


@commands.command("backtest")
def run(
    symbol: Symbols,
    data: Data = None,
    strategy: Strategies = None,
    first: FirstDay = None,
    last: LastDay = None,
    capital: Annotated[str | None, typer.Option(help="Rupees to begin with.")] = None,
    param: Settings = None,
    charges: Annotated[bool, typer.Option(help="Pay brokerage, taxes and fees.")] = True,
    slippage_bps: Annotated[float | None, typer.Option(help="Basis points a fill.")] = None,
    interval: Annotated[int | None, typer.Option(help="Minutes a candle.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The API's answer, nothing else.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report there.")] = None,
    config: ConfigFile = None,
) -> None:
    """Try strategies on history: figures, trades, and if wanted a report."""
    changes = read_parameters(param or [])
    with readable_errors():
        market = open_market(data, config)
        names = tuple(strategy or [ENSEMBLE])
        symbols = tuple(name.strip().upper() for name in symbol)
        days = asyncio.run(days_of(market.feed, symbols, first, last))
        order = BacktestOrder(
            symbols=symbols,
            strategies=names,
            roster=choose_rows(names, default_strategies(), changes),
            parameters=changes,
            start_date=days[0],
            end_date=days[1],
            initial_capital=market.capital if capital is None else read_rupees(capital),
            charges=charges,
            slippage_bps=slippage_bps,
            interval=interval,
        )
        began = time.perf_counter()
        played = watched(market.terms, order)
        seconds = time.perf_counter() - began
        answer = answer_of(played.order, played.rules, played.histories, played.outcome)
        if report is not None:
            report_on(report, played, answer)
        if as_json:
            print_json(answer)
        else:
            show(answer, seconds=seconds, report=report)


@dataclass(frozen=True, slots=True)
class Market:
    """Where the candles come from; `capital` is the settings' initial one."""

    terms: Terms
    feed: Feed
    capital: Decimal


def open_market(data: Path | None, config: Path | None) -> Market:
    """The files of `data`, or the simulated market. ConfigError, DataError."""
    from hftray.wiring import backtest_terms

    settings = load_layers(
        config,
        mode="simulation" if data is None else "replay",
        replay__data=None if data is None else data.expanduser().absolute(),
    ).settings
    start_day = settings.simulation.start_day or datetime.now(IST).date()
    terms = backtest_terms(settings, start_day)
    feed = terms.build_feed()
    # What was read to find the days is not read again.
    return Market(replace(terms, build_feed=lambda: feed), feed, settings.initial_capital)


async def days_of(
    feed: Feed, symbols: Sequence[str], first: datetime | None, last: datetime | None
) -> tuple[date, date]:
    """The days to play: those asked for, else all that any of the symbols has candles of.

    Of a market without bounds it is the year that ended yesterday.
    """
    spans = []
    if first is None or last is None:
        known = await feed.instruments()
        spans = [await feed.span(symbol) for symbol in symbols if symbol in known]
    bounds = [span for span in spans if span is not None]
    yesterday = datetime.now(IST).date() - timedelta(days=1)
    end = last.date() if last else max((span[1] for span in bounds), default=yesterday)
    start = first.date() if first else min((span[0] for span in bounds), default=end - YEAR)
    return start, end


def watched(terms: Terms, order: BacktestOrder) -> Played:
    """Play with a progress bar on standard error, where that is a terminal."""
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("reading candles", total=1.0)
        for step in backtest(terms, order):
            if isinstance(step, Played):
                return step
            bar.update(task, completed=step)
    raise RuntimeError("the backtest ended without a result")


def read_parameters(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`kind.field=value`, each value as YAML reads it. BadParameter quotes what does not fit."""
    changes: dict[str, dict[str, Any]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        kind, dot, field = name.strip().partition(".")
        if not (equals and dot and kind and field and value.strip()):
            raise typer.BadParameter(f"'{text}' is not kind.field=value", param_hint="--param")
        try:
            changes.setdefault(kind, {})[field] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise typer.BadParameter(
                f"'{text}': the value cannot be read", param_hint="--param"
            ) from None
    return changes


def read_rupees(text: str) -> Decimal:
    """An amount such as 100000 or 250000.50. BadParameter when it is none."""
    try:
        amount = Decimal(text.replace(",", "").replace("_", ""))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise typer.BadParameter(f"'{text}' is not an amount of rupees", param_hint="--capital")
    return amount


def print_json(answer: dict[str, Any]) -> None:
    """The answer as the API writes it, on standard output."""
    from hftray.api.schemas_backtest import BacktestResult

    typer.echo(BacktestResult.model_validate(answer).model_dump_json(indent=2))


def report_on(path: Path, played: Played, answer: dict[str, Any]) -> None:
    """The HTML report. StopError when it cannot be written."""
    from hftray.backtest.report import write_report

    order = played.order
    try:
        write_report(
            path,
            title=f"Backtest of {', '.join(order.symbols)}",
            order=asked(order),
            outcome=played.outcome,
            histories=played.histories,
            metrics=answer["metrics"],
            roster=order.roster,
            assumptions=answer["assumptions"],
            command=" ".join(["hftray", *sys.argv[1:]]),
        )
    except OSError as error:
        raise StopError(f"--report {path}: cannot be written ({error.strerror})") from error
