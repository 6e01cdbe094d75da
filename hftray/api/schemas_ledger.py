"""Requests and responses about what is stored: strategies, trades, users."""

import re
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    StrictBool,
    StringConstraints,
)

from hftray.api.schemas import (
    Body,
    IstTime,
    Line,
    Moment,
    Money,
    Parameters,
    PositiveInt32,
    Prose,
    Rupees,
    SymbolText,
    UserId,
    View,
)
from hftray.catalog_rows import TradeRow
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.strategies.registry import known_kinds

Email = Annotated[str, StringConstraints(max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]
KEY_TEXT = r"^[!-~]*$"


def _sendable(key: SecretStr) -> SecretStr:
    # It goes into an HTTP header one day; what is wrong with it is not shown.
    if not re.fullmatch(KEY_TEXT, key.get_secret_value()):
        raise ValueError("must be visible ASCII characters")
    return key


GrowwKey = Annotated[
    SecretStr,
    Field(max_length=4096, json_schema_extra={"writeOnly": True, "pattern": KEY_TEXT}),
    AfterValidator(_sendable),
]


class StrategyView(View):
    """One strategy and whether it votes."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "id": 4,
                "name": "Bollinger Bands",
                "description": "Buys below the lower band, sells above the upper one",
                "kind": "bollinger",
                "is_active": True,
                "parameters": {"period": 20, "weight": 0.7},
                "created_at": "2026-11-20T09:00:00+05:30",
            }
        },
    )

    id: int
    name: str
    description: str
    kind: str
    is_active: bool
    parameters: dict[str, Any]
    created_at: IstTime


def _known_kinds(schema: dict[str, Any]) -> None:
    """Asked for with the document, not on import: a user's own strategies come later."""
    schema["enum"] = list(known_kinds())


class StrategyCreate(Body):
    """A custom strategy: a known kind with its own parameters and weight."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "name": "Slow RSI",
                "description": "RSI over four hours",
                "kind": "rsi",
                "parameters": {"period": 48, "weight": 0.5},
            }
        },
    )

    name: Line
    description: Prose = ""
    kind: Annotated[Line, Field(json_schema_extra=_known_kinds)]
    is_active: StrictBool = True
    parameters: Parameters = Field(default_factory=dict)


class StrategyPatch(Body):
    """What changes; a field that is absent or null stays. Parameters are merged."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"is_active": False}})

    name: Line | None = None
    description: Prose | None = None
    is_active: StrictBool | None = None
    parameters: Parameters | None = None


class TradeView(View):
    """One order as the ledger knows it."""

    id: int
    run_id: int
    reference: str
    user_id: str
    symbol: str
    exchange: str
    side: Side
    leg: Leg
    quantity: int = Field(description="Shares that traded")
    requested_quantity: int
    price: Money | None
    limit_price: Money | None
    status: TradeStatus
    timestamp: IstTime
    session_day: date
    strategy_id: int | None
    strategy_name: str | None
    reason: str
    candle_time: IstTime | None = Field(description="When the candle opened that it was decided on")
    position: str | None = Field(
        description="Of an exit the position's entry order, of a confirmation the order confirmed"
    )
    score: float
    votes: dict[str, int]
    broker_order_id: str
    charges: Money | None
    gross_pnl: Money | None
    pnl: Money | None = Field(
        description="Net of charges; of an exit, and of a confirmation what the account gains by it"
    )

    @classmethod
    def of(cls, row: TradeRow) -> Self:
        """The view of a stored row."""
        names = {"id": row.id, "strategy_name": row.strategy_name}
        return cls.model_validate(asdict(row.trade) | names)


class TradeCreate(Body):
    """A trade made elsewhere; it is listed, but moves no position and no capital."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "symbol": "RELIANCE",
                "side": "BUY",
                "quantity": 10,
                "price": "1412.50",
                "strategy_id": 4,
            }
        },
    )

    symbol: SymbolText
    side: Side
    quantity: PositiveInt32
    price: Rupees
    status: TradeStatus = TradeStatus.EXECUTED
    timestamp: Moment | None = Field(None, description="Now, unless given")
    user_id: UserId | None = Field(None, description="The default user, unless given")
    strategy_id: PositiveInt32 | None = None


class UserView(View):
    """A user, without the keys."""

    id: str
    email: str | None
    first_name: str | None
    last_name: str | None
    initial_capital: Money
    has_groww_credentials: bool
    created_at: IstTime


class UserCreate(Body):
    """A new user. The Groww keys are encrypted and never shown again."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "id": "asha",
                "email": "asha@example.in",
                "first_name": "Asha",
                "initial_capital": 250000,
            }
        },
    )

    id: UserId | None = Field(None, description="Made up, unless given")
    email: Email | None = None
    first_name: Line | None = None
    last_name: Line | None = None
    initial_capital: Rupees | None = Field(None, description="Rs 1,00,000, unless given")
    groww_api_key: GrowwKey | None = None
    groww_api_secret: GrowwKey | None = None


def _not_null(schema: dict[str, JsonValue]) -> None:
    """Null is how pydantic says absent; sent as a value it is refused."""
    choices = schema["anyOf"]
    assert isinstance(choices, list)
    schema["anyOf"] = [choice for choice in choices if choice != {"type": "null"}]
    schema.pop("default", None)


class UserPatch(Body):
    """What changes; an absent field stays, null clears it (not the capital)."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"initial_capital": 150000}}
    )

    email: Email | None = None
    first_name: Line | None = None
    last_name: Line | None = None
    initial_capital: Rupees | None = Field(None, json_schema_extra=_not_null)
    groww_api_key: GrowwKey | None = None
    groww_api_secret: GrowwKey | None = None
