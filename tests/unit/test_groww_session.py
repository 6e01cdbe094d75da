"""The access token: both flows, renewal before its end and on 401, and pauses between failures."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from groww_world import KEY, SECRET, START, TOTP, FakeGroww, after, connected, failure, ok
from virtual_time import now, run

from hftray.adapters.groww.connection import Category, Credentials, Urgency
from hftray.adapters.groww.errors import AccessDenied
from hftray.core.errors import BrokerUnavailable, ConfigError


async def ask(connection: Any) -> Any:
    return await connection.get("/user/detail", category=Category.NON_TRADING)


def credentials_of(**given: str) -> Callable[[], Any]:
    async def credentials() -> Credentials:
        return Credentials(**given)

    return credentials


def test_key_and_secret_send_a_checksum_of_secret_and_time() -> None:
    groww = FakeGroww(lambda _: ok({}))

    async def scene() -> None:
        await ask(connected(groww, credentials_of(api_key=KEY, api_secret=SECRET)))

    run(scene())
    (request,) = groww.minted
    seconds = int(START.timestamp())
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert json.loads(request.content) == {
        "key_type": "approval",
        "checksum": hashlib.sha256(f"{SECRET}{seconds}".encode()).hexdigest(),
        "timestamp": seconds,
    }
    assert groww.seen[0].headers["Authorization"] == "Bearer token-1"


def test_a_totp_secret_sends_the_code_of_the_moment() -> None:
    """The codes of RFC 6238's test vectors (SHA-1; their last six digits)."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    groww = FakeGroww(lambda _: ok({}))
    groww_time = datetime.fromtimestamp(1111111109, UTC)

    async def scene() -> None:
        connection = connected(
            groww, credentials_of(api_key=KEY, api_secret=SECRET, totp_secret=secret.lower())
        )
        connection._session._wall = lambda: groww_time
        await ask(connection)

    run(scene())
    assert json.loads(groww.minted[0].content) == {"key_type": "totp", "totp": "081804"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"api_key": KEY}, r"groww\.api_secret"),
        ({"api_key": KEY, "totp_secret": "not base32 at 0189"}, r"groww\.totp_secret.*base32"),
    ],
)
def test_credentials_that_cannot_work_name_the_key(given: dict[str, str], message: str) -> None:
    async def scene() -> None:
        groww = FakeGroww(lambda _: ok({}))
        with pytest.raises(ConfigError, match=message) as caught:
            await ask(connected(groww, credentials_of(**given)))
        assert given.get("totp_secret", KEY) not in str(caught.value)
        assert groww.minted == []

    run(scene())


def test_a_short_totp_secret_works() -> None:
    groww = FakeGroww(lambda _: ok({}))

    async def scene() -> None:
        await ask(connected(groww, credentials_of(api_key=KEY, totp_secret=TOTP)))

    run(scene())
    assert len(groww.minted) == 1


def test_one_token_serves_all_and_is_renewed_before_its_end() -> None:
    groww = FakeGroww(lambda _: ok({}), life=timedelta(hours=2))

    async def scene() -> None:
        connection = connected(groww)
        await asyncio.gather(*(ask(connection) for _ in range(10)))
        assert len(groww.minted) == 1
        assert connection.token_expiry == START + timedelta(hours=2)
        await asyncio.sleep(2 * 3600 - 301)
        await ask(connection)
        assert len(groww.minted) == 1
        await asyncio.sleep(2)
        await asyncio.gather(*(ask(connection) for _ in range(10)))
        await asyncio.sleep(1)
        assert len(groww.minted) == 2
        assert connection.token_expiry > START + timedelta(hours=3)

    run(scene())


def test_no_call_waits_for_a_renewal_that_is_due() -> None:
    """The login hangs; the token that is still good serves meanwhile."""
    groww = FakeGroww(lambda _: ok({}), life=timedelta(hours=2))

    async def scene() -> None:
        connection = connected(groww)
        await ask(connection)
        await asyncio.sleep(2 * 3600 - 200)
        groww.mint = lambda _: after(3600, ok({}))
        for _ in range(20):
            began = now()
            await ask(connection)
            assert now() == began
            await asyncio.sleep(1)
        await connection.close()

    run(scene())


def test_a_renewal_that_fails_leaves_the_old_token_in_use_until_its_end() -> None:
    groww = FakeGroww(lambda _: ok({}), life=timedelta(hours=2))

    async def scene() -> None:
        connection = connected(groww)
        await ask(connection)
        groww.mint = lambda _: httpx.Response(503)
        await asyncio.sleep(2 * 3600 - 299)
        for _ in range(298):
            await ask(connection)
            await asyncio.sleep(1)
        assert 3 < len(groww.minted) < 10  # it is tried again, at a growing distance
        await asyncio.sleep(2)
        with pytest.raises(BrokerUnavailable):
            await ask(connection)
        groww.mint = None
        await asyncio.sleep(900)
        await ask(connection)

    run(scene())


@pytest.mark.parametrize("expiry", ["2026-11-26T06:00:00", "yesterday", None, 5])
def test_an_expiry_that_says_nothing_leaves_renewal_to_the_401(expiry: object) -> None:
    """The first is before now in IST; renewing by it would never end."""
    groww = FakeGroww(lambda _: ok({}))
    tokens = iter(["first", "second"])

    def mint(_: httpx.Request) -> httpx.Response:
        groww.valid = next(tokens)
        return httpx.Response(200, json={"token": groww.valid, "expiry": expiry})

    groww.mint = mint

    async def scene() -> None:
        connection = connected(groww)
        for _ in range(5):
            await ask(connection)
            await asyncio.sleep(3600)
        assert len(groww.minted) == 1
        groww.valid = "nothing"
        await ask(connection)
        assert len(groww.minted) == 2

    run(scene())


def test_a_401_renews_once_for_all_and_orders_are_repeated_with_the_new_token() -> None:
    groww = FakeGroww(lambda _: after(0.2, ok({})))

    async def scene() -> None:
        connection = connected(groww)
        await ask(connection)
        groww.valid = None  # Groww forgets the session
        groww.mint = lambda request: after(0.3, groww.new_token(request))
        await asyncio.gather(
            *(ask(connection) for _ in range(5)),
            *(
                connection.post(
                    "/order/create", {"n": n}, category=Category.ORDERS, urgency=Urgency.ENTRY
                )
                for n in range(4)
            ),
        )

    run(scene())
    assert len(groww.minted) == 2
    taken = [r for r in groww.seen if r.headers["Authorization"] == "Bearer token-2"]
    assert sorted(json.loads(r.content)["n"] for r in taken if r.content) == [0, 1, 2, 3]


def test_a_token_that_is_refused_at_once_is_not_minted_again_and_again() -> None:
    """A day of refused tokens, asked for all the time, stays far within 150 mints."""
    groww = FakeGroww(lambda _: httpx.Response(401))

    async def scene() -> None:
        connection = connected(groww)
        for _ in range(8 * 720):
            with pytest.raises(BrokerUnavailable):
                await ask(connection)
            await asyncio.sleep(5)
        await connection.close()

    run(scene())
    assert 5 < len(groww.minted) < 60


def test_logins_are_spread_also_over_a_process_that_crashes_again_and_again(
    tmp_path: Path,
) -> None:
    """Every five seconds, later twelve, a new process logs in: there are always logins left."""
    groww = FakeGroww(lambda _: ok({}))
    log = tmp_path / "groww" / "logins.json"
    moments: list[float] = []

    async def scene() -> None:
        while now() < 7 * 3600:
            connection = connected(groww, login_log=log)
            try:
                await connection.log_in()
                moments.append(now())
            except BrokerUnavailable as error:
                assert "too many logins" in str(error)  # noqa: PT017
            await connection.close()
            await asyncio.sleep(5 if now() < 1800 else 12)

    run(scene())
    assert moments[9] < 60  # a few restarts are no reason to wait
    assert 100 < len(moments) < 150
    assert max(later - earlier for earlier, later in pairwise([*moments, 7 * 3600])) < 250
    assert set(log.read_text()) <= set("0123456789.,[] ")


def test_two_that_end_each_others_session_do_not_use_the_logins_up() -> None:
    groww = FakeGroww(lambda _: ok({}))

    async def scene() -> None:
        connection = connected(groww)
        while now() < 7 * 3600:
            groww.valid = "of another program"
            with suppress(BrokerUnavailable):
                await ask(connection)
            await asyncio.sleep(5)

    run(scene())
    assert 100 < len(groww.minted) < 150


def test_a_login_log_that_cannot_be_used_does_not_stop_anyone(tmp_path: Path) -> None:
    (tmp_path / "logins.json").write_text("{broken")
    groww = FakeGroww(lambda _: ok({}))

    async def scene() -> None:
        await connected(groww, login_log=tmp_path / "logins.json").log_in()
        in_the_way = tmp_path / "logins.json" / "below-a-file.json"
        await connected(groww, login_log=in_the_way).log_in()

    run(scene())
    assert len(groww.minted) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(400, json={"error": {"displayMessage": "bad checksum"}}), AccessDenied),
        (httpx.Response(401), AccessDenied),
        (failure(403, "GA005"), AccessDenied),
        (httpx.Response(404, json={}), AccessDenied),
        (httpx.Response(429), BrokerUnavailable),
        (httpx.Response(500), BrokerUnavailable),
        (httpx.Response(200, text="<html>"), BrokerUnavailable),
        (httpx.Response(200, json={"sessionName": "s"}), BrokerUnavailable),
        (httpx.Response(200, json=["token"]), BrokerUnavailable),
        (httpx.ReadTimeout("slow"), BrokerUnavailable),
        (httpx.ConnectError("refused"), BrokerUnavailable),
    ],
)
def test_a_login_that_fails_says_why_and_pauses(answer: Any, error: type[Exception]) -> None:
    groww = FakeGroww(lambda _: ok({}))
    groww.mint = lambda _: answer

    async def scene() -> None:
        connection = connected(groww)
        first = await asyncio.gather(*(ask(connection) for _ in range(5)), return_exceptions=True)
        assert {type(one) for one in first} == {error}
        assert len(groww.minted) == 1
        with pytest.raises(error, match="next attempt to log in is in"):
            await ask(connection)
        groww.mint = None
        await asyncio.sleep(6)
        await ask(connection)
        assert len(groww.minted) == 2

    run(scene())
    assert len(groww.seen) == 1


def test_the_answer_of_the_token_endpoint_may_be_wrapped() -> None:
    groww = FakeGroww(lambda _: ok({}))
    groww.valid = "wrapped"
    groww.mint = lambda _: ok({"token": "wrapped"})

    async def scene() -> None:
        await connected(groww).log_in()

    run(scene())
    assert len(groww.minted) == 1
