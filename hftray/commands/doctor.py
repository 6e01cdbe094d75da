"""`hftray doctor`: is everything there that trading needs, and if not, what to do."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from hftray.commands.doctor_broker import broker
from hftray.commands.doctor_machine import machine
from hftray.commands.findings import Finding, Health
from hftray.core.session import IST
from hftray.settings import Settings
from hftray.terminal import ConfigFile, DataDir, console, load_layers, readable_errors

commands = typer.Typer()

COLOURS = {Health.FINE: "green", Health.WARNING: "yellow", Health.FAILING: "red"}


@commands.command()
def doctor(
    mode: Annotated[str | None, typer.Option(help="auto|simulation|replay|paper|live")] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Look at this machine, and for paper and live at the broker; exit code 1 if anything fails."""
    with readable_errors():
        settings = load_layers(config, mode=mode, storage__data_dir=data_dir).settings
        console.print(f"mode {settings.effective_mode}", highlight=False)
        worst = asyncio.run(_show(settings))
    if worst:
        raise typer.Exit(1)


async def _show(settings: Settings) -> bool:
    """Print what is found as it is found; whether anything fails."""
    failed = False
    async for finding in _findings(settings, datetime.now(IST)):
        failed |= finding.health is Health.FAILING
        _print(finding)
    return failed


async def _findings(settings: Settings, now: datetime) -> AsyncIterator[Finding]:
    for finding in await asyncio.to_thread(lambda: list(machine(settings, now.date()))):
        yield finding
    if settings.effective_mode in ("paper", "live"):
        async for finding in broker(settings, settings.storage.user_id, "", now):
            yield finding


def _print(finding: Finding) -> None:
    colour = COLOURS[finding.health]
    state = f"[{colour}]{finding.health:<8}[/{colour}]"
    console.print(f"{state} {finding.subject:<12} {escape(finding.detail)}", soft_wrap=True)
    if finding.remedy:
        console.print(f"{'':<22}→ {escape(finding.remedy)}", soft_wrap=True)
