"""`hftray note`: a day's contract note, asked of the running system."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from hftray.remote import ask
from hftray.terminal import ConfigFile, DataDir, console, load_layers, readable_errors

commands = typer.Typer()

NAMES = {
    "brokerage": "brokerage",
    "stt": "securities transaction tax",
    "exchange": "exchange transaction charge",
    "sebi": "SEBI turnover fee",
    "stamp": "stamp duty",
    "ipft": "investor protection fund",
    "gst": "GST",
}
"""The charges as the API names them, and as people read them."""


@commands.command()
def note(
    date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Trading day; default: the newest."),
    ] = None,
    run_id: Annotated[int | None, typer.Option(help="Another run than the present one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The API's answer as it is.")] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show a day's contract note: every order, every charge, and what is left."""
    with readable_errors():
        settings = load_layers(config, storage__data_dir=data_dir).settings
        wanted = {"date": date and date.date().isoformat(), "run_id": run_id}
        query = httpx.QueryParams({key: value for key, value in wanted.items() if value})
        answer = ask(settings, "GET", f"/api/trades/contract-note?{query}")
        if as_json:
            typer.echo(json.dumps(answer, indent=2))
        else:
            show(answer)


def show(answer: Mapping[str, Any]) -> None:
    """Print the API's answer as two tables, and what a reader should know about them."""
    console.print(f"[bold]Contract note {answer['date']}[/bold]  run {answer['run_id']}")
    console.print(_legs(answer))
    console.print(_totals(answer))
    for symbol, left in answer["unmatched"].items():
        console.print(
            f"[yellow]{symbol}:[/yellow] bought less sold is {left}; charged as intraday all the "
            "same, where a broker charges what stays open as delivery",
            soft_wrap=True,
        )
    if float(answer["drift"]):
        console.print(
            f"[yellow]the ledger booked ₹{answer['ledger_charges']}[/yellow], ₹{answer['drift']} "
            "off these orders' charges by today's config/charges.yaml",
            soft_wrap=True,
        )


def _legs(answer: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("time", "symbol", "side"):
        table.add_column(name)
    for name in ("quantity", "price", "value", *NAMES, "charges", "net"):
        table.add_column(name, justify="right")
    for leg in answer["legs"]:
        charges = leg["charges"]
        table.add_row(
            datetime.fromisoformat(leg["timestamp"]).strftime("%H:%M:%S"),
            leg["symbol"],
            leg["side"],
            str(leg["quantity"]),
            *(leg[name] for name in ("price", "value")),
            *(charges[name] for name in (*NAMES, "total")),
            leg["net"],
        )
    return table


def _totals(answer: Mapping[str, Any]) -> Table:
    charges, legs, rounding = (answer[k] for k in ("charges", "leg_charges", "rounding"))
    table = Table(box=None, pad_edge=False)
    table.add_column("rupees")
    for name in ("sum of the legs", "rounding", "note"):
        table.add_column(name, justify="right")
    table.add_row("sold", "", "", answer["sold"])
    table.add_row("bought", "", "", answer["bought"])
    table.add_row("gross", "", "", answer["gross"], style="bold")
    for name, title in NAMES.items():
        table.add_row(title, legs[name], rounding[name], charges[name])
    table.add_row("all charges", legs["total"], rounding["total"], charges["total"])
    table.add_row("net", "", "", answer["net"], style="bold")
    return table
