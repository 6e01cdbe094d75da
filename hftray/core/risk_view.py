"""What the risk book shows of itself."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from hftray.core.rules import RiskLimits


class RiskState(StrEnum):
    """What risk lets through. Exits pass in every state."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"  # no entries: the day's loss limit, something impaired, or told so
    HALTED = "HALTED"  # no entries until somebody resumes: the kill switch

    @property
    def entries_barred(self) -> bool:
        """Whether no new position may be opened."""
        return self is not RiskState.ACTIVE


@dataclass(frozen=True, slots=True)
class RiskView:
    """The book at a moment. Money is rupees; `free` and `exposure_limit` include leverage.

    `since` is when the state changed last, None before the first change. `capital` is initial plus
    realised; `equity` adds open P&L. Open P&L and with it `realised_today + open_pnl`, which the
    daily limit looks at, are net of charges paid.
    """

    state: RiskState
    reason: str
    since: datetime | None
    session_day: date | None
    initial_capital: Decimal
    opening_capital: Decimal
    capital: Decimal
    equity: Decimal
    realised_pnl: Decimal
    realised_today: Decimal
    open_pnl: Decimal
    deployed: Decimal
    reserved: Decimal
    exposure_limit: Decimal
    free: Decimal
    daily_loss: Decimal
    daily_loss_limit: Decimal
    open_positions: int
    working_orders: int
    trades_today: int
    trades_by_symbol: dict[str, int]
    locks: dict[str, str]
    limits: RiskLimits
