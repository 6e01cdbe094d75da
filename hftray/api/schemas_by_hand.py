"""What a person puts on record by hand: how a position left, what an order filled at."""

from typing import Annotated

from fastapi import Path
from pydantic import ConfigDict, Field, StringConstraints

from hftray.api.schemas import NOT_BLANK, Body, IstTime, Money, Rupees, View
from hftray.core.orders import Side

OrderReference = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9A-Za-z]{1,32}$"),
    Path(description="As trades name it", examples=["20261126E0H3K9QZ7M2A"]),
]


class SettleRequest(Body):
    """At which price a position left that the broker does not hold any more, and how."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"price": "1412.50", "reason": "closed in the Groww app"}},
    )

    price: Rupees
    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=NOT_BLANK),
        Field(description="Goes on record", examples=["closed in the Groww app"]),
    ]


class SettledView(View):
    """What was recorded: an exit without an order."""

    reference: str
    symbol: str
    side: Side
    quantity: int
    price: Money
    pnl: Money = Field(description="Net of charges")
    reason: str
    timestamp: IstTime
    left: int = Field(description="Shares that the broker still holds, and that stay open")


class ConfirmRequest(Body):
    """At which price an order filled whose trades the broker does not tell, and who says so."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"price": "1412.50", "reason": "read in the Groww app"}},
    )

    price: Rupees | None = Field(None, description="Mean of all its shares; none if none traded")
    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=NOT_BLANK),
        Field(description="Goes on record", examples=["read in the Groww app"]),
    ]


class ConfirmedView(View):
    """What was recorded: a row beside the order's own, which stays as it was booked."""

    reference: str
    order: str = Field(description="The reference of the order that is confirmed")
    symbol: str
    side: Side
    quantity: int
    price: Money | None = Field(description="As confirmed; null when no share traded")
    booked_price: Money | None = Field(description="As it was booked")
    pnl: Money | None = Field(description="What the account gains by the difference, net")
    reason: str
    timestamp: IstTime
