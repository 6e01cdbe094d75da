"""`hftray doctor`: is everything there that trading needs, and if not, what to do."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from hftray import launch
from hftray.commands.doctor_broker import broker
from hftray.commands.doctor_machine import machine
from hftray.commands.findings import Finding, Health
from hftray.core.errors import HftrayError
from hftray.core.session import IST
from hftray.settings import Settings
from hftray.terminal import ConfigFile, DataDir, console, load_layers, readable_errors
from hftray.venues import WITH_BROKER

commands = typer.Typer()

COLOURS = {Health.FINE: "green", Health.WARNING: "yellow", Health.FAILING: "red"}


@commands.command()
def doctor(
    mode: Annotated[str | None, typer.Option(help="auto|simulation|replay|paper|live")] = None,
    user: Annotated[str | None, typer.Option(help="Whose keys; default: storage.user_id.")] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Look at this machine, and for paper and live at the broker; exit code 1 if anything fails."""
    with readable_errors():
        settings = load_layers(config, mode=mode, storage__data_dir=data_dir).settings
        console.print(f"mode {settings.effective_mode}", highlight=False)
        failed = [_tell(finding) for finding in machine(settings, datetime.now(IST).date())]
        if settings.effective_mode in WITH_BROKER:
            user_id = user or settings.storage.user_id
            with _database_of_keys(settings, user_id) as url:
                failed.append(asyncio.run(_ask_broker(settings, user_id, url)))
    if any(failed):
        raise typer.Exit(1)


@contextmanager
def _database_of_keys(settings: Settings, user_id: str) -> Iterator[str]:
    """The URL of the database while stored keys are needed; else, or if it is away, empty."""
    with ExitStack() as stack:
        url = ""
        if not (settings.groww.has_keys and user_id == settings.storage.user_id):
            # What is wrong with the database was told in its own line.
            with suppress(HftrayError):
                url = stack.enter_context(launch.reachable_database(settings))
        yield url


async def _ask_broker(settings: Settings, user_id: str, url: str) -> bool:
    """Tell what the broker says; whether anything fails."""
    return any([_tell(finding) async for finding in broker(settings, user_id, url)])


def _tell(finding: Finding) -> bool:
    """Print it; whether it fails."""
    colour = COLOURS[finding.health]
    state = f"[{colour}]{finding.health:<8}[/{colour}]"
    console.print(f"{state} {finding.subject:<12} {escape(finding.detail)}", soft_wrap=True)
    if finding.remedy:
        console.print(f"{'':<22}→ {escape(finding.remedy)}", soft_wrap=True)
    return finding.health is Health.FAILING
