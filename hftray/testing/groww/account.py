"""The account of the loopback: positions, margins, holdings, worked out from the book's trades.

Money is Decimal rupees. An MIS position binds a fifth of its value, a CNC one all of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from hftray.core.money import ZERO, paisa, rupees
from hftray.core.orders import Side
from hftray.testing.groww.market import Market
from hftray.testing.groww.order_form import NewOrder
from hftray.testing.groww.orders import OrderBook
from hftray.testing.groww.shares import Share
from hftray.testing.groww.wire_order import WireOrder

MARGIN_RATE = {"MIS": Decimal("0.20"), "CNC": Decimal(1), "NRML": Decimal(1)}

Key = tuple[str, str, str]  # exchange, symbol, product


@dataclass(slots=True)
class Position:
    """One share's trades of the day in one product. Values are quantity times price."""

    exchange: str
    symbol: str
    product: str
    bought: int = 0
    bought_value: Decimal = ZERO
    sold: int = 0
    sold_value: Decimal = ZERO

    @property
    def net(self) -> int:
        """Shares held (+) or owed (-)."""
        return self.bought - self.sold

    @property
    def buy_price(self) -> Decimal:
        """Mean price of the shares bought."""
        return self.bought_value / self.bought if self.bought else ZERO

    @property
    def sell_price(self) -> Decimal:
        """Mean price of the shares sold."""
        return self.sold_value / self.sold if self.sold else ZERO

    @property
    def net_price(self) -> Decimal:
        """Mean price of the side that is left open."""
        return ZERO if not self.net else self.buy_price if self.net > 0 else self.sell_price

    @property
    def realised(self) -> Decimal:
        """Profit on the shares that were both bought and sold."""
        return min(self.bought, self.sold) * (self.sell_price - self.buy_price)

    def add(self, side: Side, quantity: int, price: Decimal) -> None:
        """Count one trade."""
        if side is Side.BUY:
            self.bought += quantity
            self.bought_value += quantity * price
        else:
            self.sold += quantity
            self.sold_value += quantity * price


@dataclass(slots=True)
class Account:
    """One user's money and shares. `holdings` maps symbols to (quantity, average price)."""

    market: Market
    book: OrderBook
    capital: Decimal = Decimal(1_000_000)
    check_margin: bool = True
    holdings: dict[str, tuple[int, Decimal]] = field(default_factory=dict)
    foreign: dict[Key, Position] = field(default_factory=dict)

    def set_foreign_position(
        self,
        symbol: str,
        quantity: int,
        price: Decimal | float,
        *,
        exchange: str = "NSE",
        product: str = "MIS",
    ) -> None:
        """Put a position there that no order of the book explains; quantity 0 takes it away."""
        self.market.share(exchange, symbol)
        position = Position(exchange, symbol, product)
        side = Side.BUY if quantity > 0 else Side.SELL
        position.add(side, abs(quantity), rupees(price))
        self.foreign[exchange, symbol, product] = position
        if not quantity:
            del self.foreign[exchange, symbol, product]

    def positions(self) -> list[Position]:
        """Today's positions, closed ones included, in the order of their first trade."""
        found: dict[Key, Position] = {}
        for key, own in self.foreign.items():
            found[key] = Position(*key, own.bought, own.bought_value, own.sold, own.sold_value)
        for entry, execution in self.book.executions(self.market.clock.now().date()):
            key = (entry.order.exchange, entry.order.symbol, entry.order.product)
            position = found.setdefault(key, Position(*key))
            position.add(entry.order.side, execution.quantity, execution.price)
        return list(found.values())

    def net(self, exchange: str, symbol: str, product: str) -> int:
        """Shares of one position."""
        wanted = (exchange, symbol, product)
        return sum(p.net for p in self.positions() if (p.exchange, p.symbol, p.product) == wanted)

    def used(self, product: str) -> Decimal:
        """Margin bound by open positions and by working orders that would open one."""
        held = sum(
            (abs(p.net) * p.net_price for p in self.positions() if p.product == product), ZERO
        )
        pending = sum(
            (self._opening_value(entry) for entry in self.book
             if entry.working and entry.order.product == product),
            ZERO,
        )  # fmt: skip
        return paisa((held + pending) * MARGIN_RATE[product])

    def realised(self) -> Decimal:
        """Today's profit on closed shares, before charges."""
        return paisa(sum((position.realised for position in self.positions()), ZERO))

    def available(self) -> Decimal:
        """What is left to trade with."""
        return self.capital + self.realised() - sum(map(self.used, MARGIN_RATE), ZERO)

    def required(self, orders: Iterable[tuple[Share, str, int, Decimal]]) -> Decimal:
        """Margin of orders given as share, product, quantity, price."""
        value = (MARGIN_RATE[product] * quantity * price for _, product, quantity, price in orders)
        return paisa(sum(value, ZERO))

    def refusal(self, order: NewOrder) -> str | None:
        """Why the broker does not let the account place the order."""
        share = self.market.share(order.exchange, order.symbol)
        net = self.net(order.exchange, order.symbol, order.product)
        opening = max(0, order.terms.quantity - max(0, -order.side.sign * net))
        if order.product == "CNC" and order.side is Side.SELL:
            free = self.holdings.get(order.symbol, (0, ZERO))[0]
            return None if opening <= free else f"only {free} shares of {order.symbol} are held"
        price = order.terms.price or order.terms.trigger or self._last(share)
        needed = self.required([(share, order.product, opening, price)])
        if self.check_margin and needed > self.available():
            return f"insufficient margin: {needed} needed, {self.available()} available"
        return None

    def _opening_value(self, entry: WireOrder) -> Decimal:
        order = entry.order
        net = self.net(order.exchange, order.symbol, order.product)
        left = entry.terms.quantity - entry.filled
        opening = max(0, left - max(0, -order.side.sign * net))
        share = self.market.share(order.exchange, order.symbol)
        return opening * (entry.terms.price or entry.terms.trigger or self._last(share))

    def _last(self, share: Share) -> Decimal:
        state = self.market.state(share, self.market.clock.now())
        return ZERO if state is None else rupees(state.price)
