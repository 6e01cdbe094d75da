"""The loopback Groww over HTTP: answers, faults that strike, the paths below /_test."""

import asyncio
import threading
from datetime import timedelta

import httpx
import pytest
from loopback_world import FIVE, MONDAY, TICK, body, client_of, day, flat_day, market_of

from hftray.testing.groww import Behaviour, Category, LoopbackGroww, RateLimits

RISING = (1000.0, 1010.0, 990.0, 1005.0)
CASH = {"segment": "CASH"}


@pytest.fixture(scope="module")
def server():
    """One server for the tests of a module; its clock stands."""
    market, _ = market_of(*day(RISING, RISING, RISING))
    limits = RateLimits(clock=lambda: 0.0)  # one long second, so that a slow machine counts alike
    with LoopbackGroww(
        market, behaviour=Behaviour(square_off_minutes=None), limits=limits
    ) as groww:
        yield groww


@pytest.fixture
def groww(server):
    server.limits.reset()
    server.world.journal.clear()
    yield server
    server.faults.clear()
    server.sessions.subscription = True


@pytest.fixture
def client(groww):
    with client_of(groww) as client:
        yield client


def control(groww, method, path, **json):
    with httpx.Client(base_url=f"{groww.url}/_test", verify=False) as client:
        return client.request(method, path, json=json or None).json()


def create(client, **changes):
    return client.post("/order/create", json=body(price=950.0, **changes))


def known(groww, reference):
    return reference in [row["order_reference_id"] for row in groww.world.book_rows()]


def test_without_a_living_token_every_call_is_401(groww, client):
    groww.sessions.expire()
    for path in ("/order/list", "/live-data/ltp?segment=CASH&exchange_symbols=NSE_RELIANCE"):
        assert client.get(path).status_code == 401
    del client.headers["authorization"]
    assert client.get("/user/detail").status_code == 401
    assert client.get(groww.instruments_url).status_code == 200


def test_data_needs_the_subscription_orders_do_not(groww, client):
    groww.sessions.subscription = False
    refused = client.get("/live-data/ltp", params={**CASH, "exchange_symbols": "NSE_RELIANCE"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "GA005")
    assert create(client).status_code == 200


def test_the_eleventh_order_in_a_second_is_429_and_not_taken(groww, client):
    codes = [create(client).status_code for _ in range(11)]
    assert codes == [200] * 10 + [429]
    assert groww.limits.highest(Category.ORDERS) == 11
    placed = [entry for entry in groww.world.journal if entry.status == 200]
    assert len(placed) == codes.count(200)
    report = control(groww, "GET", "/limits")["orders"]
    assert report["windows"][0]["limit"] == 10
    assert report["refused"] == 1


@pytest.mark.parametrize(
    ("kind", "settings", "taken"),
    [
        ("drop_reply", {}, True),
        ("drop_request", {}, False),
        ("http_status", {"status": 503}, False),
        ("http_status", {"status": 504, "taken": True}, True),
        ("html", {}, False),
        ("html", {"taken": True}, True),
        *[("error", {"code": f"GA00{n}"}, False) for n in range(8)],
        ("error", {"code": "GA000", "taken": True}, True),
    ],
)
def test_an_order_under_a_fault_is_taken_or_not_as_told(groww, client, kind, settings, taken):
    number = groww.faults.add(kind, path="/order/create", nth=2, **settings)
    first, second = body(price=950.0), body(price=950.0)
    assert client.post("/order/create", json=first).status_code == 200
    if kind.startswith("drop"):
        with pytest.raises(httpx.RemoteProtocolError):
            client.post("/order/create", json=second)
    else:
        answer = client.post("/order/create", json=second)
        assert answer.status_code != 200
        if kind == "error":
            assert answer.json()["error"]["code"] == settings["code"]
        if kind == "html":
            assert answer.text.startswith("<html>")
    assert known(groww, second["order_reference_id"]) is taken
    assert create(client).status_code == 200  # it struck once
    fault = next(row for row in groww.faults.listing() if row["number"] == number)
    assert (fault["seen"], fault["struck"]) == (3, 1)
    assert groww.world.journal[1].outcome == kind


def test_a_dropped_reply_and_a_repeat_are_one_order(groww, client):
    groww.faults.add("drop_reply", path="/order/create")
    order = body(price=950.0)
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/order/create", json=order)
    assert client.post("/order/create", json=order).json()["error"]["code"] == "GA007"
    found = client.get(f"/order/status/reference/{order['order_reference_id']}", params=CASH)
    assert found.json()["payload"]["order_status"] in ("ACKED", "OPEN")


@pytest.mark.parametrize("taken", [True, False])
def test_a_slow_reply_is_held_until_it_is_released(groww, client, taken):
    number = groww.faults.add("slow", path="/order/create", taken=taken)
    order, answers = body(price=950.0), []
    thread = threading.Thread(
        target=lambda: answers.append(client.post("/order/create", json=order))
    )
    thread.start()
    assert groww.faults.wait_until_held(number, 20)
    assert not answers
    assert known(groww, order["order_reference_id"]) is taken
    control(groww, "POST", "/faults", release=number)
    thread.join(20)
    assert answers[0].status_code == 200
    assert known(groww, order["order_reference_id"])


def test_lookups_can_be_late(groww, client):
    order = body(price=950.0)
    client.post("/order/create", json=order)
    groww.faults.add("lookup_delay", path="/order/status/reference/*", times=2)
    path = f"/order/status/reference/{order['order_reference_id']}"
    answers = [client.get(path, params=CASH) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 200]
    groww.faults.add("lookup_delay", path="/order/list", times=None, seconds=60)
    listed = client.get("/order/list").json()["payload"]["order_list"]
    assert order["order_reference_id"] not in [row["order_reference_id"] for row in listed]


def test_the_network_can_be_away(groww, client):
    assert client.get("/user/detail").status_code == 200
    groww.faults.add("network_away")
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            client.get("/user/detail")
    assert control(groww, "GET", "/faults")["faults"][0]["kind"] == "network_away"
    control(groww, "DELETE", "/faults")
    assert client.get("/user/detail").status_code == 200
    assert [entry.path for entry in groww.world.journal] == ["/v1/user/detail"] * 2


def test_the_servers_clock_can_be_wrong(groww, client):
    right = httpx.Response(200, headers=client.get("/user/detail").headers).headers["date"]
    groww.faults.add("time_skew", seconds=3600)
    wrong = client.get("/user/detail").headers["date"]
    assert right[17:19] != wrong[17:19]


def test_faults_name_what_is_not_allowed(groww, client):
    for settings in (
        {"kind": "boredom"}, {"kind": "slow", "nth": 0}, {"kind": "error", "code": "GA008"},
        {"kind": "html", "colour": 1}, {"kind": "price_jump"},
        {"kind": "price_jump", "symbol": "NOSUCH"},
    ):  # fmt: skip
        answer = client.post(f"{groww.url}/_test/faults", json=settings)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert groww.faults.listing() == []


class TestADay:
    """A server of its own, whose clock moves."""

    @pytest.fixture
    def groww(self):
        market, _ = market_of(*day(RISING, RISING), *flat_day(MONDAY + 2 * FIVE, 1005.0)[:60])
        with LoopbackGroww(market, behaviour=Behaviour(square_off_minutes=None)) as groww:
            yield groww

    def test_fills_can_be_late_doubled_and_misquoted(self, groww, client):
        groww.faults.add("late_fills", path="RELIANCE", seconds=100)
        groww.faults.add("wrong_average", path="/order/detail/*", percent=10)
        groww.faults.add("duplicate_trades", path="/order/trades/*")
        placed = client.post("/order/create", json=body()).json()["payload"]["groww_order_id"]
        control(groww, "POST", "/clock", step_seconds=TICK)

        def detail():
            return client.get(f"/order/detail/{placed}", params=CASH).json()["payload"]

        def trades():
            answer = client.get(f"/order/trades/{placed}", params=CASH)
            return [row["exchange_trade_id"] for row in answer.json()["payload"]["trade_list"]]

        early = detail()
        assert (early["order_status"], early["filled_quantity"]) == ("OPEN", 0)
        assert trades() == []
        (position,) = client.get("/positions/user").json()["payload"]["positions"]
        assert position["quantity"] == 10
        control(groww, "POST", "/clock", step_seconds=100)
        assert detail()["average_fill_price"] == pytest.approx(1089.0)
        assert detail()["average_fill_price"] == 990.0
        doubled = trades()
        assert len(doubled) == 2
        assert len(set(doubled)) == 1
        assert trades() == doubled[:1]
        (row,) = control(groww, "GET", "/book")["orders"]
        assert [trade["price"] for trade in row["trades"]] == [990.0]
        assert control(groww, "GET", "/faults")["struck"] == {
            "late_fills": 1, "wrong_average": 1, "duplicate_trades": 1,
        }  # fmt: skip

    def test_a_withdrawn_order_rests_until_its_late_fill_shows(self, groww, client):
        groww.faults.add("late_fills", path="RELIANCE", seconds=100)
        groww.faults.add("partial_fills", path="RELIANCE")
        placed = client.post("/order/create", json=body()).json()["payload"]["groww_order_id"]
        control(groww, "POST", "/clock", step_seconds=TICK)

        def shown():
            payload = client.get(f"/order/detail/{placed}", params=CASH).json()["payload"]
            return payload["order_status"], payload["filled_quantity"]

        client.post("/order/cancel", json={"segment": "CASH", "groww_order_id": placed})
        assert shown() == ("OPEN", 0)
        control(groww, "POST", "/clock", step_seconds=100)
        assert shown() == ("CANCELLED", 5)

    def test_prices_can_jump(self, groww, client):
        control(groww, "POST", "/faults", kind="price_jump", symbol="RELIANCE", percent=-5)
        assert control(groww, "POST", "/clock", next_tick=True)["now"].endswith("09:16:15+05:30")
        answer = client.get("/live-data/ltp", params={**CASH, "exchange_symbols": "NSE_RELIANCE"})
        assert answer.json()["payload"] == {"NSE_RELIANCE": 940.5}

    def test_the_network_comes_back_by_market_time(self, groww, client):
        control(groww, "POST", "/faults", kind="network_away", market_seconds=600)
        groww.clock.step(599)
        with pytest.raises(httpx.TransportError):
            client.get("/user/detail")
        groww.clock.step(1)
        assert client.get("/user/detail").status_code == 200

    def test_candles_are_those_of_the_ticks_and_the_forming_one_is_there(self, groww, client):
        groww.clock.to(MONDAY + FIVE + timedelta(seconds=80))
        query = {
            "exchange": "NSE", "segment": "CASH", "groww_symbol": "NSE-RELIANCE",
            "start_time": "2026-11-23 09:15:00", "end_time": "2026-11-23 15:15:00",
            "candle_interval": "5minute",
        }  # fmt: skip
        rows = client.get("/historical/candles", params=query).json()["payload"]["candles"]
        assert rows == [
            ["2026-11-23T09:15:00", 1000, 1010, 990, 1005, 1000, None],
            ["2026-11-23T09:20:00", 1000, 1000, 990, 990, 500, None],
        ]
        groww.behaviour.change({"forming_candle": False, "candle_delay_seconds": 90})
        assert client.get("/historical/candles", params=query).json()["payload"]["candles"] == []
        query |= {"candle_interval": "1day", "start_time": "2026-11-20 00:00:00"}
        groww.behaviour.change({"forming_candle": True, "candle_time": "space"})
        rows = client.get("/historical/candles", params=query).json()["payload"]["candles"]
        assert [row[:6] for row in rows] == [
            ["2026-11-20 00:00:00", 1000, 1000, 1000, 1000, 72_000],
            ["2026-11-23 00:00:00", 1000, 1010, 990, 990, 1500],
        ]
        query |= {"candle_interval": "5minute", "start_time": "2026-10-20 09:15:00"}
        refused = client.get("/historical/candles", params=query)
        assert refused.json()["error"]["message"].startswith("at most 30 days")

    async def test_it_serves_async_tests_in_the_same_process(self, groww):
        headers = {"authorization": f"Bearer {groww.sessions.mint()}"}
        async with httpx.AsyncClient(base_url=groww.api, headers=headers) as client:
            answers = await asyncio.gather(*[client.get("/user/detail") for _ in range(5)])
        assert [answer.status_code for answer in answers] == [200] * 5
