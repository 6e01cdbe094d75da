"""The rate governor on a virtual clock: no sliding window over its limit, the urgent first."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from virtual_time import now, run

from hftray.adapters.groww.governor import Category, Governor, Limit, Urgency
from hftray.adapters.groww.limits import AUTHENTICATION_LIMITS, HARD_ORDER_LIMIT
from hftray.adapters.groww.options import GrowwOptions
from hftray.core.errors import BrokerUnavailable

LONG = 1e9


def governor_of(limits: Mapping[Category, Sequence[Limit]]) -> Governor:
    return Governor(limits, clock=now, chance=lambda: 0.0)


def most_in_a_window(moments: Sequence[float], seconds: float) -> int:
    """The highest count of moments in any stretch of that many seconds, ends included."""
    times = sorted(moments)
    highest = start = 0
    for end, time in enumerate(times):
        while times[start] < time - seconds:
            start += 1
        highest = max(highest, end - start + 1)
    return highest


@dataclass(frozen=True)
class Call:
    category: Category
    urgency: Urgency
    begins: float
    takes: float
    arrives: float  # at the server, as a part of the time it takes
    throttled: bool


calls = st.builds(
    Call,
    category=st.sampled_from([*Category, Category.ORDERS, Category.ORDERS]),
    urgency=st.sampled_from(Urgency),
    begins=st.floats(0, 40),
    takes=st.sampled_from([0.0, 0.01, 0.2, 0.9, 3.0]),
    arrives=st.sampled_from([0.0, 0.5, 1.0]),
    throttled=st.booleans(),
)
limits = st.builds(Limit, st.integers(1, 40), st.sampled_from([1.0, 5.0, 60.0]))


@settings(max_examples=examples(60))
@given(
    plan=st.lists(calls, max_size=120),
    configured=st.dictionaries(st.sampled_from(Category), st.tuples(limits, limits)),
)
def test_no_sliding_window_is_ever_over_its_limit(
    plan: list[Call], configured: dict[Category, tuple[Limit, ...]]
) -> None:
    arrivals: dict[Category, list[float]] = {category: [] for category in Category}
    served = run(play(plan, governor_of(configured), arrivals))

    assert served == len(plan)  # with patience enough none is lost
    for category, times in arrivals.items():
        always = {
            Category.ORDERS: (HARD_ORDER_LIMIT,),
            Category.AUTHENTICATION: AUTHENTICATION_LIMITS,
        }
        for limit in (*configured.get(category, ()), *always.get(category, ())):
            assert most_in_a_window(times, limit.seconds) <= limit.calls, (category, limit)


async def play(plan: list[Call], governor: Governor, arrivals: dict[Category, list[float]]) -> int:
    async def one(call: Call) -> int:
        await asyncio.sleep(call.begins)
        async with governor.permit(call.category, call.urgency, LONG) as permit:
            arrivals[call.category].append(now() + call.takes * call.arrives)
            await asyncio.sleep(call.takes)
            if call.throttled and call.takes == 0.2:
                permit.throttled(None)
            else:
                permit.accepted()
        return 1

    done = sum(await asyncio.gather(*(one(call) for call in plan)))
    await governor.close()
    return done


def test_ten_orders_a_second_whatever_the_settings_say() -> None:
    moments: list[float] = []

    async def storm() -> None:
        governor = governor_of({Category.ORDERS: [Limit(5000, 1.0)]})

        async def order(number: int) -> None:
            async with governor.permit(Category.ORDERS, Urgency(number % 3), LONG):
                moments.append(now())

        await asyncio.gather(*(order(number) for number in range(120)))

    run(storm())
    assert most_in_a_window(moments, 1.0) == 10
    assert max(moments) < 12.4  # and hardly less than ten a second


def test_a_call_without_an_answer_keeps_its_place() -> None:
    """Its request may reach the server at any moment until it is over."""

    async def scene() -> float:
        governor = governor_of({Category.HISTORICAL: [Limit(1, 1.0)]})

        async def slow() -> None:
            async with governor.permit(Category.HISTORICAL, Urgency.DATA, LONG):
                await asyncio.sleep(7)

        task = asyncio.create_task(slow())
        await asyncio.sleep(0)
        async with governor.permit(Category.HISTORICAL, Urgency.DATA, LONG):
            began = now()
        await task
        return began

    assert run(scene()) > 8.0


def test_exits_go_first_then_entries_then_look_ups_then_data() -> None:
    order: list[tuple[Urgency, int]] = []

    async def scene() -> None:
        governor = governor_of({Category.NON_TRADING: [Limit(1, 1.0)]})

        async def call(urgency: Urgency, number: int) -> None:
            async with governor.permit(Category.NON_TRADING, urgency, LONG):
                order.append((urgency, number))

        async with governor.permit(Category.NON_TRADING, Urgency.DATA, LONG):
            waiting = [
                asyncio.create_task(call(urgency, number))
                for number in (1, 2)
                for urgency in reversed(Urgency)
            ]
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)

    run(scene())
    assert order == [(urgency, number) for urgency in Urgency for number in (1, 2)]


def test_the_last_fifth_of_a_minute_is_kept_for_exits() -> None:
    async def scene() -> float:
        governor = governor_of({Category.ORDERS: [Limit(100, 60.0)]})
        sent = [0]

        async def enter() -> None:
            async with governor.permit(Category.ORDERS, Urgency.ENTRY, LONG):
                sent[0] += 1

        entries = [asyncio.create_task(enter()) for _ in range(130)]
        await asyncio.sleep(40)
        assert 80 <= sent[0] <= 81  # one at most by the turn of the oldest
        began = now()
        async with governor.permit(Category.ORDERS, Urgency.EXIT, LONG):
            waited = now() - began
        for entry in entries:
            entry.cancel()
        await governor.close()
        return waited

    assert run(scene()) == 0.0


@pytest.mark.parametrize("busy", [Urgency.EXIT, Urgency.ENTRY])
def test_nobody_waits_for_ever_behind_the_more_urgent(busy: Urgency) -> None:
    """More urgent calls without end, as many as the limits allow: the least urgent still goes."""

    async def scene() -> float:
        governor = governor_of({Category.LIVE_DATA: [Limit(2, 1.0), Limit(60, 60.0)]})
        ended = asyncio.Event()

        async def flood() -> None:
            while not ended.is_set():
                async with governor.permit(Category.LIVE_DATA, busy, LONG):
                    await asyncio.sleep(0.01)

        floods = [asyncio.create_task(flood()) for _ in range(8)]
        await asyncio.sleep(300)
        began = now()
        async with governor.permit(Category.LIVE_DATA, Urgency.DATA, 600):
            waited = now() - began
        ended.set()
        await asyncio.gather(*floods)
        return waited

    assert run(scene()) < 120


def test_patience_ends_and_hopeless_calls_are_told_at_once() -> None:
    async def scene() -> tuple[float, float]:
        governor = governor_of({Category.HISTORICAL: [Limit(1, 60.0)]})

        async def refused_after(patience: float) -> float:
            began = now()
            with pytest.raises(BrokerUnavailable, match=r"historical.*not sent"):
                async with governor.permit(Category.HISTORICAL, Urgency.DATA, patience):
                    raise AssertionError("granted")
            return now() - began

        async with governor.permit(Category.HISTORICAL, Urgency.DATA, LONG):
            unknowable = await refused_after(5)
        return unknowable, await refused_after(5)

    unknowable, hopeless = run(scene())
    assert unknowable == pytest.approx(5, abs=0.01)
    assert hopeless == 0.0


def test_a_429_pauses_its_category_longer_each_time_and_an_answer_ends_that() -> None:
    async def scene() -> list[float]:
        governor = governor_of({})
        pauses = []
        for answered in (429, 429, 429, 200, 429):
            began = now()
            async with governor.permit(Category.LIVE_DATA, Urgency.DATA, LONG) as permit:
                pauses.append(now() - began)
                permit.throttled(None) if answered == 429 else permit.accepted()
        async with governor.permit(Category.ORDERS, Urgency.EXIT, 0):
            pass  # the other categories are free
        began = now()
        async with governor.permit(Category.LIVE_DATA, Urgency.DATA, LONG):
            pauses.append(now() - began)
        return pauses

    assert run(scene()) == pytest.approx([0, 0.5, 1, 2, 0, 0.5], abs=0.001)


def test_ten_429s_of_one_burst_are_one_reason_to_pause() -> None:
    async def scene() -> float:
        governor = governor_of({})

        async def throttled() -> None:
            async with governor.permit(Category.LIVE_DATA, Urgency.DATA, LONG) as permit:
                await asyncio.sleep(0.2)
                permit.throttled(None)

        await asyncio.gather(*(throttled() for _ in range(10)))
        began = now()
        async with governor.permit(Category.LIVE_DATA, Urgency.DATA, LONG):
            return now() - began

    assert run(scene()) == pytest.approx(0.5, abs=0.01)


def test_retry_after_is_honoured_and_too_long_a_pause_is_told_at_once() -> None:
    async def scene() -> float:
        governor = governor_of({})
        async with governor.permit(Category.ORDERS, Urgency.EXIT, LONG) as permit:
            permit.throttled(90.0)
        began = now()
        with pytest.raises(BrokerUnavailable):
            async with governor.permit(Category.ORDERS, Urgency.EXIT, 30):
                raise AssertionError("granted")
        assert now() == began
        async with governor.permit(Category.ORDERS, Urgency.EXIT, 100):
            return now() - began

    assert run(scene()) == pytest.approx(90, abs=0.01)


def test_cancelled_calls_leave_their_places_to_others() -> None:
    """Cancelled while waiting, at the moment of the grant, or under way: nothing leaks."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    async def scene() -> None:
        governor = governor_of({Category.HISTORICAL: [Limit(3, 1.0)]})

        async def call() -> None:
            async with governor.permit(Category.HISTORICAL, Urgency.DATA, LONG):
                await asyncio.sleep(chance.choice([0, 0.3]))

        tasks = []
        for _ in range(200):
            tasks.append(asyncio.create_task(call()))
            if chance.random() < 0.6:
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
                chance.choice(tasks).cancel()
            if chance.random() < 0.2:
                await asyncio.sleep(chance.choice([0.1, 1.03]))
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(2)
        began = now()
        for _ in range(3):
            async with governor.permit(Category.HISTORICAL, Urgency.DATA, 0):
                pass
        assert now() == began

    run(scene())


def test_a_call_that_is_cancelled_as_its_turn_comes_gives_its_place_back() -> None:
    async def scene() -> None:
        moment = [0.0]
        governor = Governor({Category.HISTORICAL: [Limit(2, 1.0)]}, clock=lambda: moment[0])

        async def call(patience: float) -> None:
            async with governor.permit(Category.HISTORICAL, Urgency.DATA, patience):
                pass

        await call(0)
        await call(0)
        waiting = asyncio.create_task(call(LONG))
        await asyncio.sleep(0)
        moment[0] = 10.0
        async with governor.permit(Category.HISTORICAL, Urgency.DATA, 0):  # grants both
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await call(0)

    run(scene())


def test_closing_ends_the_waiting() -> None:
    async def scene() -> None:
        governor = governor_of({Category.HISTORICAL: [Limit(1, 60.0)]})
        async with governor.permit(Category.HISTORICAL, Urgency.DATA, LONG):
            pass

        async def wait() -> None:
            async with governor.permit(Category.HISTORICAL, Urgency.DATA, LONG):
                raise AssertionError("granted")

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(1)
        await governor.close()
        with pytest.raises(BrokerUnavailable):
            await waiting

    run(scene())


def test_the_settings_become_limits() -> None:
    options = GrowwOptions("u", "i", "s", orders_per_minute=100, live_data_per_second=7)
    assert options.limits()[Category.ORDERS] == (Limit(10, 1.0), Limit(100, 60.0))
    assert options.limits()[Category.LIVE_DATA][0] == Limit(7, 1.0)
