"""Calls of Groww's own SDK against the server named in the first argument (JSON).

Runs in a Python that need not have hftray. Prints one JSON line: for every call by name, the value
it returned or the exception it raised. Only addresses of the SDK are changed, nothing else.
"""

import json
import sys
import warnings

import requests
from growwapi import GrowwAPI

SETTINGS = json.loads(sys.argv[1])
TOKEN_URL = "https://api.groww.in/v1/token/api/access"
RESULTS = {}
CASH, NSE, DAY, MIS = "CASH", "NSE", "DAY", "MIS"


class Groww(GrowwAPI):
    """The SDK with another base address, set before its first request."""

    def _display_changelog(self):
        self.domain = SETTINGS["api"]
        super()._display_changelog()


def record(name, call, *arguments, **named):
    try:
        value = call(*arguments, **named)
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises is the result
        RESULTS[name] = {
            "raised": type(error).__name__,
            "kinds": [kind.__name__ for kind in type(error).__mro__],
            "code": getattr(error, "code", None),
            "message": getattr(error, "msg", str(error)),
        }
        return None
    RESULTS[name] = {"value": value}
    return value


def control(at, /, **body):
    answer = requests.post(f"{SETTINGS['url']}/_test{at}", json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def redirected(url, **rest):
    """requests.post, but the SDK's literal token address is the loopback's."""
    return original_post(SETTINGS["token_url"] if url == TOKEN_URL else url, **rest)


def place(api, reference, order_type="LIMIT", side="BUY", **rest):
    return api.place_order(
        DAY, NSE, order_type, MIS, 10, CASH, "RELIANCE", side,
        order_reference_id=reference, timeout=30, **rest,
    )  # fmt: skip


def tokens():
    record("token_approval", GrowwAPI.get_access_token, SETTINGS["api_key"],
           secret=SETTINGS["api_secret"])  # fmt: skip
    record("token_wrong_secret", GrowwAPI.get_access_token, SETTINGS["api_key"], secret="wrong")
    record("token_wrong_key", GrowwAPI.get_access_token, "wrong", secret=SETTINGS["api_secret"])
    return record("token_totp", GrowwAPI.get_access_token, SETTINGS["api_key"],
                  totp=SETTINGS["totp"])  # fmt: skip


def data(api):
    record("profile", api.get_user_profile)
    record("ltp_tuple", api.get_ltp, ("NSE_RELIANCE", "BSE_RELIANCE"), CASH)
    record("ltp_text", api.get_ltp, "NSE_RELIANCE,BSE_RELIANCE", CASH)
    record("ltp_51", api.get_ltp, tuple(f"NSE_S{n}" for n in range(51)), CASH)
    record("ohlc", api.get_ohlc, ("NSE_RELIANCE",), CASH)
    record("quote", api.get_quote, "RELIANCE", NSE, CASH)
    record("quote_unknown", api.get_quote, "NOSUCH", NSE, CASH)
    period = ("2026-11-20 09:15:00", "2026-11-23 15:15:00")
    record("candles", api.get_historical_candles, NSE, CASH, "NSE-RELIANCE", *period, "5minute")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        record("old_candles", api.get_historical_candle_data, "RELIANCE", NSE, CASH, *period, 5)
    api.INSTRUMENT_CSV_URL = SETTINGS["instruments_url"]
    frame = api.get_all_instruments()
    RESULTS["instruments"] = {"value": [list(frame.columns), frame.fillna("").values.tolist()]}
    record("instrument", api.get_instrument_by_exchange_and_trading_symbol, "BSE", "RELIANCE")


def orders(api):
    market = record("place_market", place, api, "sdk-market-1", "MARKET")["groww_order_id"]
    record("place_again", place, api, "sdk-market-1", "MARKET")
    record("status_before", api.get_order_status, CASH, market)
    stop = record("place_stop", place, api, "sdk-stop-1", "SL", "SELL", price=980.0,
                  trigger_price=985.0)["groww_order_id"]  # fmt: skip
    resting = record("place_limit", place, api, "sdk-limit-1", price=950.0)["groww_order_id"]
    record("place_bad_validity", api.place_order, "IOC", NSE, "LIMIT", MIS, 1, CASH, "RELIANCE",
           "BUY", order_reference_id="sdk-wrong-1", price=950.0)  # fmt: skip
    record("place_off_tick", place, api, "sdk-offtick-1", price=950.03)
    record("status_off_tick", api.get_order_status_by_reference, CASH, "sdk-offtick-1")
    control("/clock", step_seconds=80)
    record("status_after", api.get_order_status, CASH, market)
    record("by_reference", api.get_order_status_by_reference, CASH, "sdk-market-1")
    record("detail", api.get_order_detail, CASH, market)
    record("trades", api.get_trade_list_for_order, market, CASH)
    record("modify_stop", api.modify_order, "LIMIT", CASH, stop, 10, 1020.0)
    record("detail_modified", api.get_order_detail, CASH, stop)
    record("cancel", api.cancel_order, resting, CASH)
    record("cancel_again", api.cancel_order, resting, CASH)
    record("status_cancelled", api.get_order_status, CASH, resting)
    record("status_unknown", api.get_order_status, CASH, "GLB0")
    record("list", api.get_order_list)
    record("list_page", api.get_order_list, page=1, segment=CASH)


def account(api):
    record("positions", api.get_positions_for_user, CASH)
    record("position", api.get_position_for_trading_symbol, "RELIANCE", CASH)
    record("holdings", api.get_holdings_for_user)
    record("margin", api.get_available_margin_details)
    order = {
        "trading_symbol": "RELIANCE", "transaction_type": "BUY", "quantity": 10, "price": 1000.0,
        "order_type": "LIMIT", "product": MIS, "exchange": NSE,
    }  # fmt: skip
    record("order_margin", api.get_order_margin_details, CASH, [order])


def failures(api):
    control("/faults", kind="drop_reply", path="/order/create")
    record("dropped", place, api, "sdk-dropped-1", price=950.0)
    record("dropped_found", api.get_order_status_by_reference, CASH, "sdk-dropped-1")
    control("/faults", kind="html", path="/order/list")
    record("html", api.get_order_list)
    control("/faults", kind="http_status", status=504, path="/order/list")
    record("504", api.get_order_list)
    for code in ("GA000", "GA003", "GA005", "GA006"):
        control("/faults", kind="error", code=code, path="/order/list")
        record(code, api.get_order_list)
    control("/session", subscription=False)
    record("no_subscription", api.get_ltp, "NSE_RELIANCE", CASH)
    control("/session", subscription=True)
    for _ in range(SETTINGS["live_data_limit"] + 1):
        record("too_many", api.get_ltp, "NSE_RELIANCE", CASH)
    control("/session", expire=True)
    record("expired", api.get_order_list)
    control("/behaviour", gateway_body="envelope")
    record("expired_envelope", api.get_order_list)
    control("/behaviour", gateway_body="empty")
    record("expired_empty", api.get_order_list)


original_post = requests.post
requests.post = redirected
client = Groww(tokens())
orders(client)
data(client)
account(client)
failures(client)
print(json.dumps(RESULTS))
