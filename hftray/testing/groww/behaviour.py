"""What Groww leaves open, as switches: each default is the variant that asks most of a client."""

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any


@dataclass(slots=True)
class Behaviour:
    """How the loopback behaves where the documentation is silent. All may change at any time.

    Matching
        fill: "next_tick", or "arrival" (a marketable order fills at the price that stands).
        slippage_bps: how much worse than the tick a marketable order fills, in basis points.
        partial_fill_rate, seed: the share of orders whose first fill is only a part of them.
        cancel_seconds: market seconds from a cancel request to its effect; fills may come between.
        square_off_minutes: how long before the close the broker squares MIS positions off.
    Refusals
        refusals: how the exchange's refusals show: "later" (create answers NEW, the order is
        REJECTED when it is looked up), "reply" (create answers REJECTED) or "error" (GA006).
        market_orders: whether MARKET and SL_M are taken at all.
        trigger_check: whether a stop whose trigger is already passed is refused.
    Answers
        gateway_body: body of 401, 403 and 429: "json", "envelope", "text" or "empty".
        resting_status: what a resting order is called.
        ohlc_as_text: whether the quote carries ohlc as text.
        ohlc_close: "previous" (close of the day before) or "last".
        candle_time: "T" or "space" between date and time.
        forming_candle: whether candles include the one that is still forming.
        candle_delay_seconds: market seconds until a closed candle can be fetched.
        order_page_size: rows of an order list page.
    """

    fill: str = "next_tick"
    slippage_bps: float = 0.0
    partial_fill_rate: float = 0.0
    seed: int = 0
    cancel_seconds: float = 0.0
    square_off_minutes: float | None = 5.0
    refusals: str = "later"
    market_orders: bool = True
    trigger_check: bool = True
    gateway_body: str = "json"
    resting_status: str = "OPEN"
    ohlc_as_text: bool = True
    ohlc_close: str = "previous"
    candle_time: str = "T"
    forming_candle: bool = True
    candle_delay_seconds: float = 0.0
    order_page_size: int = 25

    def change(self, changes: dict[str, Any]) -> None:
        """Set several switches. ValueError names one that is unknown or a value not allowed."""
        known = {field.name: field for field in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"{name}: unknown; allowed: {', '.join(known)}")
            if name in _CHOICES and value not in _CHOICES[name]:
                raise ValueError(f"{name}: {value!r}; allowed: {', '.join(_CHOICES[name])}")
            if value is None and name in _MAY_BE_NONE:
                continue
            if name not in _CHOICES and not _fits(value, known[name].default):
                raise ValueError(f"{name}: {value!r} has the wrong type")
        for name, value in changes.items():
            setattr(self, name, value)

    @property
    def square_off(self) -> timedelta | None:
        """How long before the close MIS positions are squared off."""
        minutes = self.square_off_minutes
        return None if minutes is None else timedelta(minutes=minutes)


_CHOICES: dict[str, tuple[str, ...]] = {
    "fill": ("next_tick", "arrival"),
    "refusals": ("later", "reply", "error"),
    "gateway_body": ("json", "envelope", "text", "empty"),
    "resting_status": ("OPEN", "ACKED", "APPROVED", "NEW"),
    "ohlc_close": ("previous", "last"),
    "candle_time": ("T", "space"),
}


_MAY_BE_NONE = {"square_off_minutes"}


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and value >= 0
    return isinstance(value, type(default))
