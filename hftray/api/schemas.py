"""Field types that every schema shares.

Money and the prices of orders are Decimal inside and decimal strings in JSON; market data
(candles, indicators, the price a signal saw) are plain numbers. Times are shown in IST.
"""

import math
import re
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
    StrictInt,
    StringConstraints,
    WithJsonSchema,
)

from hftray.core.money import paisa
from hftray.core.session import IST

INT32_MAX = 2**31 - 1
MAX_RUPEES = Decimal(10) ** 12
NO_NUL = r"^[^\x00]*$"
"""PostgreSQL cannot store the character NUL."""
NOT_BLANK = r"^[^\x00]*[^\s\x00][^\x00]*$"
YEARS = r"^(199[0-9]|20[0-9]{2}|21[0-9]{2}|2200)-"
"""Beyond these years neither trades exist nor does every time zone conversion."""

Money = Annotated[
    Decimal,
    PlainSerializer(lambda amount: format(paisa(amount), "f"), return_type=str, when_used="json"),
]
"""Rupees on the way out, to the paisa."""

_PAISA_TEXT = r"^(?!0+(\.0*)?$)[0-9]{1,12}(\.[0-9]{1,2})?$"


def _exact_rupees(value: Any) -> Any:
    """Text as it stands; a JSON number as the paise it means (0.57 may arrive as 57 * 0.01)."""
    if isinstance(value, str) and not re.match(_PAISA_TEXT, value):
        raise ValueError("must be a positive amount like 1412.50")
    if isinstance(value, float) and math.isclose(round(value, 2), value, rel_tol=4e-16):
        return str(round(value, 2))
    return value


Rupees = Annotated[
    Decimal,
    Field(gt=0, le=MAX_RUPEES, decimal_places=2, allow_inf_nan=False),
    BeforeValidator(_exact_rupees),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "number",
                    "minimum": 0.01,
                    "maximum": float(MAX_RUPEES),
                    "multipleOf": 0.01,
                },
                {"type": "string", "pattern": _PAISA_TEXT},
            ]
        },
        mode="validation",
    ),
]
"""Rupees on the way in: positive, to the paisa."""


def _integral(value: Any) -> Any:
    # JSON has one kind of number: 10.0 is the integer 10.
    return int(value) if isinstance(value, float) and value.is_integer() else value


PositiveInt32 = Annotated[StrictInt, Field(ge=1, le=INT32_MAX), BeforeValidator(_integral)]
"""A number in a body that counts or names something: no text, no true or false."""

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
    if not 1990 <= moment.year <= 2200:
        raise ValueError("the year must be 1990 to 2200")
    return (moment if moment.tzinfo else moment.replace(tzinfo=IST)).astimezone(UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(_restore_plus),
    AfterValidator(_aware),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": YEARS}),
]
"""A moment on the way in; without an offset it is Indian time."""


MAX_PARAMETERS = 100
"""Names and values in a strategy's parameters, nested ones included; hence also their depth."""
MAX_PARAMETER_TEXT = 100


def _storable(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    pending: list[JsonValue] = [value]
    seen = 0
    while pending:
        item = pending.pop()
        seen += 1
        if seen + len(pending) > MAX_PARAMETERS:
            raise ValueError(f"at most {MAX_PARAMETERS} names and values")
        if isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str) and len(item) > MAX_PARAMETER_TEXT:
            raise ValueError(f"text may have {MAX_PARAMETER_TEXT} characters")
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
