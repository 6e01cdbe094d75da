"""Groww's wire format: enumerations, error codes, the envelope, times as text.

Prices on the wire are rupees as JSON numbers; times are text in India's zone without an offset.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from hftray.core.errors import RejectError
from hftray.core.session import IST

EXCHANGES = ("NSE", "BSE", "MCX")
SEGMENTS = ("CASH", "FNO", "COMMODITY")
PRODUCTS = ("CNC", "MIS", "NRML")
ORDER_TYPES = ("LIMIT", "MARKET", "SL", "SL_M")
VALIDITIES = ("DAY",)
TRANSACTION_TYPES = ("BUY", "SELL")

MEANING = {
    "GA000": "Internal error occurred",
    "GA001": "Bad request",
    "GA002": "This code is reserved in the documentation",
    "GA003": "Unable to serve request currently",
    "GA004": "Requested entity does not exist",
    "GA005": "User not authorised to perform this operation",
    "GA006": "Cannot process this request",
    "GA007": "Duplicate order reference id",
}
# Which HTTP status Groww pairs with a code is not documented; a client must not rely on it.
HTTP_STATUS = {
    "GA000": 500,
    "GA001": 400,
    "GA002": 400,
    "GA003": 503,
    "GA004": 404,
    "GA005": 403,
    "GA006": 400,
    "GA007": 400,
}


class GrowwFailure(RejectError):
    """The answer is a FAILURE envelope with a documented code."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message or MEANING[code]}")
        self.code = code
        self.message = message or MEANING[code]


@dataclass(slots=True)
class Answer:
    """One HTTP answer: a JSON value, or text when `text` is set."""

    status: int = 200
    body: Any = None
    text: str | None = None
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def success(payload: Any) -> Answer:
    """The envelope of an answer that worked."""
    return Answer(body={"status": "SUCCESS", "payload": payload})


def failure(code: str, message: str, status: int | None = None) -> Answer:
    """The envelope of an answer that did not."""
    error = {"code": code, "message": message, "metadata": None}
    return Answer(status or HTTP_STATUS[code], {"status": "FAILURE", "error": error})


def gateway(status: int, message: str, style: str) -> Answer:
    """An answer from in front of the API (401, 403, 429), whose body is not documented.

    `style`: "json" a plain JSON object, "envelope" Groww's own, "text" and "empty" no JSON at all.
    """
    if style == "envelope":
        return failure("GA003" if status == 429 else "GA005", message, status)
    if style == "text":
        return Answer(status, text=message, media_type="text/plain")
    if style == "empty":
        return Answer(status, text="")
    return Answer(status, {"message": message})


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the handlers see it: path below /v1, query values by name, parsed body."""

    method: str
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, list[str]]
    body: Any

    def value(self, name: str, default: str | None = None) -> str:
        """One query value. GA001 when it is missing or given twice."""
        values = self.query.get(name, [])
        if not values and default is not None:
            return default
        if len(values) != 1 or not values[0]:
            raise GrowwFailure("GA001", f"{name} is required once")
        return values[0]

    def one_of(self, name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        """One query value out of an enumeration. GA001."""
        value = self.value(name, default)
        if value not in allowed:
            raise GrowwFailure("GA001", f"{name} must be one of {', '.join(allowed)}")
        return value

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """One whole query number within bounds. GA001."""
        text = self.value(name, str(default))
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise GrowwFailure("GA001", f"{name} must be a whole number from {low} to {high}")
        return int(text)


def stamp(moment: datetime) -> str:
    """A moment as the wire has it: 2026-11-23T09:15:00."""
    return moment.astimezone(IST).replace(tzinfo=None).isoformat(timespec="seconds")


def number(amount: Decimal | float | None) -> float | None:
    """Rupees as a JSON number."""
    return None if amount is None else float(amount)
