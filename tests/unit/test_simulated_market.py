"""The generated market: believable prices, lively strategies, honest tick sizes."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.generated_prices import Character, daily_close, generate_session
from hftray.adapters.instruments import Listings
from hftray.adapters.simulated_market import SimulatedFeed
from hftray.core.candle_buffer import CandleBuffer
from hftray.core.candles import Candles
from hftray.core.errors import ConfigError
from hftray.core.session import IST, SessionRules
from hftray.strategies.defaults import default_strategies
from hftray.strategies.ensemble import Ensemble

CONFIG = Path(__file__).parents[2] / "config"
TEN = ("RELIANCE", "TCS", "HDFCBANK", "INFY", "ICICIBANK", "HINDUNILVR", "SBIN", "BHARTIARTL",
       "KOTAKBANK", "ITC")  # fmt: skip
MONDAY = date(2026, 11, 23)


@cache
def calendar() -> SessionCalendar:
    return SessionCalendar.from_mapping(yaml.safe_load((CONFIG / "sessions.yaml").read_text()))


@cache
def listings() -> Listings:
    return Listings.from_mapping(yaml.safe_load((CONFIG / "instruments.yaml").read_text()))


def feed(seed: int = 42, **options: int) -> SimulatedFeed:
    return SimulatedFeed(
        listings(), calendar(), seed=seed, start_day=MONDAY, rules=SessionRules(), **options
    )


@given(
    seed=st.integers(0, 2**31 - 1),
    symbol=st.sampled_from(TEN),
    day=st.dates(date(2020, 1, 2), date(2030, 12, 31)),
    per_candle=st.sampled_from([1, 5, 30]),
)
def test_a_session_is_a_pure_function_on_the_tick_and_near_its_base(seed, symbol, day, per_candle):
    character = Character(seed, symbol, 1400.0, Decimal("0.10"))
    yesterday = day - timedelta(days=1)

    def session():
        return generate_session(
            character, previous_day=yesterday, day=day, minutes=360, steps=72 * per_candle
        )

    one, again = session(), session()
    assert np.array_equal(one.prices, again.prices)
    assert np.array_equal(one.volumes, again.volumes)
    assert (one.prices > 1400 / 1.5).all()
    assert (one.prices < 1400 * 1.5).all()
    assert (one.volumes >= 1).all()
    ticks = one.prices / 0.1
    assert np.allclose(ticks, np.rint(ticks), atol=1e-6)
    assert one.prices[-1] == pytest.approx(daily_close(character, day), abs=0.06)
    opening_gap = one.prices[0] / daily_close(character, yesterday) - 1
    assert abs(opening_gap) < 0.02


def test_seeds_and_symbols_are_different_markets():
    characters = [Character(s, n, 1400.0, Decimal("0.10")) for s in (1, 2) for n in ("A", "B")]
    paths = {
        generate_session(
            c, previous_day=date(2026, 11, 20), day=MONDAY, minutes=360, steps=72
        ).prices.tobytes()
        for c in characters
    }
    assert len(paths) == 4


def test_every_process_sees_the_same_market():
    # Python's own `hash` differs from process to process; these figures must not.
    character = Character(42, "TCS", 3600.0, Decimal("0.10"))
    assert daily_close(character, MONDAY) == pytest.approx(3967.026)


async def test_a_restart_after_the_close_begins_the_next_day():
    source = feed()
    await source.start(["TCS"], datetime(2026, 11, 20, 15, 15, tzinfo=IST))
    assert (await source.poll()).now == datetime(2026, 11, 23, 9, 15, tzinfo=IST)
    await source.start(["TCS"], datetime(2026, 11, 22, 11, 0, tzinfo=IST))  # a Sunday
    assert (await source.poll()).now == datetime(2026, 11, 23, 9, 15, tzinfo=IST)


def test_volume_and_volatility_are_high_at_both_ends_of_the_day():
    moves, volumes = [], []
    character = Character(7, "SHAPE", 1000.0, Decimal("0.05"))
    for number in range(120):
        day = MONDAY + timedelta(days=number)
        session = generate_session(
            character, previous_day=day - timedelta(days=1), day=day, minutes=360, steps=360
        )
        moves.append(np.abs(np.diff(np.log(session.prices))))
        volumes.append(session.volumes)
    move, volume = np.mean(moves, axis=0), np.mean(volumes, axis=0)
    for shape in (move, volume):
        assert shape[:30].mean() > 1.3 * shape[150:240].mean()
        assert shape[-15:].mean() > 1.1 * shape[150:240].mean()


async def test_all_eight_voters_fire_and_decisions_come_often_enough_to_watch():
    source = feed()
    ensemble = Ensemble(
        [{"id": number, **row} for number, row in enumerate(default_strategies(), start=1)]
    )
    fired: dict[str, int] = {}
    decisions = candles = 0
    until = datetime(2026, 12, 22, 15, 15, tzinfo=IST)
    for symbol in TEN:
        history = Candles.of(await source.history(symbol, 20 * 72 + 375, until))
        score, votes = ensemble.vote_history(history)
        for name, cast in votes.items():
            fired[name] = fired.get(name, 0) + int(np.count_nonzero(cast[375:]))
        decisions += int(np.count_nonzero(np.abs(score[375:]) > 0.3))
        candles += len(score) - 375
    assert len(fired) == 8
    assert min(fired.values()) >= 5 * len(TEN), fired  # several times in these 20 sessions each
    steps_between = candles / len(TEN) / decisions  # of ten symbols together
    assert 7 < steps_between < 40


async def test_polled_ticks_build_the_very_candles_that_history_shows():
    source = feed()
    await source.start(TEN[:2], None)
    buffers = {name: CandleBuffer(name, 500, 5) for name in TEN[:2]}
    while (batch := await source.poll()).open:
        for name, tick in batch.ticks.items():
            if buffers[name].due(batch.now):
                buffers[name].close_forming()
            assert buffers[name].take(tick, batch.sessions[name])
    for name, buffer in buffers.items():
        built, shown = buffer.view(), Candles.of(await source.history(name, 72))
        for column in ("time", "open", "high", "low", "close", "volume"):
            assert np.array_equal(getattr(built, column), getattr(shown, column))


@pytest.mark.parametrize("ticks_per_candle", [1, 7, 60])
async def test_ticks_never_drift_off_the_candle_grid(ticks_per_candle):
    source = feed(ticks_per_candle=ticks_per_candle)
    await source.start(["TCS"], None)
    moments = []
    while (batch := await source.poll()).open:
        moments.append(batch.now)
    assert len(moments) == 72 * ticks_per_candle
    starts = moments[::ticks_per_candle]
    assert starts == [moments[0] + timedelta(minutes=5) * n for n in range(72)]
    assert source.interval == pytest.approx(300 / ticks_per_candle)


async def test_a_share_without_derivatives_trades_fifteen_minutes_longer():
    shares = yaml.safe_load((CONFIG / "instruments.yaml").read_text())
    shares["shares"]["SMALL"] = {"exchange": "NSE", "derivatives": False, "base_price": 90}
    source = SimulatedFeed(
        Listings.from_mapping(shares), calendar(), seed=1, start_day=MONDAY, rules=SessionRules()
    )
    await source.start(["TCS", "SMALL"], None)
    batches = []
    while (batch := await source.poll()).open:
        batches.append(batch)
    late = [batch for batch in batches if set(batch.ticks) == {"SMALL"}]
    assert late[0].now == datetime(2026, 11, 23, 15, 15, tzinfo=IST)
    assert set(late[0].sessions) == {"SMALL"}
    assert len(late) == 15


async def test_past_the_holiday_horizon_every_batch_carries_the_warning():
    source = SimulatedFeed(
        listings(), calendar(), seed=1, start_day=date(2027, 2, 1), rules=SessionRules()
    )
    await source.start(["TCS"], None)
    assert "known only to 2026-12-31" in (await source.poll()).note
    early = feed()
    await early.start(["TCS"], None)
    assert (await early.poll()).note == ""


@pytest.mark.parametrize(
    ("price", "day", "tick"),
    [
        ("249.99", date(2026, 1, 1), "0.01"),
        ("250", date(2026, 1, 1), "0.05"),
        ("1000", date(2026, 1, 1), "0.05"),
        ("1000.10", date(2026, 1, 1), "0.10"),
        ("12000", date(2026, 1, 1), "1.00"),
        ("99999", date(2026, 1, 1), "5.00"),
        ("1300", date(2024, 3, 1), "0.05"),
        ("10", date(2024, 3, 1), "0.05"),
        ("10", date(2024, 6, 10), "0.01"),
    ],
)
def test_tick_sizes_follow_price_and_date(price, day, tick):
    assert listings().tick_size(Decimal(price), day) == Decimal(tick)


@pytest.mark.parametrize(
    ("share", "names"),
    [
        ({"base_price": 0}, "TCS.base_price"),
        ({"base_price": 10, "tik_size": 1}, "TCS.tik_size"),
        ({"base_price": 10, "derivatives": "perhaps"}, "TCS.derivatives"),
        ({"exchange": "NSE"}, "TCS"),
    ],
)
def test_a_wrong_instrument_key_is_named(share, names):
    table = [{"from": date(2020, 1, 1), "bands": [{"up_to": None, "tick": "0.05"}]}]
    with pytest.raises(ConfigError, match=names):
        Listings.from_mapping({"tick_sizes": table, "shares": {"TCS": share}})


async def test_a_share_has_the_same_prices_on_bse():
    source = feed()
    await source.start(["TCS", "BSE:TCS"], None)
    batch = await source.poll()
    nse, bse = batch.ticks["TCS"], batch.ticks["BSE:TCS"]
    assert (bse.symbol, bse.price, bse.time) == ("BSE:TCS", nse.price, nse.time)
    twin = (await source.instruments())["BSE:TCS"]
    assert (twin.symbol, twin.exchange, twin.tick_size) == ("BSE:TCS", "BSE", Decimal("0.10"))


@pytest.mark.parametrize(
    ("symbol", "exchange"), [("OLD", "BSE"), ("BSE:OLD", "NSE"), ("OLD", "MCX")]
)
def test_a_listing_is_called_by_its_exchange(symbol, exchange):
    data = yaml.safe_load((CONFIG / "instruments.yaml").read_text())
    data["shares"][symbol] = {"exchange": exchange, "base_price": 90}
    with pytest.raises(ConfigError, match=f"shares.{symbol}.exchange: '{exchange}'.*BSE:NAME"):
        Listings.from_mapping(data)


def test_a_share_of_bse_alone_is_listed_there_alone():
    data = yaml.safe_load((CONFIG / "instruments.yaml").read_text())
    data["shares"]["BSE:OLD"] = {"base_price": 90}
    known = Listings.from_mapping(data)
    assert known.instrument("BSE:OLD", MONDAY).exchange == "BSE"
    assert "OLD" not in known.shares
