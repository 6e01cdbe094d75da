"""Orders of the loopback Groww against the paths of its candles."""

from datetime import timedelta
from decimal import Decimal

import pytest
from loopback_world import FIVE, MONDAY, TICK, body, day, flat_day, market_of, place, world_of

from hftray.core.market import Candle
from hftray.core.session import IST
from hftray.testing.groww import Market, RunningClock, SteppedClock
from hftray.testing.groww.order_form import Change, Terms, read_new_order
from hftray.testing.groww.wire import GrowwFailure

RISING = (1000.0, 1010.0, 990.0, 1005.0)
FALLING = (1005.0, 1010.0, 990.0, 995.0)


def prices(market, start=MONDAY, end=None):
    share = market.share("NSE", "RELIANCE")
    before = start - timedelta(seconds=1)
    return [tick.price for tick in market.ticks(share, before, end or start + timedelta(hours=8))]


def fills(entry):
    return [(fill.execution.quantity, fill.execution.price) for fill in entry.fills]


def change(entry, order_type, quantity, price=None, trigger=None):
    decimal = [None if x is None else Decimal(str(x)) for x in (price, trigger)]
    return Change(entry.groww_order_id, Terms(order_type, quantity, *decimal))


class TestPath:
    def test_a_rising_candle_is_low_first_and_a_falling_one_high_first(self):
        market, _ = market_of(*day(RISING, FALLING))
        assert prices(market) == [1000, 990, 1010, 1005, 1005, 1010, 990, 995]

    def test_the_test_may_choose_which_extreme_comes_first(self):
        candles = day(RISING, FALLING)
        market = Market({"RELIANCE": candles}, SteppedClock(MONDAY), low_first=lambda _: False)
        assert prices(market) == [1000, 1010, 990, 1005, 1005, 1010, 990, 995]

    def test_no_share_of_a_candles_volume_is_lost_on_the_way(self):
        candles = [Candle("RELIANCE", MONDAY, *RISING, 1003)]
        market = Market({"RELIANCE": candles}, SteppedClock(MONDAY + FIVE))
        state = market.price("NSE", market.share("NSE", "RELIANCE").exchange_token)
        assert (state.day_volume, state.day_high, state.day_low) == (1003, 1010, 990)

    def test_the_price_is_a_function_of_time_alone(self):
        market, clock = market_of(*day(RISING, FALLING))
        share = market.share("NSE", "RELIANCE")
        moment = MONDAY + timedelta(seconds=80)
        before = market.state(share, moment)
        clock.to(MONDAY + timedelta(hours=2))
        assert market.state(share, moment) == before
        assert before.price == 990
        assert market.price("BSE", market.share("BSE", "RELIANCE").exchange_token).price == 995

    def test_a_derivative_share_ends_at_a_quarter_past_three_since_august_2026(self):
        market, _ = market_of(
            *[Candle("RELIANCE", MONDAY + FIVE * n, 1000, 1000, 1000, 1000, 1) for n in range(75)]
        )
        assert len(prices(market)) == 72 * 4

    def test_a_jump_moves_the_ticks_after_it_and_nothing_before(self):
        market, clock = market_of(*day(RISING, RISING))
        clock.step(TICK)
        market.jump("RELIANCE", 5.0, until=MONDAY + FIVE)
        assert prices(market) == [1000, 990, 1060.5, 1055.25, 1000, 990, 1010, 1005]
        with pytest.raises(ValueError, match="past"):
            market.jump("RELIANCE", 5.0, since=MONDAY)

    def test_the_day_before_gives_the_band_which_widens_for_derivative_shares(self):
        market, _ = market_of(*day((1000, 1000, 1000, 1000), (1120, 1120, 1120, 1120)))
        share = market.share("NSE", "RELIANCE")
        assert (market.state(share, MONDAY).lower, market.state(share, MONDAY).upper) == (900, 1100)
        later = market.state(share, MONDAY + FIVE)
        assert (later.price, later.upper, later.no_sellers) == (1120, 1150, False)

    def test_other_shares_are_locked_at_the_end_of_their_band(self):
        market, _ = market_of(*day((1000, 1000, 1000, 1000), (1120, 1120, 1120, 1120)))
        market.relist("RELIANCE", derivatives=False, band_percent=Decimal(5))
        later = market.state(market.share("NSE", "RELIANCE"), MONDAY + FIVE)
        assert (later.price, later.upper, later.no_sellers) == (1050, 1050, True)

    def test_a_running_clock_follows_the_monotonic_clock_at_its_speed(self):
        moments = [100.0]
        clock = RunningClock(MONDAY, 60.0, monotonic=lambda: moments[0])
        moments[0] = 102.0
        assert clock.now() == MONDAY + timedelta(minutes=2)
        clock.to(MONDAY + timedelta(minutes=10))
        moments[0] = 103.0
        assert clock.now() == MONDAY + timedelta(minutes=11)
        assert clock.now().tzinfo is IST

    def test_a_running_clock_changes_its_speed_without_a_jump(self):
        moments = [100.0]
        clock = RunningClock(MONDAY, 60.0, monotonic=lambda: moments[0])
        moments[0] = 101.0
        clock.run_at(0.0)
        moments[0] = 200.0
        assert clock.now() == MONDAY + timedelta(minutes=1)
        clock.run_at(30.0)
        clock.to(MONDAY + timedelta(minutes=2))
        moments[0] = 202.0
        assert clock.now() == MONDAY + timedelta(minutes=3)
        with pytest.raises(ValueError, match="speed -1"):
            clock.run_at(-1)


class TestMarketable:
    def test_it_fills_at_the_first_tick_after_it_came_worse_by_the_slippage(self):
        world, clock = world_of(*day(RISING), slippage_bps=10)
        bought, sold = place(world), place(world, "SELL")
        clock.step(TICK - 1)
        assert not bought.fills
        assert bought.status == "ACKED"
        clock.step(1)
        assert fills(bought) == [(10, Decimal("991.0"))]  # 990.99 on the tick, against the buyer
        assert fills(sold) == [(10, Decimal("989.0"))]
        assert bought.status == "EXECUTED"

    def test_slippage_never_carries_it_beyond_its_limit(self):
        world, clock = world_of(*day(RISING), slippage_bps=100)
        entry = place(world, price=1000.0)
        clock.step(TICK)
        assert fills(entry) == [(10, Decimal("999.9"))]
        world, clock = world_of(*day(RISING), slippage_bps=200)
        entry = place(world, price=1000.0)
        clock.step(TICK)
        assert fills(entry) == [(10, Decimal(1000))]

    def test_on_arrival_it_takes_the_price_that_stands(self):
        world, _ = world_of(*day(RISING), fill="arrival")
        assert fills(place(world)) == [(10, Decimal(1000))]
        resting = place(world, price=995.0)
        assert (resting.status, resting.fills) == ("OPEN", [])

    def test_a_partial_fill_leaves_the_rest_for_the_next_tick(self):
        world, clock = world_of(*day(RISING))
        world.faults.add("partial_fills", path="RELIANCE")
        entry = place(world)
        clock.step(TICK)
        assert (fills(entry), entry.status) == ([(5, Decimal(990))], "OPEN")
        clock.step(TICK)
        assert fills(entry) == [(5, Decimal(990)), (5, Decimal(1010))]
        assert world.account.net("NSE", "RELIANCE", "MIS") == 10


class TestResting:
    def test_a_limit_fills_at_its_price_when_the_path_passes_it(self):
        world, clock = world_of(*day(RISING), slippage_bps=10)
        entry = place(world, price=993.0)
        clock.step(TICK)
        assert fills(entry) == [(10, Decimal(993))]

    def test_over_a_gap_it_fills_at_the_better_price(self):
        world, clock = world_of(*day((1000, 1000, 1000, 1000), (980, 985, 975, 981)))
        entry = place(world, price=990.0)
        clock.to(MONDAY + FIVE)
        assert fills(entry) == [(10, Decimal(980))]

    def test_it_lapses_when_the_auction_is_over(self):
        world, clock = world_of(*flat_day(MONDAY, 1000.0))
        entry = place(world, price=950.0)
        clock.to(MONDAY.replace(hour=15, minute=34))
        assert entry.status == "OPEN"
        clock.to(MONDAY.replace(hour=15, minute=35))
        assert entry.status == "CANCELLED"

    def test_nobody_sells_at_the_upper_circuit(self):
        world, clock = world_of(*day((1000, 1000, 1000, 1000), (1080, 1080, 1080, 1080)))
        world.market.relist("RELIANCE", derivatives=False, band_percent=Decimal(5))
        buyer = place(world)
        clock.step(TICK)
        assert buyer.status == "EXECUTED"
        clock.to(MONDAY + FIVE)
        locked, seller = place(world, price=1050.0), place(world, "SELL")
        clock.step(TICK)
        assert (locked.status, seller.status) == ("OPEN", "EXECUTED")


class TestStops:
    def test_it_trades_at_its_trigger_when_the_path_passes_it(self):
        world, clock = world_of(*day(RISING))
        limit = place(world, "SELL", price=990.0, trigger_price=994.0)
        market = place(world, "SELL", trigger_price=992.0)
        assert (limit.status, market.status) == ("TRIGGER_PENDING", "TRIGGER_PENDING")
        clock.step(TICK)
        assert fills(limit) == [(10, Decimal(994))]
        assert fills(market) == [(10, Decimal(992))]

    def test_over_a_gap_it_trades_at_the_tick(self):
        world, clock = world_of(*day((1000, 1000, 1000, 1000), (980, 985, 975, 981)))
        entry = place(world, "SELL", trigger_price=995.0)
        clock.to(MONDAY + FIVE)
        assert fills(entry) == [(10, Decimal(980))]

    def test_a_gap_beyond_its_limit_leaves_it_open_until_the_price_is_back(self):
        world, clock = world_of(*day((1000, 1000, 1000, 1000), (980, 999, 975, 996)))
        entry = place(world, "SELL", price=994.0, trigger_price=995.0)
        clock.to(MONDAY + FIVE)
        assert (entry.status, entry.triggered, entry.fills) == ("OPEN", True, [])
        clock.step(2 * TICK)
        assert fills(entry) == [(10, Decimal(994))]

    def test_it_becomes_a_limit_order_by_modification(self):
        world, clock = world_of(*day(RISING))
        entry = place(world, "SELL", price=985.0, trigger_price=986.0)
        clock.step(1)
        world.book.modify(change(entry, "LIMIT", 8, 989.0))
        assert entry.status == "OPEN"
        clock.step(TICK)
        assert fills(entry) == [(8, Decimal(990))]

    def test_the_auction_takes_no_stops(self):
        world, clock = world_of(*flat_day(MONDAY, 1000.0))
        entry = place(world, "SELL", price=950.0, trigger_price=960.0)
        clock.to(MONDAY.replace(hour=15, minute=15))
        assert entry.status == "CANCELLED"
        clock.to(MONDAY.replace(hour=15, minute=21))
        assert place(world, "SELL", price=950.0, trigger_price=960.0).status == "REJECTED"
        assert place(world, "SELL", price=950.0).status == "ACKED"


class TestBook:
    def test_a_cancelled_order_may_still_fill_until_the_cancel_takes_effect(self):
        world, clock = world_of(*day(RISING), cancel_seconds=100)
        entry, late = place(world, price=995.0), place(world, price=985.0)
        world.book.cancel(entry.groww_order_id)
        world.book.cancel(late.groww_order_id)
        clock.step(TICK)
        assert (entry.status, late.status) == ("EXECUTED", "OPEN")
        clock.step(TICK)
        assert late.status == "CANCELLED"

    def test_finished_orders_are_neither_cancelled_nor_modified(self):
        world, clock = world_of(*day(RISING))
        entry = place(world)
        clock.step(TICK)
        for action in (
            lambda: world.book.cancel(entry.groww_order_id),
            lambda: world.book.modify(change(entry, "LIMIT", 5, 990.0)),
        ):
            with pytest.raises(GrowwFailure) as refused:
                action()
            assert refused.value.code == "GA006"

    def test_one_long_step_and_many_short_ones_give_the_same_book(self):
        def play(steps):
            world, clock = world_of(*day(RISING, FALLING, RISING, FALLING))
            orders = [
                place(world, price=993.0),
                place(world, "SELL", price=1008.0),
                place(world, "SELL", price=985.0, trigger_price=991.0),
            ]
            for _ in range(steps):
                clock.step(1200 / steps)
            return [(fills(own), own.status, own.acted_at) for own in orders]

        assert play(1) == play(48)
        assert [len(own[0]) for own in play(1)] == [1, 1, 1]

    def test_the_broker_squares_off_before_the_close(self):
        world, clock = world_of(*flat_day(MONDAY, 1000.0), square_off_minutes=5)
        place(world)
        resting = place(world, price=950.0)
        clock.to(MONDAY.replace(hour=15, minute=9))
        assert world.account.net("NSE", "RELIANCE", "MIS") == 10
        clock.to(MONDAY.replace(hour=15, minute=10))
        assert world.account.net("NSE", "RELIANCE", "MIS") == 0
        assert resting.status == "CANCELLED"
        assert [own.foreign for own in world.book] == [False, False, True]

    def test_positions_margins_and_profit_follow_from_the_trades(self):
        world, clock = world_of(*day(RISING))
        place(world, quantity=10)
        clock.step(TICK)
        (position,) = world.account.positions()
        assert (position.net, position.net_price) == (10, 990)
        assert world.account.used("MIS") == Decimal("1980.00")
        place(world, "SELL", 10)
        clock.step(TICK)
        assert world.account.realised() == Decimal("200.00")
        assert world.account.available() == Decimal("1000200.00")

    def test_every_change_is_told(self):
        world, clock = world_of(*day(RISING))
        told = []
        world.on_order_update(lambda entry: told.append((entry.status, entry.filled)))
        place(world, "SELL", price=985.0, trigger_price=992.0)
        clock.step(TICK)
        assert told == [("TRIGGER_PENDING", 0), ("EXECUTED", 10)]

    def test_foreign_orders_and_positions_look_like_any_other(self):
        world, clock = world_of(*day(RISING))
        world.account.set_foreign_position("RELIANCE", -7, 1001)
        world.place_foreign(read_new_order(body("SELL", 3)))
        clock.step(TICK)
        assert world.account.net("NSE", "RELIANCE", "MIS") == -10
        assert world.book_rows()[0]["foreign"] is True
