"""Groww's instrument list: what is kept of it, and how it is kept on disk."""

import csv
import io
import logging
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from virtual_time import run

from hftray.adapters.groww.errors import UnreadableReply
from hftray.adapters.groww.master import read_master
from hftray.adapters.groww.master_file import MasterFile
from hftray.core.errors import BrokerUnavailable
from hftray.core.market import Instrument
from hftray.core.session import IST

DAY = date(2026, 11, 26)
BASE = {
    "exchange": "NSE",
    "exchange_token": "2885",
    "trading_symbol": "RELIANCE",
    "groww_symbol": "NSE-RELIANCE",
    "name": "Reliance",
    "instrument_type": "EQ",
    "segment": "CASH",
    "series": "EQ",
    "isin": "INE002A01018",
    "underlying_symbol": "",
    "lot_size": "1",
    "tick_size": "0.1",
    "freeze_quantity": "100000",
    "buy_allowed": "1",
    "sell_allowed": "1",
    "is_intraday": "1",
}


def file_of(*rows: dict[str, str], without: tuple[str, ...] = ()) -> str:
    names = [name for name in BASE if name not in without]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows({**BASE, **row} for row in rows)
    return text.getvalue()


def master_of(*rows: dict[str, str], without: tuple[str, ...] = ()) -> Any:
    return read_master(io.StringIO(file_of(*rows, without=without)), DAY)


def share(symbol: str, **fields: str) -> dict[str, str]:
    return {"trading_symbol": symbol, "groww_symbol": f"NSE-{symbol}", **fields}


def test_a_share_is_read_whole() -> None:
    listing = master_of(share("RELIANCE")).shares["RELIANCE"]
    assert listing.exchange_token == "2885"
    assert listing.tick_size == Decimal("0.1")
    assert listing.freeze_quantity == 100_000
    assert listing.lot_size == 1
    assert listing.key == "NSE_RELIANCE"
    assert listing.intraday is True
    assert listing.why_not_intraday() is None


def test_only_shares_of_both_exchanges_are_kept_each_under_its_own_name() -> None:
    master = master_of(
        share("RELIANCE"),
        share("RELIANCE", exchange="BSE", groww_symbol="BSE-RELIANCE", exchange_token="500325"),
        share("NIFTY", instrument_type="IDX"),
        share("GOLD", exchange="MCX", segment="COMMODITY"),
        share("RELIANCE26DECFUT", segment="FNO", instrument_type="FUT", underlying_symbol="X"),
    )
    assert set(master.shares) == {"RELIANCE", "BSE:RELIANCE"}
    assert master.shares["BSE:RELIANCE"].instrument() == Instrument(
        "BSE:RELIANCE", "BSE", Decimal("0.1"), derivatives=False
    )


def test_contracts_say_which_shares_have_derivatives() -> None:
    future = {"segment": "FNO", "instrument_type": "FUT", "underlying_symbol": "RELIANCE"}
    master = master_of(
        share("RELIANCE"), share("RELIANCE", exchange="BSE"), share("SMALL"), share("F", **future)
    )
    assert {name: listing.derivatives for name, listing in master.shares.items()} == {
        "RELIANCE": True,
        "BSE:RELIANCE": True,
        "SMALL": False,
    }


def test_a_list_without_contracts_leaves_it_open_and_the_session_short() -> None:
    listing = master_of(share("RELIANCE")).shares["RELIANCE"]
    assert listing.derivatives is None
    assert listing.instrument().derivatives is True


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"buy_allowed": "0"}, "buying"),
        ({"sell_allowed": "false"}, "selling"),
        ({"is_intraday": "0"}, "intraday"),
        ({"series": "BE"}, "series BE"),
        ({"exchange": "BSE", "series": "XT"}, "series XT"),
    ],
)
def test_what_cannot_be_traded_intraday_says_why(fields: dict[str, str], why: str) -> None:
    master = master_of(share("GOOD"), share("ODD", **fields))
    odd = next(one for one in master.shares.values() if one.trading_symbol == "ODD")
    assert why in (odd.why_not_intraday() or "")
    assert master.shares["GOOD"].why_not_intraday() is None


def test_a_column_that_allows_nobody_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "hftray")
    master = master_of(share("A", is_intraday="0"), share("B", is_intraday="0"))
    assert master.shares["A"].why_not_intraday() is None
    assert "is_intraday is ignored" in caplog.text


def test_columns_that_are_not_needed_may_be_absent() -> None:
    extras = ("is_intraday", "buy_allowed", "sell_allowed", "freeze_quantity", "lot_size", "series")
    listing = master_of(share("A"), without=extras).shares["A"]
    assert (listing.intraday, listing.freeze_quantity, listing.lot_size) == (None, None, 1)
    assert listing.why_not_intraday() is None


def test_rows_that_cannot_be_used_are_counted_and_left_out() -> None:
    rows = [share(f"T{n}", tick_size=tick) for n, tick in enumerate(["", "x", "0", "-1", "NaN"])]
    master = master_of(share("GOOD"), *rows, share("NOTOKEN", exchange_token=""))
    assert set(master.shares) == {"GOOD"}
    assert master.left_out == 6


def test_a_line_that_was_cut_off_is_left_out() -> None:
    text = file_of(share("A"), share("B"))
    master = read_master(io.StringIO(text[:-30]), DAY)
    assert (set(master.shares), master.left_out) == ({"A"}, 1)


def test_of_two_rows_with_one_name_the_ordinary_series_counts() -> None:
    rows = [share("A", series="BE"), share("A", series="EQ"), share("A", series="BZ")]
    assert master_of(*rows).shares["A"].series == "EQ"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>\n<body>", "no column"),
        ("", "no column"),
        (file_of(share("A"), without=("tick_size",)), "no column tick_size"),
        (file_of(share("A", segment="FNO")), "no share"),
    ],
)
def test_something_else_than_an_instrument_list_is_refused(text: str, message: str) -> None:
    with pytest.raises(UnreadableReply, match=message):
        read_master(io.StringIO(text), DAY)


# On disk


class Site:
    """Serves the list, or not, and counts how often it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[], Any] = lambda: httpx.Response(200, text=file_of(share("A")))
        self.asked = 0
        self.now = datetime(2026, 11, 26, 9, 0, tzinfo=IST)

    def file(self, folder: Path) -> MasterFile:
        def serve(_: httpx.Request) -> httpx.Response:
            self.asked += 1
            answer = self.answer()
            if isinstance(answer, Exception):
                raise answer
            return answer

        return MasterFile(
            "https://assets.test/i.csv",
            folder / "groww",
            lambda: self.now,
            transport=httpx.MockTransport(serve),
        )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "groww").iterdir())


def test_one_download_a_day_also_across_restarts(tmp_path: Path) -> None:
    site = Site()

    async def scene() -> None:
        file = site.file(tmp_path)
        first = await file.load()
        assert await file.load() is first
        assert (await site.file(tmp_path).load()).shares.keys() == {"A"}
        assert site.asked == 1
        site.now += timedelta(hours=22)  # before eight the next morning
        await file.load()
        assert site.asked == 1
        site.now += timedelta(hours=2)
        assert (await file.load()).day == date(2026, 11, 27)
        assert site.asked == 2

    run(scene())
    assert names(tmp_path) == ["instruments-2026-11-27.csv"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(200, text="<html>maintenance</html>"),
        httpx.Response(200, text=file_of(share("A", segment="FNO"))),
        httpx.Response(200, content=b"exchange,\xff\xfe"),
        httpx.ConnectError("no route"),
        httpx.ReadTimeout("slow"),
    ],
)
def test_a_failed_download_leaves_the_older_list_in_use(
    tmp_path: Path, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "hftray")
    site = Site()

    async def scene() -> None:
        await site.file(tmp_path).load()
        site.now += timedelta(days=3)
        site.answer = lambda: answer
        file = site.file(tmp_path)
        assert (await file.load()).day == date(2026, 11, 26)
        assert "an older instrument list serves" in caplog.text
        await file.load()
        assert site.asked == 2  # and is not asked for again and again
        site.now += timedelta(minutes=11)
        site.answer = Site().answer
        assert (await file.load()).day == date(2026, 11, 29)

    run(scene())
    assert names(tmp_path) == ["instruments-2026-11-29.csv"]


def test_no_list_at_all_is_unavailability(tmp_path: Path) -> None:
    site = Site()
    site.answer = lambda: httpx.Response(404)
    with pytest.raises(BrokerUnavailable, match=r"no instrument list for 2026-11-26.*404"):
        run(site.file(tmp_path).load())
    assert names(tmp_path) == []


def test_a_damaged_copy_is_fetched_anew(tmp_path: Path) -> None:
    site = Site()
    (tmp_path / "groww").mkdir()
    (tmp_path / "groww" / "instruments-2026-11-26.csv").write_text("half a li")
    assert run(site.file(tmp_path).load()).shares.keys() == {"A"}
    assert site.asked == 1
