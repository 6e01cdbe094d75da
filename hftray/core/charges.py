"""What an order costs besides its price: dated tables of brokerage, taxes and fees.

The figures live in config/charges.yaml; here is only how they are applied to one executed order
of an intraday equity position. Rates are percent of turnover unless a field says otherwise. How a
day's contract note rounds them is in `core.contract_note`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from hftray.core.errors import ConfigError
from hftray.core.money import ZERO, paisa, rounded_share
from hftray.core.orders import Side


@dataclass(frozen=True, slots=True)
class Charges:
    """The charges of one executed order in rupees; `total` is the sum of the rounded parts."""

    brokerage: Decimal
    stt: Decimal
    exchange: Decimal
    sebi: Decimal
    stamp: Decimal
    ipft: Decimal
    gst: Decimal

    @property
    def total(self) -> Decimal:
        """All of it, to the paisa."""
        return (
            self.brokerage
            + self.stt
            + self.exchange
            + self.sebi
            + self.stamp
            + self.ipft
            + self.gst
        )

    def parts(self) -> dict[str, Decimal]:
        """Every charge by its name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def __add__(self, other: "Charges") -> "Charges":
        return Charges(**{name: part + getattr(other, name) for name, part in self.parts().items()})

    def __sub__(self, other: "Charges") -> "Charges":
        return Charges(**{name: part - getattr(other, name) for name, part in self.parts().items()})


NO_CHARGES = Charges(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)


@dataclass(frozen=True, slots=True)
class ChargeTable:
    """An exchange's rates from one day on. `gst_percent` is of brokerage and exchange-side fees.

    The note's units are rupees, to which a contract note rounds the day's total of that levy.
    """

    effective: date
    brokerage_percent: Decimal
    brokerage_min: Decimal  # rupees an order
    brokerage_max: Decimal  # rupees an order
    brokerage_ceiling_percent: Decimal  # brokerage never exceeds this much of a tiny order
    stt_sell_percent: Decimal
    exchange_percent: Decimal
    sebi_percent: Decimal
    stamp_buy_percent: Decimal
    ipft_percent: Decimal
    gst_percent: Decimal
    note_stt_unit: Decimal = Decimal(1)
    note_stamp_unit: Decimal = Decimal(1)
    exchange: str = "NSE"

    rates: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """All of it as whole numbers, for `order_charges`."""

    def __post_init__(self) -> None:
        numbers = [_whole_paise(self.brokerage_min), _whole_paise(self.brokerage_max)]
        for name in _PERCENTS:
            numbers += getattr(self, name).as_integer_ratio()
        object.__setattr__(self, "rates", tuple(numbers))

    def charges(self, side: Side, *, quantity: int, price: Decimal) -> Charges:
        """The charges of one executed order of `quantity` shares at `price` rupees."""
        turnover, unit = (price * quantity).as_integer_ratio()
        parts = order_charges(100 * turnover, unit, side is Side.SELL, self.rates)
        return Charges(*[Decimal(part).scaleb(-2) for part in parts])


_PERCENTS = (
    "brokerage_percent", "brokerage_ceiling_percent", "stt_sell_percent", "exchange_percent",
    "sebi_percent", "stamp_buy_percent", "ipft_percent", "gst_percent",
)  # fmt: skip


def order_charges(
    turnover: int, unit: int, sold: bool, rates: Sequence[int]
) -> tuple[int, int, int, int, int, int, int]:
    """The parts of `Charges` in paise, in its order, by a table's `rates`.

    `turnover` counts paise, each divided into `unit`. Rounding keeps order, so the brokerage's
    bounds may be rounded before they are compared.
    """
    least, most = rates[0], rates[1]
    usual = max(least, _percent(turnover, unit, rates[2], rates[3]))
    brokerage = min(usual, most, _percent(turnover, unit, rates[4], rates[5]))
    stt = _percent(turnover, unit, rates[6], rates[7]) if sold else 0
    exchange = _percent(turnover, unit, rates[8], rates[9])
    sebi = _percent(turnover, unit, rates[10], rates[11])
    stamp = 0 if sold else _percent(turnover, unit, rates[12], rates[13])
    ipft = _percent(turnover, unit, rates[14], rates[15])
    gst = _percent(brokerage + exchange + sebi + ipft, 1, rates[16], rates[17])
    return brokerage, stt, exchange, sebi, stamp, ipft, gst


def _percent(amount: int, unit: int, percent: int, denominator: int) -> int:
    return rounded_share(amount, percent, 100 * denominator * unit)


def _whole_paise(amount: Decimal) -> int:
    return int(paisa(amount) * 100)


@dataclass(frozen=True, slots=True)
class ChargeSchedule:
    """Charge tables; those of one exchange stand oldest first."""

    tables: tuple[ChargeTable, ...]

    def table(self, day: date, exchange: str = "NSE") -> ChargeTable:
        """The exchange's table in force that day; days before its oldest are charged by that one.

        ConfigError when there is none for the exchange.
        """
        in_force: ChargeTable | None = None
        for table in self.tables:
            if table.exchange == exchange and (in_force is None or table.effective <= day):
                in_force = table
        if in_force is None:
            known = ", ".join(sorted({table.exchange for table in self.tables}))
            raise ConfigError(f"charges: no table for exchange {exchange} (there are {known})")
        return in_force

    def tables_of(self, days: Sequence[date], exchange: str = "NSE") -> list[ChargeTable]:
        """`table` of each of these days, which come in their order. ConfigError."""
        if days and (first := self.table(days[0], exchange)) is self.table(days[-1], exchange):
            return [first] * len(days)
        return [self.table(day, exchange) for day in days]

    def charges(
        self, side: Side, *, quantity: int, price: Decimal, day: date, exchange: str = "NSE"
    ) -> Charges:
        """The charges of one executed order on that trading day. ConfigError."""
        return self.table(day, exchange).charges(side, quantity=quantity, price=price)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """The schedule in `{"charges": [{"effective": ..., ...}, ...]}`.

        ConfigError names the key that is missing, unknown or out of range.
        """
        unknown = sorted(set(data) - {"charges"})
        if unknown:
            raise ConfigError(f"{unknown[0]}: unknown key (allowed: charges)")
        rows = data.get("charges")
        if not isinstance(rows, list) or not rows:
            raise ConfigError("charges: must be a list with at least one table")
        tables = tuple(_table(row, f"charges[{index}]") for index, row in enumerate(rows))
        _require_order(tables)
        return cls(tables)


def _require_order(tables: Sequence[ChargeTable]) -> None:
    newest: dict[str, date] = {}
    for index, table in enumerate(tables):
        before = newest.get(table.exchange)
        if before is not None and table.effective <= before:
            raise ConfigError(f"charges[{index}].effective: must be after {before}")
        newest[table.exchange] = table.effective


def _table(row: object, where: str) -> ChargeTable:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{where}: must be a mapping of rates")
    known = {rate.name: rate for rate in fields(ChargeTable) if rate.init}
    for key in row:
        if key not in known:
            raise ConfigError(f"{where}.{key}: unknown key (allowed: {', '.join(known)})")
    for name, of_table in known.items():
        if name not in row and of_table.default is MISSING:
            raise ConfigError(f"{where}.{name}: missing")
    rates = {
        name: _rate(value, f"{where}.{name}")
        for name, value in row.items()
        if name not in ("effective", "exchange")
    }
    if rates["brokerage_min"] > rates["brokerage_max"]:
        raise ConfigError(f"{where}.brokerage_min: must not exceed brokerage_max")
    for name in ("note_stt_unit", "note_stamp_unit"):
        if rates.get(name) == 0:
            raise ConfigError(f"{where}.{name}: must be greater than 0")
    return ChargeTable(
        effective=_day(row["effective"], f"{where}.effective"),
        exchange=str(row.get("exchange", "NSE")),
        **rates,
    )


def _rate(value: object, where: str) -> Decimal:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
            raise ValueError
        rate = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise ConfigError(f"{where}: {value!r} is not a number") from None
    if not rate.is_finite() or rate < 0:
        raise ConfigError(f"{where}: {value!r} must be a finite number, 0 or more")
    return rate


def _day(value: object, where: str) -> date:
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ConfigError(f"{where}: {value!r} is not a day (YYYY-MM-DD)") from None
