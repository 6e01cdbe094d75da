"""How a report writes numbers and moments: rupees with Indian grouping, times in India.

What is undefined (None, NaN, infinity) is a dash, so a table never shows a machine's word.
"""

import math
from datetime import datetime, timedelta
from decimal import Decimal

from hftray.core.money import paisa
from hftray.core.session import IST

DASH = "–"
MINUS = "−"
THIN_SPACE = "\u202f"

Number = Decimal | float


def grouped(whole: int) -> str:
    """A count with Indian grouping, lakhs and crores: 12345678 is 1,23,45,678."""
    digits = str(abs(whole))
    head, last = digits[:-3], digits[-3:]
    groups = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return (MINUS if whole < 0 else "") + ",".join([*groups, last])


def rupees_text(amount: Number | None, *, signed: bool = False, paise: bool = True) -> str:
    """Rupees to the paisa, or to the rupee: −₹1,23,456.78. `signed` shows a gain's plus, too."""
    if amount is None or not math.isfinite(amount):
        return DASH
    value = paisa(amount) if paise else Decimal(round(amount))
    whole, _, fraction = f"{abs(value)}".partition(".")
    return f"{_sign(value, signed)}₹{grouped(int(whole))}{'.' if fraction else ''}{fraction}"


def percent_text(value: Number | None, *, signed: bool = False, places: int = 2) -> str:
    """Percent, 0..100, with the sign in front."""
    text = ratio_text(value, signed=signed, places=places)
    return text if text == DASH else f"{text}%"


def ratio_text(value: Number | None, *, signed: bool = False, places: int = 2) -> str:
    """A plain figure with that many places."""
    if value is None or not math.isfinite(value):
        return DASH
    rounded = round(Decimal(str(value)), places)
    whole, _, fraction = f"{abs(rounded):f}".partition(".")
    return f"{_sign(rounded, signed)}{grouped(int(whole))}{'.' if fraction else ''}{fraction}"


def moment_text(moment: datetime) -> str:
    """A moment in India's time, to the minute."""
    return f"{moment.astimezone(IST):%d %b %Y %H:%M}"


def span_text(span: timedelta) -> str:
    """How long something took, in its two largest units."""
    minutes = int(span.total_seconds()) // 60
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    said = [f"{count}{THIN_SPACE}{unit}" for count, unit in parts if count]
    return " ".join(said[:2]) or f"0{THIN_SPACE}min"


def words(name: str) -> str:
    """A wire name as a person reads it: take_profit is "take profit"."""
    return name.replace("_", " ")


def _sign(value: Decimal, signed: bool) -> str:
    if value < 0:
        return MINUS
    return "+" if signed and value > 0 else ""
