from copy import deepcopy
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hftray.core.charges import ChargeSchedule
from hftray.core.errors import ConfigError
from hftray.core.orders import Side

D = Decimal
CONFIG = Path(__file__).parents[2] / "config" / "charges.yaml"
DATA = yaml.safe_load(CONFIG.read_text())
SCHEDULE = ChargeSchedule.from_mapping(DATA)
NEW = date(2026, 3, 1)
OLD = date(2026, 2, 28)


def test_worked_example_of_one_lakh_each_way_costs_82_68():
    bought = SCHEDULE.charges(Side.BUY, quantity=100, price=D(1000), day=NEW)
    sold = SCHEDULE.charges(Side.SELL, quantity=100, price=D(1000), day=NEW)
    assert bought.total + sold.total == D("82.68")
    assert bought.brokerage + sold.brokerage == D(40)
    assert (bought.stt, sold.stt) == (0, D(25))
    assert bought.exchange + sold.exchange + bought.ipft + sold.ipft == D("6.14")
    assert bought.sebi + sold.sebi == D("0.20")
    assert (bought.stamp, sold.stamp) == (D(3), 0)
    assert bought.gst + sold.gst == D("8.34")


@pytest.mark.parametrize(
    ("turnover", "brokerage"),
    [
        (100, "2.50"),  # the cap for tiny orders
        (1_000, "5.00"),  # the minimum
        (4_999, "5.00"),
        (6_000, "6.00"),  # 0.1 %
        (20_000, "20.00"),
        (500_000, "20.00"),  # the maximum
    ],
)
def test_brokerage_has_a_floor_and_a_ceiling(turnover, brokerage):
    found = SCHEDULE.charges(Side.BUY, quantity=1, price=D(turnover), day=NEW)
    assert found.brokerage == D(brokerage)


def test_the_day_picks_the_table():
    crore = D(10_000_000)
    before = SCHEDULE.charges(Side.BUY, quantity=1, price=crore, day=OLD)
    after = SCHEDULE.charges(Side.BUY, quantity=1, price=crore, day=NEW)
    assert (before.exchange, before.ipft) == (D("297.00"), D("10.00"))
    assert (after.exchange, after.ipft) == (D("306.99"), D("0.01"))


@pytest.mark.parametrize("first", [date(2026, 2, 25), date(2026, 4, 1), date(2020, 1, 1)])
def test_the_tables_of_many_days_are_those_of_each(first):
    days = [first + timedelta(days=number) for number in range(10)]
    assert SCHEDULE.tables_of(days) == [SCHEDULE.table(day) for day in days]
    assert SCHEDULE.tables_of([]) == []


def test_days_before_the_first_table_are_charged_by_it():
    assert SCHEDULE.table(date(2015, 1, 1)) is SCHEDULE.tables[0]


@given(st.sampled_from(Side), st.integers(1, 5_000), st.decimals("0.05", "9999", places=2))
def test_every_part_is_whole_paise_and_the_total_is_their_sum(side, quantity, price):
    found = SCHEDULE.charges(side, quantity=quantity, price=price, day=NEW)
    parts = (
        found.brokerage, found.stt, found.exchange, found.sebi, found.stamp, found.ipft, found.gst,
    )  # fmt: skip
    assert all(part == part.quantize(D("0.01")) and part >= 0 for part in parts)
    assert found.total == sum(parts)


def _without(key):
    return lambda table: table.pop(key)


def _with(key, value):
    return lambda table: table.update({key: value})


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (_without("gst_percent"), r"charges\[1\]\.gst_percent: missing"),
        (_with("stt", 1), r"charges\[1\]\.stt: unknown key"),
        (_with("sebi_percent", -1), r"charges\[1\]\.sebi_percent: -1 must be"),
        (_with("sebi_percent", "cheap"), r"charges\[1\]\.sebi_percent: 'cheap' is not a number"),
        (_with("sebi_percent", True), r"charges\[1\]\.sebi_percent: True is not a number"),
        (_with("sebi_percent", float("nan")), r"charges\[1\]\.sebi_percent: nan must be"),
        (_with("effective", "soon"), r"charges\[1\]\.effective: 'soon' is not a day"),
        (_with("effective", date(2024, 10, 1)), r"charges\[1\]\.effective: must be after"),
        (_with("brokerage_min", 50), r"charges\[1\]\.brokerage_min: must not exceed"),
    ],
)
def test_a_bad_table_is_refused_by_the_name_of_its_key(break_it, message):
    data = deepcopy(DATA)
    break_it(data["charges"][1])
    with pytest.raises(ConfigError, match=message):
        ChargeSchedule.from_mapping(data)


@pytest.mark.parametrize("data", [{}, {"charges": []}, {"charges": [3]}, {"fees": []}])
def test_a_schedule_needs_tables(data):
    with pytest.raises(ConfigError, match=r"charges|fees"):
        ChargeSchedule.from_mapping(data)
