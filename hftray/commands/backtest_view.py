"""A backtest's answer on a terminal: figures beside buy-and-hold, and the newest trades."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hftray.core.session import IST
from hftray.terminal import console

NEWEST = 10
WIDTH = 110
DASH = "—"

# Name, title, how it is written. What buy-and-hold knows too stands beside it.
FIGURES = (
    ("total_return_percent", "return", "percent"),
    ("cagr_percent", "return a year (CAGR)", "percent"),
    ("max_drawdown_percent", "max drawdown", "percent"),
    ("max_drawdown_days", "its length in sessions", "count"),
    ("sharpe", "Sharpe", "ratio"),
    ("sortino", "Sortino", "ratio"),
    ("calmar", "Calmar", "ratio"),
    ("trades", "trades", "count"),
    ("win_rate", "win rate", "share"),
    ("profit_factor", "profit factor", "ratio"),
    ("expectancy", "expectancy a trade", "rupees"),
    ("gross_pnl", "gross P&L", "rupees"),
    ("charges", "charges", "rupees"),
    ("net_pnl", "net P&L", "rupees"),
    ("exposure_percent", "time in the market", "percent"),
    ("turnover", "turnover", "rupees"),
)


def show(answer: dict[str, Any], *, seconds: float, report: Path | None = None) -> None:
    """Print an answer of `backtest.answer`; `seconds` is how long it took."""
    strategy = answer["strategy"]
    names = strategy if isinstance(strategy, str) else ", ".join(strategy)
    console.print(
        f"[bold]{escape(', '.join(answer['symbols']))}[/bold]  {escape(names)}  "
        f"{answer['start_date']} to {answer['end_date']}  {answer['candles']:,} candles of "
        f"{answer['interval']} minutes in {seconds:.2f} s",
        soft_wrap=True,
    )
    console.print(figures_table(answer))
    if answer["trades"]:
        # A narrow terminal may break lines, but a figure cut short would be a wrong one.
        wide = Console(file=console.file, width=max(console.width, WIDTH), highlight=False)
        wide.print(trades_table(answer["trades"][-NEWEST:]))
    if len(answer["trades"]) > NEWEST:
        console.print(f"[dim]the newest {NEWEST} of {len(answer['trades'])} trades[/dim]")
    if report is not None:
        console.print(f"report {escape(str(report))}", soft_wrap=True)


def figures_table(answer: dict[str, Any]) -> Table:
    """The figures, why one is missing, and buy-and-hold beside them."""
    metrics, held, undefined = answer["metrics"], answer["buy_and_hold"], answer["undefined"]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for title in ("strategy", "buy and hold"):
        table.add_column(title, justify="right")
    table.add_column("", style="dim")
    capital, kept = answer["final_capital"], held["final_capital"]
    table.add_row("final capital", written(capital, "rupees"), written(kept, "rupees"))
    for name, title, form in FIGURES:
        beside = written(held[name], form) if name in held else ""
        table.add_row(title, written(metrics[name], form), beside, undefined.get(name, ""))
    return table


def trades_table(trades: list[dict[str, Any]]) -> Table:
    """Trades a line each, times in IST."""
    table = Table(box=None, pad_edge=False)
    for title in ("symbol", "side", "entry", "exit"):
        table.add_column(title, no_wrap=True)
    for title in ("shares", "at", "to"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("why", no_wrap=True)
    for title in ("charges", "net"):
        table.add_column(title, justify="right", no_wrap=True)
    for trade in trades:
        times = [trade[key].astimezone(IST) for key in ("entry_time", "exit_time")]
        table.add_row(
            trade["symbol"],
            trade["side"],
            times[0].strftime("%Y-%m-%d %H:%M"),
            times[1].strftime("%H:%M"),
            str(trade["quantity"]),
            str(trade["entry_price"]),
            str(trade["exit_price"]),
            trade["exit_reason"].replace("_", " "),
            written(trade["charges"], "rupees"),
            written(trade["pnl"], "rupees"),
        )
    return table


def written(value: float | Decimal | None, form: str) -> str:
    """A figure as people read it; a dash where there is none."""
    if value is None:
        return DASH
    match form:
        case "percent":
            return f"{value:.2f} %"
        case "share":
            return f"{value * 100:.1f} %"
        case "ratio":
            return f"{value:.2f}"
        case "rupees":
            return f"₹{value:,.2f}" if value >= 0 else f"-₹{-value:,.2f}"
        case _:
            return f"{value:,}"
