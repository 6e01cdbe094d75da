"""Which path is answered by which function, and which rate limit it counts against."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.routing import compile_path

from hftray.testing.groww import api_account, api_data, api_orders
from hftray.testing.groww.limits import Category
from hftray.testing.groww.wire import Answer, Call
from hftray.testing.groww.world import World

Handler = Callable[[World, Call], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. `data`: it needs the market data subscription."""

    method: str
    template: str
    handler: Handler
    category: Category
    data: bool = False

    def match(self, path: str) -> dict[str, str] | None:
        """The path's parameters; None when it is another call's."""
        found = _pattern(self.template).match(path)
        return None if found is None else found.groupdict()


def _pattern(template: str) -> re.Pattern[str]:
    if template not in _PATTERNS:
        _PATTERNS[template] = compile_path(template)[0]
    return _PATTERNS[template]


_PATTERNS: dict[str, re.Pattern[str]] = {}

_ORDERS, _DATA, _READS = Category.ORDERS, Category.LIVE_DATA, Category.NON_TRADING
_PAST, _FREE = Category.HISTORICAL, Category.UNLIMITED

ROUTES = (
    Route("POST", "/order/create", api_orders.create, _ORDERS),
    Route("POST", "/order/modify", api_orders.modify, _ORDERS),
    Route("POST", "/order/cancel", api_orders.cancel, _ORDERS),
    Route(
        "GET",
        "/order/status/reference/{order_reference_id}",
        api_orders.status_by_reference,
        _READS,
    ),
    Route("GET", "/order/status/{groww_order_id}", api_orders.status, _READS),
    Route("GET", "/order/list", api_orders.listing, _READS),
    Route("GET", "/order/detail/{groww_order_id}", api_orders.detail, _READS),
    Route("GET", "/order/trades/{groww_order_id}", api_orders.trades, _READS),
    Route("GET", "/positions/user", api_account.positions, _READS),
    Route("GET", "/positions/trading-symbol", api_account.position, _READS),
    Route("GET", "/holdings/user", api_account.holdings, _READS),
    Route("GET", "/margins/detail/user", api_account.margins, _READS),
    Route("POST", "/margins/detail/orders", api_account.order_margins, _READS),
    Route("GET", "/user/detail", api_account.user, _READS),
    Route("GET", "/live-data/quote", api_data.quote, _DATA, data=True),
    Route("GET", "/live-data/ltp", api_data.ltp, _DATA, data=True),
    Route("GET", "/live-data/ohlc", api_data.ohlc, _DATA, data=True),
    Route("GET", "/historical/candles", api_data.candles, _PAST, data=True),
    Route("GET", "/historical/candle/range", api_data.candle_range, _PAST, data=True),
)
