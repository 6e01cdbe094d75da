"""Kills, freezes and cheats the running system, and asks whether the ledger still equals the book.

    python benchmarks/chaos.py --minutes 5 --seed 7 [--symbols 20] [--json FILE] [--keep]
    python benchmarks/chaos.py --groww --minutes 5 --seed 7 --symbols 8

A simulated market on a fast clock trades on a Ray cluster of three nodes of this machine while an
adversary works through a schedule that is a function of the seed. After each simulated day, and
at the end, the exchange's own book is compared with PostgreSQL. The exit code is 1 when anything
was lost, doubled, orphaned or beyond a limit, or when too little happened to prove anything.

With `--groww` it trades in mode `live` at a Groww on loopback, whose own faults take the place of
the simulated exchange's, and whose count of calls is printed.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from adversity.console import ProgressLine, quiet_ray
from adversity.groww import FAST, loopback
from adversity.groww_faults import DECK as GROWW
from adversity.report import Outcome
from adversity.run import Run
from adversity.schedule import SIMULATED, digest, schedule
from adversity.simulated import SimulatedVenue
from adversity.system import listed_symbols, running
from adversity.venue import Venue
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

GAP = 1.5  # seconds between faults, on average
# Only a minute of faults proves nothing about five: the targets grow with the time.
FAULTS_A_MINUTE, ORDERS_A_MINUTE = 20, 100  # orders: of twenty symbols
ORDERS_AT_A_GROWW = 25  # its clock is twenty times as slow, and a lost order takes ten seconds


@contextlib.contextmanager
def venue_of(chosen: argparse.Namespace, symbols: tuple[str, ...]) -> Iterator[Venue]:
    """The exchange that was asked for."""
    if chosen.groww:
        with loopback(symbols, chosen.seed, chosen.pace) as groww:
            yield groww
        return
    with tempfile.TemporaryDirectory(prefix="hftray-faults-") as tokens:
        yield SimulatedVenue(Path(tokens))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--groww", action="store_true", help="trade live at a Groww on loopback")
    parser.add_argument("--pace", type=float, default=FAST, help="market seconds a second there")
    parser.add_argument("--gap", type=float, default=GAP, help="seconds between faults")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--keep", action="store_true", help="keep the files of a good run")
    chosen = parser.parse_args()
    console = Console(file=sys.stdout)
    seconds = chosen.minutes * 60
    symbols = listed_symbols(chosen.symbols)
    faults = GROWW if chosen.groww else SIMULATED
    planned = schedule(chosen.seed, seconds, chosen.gap, faults)
    console.print(f"schedule {digest(planned)}: {len(planned)} faults in {seconds:.0f} s")
    outcome = Outcome(chosen.seed, digest(planned), seconds, chosen.symbols, tuple(faults.kinds))
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with (
        quiet_ray(),
        venue_of(chosen, symbols) as venue,
        running(
            venue,
            symbols,
            seed=chosen.seed,
            keep=lambda: chosen.keep or bool(outcome.violations),
            say=lambda text: console.print(f"  {text}", style="dim"),
        ) as chaos,
        Progress(
            *columns, console=console, redirect_stdout=False, redirect_stderr=False
        ) as progress,
    ):
        asyncio.run(Run(chaos, planned, outcome).drive(ProgressLine(progress, seconds)))
    orders = ORDERS_AT_A_GROWW if chosen.groww else ORDERS_A_MINUTE
    shortfalls = outcome.shortfalls(
        faults=int(chosen.minutes * FAULTS_A_MINUTE * GAP / chosen.gap),
        orders=int(chosen.minutes * orders * chosen.symbols / 20),
        # A short run cannot have had every kind; one of a round and a half has.
        every_kind=len(planned) > 1.5 * len(faults.kinds),
    )
    outcome.show(console)
    if chosen.json:
        outcome.write(chosen.json, shortfalls)
    console.print("FAILED: " + "; ".join(shortfalls) if shortfalls else "[green]all well[/green]")
    return 1 if shortfalls else 0


if __name__ == "__main__":
    raise SystemExit(main())
