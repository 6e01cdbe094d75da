"""Who may act on a symbol: only the incarnation of its shell that registered last.

Each registration gets a number, its epoch, and every call that could move the book carries it. So
an older process that woke up late is refused, whatever it believes (fencing).
"""

from collections.abc import Container
from typing import Any

from hftray.core.errors import NotFound, NotRegistered, StaleEpoch


class Epochs:
    """The newest epoch of each symbol of a run; all that are given lie above `floor`."""

    def __init__(self, symbols: Container[str], floor: int) -> None:
        self._symbols = symbols
        self._newest: dict[str, int] = {}
        self._floor = floor

    def register(self, symbol: str) -> int:
        """A new epoch for the symbol. NotFound."""
        if symbol not in self._symbols:
            raise NotFound(f"{symbol} is not a symbol of this run")
        self._newest[symbol] = self._newest.get(symbol, self._floor) + 1
        return self._newest[symbol]

    def require(self, symbol: str, epoch: int) -> None:
        """StaleEpoch unless it is the one registered last, NotRegistered when there is none."""
        if symbol not in self._newest:
            raise NotRegistered(f"{symbol} has not registered since risk was started")
        if epoch != self._newest[symbol]:
            raise StaleEpoch(f"{symbol}: epoch {epoch} is not the one registered last")

    def snapshot(self) -> dict[str, Any]:
        """State as picklable values."""
        return {"newest": dict(self._newest), "floor": self._floor}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._newest, self._floor = dict(state["newest"]), state["floor"]
