"""What every command of the command line shares: its output, its options, how it fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from hftray.core.errors import HftrayError
from hftray.layers import Loaded, load

console = Console(highlight=False)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML laid over the defaults.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where hftray keeps its files.")]


@contextmanager
def readable_errors() -> Iterator[None]:
    """Print what was raised on purpose in one line and exit with 1."""
    try:
        yield
    except HftrayError as error:
        console.print("[red]hftray:[/red]", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from error


def load_layers(config: Path | None, **flags: Any) -> Loaded:
    """The settings in force; `a__b=1` sets the key `a.b`, None leaves it to the other layers."""
    return load(config=config, flags={key.replace("__", "."): v for key, v in flags.items()})
