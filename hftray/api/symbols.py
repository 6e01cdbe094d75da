"""Which symbols a request may name."""

from hftray.api.desk import Desk
from hftray.core.errors import NotFound


def known_symbol(desk: Desk, symbol: str) -> str:
    """The symbol itself. NotFound when the engine does not trade it."""
    if symbol not in desk.symbols():
        raise NotFound(f"unknown symbol {symbol}")
    return symbol


def known_or_recorded(desk: Desk, symbol: str | None, recorded: bool) -> None:
    """NotFound for a filter on a symbol that is neither traded now nor found in the record."""
    if symbol is not None and not recorded:
        known_symbol(desk, symbol)
