"""What the limits say of the account and the day: how much is free, and why an order may not be.

A refusal is a text that a person can read; None means nothing stands against the order.
"""

from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

from hftray.core.money import ZERO, paisa_of
from hftray.core.orders import Leg, OrderIntent
from hftray.core.risk_account import Account
from hftray.core.risk_day import RiskDay
from hftray.core.risk_switch import DAILY_LOSS, IMPAIRED, RiskSwitch
from hftray.core.risk_view import RiskView
from hftray.core.rules import RiskLimits


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """The limits, held against the present account, day and state of one book."""

    limits: RiskLimits
    account: Account
    day: RiskDay
    switch: RiskSwitch
    locks: dict[str, str]

    @property
    def exposure_limit(self) -> Decimal:
        """The most that may be deployed and reserved today, in rupees."""
        return self.day.opening * self.limits.leverage

    @property
    def free(self) -> Decimal:
        """Rupees of exposure left; capital lost today backs nothing new, capital won neither."""
        backing = min(self.day.opening, self.account.capital) * self.limits.leverage
        return max(ZERO, backing - self.account.deployed - self.account.reserved)

    @property
    def daily_loss(self) -> Decimal:
        """Opening capital less equity: realised plus open loss, net of charges."""
        return self.day.opening - self.account.equity

    @property
    def daily_loss_limit(self) -> Decimal:
        """The loss that ends the day's entries, in rupees."""
        return self.loss_limit_of(self.day.opening)

    def loss_limit_of(self, opening: Decimal) -> Decimal:
        """`daily_loss_limit` of a day that opens with this capital."""
        return paisa_of(opening, self.limits.max_daily_loss_percent)

    def loss_refusal(self) -> str | None:
        """The daily loss has reached its limit."""
        loss, limit = self.daily_loss, self.daily_loss_limit
        if self.day.day is None or loss < limit:
            return None
        return f"{DAILY_LOSS}: {loss} has reached the limit of {limit}"

    def entry_refusal(self, symbol: str, price: float) -> str | None:
        """Why no entry now, whatever its size; `price` is the one it was decided at."""
        today = self.day.entries.get(symbol, 0)
        if self.switch.state.entries_barred:
            return f"risk is {self.switch.state}: {self.switch.reason}"
        if self.switch.impairment:
            return f"{IMPAIRED}: {self.switch.impairment}"
        if symbol in self.locks:
            return f"{symbol} is locked: {self.locks[symbol]}"
        if symbol in self.account.holdings or self.account.working(symbol):
            return f"{symbol} has a position or a working order"
        if not (isfinite(price) and price > 0):
            return f"price {price} is not a positive number"
        if today >= self.limits.max_trades_per_symbol_day:
            return f"trades: {today} in {symbol} today is the limit"
        if self.day.trades >= self.limits.max_trades_per_day:
            return f"trades: {self.day.trades} today is the limit"
        return self.loss_refusal()

    def exit_refusal(self, intent: OrderIntent) -> str | None:
        """Why this cannot be an exit of what is open; the risk state never stands against one."""
        held = self.account.holdings.get(intent.symbol)
        if intent.leg is not Leg.EXIT:
            return f"a {intent.leg} row is no order"
        if held is None:
            return f"{intent.symbol} has no position to exit"
        if intent.position not in (None, held.entry.reference):
            return f"{intent.position} is not the open position"
        if intent.side is held.entry.side:
            return f"{intent.side} does not close a {held.entry.side}"
        if self.account.working(intent.symbol):
            return "an exit is working already"
        if not 1 <= intent.quantity <= held.quantity:
            return f"quantity {intent.quantity} is not within the {held.quantity} shares open"
        if intent.stop and (intent.trigger is None or intent.trigger <= ZERO):
            return f"the trigger {intent.trigger} of a stop order is not positive"
        return None

    def view(self) -> RiskView:
        """The book at this moment."""
        account, day = self.account, self.day
        return RiskView(
            state=self.switch.state,
            reason=self.switch.reason,
            since=self.switch.since,
            session_day=day.day,
            initial_capital=account.initial,
            opening_capital=day.opening,
            capital=account.capital,
            equity=account.equity,
            realised_pnl=account.realised,
            realised_today=account.capital - day.opening,
            open_pnl=account.open_pnl,
            deployed=account.deployed,
            reserved=account.reserved,
            exposure_limit=self.exposure_limit,
            free=self.free,
            daily_loss=self.daily_loss,
            daily_loss_limit=self.daily_loss_limit,
            open_positions=len(account.holdings),
            working_orders=len(account.pending),
            trades_today=day.trades,
            trades_by_symbol=dict(day.entries),
            locks=dict(self.locks),
            limits=self.limits,
        )
