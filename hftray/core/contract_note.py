"""A day's executed orders as a broker's contract note shows them.

The ledger charges every order by itself and rounds each charge to the paisa, so that an order's
P&L is known at once. A note charges the day. By exchange:

- brokerage is the sum over the orders, each to the paisa;
- exchange charge, SEBI fee and IPFT are taken on the day's turnover, to the paisa;
- GST is taken on the sum of these four, to the paisa;
- securities transaction tax is taken, share by share, on the quantity sold times the mean price of
  all the day's trades in that share, itself to the paisa; the sum over the shares is rounded to the
  rupee (Securities Transaction Tax Rules, 2004, rules 3 and 4; circular NSE/CMTR/5588);
- stamp duty is taken on the day's purchases and rounded to the rupee.

The units of the last two and their sources stand in config/charges.yaml. What the note says beyond
or short of the ledger's charges is `ContractNote.rounding`. Money is Decimal rupees.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import reduce
from operator import add

from hftray.core.charges import NO_CHARGES, Charges, ChargeSchedule, ChargeTable
from hftray.core.fill_confirmation import as_confirmed, confirmations
from hftray.core.ledger import TradeRecord
from hftray.core.money import ZERO, paisa, percent_of
from hftray.core.orders import Leg, Side, TradeStatus


@dataclass(frozen=True, slots=True)
class NoteLeg:
    """One executed order. `charges` is what it costs by itself; `booked` what the ledger took.

    `confirmed` are the rows with which persons confirmed its fill: then the last one's price
    counts.
    """

    trade: TradeRecord
    price: Decimal
    charges: Charges
    confirmed: tuple[TradeRecord, ...] = ()

    @property
    def value(self) -> Decimal:
        """Quantity times price."""
        return paisa(self.price * self.trade.quantity)

    @property
    def booked(self) -> Decimal:
        """The charges on the ledger's rows."""
        return as_confirmed(self.trade, self.confirmed).charges or ZERO

    @property
    def net(self) -> Decimal:
        """What a sale brings in, or a purchase takes out (negative), after the leg's charges."""
        value = self.value if self.trade.side is Side.SELL else -self.value
        return value - self.charges.total


@dataclass(frozen=True, slots=True)
class ContractNote:
    """A trading day of one account; `levied` is what the note charges for all of it."""

    day: date
    legs: tuple[NoteLeg, ...]
    levied: Charges

    @property
    def bought(self) -> Decimal:
        """Value of the day's purchases."""
        return _value(self.legs, Side.BUY)

    @property
    def sold(self) -> Decimal:
        """Value of the day's sales."""
        return _value(self.legs, Side.SELL)

    @property
    def gross(self) -> Decimal:
        """Sales less purchases: the day's P&L before charges when nothing stayed open."""
        return self.sold - self.bought

    @property
    def net(self) -> Decimal:
        """What is received, or paid when negative."""
        return self.gross - self.levied.total

    @property
    def leg_charges(self) -> Charges:
        """The legs' own charges, added up."""
        return _sum(leg.charges for leg in self.legs)

    @property
    def rounding(self) -> Charges:
        """What the note's way of rounding adds to the legs' charges, or takes off (negative)."""
        return self.levied - self.leg_charges

    @property
    def booked(self) -> Decimal:
        """What the ledger charged for the same orders."""
        return sum((leg.booked for leg in self.legs), ZERO)

    @property
    def drift(self) -> Decimal:
        """The legs' charges by today's table less those booked; 0 unless the table was changed."""
        return self.leg_charges.total - self.booked

    @property
    def unmatched(self) -> dict[str, int]:
        """Shares bought less shares sold where they differ: charged as intraday all the same."""
        held: dict[str, int] = {}
        for leg in self.legs:
            symbol, signed = leg.trade.symbol, leg.trade.side.sign * leg.trade.quantity
            held[symbol] = held.get(symbol, 0) + signed
        return {symbol: left for symbol, left in held.items() if left}


def contract_note(
    day: date, trades: Iterable[TradeRecord], schedule: ChargeSchedule
) -> ContractNote:
    """The note of that session's executed orders, in the order given.

    Orders of other days, orders that traded nothing, and rows recorded by hand (they went through
    another account) are left out; one that confirms a fill gives that its price. ConfigError when
    an exchange has no charges.
    """
    trades = list(trades)
    said = confirmations(trades)
    legs = []
    for trade in trades:
        executed = trade.status is TradeStatus.EXECUTED and trade.leg is not Leg.MANUAL
        confirmed = tuple(said.get(trade.reference, ()))
        price = as_confirmed(trade, confirmed).price
        if executed and trade.session_day == day and price is not None:
            own = schedule.charges(
                trade.side, quantity=trade.quantity, price=price, day=day, exchange=trade.exchange
            )
            legs.append(NoteLeg(trade, price, own, confirmed))
    exchanges = dict.fromkeys(leg.trade.exchange for leg in legs)
    levied = _sum(
        _levied([leg for leg in legs if leg.trade.exchange == name], schedule.table(day, name))
        for name in exchanges
    )
    return ContractNote(day, tuple(legs), levied)


def _levied(legs: Sequence[NoteLeg], rates: ChargeTable) -> Charges:
    bought, sold = _value(legs, Side.BUY), _value(legs, Side.SELL)
    turnover = bought + sold
    brokerage = sum((leg.charges.brokerage for leg in legs), ZERO)
    exchange = paisa(percent_of(turnover, rates.exchange_percent))
    sebi = paisa(percent_of(turnover, rates.sebi_percent))
    ipft = paisa(percent_of(turnover, rates.ipft_percent))
    taxed = sum((_taxed(share) for share in _by_share(legs)), ZERO)
    stamp = percent_of(bought, rates.stamp_buy_percent)
    return Charges(
        brokerage=brokerage,
        stt=_to_unit(percent_of(taxed, rates.stt_sell_percent), rates.note_stt_unit),
        exchange=exchange,
        sebi=sebi,
        stamp=_to_unit(stamp, rates.note_stamp_unit),
        ipft=ipft,
        gst=paisa(percent_of(brokerage + exchange + sebi + ipft, rates.gst_percent)),
    )


def _by_share(legs: Sequence[NoteLeg]) -> list[list[NoteLeg]]:
    shares: dict[str, list[NoteLeg]] = {}
    for leg in legs:
        shares.setdefault(leg.trade.symbol, []).append(leg)
    return list(shares.values())


def _taxed(legs: Sequence[NoteLeg]) -> Decimal:
    """What the tax is taken on in one share: the quantity sold at the day's mean price."""
    traded = sum(leg.trade.quantity for leg in legs)
    mean = paisa(sum((leg.value for leg in legs), ZERO) / traded)
    return mean * sum(leg.trade.quantity for leg in legs if leg.trade.side is Side.SELL)


def _value(legs: Sequence[NoteLeg], side: Side) -> Decimal:
    return sum((leg.value for leg in legs if leg.trade.side is side), ZERO)


def _sum(charges: Iterable[Charges]) -> Charges:
    return reduce(add, charges, NO_CHARGES)


def _to_unit(amount: Decimal, unit: Decimal) -> Decimal:
    return paisa((amount / unit).to_integral_value(ROUND_HALF_UP) * unit)
