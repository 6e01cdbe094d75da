"""Keys, tokens and rate limits of the loopback Groww."""

import time
from datetime import datetime, timedelta

import pytest
from loopback_world import MONDAY

from hftray.core.session import IST
from hftray.testing.groww import Category, Keys, RateLimits, SteppedClock, totp
from hftray.testing.groww.session import Sessions, checksum

KEYS = Keys()
KEY = f"Bearer {KEYS.api_key}"


def sessions_at(moment=MONDAY):
    clock = SteppedClock(moment)
    return Sessions(KEYS, clock.now), clock


def ask(sessions, authorization=KEY, **body):
    return sessions.token_call(authorization, body, "json")


def approval(moment, **changes):
    stamp = int(moment)
    body = {"key_type": "approval", "checksum": checksum(KEYS.secret, stamp), "timestamp": stamp}
    return {**body, **changes}


@pytest.mark.parametrize(
    ("at", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")]
)
def test_totp_agrees_with_the_examples_of_rfc_6238(at, code):
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890" in base32
    assert totp(secret, at) == code


def test_both_flows_give_a_token_that_lives_until_six():
    sessions, clock = sessions_at()
    for body in (
        approval(time.time()),
        approval(time.time(), timestamp=str(int(time.time()))),
        approval(clock.now().timestamp()),
        {"key_type": "totp", "totp": totp(KEYS.totp_secret, time.time())},
    ):
        answer = ask(sessions, **body)
        assert answer.status == 200
        assert answer.body["expiry"] == "2026-11-24T06:00:00"
        assert sessions.valid(f"Bearer {answer.body['token']}")
    token = f"Bearer {answer.body['token']}"
    clock.to(datetime(2026, 11, 24, 5, 59, tzinfo=IST))
    assert sessions.valid(token)
    clock.to(datetime(2026, 11, 24, 6, 0, tzinfo=IST))
    assert not sessions.valid(token)


@pytest.mark.parametrize(
    "body",
    [
        approval(time.time(), checksum="0" * 64),
        approval(time.time() - 660),
        approval(time.time(), timestamp="soon"),
        approval(time.time(), extra=1),
        {"key_type": "totp", "totp": "000000x"},
        {"key_type": "password"},
    ],
)
def test_a_wrong_body_is_told_why(body):
    sessions, _ = sessions_at()
    answer = ask(sessions, **body)
    assert answer.status == 400
    assert answer.body["error"]["displayMessage"]
    assert sessions.minted == 0


def test_the_key_must_be_known_and_approved():
    sessions, _ = sessions_at()
    assert ask(sessions, "Bearer other", **approval(time.time())).status == 401
    sessions.approved = False
    assert ask(sessions, **approval(time.time())).status == 403


def test_a_new_token_ends_the_one_before_unless_told_otherwise():
    sessions, _ = sessions_at()
    first = sessions.mint()
    second = sessions.mint()
    assert not sessions.valid(f"Bearer {first}")
    sessions.newest_only = False
    third = sessions.mint()
    assert sessions.valid(f"Bearer {second}")
    assert sessions.valid(f"Bearer {third}")
    sessions.expire()
    assert not sessions.valid(f"Bearer {third}")


def test_a_token_can_be_given_a_short_life():
    sessions, clock = sessions_at()
    sessions.lifetime = timedelta(minutes=5)
    token = sessions.mint()
    clock.step(299)
    assert sessions.valid(f"Bearer {token}")
    clock.step(1)
    assert not sessions.valid(f"Bearer {token}")


def test_windows_slide():
    now = [0.0]
    limits = RateLimits(lambda: now[0])
    for _ in range(10):
        assert limits.allow(Category.ORDERS)
    assert not limits.allow(Category.ORDERS)  # the eleventh in a second
    assert limits.allow(Category.LIVE_DATA)  # counts elsewhere
    now[0] = 0.5
    assert not limits.allow(Category.ORDERS)
    now[0] = 1.0  # the first eleven are a whole second old, the twelfth is not
    assert [limits.allow(Category.ORDERS) for _ in range(10)] == [True] * 9 + [False]
    assert limits.highest(Category.ORDERS) == 12
    assert limits.highest(Category.ORDERS, 60.0) == 22
    assert limits.report()["orders"]["refused"] == 3


def test_the_minute_and_the_day_are_counted_too():
    now = [0.0]
    limits = RateLimits(lambda: now[0])
    for _ in range(250):
        now[0] += 0.2
        assert limits.allow(Category.ORDERS)
    assert not limits.allow(Category.ORDERS)
    for _ in range(150):
        now[0] += 60.0
        assert limits.allow(Category.AUTHENTICATION)
    now[0] += 60.0
    assert not limits.allow(Category.AUTHENTICATION)
