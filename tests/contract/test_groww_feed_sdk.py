"""Groww's official SDK takes the loopback's live feed for the real thing."""

import json
import queue
import subprocess
import threading
from pathlib import Path

import pytest
from loopback_world import MONDAY, day, market_of, place

from hftray.adapters.groww.stream_quotes import StreamKey
from hftray.adapters.groww.stream_wire import depth_subject, orders_subject, price_subject
from hftray.testing.groww import Behaviour, LoopbackFeed, LoopbackGroww

SCRIPT = Path(__file__).with_name("groww_sdk_feed.py")
PATIENCE = 60.0


class Listener:
    """The SDK in its own process; `next` gives what it was told, by kind."""

    def __init__(self, python: str, settings: dict) -> None:
        self.process = subprocess.Popen(
            [python, str(SCRIPT), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=SCRIPT.parent,
            env={"PATH": ""},  # hftray's own packages are not to be found by accident
        )
        self.heard = {kind: queue.Queue() for kind in ("ltp", "depth", "order")}
        self.errors: list[str] = []
        self._readers = [threading.Thread(target=self._read), threading.Thread(target=self._log)]
        for reader in self._readers:
            reader.start()

    def next(self, kind: str):
        try:
            return self.heard[kind].get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no {kind} message; {''.join(self.errors)[-2000:]}") from None

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()

    def _read(self) -> None:
        for line in self.process.stdout:
            if line.startswith("["):  # the SDK prints a greeting
                kind, meta, value = json.loads(line)
                self.heard[kind].put((meta, value))

    def _log(self) -> None:
        self.errors.extend(self.process.stderr)


@pytest.fixture
def loopback():
    market, _ = market_of(*day((1000.0, 1010.0, 990.0, 1005.0), (1005.0, 1020.0, 1000.0, 1015.0)))
    behaviour = Behaviour(square_off_minutes=None)
    with (
        LoopbackFeed(market) as feed,
        LoopbackGroww(market, behaviour=behaviour, more=feed.routes) as groww,
    ):
        feed.attach(groww.world)
        yield groww, feed


@pytest.fixture
def keys(loopback):
    groww, _ = loopback
    tokens = {name: groww.market.share(name, "RELIANCE").exchange_token for name in ("NSE", "BSE")}
    return {name: StreamKey(name, token) for name, token in tokens.items()}


@pytest.fixture
def sdk(groww_sdk, loopback, keys):
    groww, feed = loopback
    settings = {
        "api": groww.api,
        "stream": feed.url,
        "token": groww.sessions.mint(),
        "instruments": [
            {"exchange": key.exchange, "segment": "CASH", "exchange_token": key.token}
            for key in keys.values()
        ],
    }
    listener = Listener(groww_sdk, settings)
    try:
        everything_subscribed(feed, keys)
        yield listener
    finally:
        listener.end()


def everything_subscribed(feed, keys):
    subjects = [name(key) for key in keys.values() for name in (price_subject, depth_subject)]
    subjects.append(orders_subject(feed.logins.subscription_id))
    feed.until(lambda: all(feed.subscribers(own) == 1 for own in subjects), PATIENCE)


def test_prices_depth_and_orders_as_the_sdk_reads_them(loopback, sdk, keys):
    groww, _ = loopback

    groww.clock.step(75)  # the first candle's second tick: its low

    told = {meta["exchange"]: (meta, value) for meta, value in (sdk.next("ltp") for _ in keys)}
    assert set(told) == {"NSE", "BSE"}
    meta, prices = told["NSE"]
    token = keys["NSE"].token
    assert meta["feed_key"] == token
    assert meta["segment"] == "CASH"
    live = prices["NSE"]["CASH"][token]
    assert (live["ltp"], live["open"], live["high"], live["low"]) == (990.0, 1000.0, 1000.0, 990.0)
    assert (live["close"], live["volume"]) == (1000.0, 500.0)
    assert live["tsInMillis"] == (MONDAY.timestamp() + 75) * 1000

    meta, depth = sdk.next("depth")
    sides = depth[meta["exchange"]]["CASH"][meta["feed_key"]]
    assert set(sides["buyBook"]) == {"1", "2", "3", "4", "5"}
    assert sides["buyBook"]["1"]["price"] < 990.0 < sides["sellBook"]["1"]["price"]
    assert sides["buyBook"]["1"]["qty"] > 0

    with groww.world.lock:
        entry = place(groww.world, "BUY", 10)
    _, news = sdk.next("order")
    assert news["growwOrderId"] == entry.groww_order_id
    assert (news["transactionType"], news["orderType"], news["qty"]) == ("BUY", "MARKET", 10)
    assert (news["exchange"], news["segment"], news["product"]) == ("NSE", "CASH", "MIS")
    assert news["filledQty"] == 0
    groww.clock.step(75)
    while news["orderStatus"] != "EXECUTED":
        _, news = sdk.next("order")
    assert (news["filledQty"], news["remainingQty"], news["remark"]) == (10, 0, "")
    assert news["contractId"] == groww.market.share("NSE", "RELIANCE").isin


def test_the_sdk_comes_back_after_a_drop_with_the_login_it_had(loopback, sdk, keys):
    groww, feed = loopback

    feed.drop()
    feed.until(lambda: len(feed.let_in) == 2, PATIENCE)
    everything_subscribed(feed, keys)

    assert feed.let_in[0] == feed.let_in[1]
    groww.clock.step(75)
    sdk.next("ltp")


def test_a_login_that_was_taken_back_ends_the_sdks_feed(loopback, sdk):
    _, feed = loopback

    feed.logins.revoke_all()
    feed.end_all("Authorization Violation")
    feed.until(lambda: feed.clients == 0, PATIENCE)

    assert len(feed.let_in) == 1
