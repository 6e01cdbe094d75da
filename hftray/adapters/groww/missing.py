"""Orders that left no trace: how long they are looked for, and which were given up.

See `broker` for why an order is given up when it is.
"""

from collections.abc import Callable

from hftray import observe
from hftray.core.orders import OrderReport, OrderStatus

log = observe.logger("groww.broker")


class Missing:
    """The references nobody finds. `patience` is seconds of `clock`."""

    def __init__(self, patience: float, clock: Callable[[], float]) -> None:
        self.gone: dict[str, OrderReport] = {}
        self._patience, self._clock = patience, clock
        self._searched: dict[str, float] = {}

    def no_trace(self, reference: str) -> bool:
        """Note that a look-up found nothing; whether that has been so for long enough."""
        now = self._clock()
        return now - self._searched.setdefault(reference, now) >= self._patience

    def found(self, reference: str) -> None:
        """There is a trace after all; the next search begins anew."""
        self._searched.pop(reference, None)

    def give_up(self, reference: str, symbol: str, quantity: int) -> OrderReport:
        """The order counts as never sent from now on: REJECTED."""
        self._searched.pop(reference, None)
        if reference not in self.gone:
            reason = f"never reached the exchange: no trace of it for {self._patience:g} seconds"
            log.warning("order given up", reference=reference, symbol=symbol, reason=reason)
            self.gone[reference] = OrderReport(
                reference=reference,
                symbol=symbol,
                status=OrderStatus.REJECTED,
                broker_order_id="",
                quantity=quantity,
                reason=reason,
            )
        return self.gone[reference]
