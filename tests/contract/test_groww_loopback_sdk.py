"""Groww's official SDK takes the loopback for the real thing."""

import csv
import io
import json
import subprocess
import time
from pathlib import Path

import pytest
from loopback_world import FIVE, MONDAY, day, flat_day, market_of

from hftray.testing.groww import Behaviour, Category, Keys, LoopbackGroww, RateLimits, totp
from hftray.testing.groww.limits import Window

SCRIPT = Path(__file__).with_name("groww_sdk_calls.py")
LIVE_DATA_LIMIT = 12


@pytest.fixture(scope="module")
def results(groww_sdk):
    """What every call of the script returned or raised."""
    candles = [*day((1000.0, 1010.0, 990.0, 1005.0)), *flat_day(MONDAY + FIVE, 1005.0)[:71]]
    market, clock = market_of(*candles)
    clock.step(1)
    # One long second: how fast the SDK's calls come must not decide what they are answered.
    limits = RateLimits(clock=lambda: 0.0)
    limits.windows = {each: (Window(1.0, 1000),) for each in Category}
    limits.windows[Category.LIVE_DATA] = (Window(1.0, LIVE_DATA_LIMIT),)
    with LoopbackGroww(market, limits=limits, behaviour=Behaviour(order_page_size=3)) as groww:
        settings = {
            "url": groww.url,
            "api": groww.api,
            "token_url": groww.token_url,
            "instruments_url": groww.instruments_url,
            "api_key": Keys().api_key,
            "api_secret": Keys().secret,
            "totp": totp(Keys().totp_secret, time.time()),
            "live_data_limit": LIVE_DATA_LIMIT,
        }
        done = subprocess.run(
            [groww_sdk, str(SCRIPT), json.dumps(settings)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=SCRIPT.parent,
            env={"PATH": ""},  # hftray's own packages are not to be found by accident
        )
        assert done.returncode == 0, done.stderr[-3000:]
        yield json.loads(done.stdout.splitlines()[-1]), groww


@pytest.fixture
def value(results):
    def of(name):
        result = results[0][name]
        assert "value" in result, result
        return result["value"]

    return of


@pytest.fixture
def raised(results):
    def of(name):
        result = results[0][name]
        assert "raised" in result, result
        return result["raised"], result["code"]

    return of


def test_both_token_flows(value, raised):
    assert value("token_approval") != value("token_totp")
    assert raised("token_wrong_secret") == ("GrowwAPIException", "400")
    assert raised("token_wrong_key") == ("GrowwAPIAuthenticationException", "401")


def test_an_order_from_its_reference_to_its_trade(value, raised):
    placed = value("place_market")
    assert set(placed) == {"groww_order_id", "order_status", "order_reference_id", "remark"}
    assert placed["order_reference_id"] == "sdk-market-1"
    assert raised("place_again") == ("GrowwAPIException", "GA007")
    assert value("status_before")["order_status"] == "ACKED"
    assert value("status_after") == value("by_reference")
    assert set(value("status_after")) == {
        "groww_order_id", "order_status", "remark", "filled_quantity", "order_reference_id",
    }  # fmt: skip
    detail = value("detail")
    assert (detail["order_status"], detail["filled_quantity"]) == ("EXECUTED", 10)
    assert detail["average_fill_price"] == 990.0
    (trade,) = value("trades")["trade_list"]
    assert (trade["price"], trade["quantity"], trade["isin"][:3]) == (990.0, 10, "INE")
    assert trade["exchange_trade_id"]


def test_stops_are_modified_and_limits_cancelled(value, raised):
    assert value("modify_stop")["order_status"] == "MODIFICATION_REQUESTED"
    modified = value("detail_modified")
    assert (modified["order_type"], modified["price"]) == ("LIMIT", 1020.0)
    assert modified["order_status"] == "OPEN"
    assert value("cancel")["order_status"] == "CANCELLATION_REQUESTED"
    assert value("status_cancelled")["order_status"] == "CANCELLED"
    assert raised("cancel_again") == ("GrowwAPIException", "GA006")
    assert raised("status_unknown") == ("GrowwAPIException", "GA004")


def test_what_is_refused_at_once_and_later(value, raised):
    assert raised("place_bad_validity") == ("GrowwAPIException", "GA001")
    assert value("place_off_tick")["order_status"] == "NEW"
    later = value("status_off_tick")
    assert later["order_status"] == "REJECTED"
    assert "tick size" in later["remark"]


def test_the_list_comes_in_pages_newest_first(value):
    first, second = value("list")["order_list"], value("list_page")["order_list"]
    references = [row["order_reference_id"] for row in (*first, *second)]
    assert references == ["sdk-offtick-1", "sdk-limit-1", "sdk-stop-1", "sdk-market-1"]
    assert len(first) == 3


def test_prices(value, raised):
    assert value("ltp_tuple") == {"NSE_RELIANCE": 990.0, "BSE_RELIANCE": 990.0}
    assert value("ltp_text") == value("ltp_tuple")
    assert raised("ltp_51") == ("GrowwAPIException", "GA001")
    assert value("ohlc") == {
        "NSE_RELIANCE": {"open": 1000.0, "high": 1000.0, "low": 990.0, "close": 1000.0}
    }
    quote = value("quote")
    assert quote["ohlc"] == "{open: 1000.00,high: 1000.00,low: 990.00,close: 1000.00}"
    assert (quote["last_price"], quote["upper_circuit_limit"]) == (990.0, 1100.0)
    assert len(quote["depth"]["buy"]) == len(quote["depth"]["sell"]) == 5
    assert raised("quote_unknown") == ("GrowwAPIException", "GA004")


def test_candles_of_both_generations(value):
    candles, old = value("candles")["candles"], value("old_candles")["candles"]
    assert len(candles) == len(old) == 73
    assert candles[-1] == ["2026-11-23T09:15:00", 1000.0, 1000.0, 990.0, 990.0, 500, None]
    assert old[-1] == [int(MONDAY.timestamp()), 1000.0, 1000.0, 990.0, 990.0, 500]
    assert value("candles")["interval_in_minutes"] == 5


def test_instruments_are_a_frame_of_text(value, results):
    columns, rows = value("instruments")
    text = "\n".join([",".join(columns), *[",".join(row) for row in rows]])
    nse, bse = csv.DictReader(io.StringIO(text))
    assert (nse["groww_symbol"], nse["tick_size"], nse["freeze_quantity"]) == (
        "NSE-RELIANCE", "0.05", "100000",
    )  # fmt: skip
    share = results[1].market.share("BSE", "RELIANCE")
    assert value("instrument")["exchange_token"] == bse["exchange_token"] == share.exchange_token


def test_positions_and_margins(value):
    (position,) = value("positions")["positions"]
    assert (position["quantity"], position["net_price"], position["product"]) == (10, 990.0, "MIS")
    assert value("position")["positions"] == [position]
    assert value("holdings") == {"holdings": []}
    # 20 % of the shares that are held; the order that would close them binds nothing.
    assert value("margin")["equity_margin_details"]["mis_margin_used"] == 1980.0
    assert value("order_margin")["cash_mis_margin_required"] == 2000.0
    assert value("profile")["nse_enabled"] is True


def test_a_lost_answer_and_answers_that_are_none(value, raised):
    assert raised("dropped") == ("ConnectionError", None)
    assert value("dropped_found")["order_reference_id"] == "sdk-dropped-1"
    assert raised("html")[0] == "JSONDecodeError"
    assert raised("504") == ("GrowwAPITimeoutException", "504")
    for code in ("GA000", "GA003", "GA005", "GA006"):
        assert raised(code) == ("GrowwAPIException", code)


def test_limits_tokens_and_subscription(raised, results):
    assert raised("no_subscription") == ("GrowwAPIException", "GA005")
    assert raised("too_many") == ("GrowwAPIRateLimitException", "429")
    assert results[1].limits.highest(Category.LIVE_DATA) > LIVE_DATA_LIMIT
    assert raised("expired") == ("GrowwAPIAuthenticationException", "401")
    assert raised("expired_envelope") == ("GrowwAPIException", "GA005")
    assert raised("expired_empty")[0] == "JSONDecodeError"


def test_every_request_of_the_sdk_was_known(results):
    unknown = {entry.path for entry in results[1].world.journal if entry.status == 404}
    # Two orders and a quote that do not exist were asked for on purpose.
    assert unknown == {"/v1/order/status/GLB0", "/v1/live-data/quote"}
