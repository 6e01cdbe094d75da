"""Field types that every schema shares.

Money and the prices of orders are Decimal inside and decimal strings in JSON; market data
(candles, indicators, the price a signal saw) are plain numbers. Times are shown in IST.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from hftray.core.money import paisa
from hftray.core.session import IST

INT32_MAX = 2**31 - 1
MAX_RUPEES = Decimal(10) ** 12
NO_NUL = r"^[^\x00]*$"
"""PostgreSQL cannot store the character NUL."""

Money = Annotated[
    Decimal,
    PlainSerializer(lambda amount: format(paisa(amount), "f"), return_type=str, when_used="json"),
]
"""Rupees on the way out, to the paisa."""

Rupees = Annotated[Decimal, Field(gt=0, le=MAX_RUPEES, decimal_places=2, allow_inf_nan=False)]
"""Rupees on the way in: positive, to the paisa."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_NUL)]
Prose = Annotated[str, StringConstraints(max_length=2000, pattern=NO_NUL)]
SymbolText = Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=NO_NUL)]
UserId = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_.@-]+$")]

Id = Annotated[int, Path(ge=1, le=INT32_MAX)]
SymbolPath = Annotated[SymbolText, Path(examples=["RELIANCE"])]
Offset = Annotated[int, Query(ge=0, le=10_000_000, description="How many to skip")]
RunId = Annotated[
    int | None, Query(ge=0, le=INT32_MAX, description="Another run than the present one")
]


def _to_ist(moment: datetime) -> str:
    return moment.astimezone(IST).isoformat()


IstTime = Annotated[
    datetime,
    PlainSerializer(_to_ist, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A moment on the way out, with India's offset."""


def _restore_plus(value: Any) -> Any:
    # An offset's + that nobody percent-encoded arrives as a blank.
    if isinstance(value, str) and len(value) > 6 and value[-6] == " " and "T" in value:
        return value[:-6] + "+" + value[-5:]
    return value


def _aware(moment: datetime) -> datetime:
    # Beyond these years neither trades exist nor does every time zone conversion.
    if not 1990 <= moment.year <= 2200:
        raise ValueError("the year must be 1990 to 2200")
    return (moment if moment.tzinfo else moment.replace(tzinfo=IST)).astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(_restore_plus), AfterValidator(_aware)]
"""A moment on the way in; without an offset it is Indian time."""


def _storable(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    pending: list[JsonValue] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str) and ("\x00" in item or not _encodable(item)):
            raise ValueError("text must be Unicode without the character NUL")
        elif isinstance(item, float) and not float("-inf") < item < float("inf"):
            raise ValueError("numbers must be finite")
        elif isinstance(item, int) and abs(item) > INT32_MAX:
            raise ValueError(f"numbers must not exceed {INT32_MAX}")
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


Parameters = Annotated[dict[str, JsonValue], AfterValidator(_storable)]
"""A strategy's parameters; their names and ranges are the strategy's business."""


class View(BaseModel):
    """A response."""

    model_config = ConfigDict(from_attributes=True)


class Body(BaseModel):
    """A request body; fields it does not know are refused."""

    model_config = ConfigDict(extra="forbid")
