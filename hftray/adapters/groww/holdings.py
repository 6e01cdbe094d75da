"""What the account holds intraday, as far as it is ours to trade."""

from hftray import observe
from hftray.adapters.groww.governor import Urgency
from hftray.adapters.groww.listed import Listed
from hftray.adapters.groww.order_calls import OrderCalls
from hftray.adapters.groww.rows import MIS
from hftray.core.errors import NotHeld, RetryError
from hftray.core.orders import BrokerPosition, Order

log = observe.logger("groww.broker")

PATIENCE = 30.0  # seconds a comparison of the books waits for the positions
EXIT_PATIENCE = 2.0  # seconds an exit does


class Holdings:
    """Positions by our symbols; what is left out is logged once."""

    def __init__(self, calls: OrderCalls, listed: Listed) -> None:
        self._calls, self._listed = calls, listed
        self._left_out: set[str] = set()

    async def require(self, order: Order) -> None:
        """NotHeld for an exit of more shares than the account holds on that side.

        Closed by hand or by Groww, a position is not there any more, and its exit would open one
        the other way. Where Groww does not tell in time the exit goes out: it must not fail because
        a question does.
        """
        try:
            held = {p.symbol: p.quantity for p in await self.net(Urgency.EXIT, EXIT_PATIENCE)}
        except RetryError as error:
            log.warning("exit sent unseen", symbol=order.symbol, reason=str(error))
            return
        shares = max(0, -order.side.sign * held.get(order.symbol, 0))
        if shares >= order.quantity:
            return
        told = "none" if shares == 0 else f"{shares}, not {order.quantity},"
        raise NotHeld(
            f"{order.reference}: the broker holds {told} of {order.symbol}: it was closed "
            "elsewhere; compare the account and settle by hand"
        )

    async def net(
        self, urgency: Urgency = Urgency.LOOK_UP, patience: float = PATIENCE
    ) -> list[BrokerPosition]:
        """Net intraday shares of the day, symbols that are not flat. RetryError.

        What was carried over or is for delivery is not ours. No average price: what Groww nets
        into it is not documented.
        """
        net: dict[str, int] = {}
        for row in await self._calls.positions(urgency, patience):
            symbol = self._listed.ours(row.exchange, row.trading_symbol)
            ours = row.quantity - row.carried if row.product == MIS else 0
            self._leave_out(symbol, row.product, row.quantity - ours)
            net[symbol] = net.get(symbol, 0) + ours
        return [BrokerPosition(symbol, shares) for symbol, shares in sorted(net.items()) if shares]

    def _leave_out(self, symbol: str, product: str, shares: int) -> None:
        name = f"{symbol} {product}"
        if shares and name not in self._left_out:
            self._left_out.add(name)
            log.warning("position not ours", symbol=symbol, product=product, shares=shares)
