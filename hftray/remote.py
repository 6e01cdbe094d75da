"""Commands that talk to the running system through its REST API."""

import json
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.table import Table

from hftray.core.errors import StopError
from hftray.data_dir import Running, is_locked, running
from hftray.settings import Settings
from hftray.terminal import ConfigFile, DataDir, console, load_layers, readable_errors

commands = typer.Typer()

PATIENCE = 40.0  # seconds for an answer; the engine gives up on an actor after 30


@commands.command()
def status(data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Show what the running system is doing."""
    with readable_errors():
        settings = load_layers(config, storage__data_dir=data_dir).settings
        table = Table(show_header=False)
        for key, value in ask(settings, "GET", "/api/engine/status").items():
            table.add_row(key, json.dumps(value) if isinstance(value, dict | list) else str(value))
        console.print(table)


@commands.command()
def kill(
    reason: Annotated[str, typer.Option(help="Goes on record.")] = "requested on the command line",
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Kill switch: no entries, cancel working orders, close every position."""
    with readable_errors():
        settings = load_layers(config, storage__data_dir=data_dir).settings
        answer = ask(settings, "POST", "/api/engine/kill", {"reason": reason})
        console.print(f"risk is {answer['risk_state']}; {_still_open(answer['open_positions'])}")


@commands.command()
def resume(
    reason: Annotated[str, typer.Option(help="Why entries may begin again; goes on record.")],
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Allow entries again, after a kill or a reduction."""
    with readable_errors():
        settings = load_layers(config, storage__data_dir=data_dir).settings
        answer = ask(settings, "POST", "/api/engine/resume", {"reason": reason})
        console.print(f"risk is {answer['risk_state']}")


@commands.command()
def settle(
    symbol: Annotated[str, typer.Argument(help="As in the settings, such as RELIANCE.")],
    price: Annotated[str, typer.Option(help="Rupees at which its shares left.")],
    reason: Annotated[str, typer.Option(help="How they left; goes on record.")],
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Close in the ledger a position that the broker does not hold any more; sends no order."""
    with readable_errors():
        settings = load_layers(config, storage__data_dir=data_dir).settings
        path = f"/api/positions/{quote(symbol, safe='')}/settle"
        made = ask(settings, "POST", path, {"price": price, "reason": reason})
        console.print(
            f"{made['quantity']} shares of {made['symbol']} settled at {made['price']}, "
            f"net P&L {made['pnl']}; {made['left']} stay open"
        )


@commands.command()
def confirm(
    reference: Annotated[str, typer.Argument(help="The order, as `degraded` names it.")],
    reason: Annotated[str, typer.Option(help="Where it was read; goes on record.")],
    price: Annotated[
        str | None,
        typer.Option(help="Rupees at which its shares filled, on average; none if none did."),
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Say what an order of the day filled at whose trades the broker does not tell."""
    with readable_errors():
        settings = load_layers(config, storage__data_dir=data_dir).settings
        path = f"/api/orders/{quote(reference, safe='')}/confirm"
        made = ask(settings, "POST", path, {"price": price, "reason": reason})
        if made["price"] is None:
            console.print(f"order {made['order']}: confirmed that no share of it traded")
            return
        console.print(
            f"{made['quantity']} shares of {made['symbol']} confirmed at {made['price']}, booked "
            f"at {made['booked_price']}; net P&L {made['pnl']}"
        )


def _still_open(positions: int) -> str:
    if positions == 0:
        return "no position is open"
    return "1 position is still open" if positions == 1 else f"{positions} positions are still open"


def require_running(settings: Settings) -> Running:
    """The system on this data directory. StopError when there is none."""
    there = running(settings.storage.data_dir)
    if there is None or not is_locked(settings.storage.data_dir):
        raise StopError(f"hftray does not run on {settings.storage.data_dir}")
    return there


def ask(
    settings: Settings, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON that the running system answers. StopError in its words when it refuses."""
    url = f"{require_running(settings).url}{path}"
    token = settings.server.api_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    try:
        answer = httpx.request(method, url, json=body, headers=headers, timeout=PATIENCE)
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        raise StopError(f"{url} answered {_refusal(error.response)}") from error
    except httpx.TimeoutException as error:
        raise StopError(f"{url} has not answered in {PATIENCE:.0f} s") from error
    except httpx.HTTPError as error:
        raise StopError(f"{url} does not answer yet: {error}") from error
    found: dict[str, Any] = answer.json()
    return found


def _refusal(answer: httpx.Response) -> str:
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return "401; set HFTRAY_API_TOKEN to the token of the running system"
    if answer.headers.get("content-type") != "application/problem+json":
        return str(answer.status_code)
    problem = answer.json()
    fields = [f"{error['field']}: {error['message']}" for error in problem.get("errors", ())]
    return f"{answer.status_code}: {'; '.join(fields) or problem['detail']}"
