"""The loopback Groww's faults by the adversary's names, and which of its calls each strikes."""

from typing import Any

from adversity.schedule import Planned, deck_with

CREATE, CANCEL, MODIFY = "/order/create", "/order/cancel", "/order/modify"
LOOK_UPS = "/order/[!cm]*"  # all but create, cancel and modify

# What a call meets. `seconds` is added for those that take real time, and stands here where it is
# market time. Kinds without a path strike at once.
CALLS: dict[str, dict[str, Any]] = {
    "drop-reply": {"kind": "drop_reply", "path": CREATE},
    "drop-cancel-reply": {"kind": "drop_reply", "path": CANCEL},
    "drop-modify-reply": {"kind": "drop_reply", "path": MODIFY},
    "drop-request": {"kind": "drop_request", "path": CREATE},
    "late-request": {"kind": "slow", "path": CREATE},
    "slow-reply": {"kind": "slow", "path": CREATE, "taken": True},
    "unavailable": {"kind": "http_status", "status": 503, "path": CREATE},
    "taken-and-500": {"kind": "http_status", "status": 500, "path": CREATE, "taken": True},
    "html-page": {"kind": "html", "path": CREATE, "taken": True},
    "internal-error": {"kind": "error", "code": "GA000", "path": CREATE, "taken": True},
    "refused": {"kind": "error", "code": "GA006", "path": CREATE},
    "cancel-refused": {"kind": "error", "code": "GA006", "path": CANCEL},
    "html-look-ups": {"kind": "html", "path": LOOK_UPS, "times": 4},
    "slow-look-ups": {"kind": "slow", "path": LOOK_UPS, "times": 3},
    "reference-unknown": {
        "kind": "lookup_delay", "path": "/order/status/reference/*", "seconds": 60.0, "times": 3,
    },
    "list-behind": {"kind": "lookup_delay", "path": "/order/list", "seconds": 90.0, "times": 3},
    "trades-twice": {"kind": "duplicate_trades", "path": "/order/trades/*", "times": 3},
    "wrong-average": {"kind": "wrong_average", "path": LOOK_UPS, "times": 5, "percent": 7.0},
    "late-fill": {"kind": "late_fills", "path": "*", "seconds": 90.0},
    "partial-fills": {"kind": "partial_fills", "path": "*", "times": 2},
    "throttled-orders": {"kind": "http_status", "status": 429, "path": "/order/c*", "times": 2},
    "throttled-prices": {"kind": "http_status", "status": 429, "path": "/live-data/*", "times": 3},
}  # fmt: skip
TIMED = {"late-request", "slow-reply", "slow-look-ups"}

# Seconds each lasts at least and at most; for what is not timed, how long it is left to strike all
# its calls after the first.
SPANS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(CALLS, (0.1, 1.5)),
    "late-request": (0.3, 4.0),
    "slow-reply": (0.3, 4.0),
    "slow-look-ups": (0.3, 3.0),
    "network-away": (0.5, 5.0),
    "token-expired": (0.0, 0.0),
    "price-jump": (2.0, 6.0),
}
DECK = deck_with(SPANS)


def body_of(planned: Planned) -> dict[str, Any]:
    """What is posted to the loopback for a fault that strikes calls."""
    name = planned.kind.partition(" ")[2]
    return CALLS[name] | ({"seconds": planned.seconds} if name in TIMED else {})
