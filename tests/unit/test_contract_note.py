"""The contract note: its rounding, its lines that add up, the API and `hftray note`."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml
from api_world import FakeDesk, World, api_world, filled_ledger
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hftray.api.app import create_app
from hftray.api.dependencies import ApiSettings, Services
from hftray.commands import note as note_command
from hftray.core.charges import ChargeSchedule
from hftray.core.contract_note import contract_note
from hftray.core.errors import ConfigError
from hftray.core.ledger import TradeRecord
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.data_dir import DataDirLock, Running
from hftray.testing.memory_catalog import MemoryCatalog

D = Decimal
DAY = date(2026, 6, 1)
CONFIG = Path(__file__).parents[2] / "config" / "charges.yaml"
SCHEDULE = ChargeSchedule.from_mapping(yaml.safe_load(CONFIG.read_text()))


def order(
    side: Side, quantity: int, price: str, symbol: str = "TCS", exchange: str = "NSE"
) -> TradeRecord:
    """An executed order as risk books it."""
    own = SCHEDULE.charges(side, quantity=quantity, price=D(price), day=DAY, exchange=exchange)
    return TradeRecord(
        reference=f"{symbol}-{side}-{quantity}-{price}",
        run_id=1,
        user_id="default",
        symbol=symbol,
        exchange=exchange,
        side=side,
        leg=Leg.ENTRY if side is Side.BUY else Leg.EXIT,
        requested_quantity=quantity,
        quantity=quantity,
        reason="signal",
        timestamp=datetime(2026, 6, 1, 5, tzinfo=UTC),
        session_day=DAY,
        price=D(price),
        status=TradeStatus.EXECUTED,
        charges=own.total,
    )


def test_a_round_trip_worked_by_hand() -> None:
    note = contract_note(
        DAY, [order(Side.BUY, 33, "1000.10"), order(Side.SELL, 33, "1011.70")], SCHEDULE
    )
    assert (note.bought, note.sold, note.gross) == (D("33003.30"), D("33386.10"), D("382.80"))
    # Turnover 66,389.40. The mean price is 1,005.90, so the tax is on 33 x 1005.90 = 33,194.70:
    # 8.30 rupees, 8 on the note; the sale by itself would give 8.35. Stamp 0.99, 1 on the note.
    levied = note.levied
    assert (levied.brokerage, levied.stt, levied.stamp) == (D("40.00"), D("8.00"), D("1.00"))
    assert (levied.exchange, levied.sebi, levied.ipft) == (D("2.04"), D("0.07"), D("0.00"))
    assert levied.gst == D("7.58")  # 18 % of 42.11
    assert levied.total == D("58.69")
    assert note.net == D("382.80") - D("58.69")
    # The ledger: 1.01 + 1.02 exchange, 0.03 + 0.03 SEBI, 8.35 STT, 0.99 stamp, 3.79 + 3.79 GST.
    assert note.booked == note.leg_charges.total == D("59.01")
    assert note.rounding.stt == D("-0.35")
    assert note.rounding.exchange == D("0.01")
    assert note.rounding.total == D("-0.32")


@pytest.mark.parametrize(("quantity", "stt"), [(19, "0"), (20, "1"), (59, "1"), (60, "2")])
def test_the_tax_of_the_day_is_whole_rupees_and_fifty_paise_go_up(quantity: int, stt: str) -> None:
    # 0.025 % of 100 rupees are 2.5 paise a share: 19 give 0.475, 20 give 0.50, 60 give 1.50.
    legs = [order(side, quantity, "100") for side in (Side.BUY, Side.SELL)]
    assert contract_note(DAY, legs, SCHEDULE).levied.stt == D(stt)


def test_the_tax_is_taken_on_the_days_mean_price_not_on_the_sale() -> None:
    # 19 shares at the mean of 105 rupees: 0.499 rupees of tax; at the sale's 110 it were 0.52.
    legs = [order(Side.BUY, 19, "100"), order(Side.SELL, 19, "110")]
    assert contract_note(DAY, legs, SCHEDULE).levied.stt == 0


def test_shares_are_rounded_together_not_one_by_one() -> None:
    # 0.40 rupees of tax in each of three shares: 1.20, 1 on the note; one by one it would be 0.
    legs = [order(side, 16, "100", symbol) for symbol in "ABC" for side in (Side.BUY, Side.SELL)]
    assert contract_note(DAY, legs, SCHEDULE).levied.stt == D(1)


def test_each_exchange_has_its_own_charges() -> None:
    nse, bse = (
        contract_note(DAY, [order(Side.BUY, 1000, "1000", exchange=name)], SCHEDULE)
        for name in ("NSE", "BSE")
    )
    assert (nse.levied.exchange, bse.levied.exchange) == (D("30.70"), D("37.50"))
    assert bse.levied.ipft == 0
    both = contract_note(DAY, [leg.trade for leg in nse.legs + bse.legs], SCHEDULE)
    assert both.levied == nse.levied + bse.levied
    with pytest.raises(ConfigError, match=r"exchange MCX \(there are BSE, NSE\)"):
        contract_note(DAY, [replace(nse.legs[0].trade, exchange="MCX")], SCHEDULE)


def test_only_the_days_executed_orders_are_on_it() -> None:
    bought = order(Side.BUY, 10, "100")
    others = [
        replace(bought, status=TradeStatus.FAILED, quantity=0, price=None, charges=None),
        replace(bought, leg=Leg.MANUAL, charges=None),
        replace(bought, session_day=DAY + timedelta(days=1)),
    ]
    note = contract_note(DAY, [bought, *others], SCHEDULE)
    assert [leg.trade for leg in note.legs] == [bought]
    assert note.unmatched == {"TCS": 10}
    assert contract_note(DAY, others, SCHEDULE).net == 0


def test_charges_booked_by_another_table_are_shown_as_drift() -> None:
    bought = order(Side.BUY, 10, "100")
    note = contract_note(DAY, [replace(bought, charges=D("4.00"))], SCHEDULE)
    assert note.drift == note.legs[0].charges.total - D("4.00")
    assert contract_note(DAY, [bought], SCHEDULE).drift == 0


ORDERS = st.builds(
    order,
    st.sampled_from(Side),
    st.integers(1, 500),
    st.decimals("1", "9999", places=2).map(str),
    st.sampled_from(["TCS", "ITC", "INFY"]),
    st.sampled_from(["NSE", "BSE"]),
)


@given(st.lists(ORDERS, max_size=12))
def test_the_lines_add_up_and_rounding_hides_nothing(trades: list[TradeRecord]) -> None:
    note = contract_note(DAY, trades, SCHEDULE)
    assert note.net == note.gross - note.levied.total
    assert note.net == sum(leg.net for leg in note.legs) - note.rounding.total
    assert note.levied.total == note.booked + note.drift + note.rounding.total
    assert note.drift == 0
    assert sum(note.unmatched.values()) == sum(t.side.sign * t.quantity for t in trades)
    assert all(part >= 0 and part == round(part, 2) for part in note.levied.parts().values())
    assert note.levied.brokerage == note.leg_charges.brokerage
    # A paisa an order and levy at the most, but for the tax, which is taken on the mean price.
    for name in ("exchange", "sebi", "ipft"):
        assert abs(note.rounding.parts()[name]) <= D("0.01") * (len(trades) + 2)


# The API


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with api_world() as made:
        yield made


async def test_the_api_shows_the_presents_runs_day(world: World) -> None:
    answer = await world.client.get("/api/trades/contract-note", params={"date": "2026-06-01"})
    assert answer.status_code == 200, answer.text
    note = answer.json()
    assert [leg["reference"] for leg in note["legs"]] == [
        "won", "won-exit", "lost", "lost-exit", "held",
    ]  # fmt: skip
    assert note["date"] == "2026-06-01"
    assert note["bought"] == "84150.00"
    assert note["sold"] == "56100.00"
    assert note["unmatched"] == {"RELIANCE": 20}
    assert D(note["net"]) == D(note["gross"]) - D(note["charges"]["total"])
    assert D(note["charges"]["total"]) == D(note["leg_charges"]["total"]) + D(
        note["rounding"]["total"]
    )
    other = await world.client.get("/api/trades/contract-note?date=2026-06-01&run_id=2")
    assert len(other.json()["legs"]) == 1


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("?date=2026-06-02", 404, "run 1 has no executed trade on 2026-06-02"),
        ("?date=2026-06-01&run_id=77", 404, "run 77"),
        ("", 404, "run 1 has had no trading day"),
        ("?date=tomorrow", 422, "date"),
        ("?date=1066-10-14", 422, "date"),
    ],
)
async def test_a_day_without_a_note(world: World, query: str, status: int, said: str) -> None:
    answer = await world.client.get(f"/api/trades/contract-note{query}")
    assert answer.status_code == status
    assert said in answer.json()["detail"]


# The command


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The data directory of a system whose API answers in this process."""
    catalog = MemoryCatalog(asyncio.run(filled_ledger()))
    network = httpx.ASGITransport(
        create_app(Services(catalog, FakeDesk(), ApiSettings(version="1")))
    )

    async def answer(*request: Any, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=network) as client:
            return await client.request(*request, **options)

    monkeypatch.setattr(httpx, "request", lambda *r, **o: asyncio.run(answer(*r, **o)))
    lock = DataDirLock(tmp_path)
    lock.acquire()
    lock.publish(Running(os.getpid(), "http://127.0.0.1:5000", "simulation", ""))
    yield tmp_path
    lock.release()


def run(directory: Path, *arguments: str) -> Any:
    app = typer.Typer()
    app.add_typer(note_command.commands)
    return CliRunner().invoke(
        app, ["note", *arguments, "--data-dir", str(directory)], env={"COLUMNS": "240"}
    )


def test_the_command_prints_every_leg_and_charge(running: Path) -> None:
    done = run(running, "--date", "2026-06-01")
    assert done.exit_code == 0, done.output
    assert "Contract note 2026-06-01  run 1" in done.stdout
    assert done.stdout.count("RELIANCE ") == 5
    for title in note_command.NAMES.values():
        assert title in done.stdout
    assert "RELIANCE: bought less sold is 20" in done.stdout
    assert "the ledger booked ₹0.00" in done.stdout  # this ledger's rows carry no charges


def test_the_command_as_json_is_the_apis_answer(running: Path) -> None:
    done = run(running, "--date", "2026-06-01", "--json")
    assert len(json.loads(done.stdout)["legs"]) == 5


def test_a_day_without_trades_is_told_in_words(running: Path) -> None:
    done = run(running, "--date", "2026-06-02")
    assert done.exit_code == 1
    assert "run 1 has no executed trade on 2026-06-02" in done.stdout
