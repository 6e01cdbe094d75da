"""Our live feed against the loopback's, with everything that goes wrong on the way."""

import asyncio
import base64
import logging
import re
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from groww_feed_world import ITC, KEYS, TCS, FeedWorld, feed_world

from hftray.adapters.groww.errors import AccessDenied
from hftray.adapters.groww.stream_quotes import StreamKey
from hftray.adapters.groww.stream_state import (
    HOW_TO_INSTALL,
    SocketToken,
    StreamState,
    stream_available,
)
from hftray.adapters.groww.stream_wire import orders_subject, price_subject
from hftray.core.errors import BrokerUnavailable
from hftray.testing.groww.feed_messages import OrderNews

pytestmark = pytest.mark.skipif(not stream_available(), reason=HOW_TO_INSTALL)

NEWS = OrderNews("GMK1", "EXECUTED", "BUY", "LIMIT", "NSE", "INE0", 5, filled=5, price=100.05)


@pytest.fixture
async def world() -> AsyncIterator[FeedWorld]:
    async with feed_world() as world:
        yield world


async def test_prices_of_both_exchanges_become_quotes(world: FeedWorld) -> None:
    await world.connect()

    world.publish(3500.25, TCS, volume=1200)
    world.publish(410.0, ITC, volume=77)
    await world.until(lambda: len(world.stream.newest()) == 2)

    quote = world.stream.newest()["TCS"]
    assert (quote.price, quote.day_volume, quote.time) == (3500.25, 1200, world.clock.now())
    assert all(own.streamed for own in world.stream.newest().values())
    health = world.stream.health()
    assert (health.state, health.subscribed, health.reconnects) == (StreamState.LIVE, 2, 0)
    assert health.last_message_at == world.clock.now()


async def test_an_order_update_is_only_a_hint_of_which_order_changed(world: FeedWorld) -> None:
    await world.connect()

    world.server.publish_order(NEWS)
    await world.until(lambda: world.orders)

    assert world.orders == ["GMK1"]
    assert world.stream.newest() == {}


async def test_a_dropped_connection_comes_back_with_a_new_key_and_all_subscriptions(
    world: FeedWorld,
) -> None:
    await world.go_live()
    world.publish(410.0, ITC)
    await world.until(lambda: "ITC" in world.stream.newest())

    world.server.drop()
    await world.reaches(StreamState.WAITING)
    assert world.stream.newest() == {}  # an old price must not pass for the newest one
    await world.clock.advance(2)
    await world.reaches(StreamState.CONNECTED)
    assert world.stream.newest() == {}
    world.publish(101.0, volume=11)
    await world.reaches(StreamState.LIVE)

    first, second = world.server.let_in
    assert first.public_key != second.public_key
    assert first.token_id != second.token_id
    for key in KEYS.values():
        assert world.server.subscribers(price_subject(key)) == 1
    assert world.server.subscribers(orders_subject(world.server.logins.subscription_id)) == 1
    assert world.stream.health().reconnects == 1
    assert {name: own.price for name, own in world.stream.newest().items()} == {"TCS": 101.0}
    assert world.stale == set()


async def test_a_refused_login_is_tried_again_at_a_growing_distance(world: FeedWorld) -> None:
    world.server.faults.refuse_logins = True
    world.stream.watch(KEYS)
    world.stream.start()

    for pause in (2, 4, 8, 16):
        await world.until(lambda pause=pause: world.clock.slept[-1:] == [pause])
        assert world.state is StreamState.WAITING
        assert "authorization violation" in world.stream.health().note.lower()
        world.server.faults.refuse_logins = pause < 16
        await world.clock.advance(pause)

    await world.reaches(StreamState.CONNECTED)
    assert len(set(world.server.logins.issued)) == 5  # never a token twice


async def test_an_authorisation_error_in_the_middle_leads_to_new_credentials(
    world: FeedWorld,
) -> None:
    await world.go_live()

    world.server.logins.revoke_all()
    world.server.end_all("Authorization Violation")
    await world.reaches(StreamState.WAITING)
    await world.clock.advance(2)
    await world.reaches(StreamState.CONNECTED)

    assert len(world.server.let_in) == 2


async def test_a_token_that_ended_with_the_day_is_replaced(world: FeedWorld) -> None:
    world.server.logins.lifetime = timedelta(seconds=100)
    world.open = False  # overnight nobody expects prices
    await world.connect()

    await world.clock.advance(101)
    world.server.expire()
    await world.reaches(StreamState.WAITING)
    assert "authentication expired" in world.stream.health().note
    await world.clock.advance(2)
    await world.reaches(StreamState.CONNECTED)

    assert world.server.let_in[1].expires > world.clock.now()


async def test_a_renewed_session_gets_a_new_login_at_once(world: FeedWorld) -> None:
    await world.go_live()

    world.tokens.mark += 1
    await world.clock.advance(10)  # the next look
    await world.until(lambda: world.stream.health().reconnects == 1)
    await world.reaches(StreamState.CONNECTED)
    world.stream.renew("asked to")
    await world.until(lambda: world.stream.health().reconnects == 2)
    await world.reaches(StreamState.CONNECTED)

    assert StreamState.WAITING not in world.states
    assert len({login.token_id for login in world.server.let_in}) == 3


async def test_silence_in_the_session_is_mute_until_a_price_comes(world: FeedWorld) -> None:
    await world.go_live()
    world.server.faults.mute = True

    for _ in range(3):
        assert world.state is StreamState.LIVE
        await world.clock.advance(10)
        world.publish(101.0)
    await world.reaches(StreamState.MUTE)
    assert world.stream.newest() == {}
    assert "30 seconds" in world.stream.health().note
    await world.until(lambda: world.clock.slept[-1] == 2)
    await world.clock.advance(2)
    await world.until(lambda: world.stream.health().reconnects == 1)
    await world.until(lambda: world.stream.health().subscribed == 2)
    assert world.state is StreamState.MUTE  # connected, but not one price yet
    assert world.stale == set()

    world.server.faults.mute = False
    world.publish(102.0, volume=12)
    await world.reaches(StreamState.LIVE)
    assert world.stream.newest()["TCS"].price == 102.0


async def test_silence_while_the_market_is_closed_is_no_fault(world: FeedWorld) -> None:
    await world.go_live()
    world.open = False

    for _ in range(10):
        await world.clock.advance(100)
    assert world.state is StreamState.LIVE
    world.open = True
    for _ in range(2):
        await world.clock.advance(10)
    assert world.state is StreamState.LIVE  # the silence counts from the opening
    await world.clock.advance(10)
    await world.reaches(StreamState.MUTE)


async def test_a_feed_that_sends_zeros_only_is_mute(world: FeedWorld) -> None:
    await world.go_live()
    world.server.faults.zero_prices = True

    for _ in range(3):
        world.publish(101.0)
        await world.clock.advance(10)

    await world.reaches(StreamState.MUTE)


async def test_zero_prices_repeated_and_late_messages_do_not_show(world: FeedWorld) -> None:
    await world.connect()
    faults = world.server.faults

    world.publish(100.0, volume=10)
    faults.zero_prices = True
    world.publish(100.5, volume=11)
    faults.zero_prices = False
    faults.duplicate = True
    world.publish(101.0, volume=12)
    faults.late = True
    world.publish(102.0, volume=13)
    faults.late = faults.duplicate = False
    world.publish(103.0, volume=14)
    await world.until(lambda: 103.0 in world.prices)

    assert world.prices == [100.0, 101.0, 102.0, 103.0]


async def test_a_price_jump_is_passed_on_as_it_came(world: FeedWorld) -> None:
    await world.go_live(100.0)

    world.server.faults.jump_percent = -50
    world.publish(100.0, volume=11)
    await world.until(lambda: world.stream.newest()["TCS"].price == 50.0)


async def test_bytes_that_are_no_message_are_left_out(world: FeedWorld) -> None:
    await world.connect()

    world.server.publish(price_subject(TCS), b"\xff\xff\xff")
    world.publish(100.0)
    await world.reaches(StreamState.LIVE)

    assert world.stream.health().reconnects == 0


async def test_other_symbols_are_watched_without_a_new_connection(world: FeedWorld) -> None:
    await world.go_live()

    infy = StreamKey("NSE", "1594")
    world.stream.watch({"ITC": ITC, "INFY": infy})
    await world.server_until(lambda: world.server.subscribers(price_subject(infy)) == 1)
    await world.server_until(lambda: world.server.subscribers(price_subject(TCS)) == 0)

    assert world.server.subscribers(price_subject(ITC)) == 1
    assert world.server.connections == 1
    assert "TCS" not in world.stream.newest()


async def test_no_more_is_subscribed_than_groww_allows(world: FeedWorld) -> None:
    many = {f"S{number}": StreamKey("NSE", str(number)) for number in range(1, 1201)}
    world.stream.watch(many)
    world.stream.start()
    await world.reaches(StreamState.CONNECTED)

    assert world.stream.health().subscribed == 999  # and the order updates
    assert "201 symbols" in world.stream.health().note
    await world.stream.stop()
    await world.server_until(lambda: world.server.clients == 0)
    assert world.server.most_subscriptions == 1000


async def test_a_server_that_is_away_is_waited_for(world: FeedWorld) -> None:
    world.server.faults.away = True
    world.stream.watch(KEYS)
    world.stream.start()
    await world.reaches(StreamState.WAITING)
    world.server.faults.away = False

    await world.until(lambda: world.clock.slept)
    await world.clock.advance(2)
    await world.reaches(StreamState.CONNECTED)


@pytest.mark.parametrize(
    ("failure", "state", "pause"),
    [
        (BrokerUnavailable("the network is away"), StreamState.WAITING, 2),
        (AccessDenied("no subscription to market data"), StreamState.REFUSED, 300),
    ],
)
async def test_without_a_token_the_feed_says_why_and_waits(
    world: FeedWorld, failure: Exception, state: StreamState, pause: float
) -> None:
    world.tokens.failure = failure
    world.stream.watch(KEYS)
    world.stream.start()
    await world.until(lambda: world.clock.slept == [pause])

    assert world.stream.health().state is state
    assert world.stream.health().note == str(failure)
    assert world.server.connections == 0
    world.tokens.failure = None
    await world.clock.advance(pause)
    await world.reaches(StreamState.CONNECTED)


async def test_a_feed_that_keeps_dropping_is_left_alone_for_the_rest_of_an_hour(
    world: FeedWorld,
) -> None:
    world.open = False
    begun = world.clock.now()
    await world.connect()
    for volume in range(1, 21):
        world.publish(100.0, volume=volume)
        await world.reaches(StreamState.LIVE)
        await world.clock.advance(60)  # long enough for the pauses to start small again
        world.server.drop()
        await world.until(lambda: world.clock.slept[-1] == 2)
        await world.clock.advance(2)
        if volume < 20:
            await world.reaches(StreamState.CONNECTED)

    await world.until(lambda: world.clock.slept[-1] > 1000)
    rest = timedelta(seconds=world.clock.slept[-1])
    assert world.clock.now() + rest == begun + timedelta(hours=1)
    assert world.state is StreamState.WAITING
    assert "too many connections" in world.stream.health().note
    assert world.server.connections == 20


async def test_a_fault_of_ours_ends_the_feed_and_nothing_else(world: FeedWorld) -> None:
    world.tokens.failure = RuntimeError("a bug")
    world.stream.watch(KEYS)
    world.stream.start()
    await world.reaches(StreamState.FAILED)

    assert "polled" in world.stream.health().note
    assert world.stream.newest() == {}
    world.tokens.failure = None
    world.stream.start()
    await world.reaches(StreamState.CONNECTED)


async def test_order_news_that_are_refused_leave_the_prices(world: FeedWorld) -> None:
    world.tokens.subscription_id = "another-account"
    await world.go_live()

    assert world.stream.newest()["TCS"].price == 100.0
    assert world.server.connections == 1


async def test_a_stopped_feed_holds_nothing_and_may_start_again(world: FeedWorld) -> None:
    before = asyncio.all_tasks()
    await world.go_live()

    await world.stream.stop()
    await world.server_until(lambda: world.server.clients == 0)

    assert world.state is StreamState.STOPPED
    assert world.stream.newest() == {}
    assert asyncio.all_tasks() == before
    await world.connect()
    world.publish(105.0, volume=20)
    await world.reaches(StreamState.LIVE)


async def test_no_secret_is_logged(world: FeedWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world.tokens.subscription_id = "another-account"
    await world.go_live()
    world.server.end_all()
    await world.reaches(StreamState.WAITING)

    own = "\n".join(record.getMessage() for record in caplog.records if "hftray" in record.name)
    assert "live feed" in own
    assert "another-account" not in own
    assert not re.search(r"eyJ|\bU[A-Z2-7]{55}\b", own)
    assert "another" not in repr(SocketToken("jwt", "another"))


async def test_a_login_with_another_ones_token_is_refused(world: FeedWorld) -> None:
    from nats.aio.client import Client

    from hftray.adapters.groww.stream_link import SocketKey

    mine, theirs = SocketKey(), SocketKey()
    token = world.server.logins.create({"socketKey": theirs.public})["token"]

    for jwt, sign in [
        (token, mine.sign),
        (token + "x", theirs.sign),
        (token, lambda nonce: base64.b64encode(b"0" * 64)),
    ]:
        client, refused = Client(), []

        async def note(error: Exception, refused: list[str] = refused) -> None:
            refused.append(str(error))
            raise error

        with pytest.raises(Exception, match=r"(?i)authorization violation|EOF"):
            await client.connect(
                world.server.url,
                allow_reconnect=False,
                user_jwt_cb=lambda jwt=jwt: bytearray(jwt.encode()),
                signature_cb=sign,
                error_cb=note,
            )
        await client.close()
        assert refused
    assert world.server.let_in == []


@pytest.mark.parametrize(
    "body", [None, {}, {"socketKey": 1}, {"socketKey": "U123"}, {"socketKey": "U" + "A" * 55}]
)
async def test_a_token_needs_a_sound_key(world: FeedWorld, body: object) -> None:
    with pytest.raises(ValueError, match="socketKey"):
        world.server.logins.create(body)


async def test_without_the_extra_the_feed_says_how_to_get_it(
    world: FeedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nats", None)
    assert not stream_available()
    bare = type(world.stream)(
        world.stream._options,
        world.tokens,
        now=world.clock.now,
        in_session=lambda _: True,
    )

    bare.watch(KEYS)
    bare.start()
    health = bare.health()
    assert (health.state, health.note) == (StreamState.UNAVAILABLE, HOW_TO_INSTALL)
    assert bare.newest() == {}
    await bare.stop()
