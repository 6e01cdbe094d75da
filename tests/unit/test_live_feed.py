"""LiveFeed: sessions, quotes as ticks, official candles at boundaries, what a bad source gets."""

import asyncio
from dataclasses import replace
from datetime import date, datetime, timedelta
from math import nan

import pyarrow as pa
import pytest
from engine_world import DAY, at
from live_feed_world import AUGUST, SHARES, Live, candle, day_of

from hftray.core.errors import ConfigError, NotFound, RetryError, UnknownOutcome
from hftray.core.session import IST
from hftray.ports_source import Quote

TUESDAY = DAY + timedelta(days=1)


# Hours


async def test_a_closed_market_is_told_without_a_call_to_the_source(tmp_path):
    live = await Live(tmp_path, at(-30)).begin()
    live.source.calls.clear()
    batch = await live.poll()
    assert (batch.open, batch.next_change, batch.live) == (False, at(0), True)
    live.source.clock = at(376)
    assert (await live.poll()).next_change == at(0, TUESDAY)
    assert live.source.calls == []


async def test_sessions_differ_by_share_within_a_day(tmp_path):
    live = await Live(tmp_path, at(350, AUGUST), ("TCS", "COLPAL")).begin()
    assert set((await live.poll()).sessions) == {"TCS", "COLPAL"}
    live.source.clock = at(361, AUGUST)
    batch = await live.poll()
    assert (set(batch.sessions), batch.next_change) == ({"COLPAL"}, at(375, AUGUST))
    assert live.asked("quotes")[-1] == "quotes COLPAL"


async def test_one_call_asks_for_all_quotes(tmp_path):
    live = await Live(tmp_path, at(1), ("TCS", "ITC", "COLPAL")).begin()
    batch = await live.poll()
    assert live.asked("quotes") == ["quotes TCS,ITC,COLPAL"]
    assert set(batch.ticks) == {"TCS", "ITC", "COLPAL"}


@pytest.mark.parametrize("error", [RetryError, NotFound, UnknownOutcome])
async def test_without_quotes_time_goes_on_and_the_note_says_why(tmp_path, error):
    live = await Live(tmp_path, at(1)).begin()
    answer = live.source.quotes

    async def fails(symbols):
        raise error("no route")

    live.source.quotes = fails
    batch = await live.poll()
    assert (batch.open, batch.now, set(batch.sessions)) == (True, at(1), {"TCS"})
    assert (batch.ticks, batch.fault) == ({}, "no quotes: no route")
    assert batch.note == batch.fault
    live.source.quotes = answer
    back = await live.poll()
    assert (set(back.ticks), back.note) == ({"TCS"}, "")


async def test_a_share_that_leaves_the_list_keeps_its_hours_and_stops_nobody(tmp_path):
    live = await Live(tmp_path, at(1), ("TCS", "ITC"), days=[DAY, TUESDAY]).begin()
    live.source.clock = at(1, TUESDAY)
    del live.source._instruments["ITC"]
    assert set(await live.feed.instruments()) == {"TCS", "COLPAL"}
    batch = await live.poll()
    assert set(batch.sessions) == {"TCS", "ITC"}
    assert "TCS" in batch.ticks
    assert await live.feed.history("ITC", 3)
    live.source.clock = at(376, TUESDAY)
    await live.poll()
    assert (await live.poll(seconds=60)).next_change == at(0, TUESDAY + timedelta(days=1))
    await live.begin()  # as the loop does when it starts scanning again
    with pytest.raises(NotFound, match="NOPE"):
        await live.feed.start(("TCS", "NOPE"), None)


# Ticks


async def test_volume_is_the_difference_and_the_first_quote_counts_none(tmp_path):
    live = await Live(tmp_path, at(0)).begin()
    first, second = [(await live.poll(seconds=s)).ticks["TCS"] for s in (1, 80)]
    assert (first.volume, second.volume) == (0.0, 100.0)
    assert (second.price, second.time) == (1000.0, at(81 / 60))


async def test_a_day_volume_that_falls_counts_nothing_and_nothing_twice(tmp_path):
    live = await Live(tmp_path, at(0)).begin()
    volumes = iter([100.0, 400.0, 50.0, 450.0])
    live.source.spoil_quote = lambda quote: replace(quote, day_volume=next(volumes))
    ticks = [(await live.poll(seconds=5)).ticks["TCS"].volume for _ in range(4)]
    assert ticks == [0.0, 300.0, 0.0, 50.0]


async def test_a_repeated_quote_is_no_news(tmp_path):
    live = await Live(tmp_path, at(1)).begin()
    live.source.mute = at(1)
    batches = [await live.poll(seconds=5) for _ in range(4)]
    assert [len(batch.ticks) for batch in batches] == [1, 0, 0, 0]
    live.source.mute = None
    assert (await live.poll(seconds=5)).ticks


async def test_a_source_that_changes_between_stamped_and_not_makes_no_news_of_that(tmp_path):
    live = await Live(tmp_path, at(1)).begin()
    live.source.mute = at(1)
    stamped = [True, False, True, False]
    ticks = []
    for live.source.stamped in stamped:
        ticks.append(len((await live.poll(seconds=5)).ticks))
    assert ticks == [1, 0, 0, 0]


async def test_without_a_time_only_another_price_is_news_and_bears_the_polls_time(tmp_path):
    live = await Live(tmp_path, at(0), stamped=False, counted=False).begin()
    ticks = [batch.ticks.get("TCS") for batch in await live.until(at(4), seconds=30)]
    assert [tick and (tick.time, tick.price) for tick in ticks] == [
        (at(0.5), 1002.0), None, (at(1.5), 1000.0), None, (at(2.5), 1006.0), None, None,
        (at(4), 1003.0),
    ]  # fmt: skip


@pytest.mark.parametrize("stamped", [True, False])
async def test_a_price_of_the_next_candle_is_not_counted_to_the_one_it_was_asked_in(
    tmp_path, stamped
):
    live = await Live(tmp_path, at(4), stamped=stamped).begin()
    await live.poll(seconds=30)
    answer = live.source.quotes

    async def slow(symbols):
        live.source.move(seconds=60)
        return await answer(symbols)

    live.source.quotes = slow
    batch = await live.poll(seconds=15)  # asked for at 09:19:45, answered at 09:20:45
    assert batch.ticks == {}
    live.source.quotes = answer
    later = [await live.poll(seconds=1), await live.poll(seconds=1)]
    assert later[0].candles["TCS"].time == at(0)  # and its tick comes after it
    tick = later[1].ticks["TCS"]
    assert (tick.price, tick.time >= at(5)) == (1012.0, True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"price": nan}, "quote without a positive finite price"),
        ({"price": -1.0}, "quote without a positive finite price"),
        ({"symbol": "ITC"}, "quote of another symbol"),
        ({"time": datetime(2026, 6, 1, 9, 16)}, "quote without a time zone"),  # noqa: DTZ001
        ({"time": at(100)}, "quote from the future"),
    ],
)
async def test_a_quote_that_cannot_be_right_is_dropped_and_counted(tmp_path, change, why):
    live = await Live(tmp_path, at(1)).begin()
    live.source.spoil_quote = lambda quote: replace(quote, **change)
    assert (await live.poll()).ticks == {}
    assert live.feed.dropped == {why: 1}
    assert "1 answers of the source dropped" in (await live.poll()).note


@pytest.mark.parametrize("time", [at(-5), at(400, DAY - timedelta(days=3))])
async def test_a_trade_from_before_the_session_is_no_tick_and_no_fault(tmp_path, time):
    live = await Live(tmp_path, at(1)).begin()
    live.source.spoil_quote = lambda quote: replace(quote, time=time)
    assert (await live.poll()).ticks == {}
    assert not live.feed.dropped


async def test_a_symbol_without_a_quote_is_left_out(tmp_path):
    live = Live(tmp_path, at(1), ("TCS", "ITC"), candles={"TCS": day_of("TCS", DAY)})
    assert set((await (await live.begin()).poll()).ticks) == {"TCS"}


# Official candles


async def test_the_official_candle_comes_at_the_boundary_instead_of_a_tick(tmp_path):
    live = await Live(tmp_path, at(4.9)).begin()
    assert (await live.poll()).awaiting == frozenset()
    batch = await live.poll(seconds=7)
    assert batch.candles == {"TCS": candle("TCS", 0, DAY)}
    assert (batch.ticks, batch.awaiting) == ({}, frozenset())
    after = await live.poll(seconds=1)
    assert (set(after.ticks), after.candles) == ({"TCS"}, {})


async def test_ticks_are_held_back_until_the_candle_is_there_and_lose_no_shares(tmp_path):
    live = await Live(tmp_path, at(4.9)).begin()
    live.source.delay = timedelta(seconds=6)
    await live.poll()
    held = await live.until(at(5 + 5.5 / 60))
    assert [(batch.ticks, batch.candles) for batch in held[6:]] == [({}, {})] * len(held[6:])
    assert held[-1].awaiting == {"TCS"}
    after = await live.until(at(9.5))
    (told,) = [b for b in after if b.candles]
    assert (told.candles["TCS"].time, told.ticks) == (at(0), {})
    ticks = [b.ticks["TCS"] for b in after if b.ticks]
    assert sum(tick.volume for tick in ticks) == 400.0  # what the next candle has traded by then


async def test_without_the_candle_ticks_go_on_after_the_patience(tmp_path):
    live = await Live(tmp_path, at(4.9)).begin()
    live.source.delay = timedelta(minutes=2)
    await live.poll()
    batches = await live.until(at(5.5))
    waited = [b.now for b in batches if b.awaiting]
    assert (waited[0], waited[-1]) == (at(5), at(5) + timedelta(seconds=10))
    assert batches[-1].ticks
    assert "1 official candles late" in batches[-1].note


async def test_a_candle_that_comes_late_is_handed_all_the_same(tmp_path):
    live = await Live(tmp_path, at(4.9)).begin()
    live.source.delay = timedelta(minutes=1)
    batches = await live.until(at(9.9))
    told = [b for b in batches if b.candles]
    assert [b.candles["TCS"].time for b in told] == [at(0)]
    assert told[0].now > at(6)
    assert told[0].ticks == {}


async def test_a_candle_that_never_comes_is_asked_for_ever_more_rarely(tmp_path):
    live = await Live(tmp_path, at(4.9)).begin()
    live.source.delay = timedelta(hours=5)
    await live.until(at(9.9))
    assert 8 <= len(live.asked("candles")) <= 10


async def test_a_candle_is_given_time_to_become_final(tmp_path):
    live = await Live(tmp_path, at(4.9), settle=2.0).begin()
    batches = await live.until(at(5.1))
    assert [b.now for b in batches if b.candles] == [at(5) + timedelta(seconds=2)]


async def test_candles_are_fetched_together_and_each_is_handed_as_it_comes(tmp_path):
    live = await Live(tmp_path, at(4.9), tuple(SHARES)).begin()
    await live.poll()
    live.source.gate.clear()
    batch = await live.poll(seconds=7)
    assert (batch.awaiting, live.source.most_under_way) == (set(SHARES), 3)
    live.source.gate.set()
    assert set((await live.poll(seconds=1)).candles) == set(SHARES)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"symbol": "ITC"}, "candle of another symbol"),
        ({"time": at(1)}, "candle not on the candle grid"),
        ({"time": at(0, date(2026, 5, 31))}, "candle of a day without trading"),
        ({"close": nan}, "candle price is not a positive finite number"),
        ({"high": 1.0}, "candle high is below low"),
    ],
)
async def test_a_candle_that_cannot_be_right_is_dropped_and_counted(tmp_path, change, why):
    live = await Live(tmp_path, at(4.9)).begin()
    live.source.spoil_candles = lambda candles: [replace(c, **change) for c in candles]
    batches = await live.until(at(5.5))
    assert not any(batch.candles for batch in batches)
    assert set(live.feed.dropped) == {why}


async def test_candles_of_the_auctions_are_left_out_and_no_fault(tmp_path):
    live = await Live(tmp_path, at(4.9)).begin()
    live.source.spoil_candles = lambda candles: [
        replace(c, time=time) for c in candles for time in (at(-5), c.time, at(375))
    ]
    batches = await live.until(at(5.5))
    assert [c.time for batch in batches for c in batch.candles.values()] == [at(0)]
    assert live.feed.dropped == {}


@pytest.mark.parametrize("error", [NotFound, ConfigError, UnknownOutcome])
async def test_a_candle_that_is_refused_loses_no_other(tmp_path, error):
    live = await Live(tmp_path, at(4.9), ("TCS", "ITC", "COLPAL")).begin()
    await live.poll()
    answer = live.source.candles

    async def refuses(symbol, *span):
        if symbol == "ITC":
            raise error("refused")
        return await answer(symbol, *span)

    live.source.candles = refuses
    batch = await live.poll(seconds=7)
    assert (set(batch.candles), batch.awaiting) == ({"TCS", "COLPAL"}, {"ITC"})


async def test_the_last_candle_of_the_day_is_handed_before_the_market_counts_as_closed(tmp_path):
    live = await Live(tmp_path, at(374.9)).begin()
    live.source.delay = timedelta(seconds=3)
    batches = await live.until(at(375.3))
    (told,) = [b for b in batches if b.candles]
    assert (told.candles["TCS"].time, told.open, set(told.sessions)) == (at(370), True, {"TCS"})
    assert [b.open for b in batches[-3:]] == [False] * 3
    assert live.asked("quotes")[-1:] == ["quotes TCS"]


async def test_a_last_candle_that_does_not_come_is_given_up_at_the_end(tmp_path):
    live = await Live(tmp_path, at(374.9)).begin()
    live.source.delay = timedelta(hours=1)
    await live.until(at(376))
    before = len(live.source.calls)
    assert not (await live.poll(seconds=60)).open
    assert len(live.source.calls) == before


async def test_who_was_away_over_boundaries_is_told_what_was_missed(tmp_path):
    live = await Live(tmp_path, at(4)).begin()
    await live.poll()
    batch = await live.poll(minutes=11.5)
    assert (batch.missed, batch.candles, set(batch.ticks)) == ({"TCS"}, {}, {"TCS"})
    assert [c.time for c in await live.feed.history("TCS", 3)][-1] == at(10)
    assert (await live.poll(seconds=5)).missed == frozenset()


async def test_who_was_away_until_a_boundary_still_gets_its_candle(tmp_path):
    live = await Live(tmp_path, at(4)).begin()
    await live.poll()
    batch = await live.poll(minutes=11, seconds=2)
    assert (batch.missed, batch.candles["TCS"].time) == ({"TCS"}, at(10))
    assert (await live.poll(minutes=5)).missed == frozenset()


async def test_an_outage_over_boundaries_leaves_history_to_be_read_again_and_no_candle_twice(
    tmp_path,
):
    live = await Live(tmp_path, at(4)).begin()
    await live.poll()
    live.source.away = "no network"
    away = await live.until(at(16), seconds=5)
    assert not any(b.ticks or b.candles or b.missed for b in away)
    assert all("no network" in b.note for b in away)
    live.source.away = ""
    back = await live.poll(seconds=5)
    assert (back.missed, back.candles, back.awaiting) == ({"TCS"}, {}, frozenset())
    assert [c.time for c in await live.feed.history("TCS", 9)] == [at(0), at(5), at(10)]
    rest = await live.until(at(21))
    assert [b.candles["TCS"].time for b in rest if b.candles] == [at(15)]
    assert not any(b.missed for b in rest)


async def test_a_start_right_after_a_boundary_waits_for_its_candle(tmp_path):
    live = await Live(tmp_path, at(5.05)).begin(at(4.9))
    live.source.delay = timedelta(seconds=6)
    assert (await live.poll()).awaiting == {"TCS"}
    assert await live.feed.history("TCS", 5) == []  # it is not history before it was voted on
    told = [b.candles for b in await live.until(at(5.3)) if b.candles]
    assert [c["TCS"].time for c in told] == [at(0)]


async def test_a_start_inside_a_bucket_hands_no_older_candle(tmp_path):
    live = await Live(tmp_path, at(7)).begin(at(3))
    assert not any(b.candles or b.awaiting or b.missed for b in await live.until(at(9.7), 10))
    assert [c.time for c in await live.feed.history("TCS", 5)] == [at(0)]


async def test_forming_is_the_sources_candle_of_the_present_bucket(tmp_path):
    live = await Live(tmp_path, at(7)).begin()
    forming = await live.feed.forming("TCS", at(7))
    assert (forming.time, forming.open, forming.volume) == (at(5), 1012.0, 200.0)
    live.source.serves_forming = False
    assert await live.feed.forming("TCS", at(7)) is None
    assert await live.feed.forming("TCS", at(-3)) is None


# History


async def test_past_days_are_asked_for_once_and_then_come_from_disk(tmp_path):
    days = [DAY - timedelta(days=n) for n in (6, 5, 4, 3)] + [DAY]  # Tuesday to Friday, Monday
    live = Live(tmp_path, at(11), days=days)
    found = await live.feed.history("TCS", 200)
    assert [c.time for c in found] == [
        c.time for day in days for c in day_of("TCS", day) if c.time < at(10)
    ][-200:]
    again = Live(tmp_path, at(11), days=days)
    assert await again.feed.history("TCS", 200) == found
    assert len(again.asked("candles")) == 1  # today's
    assert await again.feed.history("TCS", 200) == found
    assert len(again.asked("candles")) == 1


async def test_today_is_not_written_to_disk_and_is_read_on_as_it_closes(tmp_path):
    live = Live(tmp_path, at(11))
    assert len(await live.feed.history("TCS", 5)) == 2
    assert not list(tmp_path.rglob("*.parquet"))
    live.source.move(minutes=5)
    assert [c.time for c in await live.feed.history("TCS", 5)] == [at(0), at(5), at(10)]
    live.source.clock = at(10, TUESDAY)
    assert len(await live.feed.history("TCS", 80)) == 75
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


async def test_a_stored_file_that_cannot_be_read_is_fetched_anew(tmp_path):
    live = Live(tmp_path, at(20, TUESDAY), days=[DAY])
    found = await live.feed.history("TCS", 75)
    (file,) = tmp_path.rglob("*.parquet")
    assert file.relative_to(tmp_path).as_posix() == "NSE/TCS/5m-2026-06.parquet"
    file.write_bytes(b"nonsense")
    again = Live(tmp_path, at(20, TUESDAY), days=[DAY])
    assert await again.feed.history("TCS", 75) == found
    assert file.read_bytes() != b"nonsense"


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), pa.ArrowInvalid("not now")]
)
async def test_a_disk_that_takes_no_candles_costs_only_more_calls(tmp_path, monkeypatch, error):
    def full(table, where):
        where.write_bytes(b"half")
        raise error

    live = Live(tmp_path, at(20, TUESDAY), days=[DAY])
    monkeypatch.setattr("hftray.adapters.candle_store.parquet.write_table", full)
    found = await live.feed.history("TCS", 75)
    assert len(found) == 75
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    asked = len(live.asked("candles"))
    assert await live.feed.history("TCS", 75) == found
    assert len(live.asked("candles")) > asked


async def test_a_folder_that_cannot_be_made_costs_no_history(tmp_path):
    (tmp_path / "NSE").write_text("in the way")
    live = Live(tmp_path, at(20, TUESDAY), days=[DAY])
    assert len(await live.feed.history("TCS", 75)) == 75


async def test_columns_fill_gaps_between_stored_days(tmp_path):
    days = [DAY + timedelta(days=n) for n in range(4)]
    live = Live(tmp_path, at(400, days[-1]), days=days)
    await live.feed.columns("TCS", at(0, days[1]), at(375, days[1]))
    live.source.calls.clear()
    found = await live.feed.columns("TCS", at(0, days[0]), at(375, days[3]))
    assert len(found) == 4 * 75
    assert (found.time[1:] > found.time[:-1]).all()
    assert len(live.asked("candles")) == 2  # what was missing of the month, and today


async def test_columns_say_which_range_the_source_has_nothing_of(tmp_path):
    live = Live(tmp_path, at(11), days=[DAY])
    with pytest.raises(NotFound, match=r"TCS.*2026-05-18 to 2026-05-20"):
        await live.feed.columns("TCS", at(0, date(2026, 5, 18)), at(0, date(2026, 5, 20)))
    future = at(0, TUESDAY)
    assert len(await live.feed.columns("TCS", future, future + timedelta(days=3))) == 0


async def test_instruments_are_asked_for_once_a_day(tmp_path):
    live = await Live(tmp_path, at(1)).begin()
    await live.feed.instruments()
    assert len(live.asked("instruments")) == 1
    live.source.clock = at(1, TUESDAY)
    await live.feed.instruments()
    assert len(live.asked("instruments")) == 2


async def test_closing_ends_what_is_under_way(tmp_path):
    live = await Live(tmp_path, at(4.9)).begin()
    await live.poll()
    live.source.gate.clear()
    await live.poll(seconds=7)
    await live.feed.close()
    await asyncio.sleep(0)
    assert (live.source.under_way, live.source.calls[-1]) == (0, "close")


def test_the_worlds_times_are_indias():
    assert at(0).tzinfo is IST
    assert Quote("TCS", 1.0).time is None
