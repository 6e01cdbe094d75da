"""The options that `hftray sweep` and `hftray walk-forward` share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from hftray.backtest.search import Method
from hftray.backtest.sweep import HIGHER_IS_BETTER
from hftray.core.errors import ConfigError

DAY = ["%Y-%m-%d"]

Symbols = Annotated[str, typer.Option(help="Comma-separated, e.g. RELIANCE,TCS; one account.")]
Params = Annotated[
    list[str],
    typer.Option(
        help="name=low:high[:step] or name=a,b,c; names such as rsi.period, exits.stop_loss_atr, "
        "risk.leverage, signals.threshold. May be repeated.",
    ),
]
Data = Annotated[
    Path | None, typer.Option(help="Folder or file of candles; default: simulated ones.")
]
Grid = Annotated[bool, typer.Option("--grid", help="Every set there is.")]
Random = Annotated[int | None, typer.Option(help="So many sets at random.")]
Tpe = Annotated[int | None, typer.Option(help="So many sets, learning on the way.")]
Metric = Annotated[str, typer.Option(help=f"What is optimised: {', '.join(HIGHER_IS_BETTER)}.")]
First = Annotated[
    datetime | None, typer.Option("--from", formats=DAY, help="Default: the first of the data.")
]
Last = Annotated[
    datetime | None, typer.Option("--to", formats=DAY, help="Default: the last of the data.")
]
Strategies = Annotated[
    list[str] | None,
    typer.Option("--strategy", help="ensemble, a kind or a voter; may be given several times."),
]
StrategyFiles = Annotated[
    list[Path] | None, typer.Option(help="A Python file with strategies of your own.")
]
Capital = Annotated[str | None, typer.Option(help="Rupees to begin with.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed, other random sets.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes; 1 is this one, without Ray. Default: as it pays off."),
]
Address = Annotated[str | None, typer.Option("--ray-address", help="A running Ray cluster.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the results; default: one a study.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what was interrupted.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, nothing else.")]
Report = Annotated[Path | None, typer.Option(help="Write an HTML report there.")]
Train = Annotated[int, typer.Option(help="Sessions to choose on.")]
Test = Annotated[int, typer.Option(help="Sessions right after them, to play the choice on.")]
Anchored = Annotated[bool, typer.Option("--anchored", help="Choose on all sessions so far.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was given on the command line; `train`, `test` and `anchored` are a walk-forward's."""

    symbols: str
    param: Sequence[str]
    data: Path | None
    grid: bool
    random: int | None
    tpe: int | None
    metric: str
    first: datetime | None
    last: datetime | None
    strategy: Sequence[str] | None
    strategy_file: Sequence[Path] | None
    capital: str | None
    seed: int
    workers: int | None
    address: str | None
    out: Path | None
    resume: bool
    as_json: bool
    report: Path | None
    data_dir: Path | None
    config: Path | None
    train: int = 0
    test: int = 0
    anchored: bool = False

    def names(self) -> tuple[str, ...]:
        """The symbols, in capitals."""
        return tuple(name.strip().upper() for name in self.symbols.split(",") if name.strip())

    def method(self) -> tuple[Method, int | None]:
        """How to search, and how many sets. ConfigError unless exactly one way was chosen."""
        given: list[tuple[Method, int | None]] = [(Method.GRID, None)] if self.grid else []
        for method, count in ((Method.RANDOM, self.random), (Method.TPE, self.tpe)):
            if count is not None:
                given.append((method, count))
        if len(given) != 1:
            raise ConfigError("choose one of --grid, --random N and --tpe N")
        return given[0]
