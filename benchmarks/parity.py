"""A replay through the actors beside a backtest of the same candles, trade by trade.

    python benchmarks/parity.py FOLDER [--symbols A,B] [--from DAY] [--to DAY]

Starts the whole system as `replay.py` does, waits until the replay has ended, and compares what
the ledger then holds with what `hftray backtest` answers: when each position was entered and
left, how many shares, at which prices, why, on which votes, its charges and its profit, and the
account's equity at the end. Ends with 1 and the first difference where anything differs.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from replay import replaying, symbols_of

ESSENCE = (
    "entry_time", "symbol", "side", "quantity", "entry_price", "exit_time", "exit_price",
    "exit_reason", "gross_pnl", "charges", "pnl", "score", "votes",
)  # fmt: skip
LOOK = 60.0  # seconds between two lines of progress
PAGE = 1000  # trades in one answer

Trip = dict[str, Any]


def essence(trip: Trip) -> Trip:
    """What must be equal of a position's life."""
    return {name: trip[name] for name in ESSENCE} | {"votes": dict(sorted(trip["votes"].items()))}


def round_trips(trades: Iterable[Trip]) -> list[Trip]:
    """The essence of every exit in the ledger, with the entry it belongs to."""
    executed = list(trades)
    entries = {trade["reference"]: trade for trade in executed if trade["leg"] == "ENTRY"}
    trips = []
    for out in executed:
        if out["leg"] == "EXIT":
            entry = entries[out["position"]]
            charges = Decimal(entry["charges"]) + Decimal(out["charges"])
            trips.append({
                "symbol": out["symbol"], "side": entry["side"], "quantity": out["quantity"],
                "entry_time": entry["timestamp"], "entry_price": entry["price"],
                "exit_time": out["timestamp"], "exit_price": out["price"],
                "exit_reason": out["reason"], "gross_pnl": out["gross_pnl"],
                "charges": str(charges), "pnl": out["pnl"],
                "score": entry["score"], "votes": entry["votes"],
            })  # fmt: skip
    return trips


def differences(live: Iterable[Trip], played: Iterable[Trip]) -> list[str]:
    """What only one of the two has, in the order of the entries' times."""

    def told(trips: Iterable[Trip]) -> Counter[str]:
        return Counter(json.dumps(essence(trip)) for trip in trips)

    ours, theirs = told(live), told(played)
    found = [(text, "replay only") for text in (ours - theirs).elements()]
    found += [(text, "backtest only") for text in (theirs - ours).elements()]
    return [f"{who:13} {text}" for text, who in sorted(found)]


def executed_trades(url: str) -> list[Trip]:
    """All of the run's, newest first."""
    trades: list[Trip] = []
    with httpx.Client(base_url=url, timeout=60) as client:
        while True:
            answer = client.get(
                "/api/trades", params={"limit": PAGE, "offset": len(trades), "status": "EXECUTED"}
            )
            page = answer.raise_for_status().json()
            trades += page
            if len(page) < PAGE:
                return trades


def replayed(
    folder: Path, symbols: Sequence[str], days: dict[str, str]
) -> tuple[dict[str, Any], list[Trip]]:
    """The last status of a replay, and its trades."""
    next_look = 0.0

    def seen(status: dict[str, Any]) -> None:
        nonlocal next_look
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + LOOK
            print(f"  … {status['scans']} scans, {status.get('market_time')}", flush=True)

    with replaying(folder, symbols, **days) as replay:
        status, seconds, _ = replay.watched(seen)
        print(f"replay    {status['scans']} scans in {seconds:.0f} s", flush=True)
        return status, executed_trades(replay.url)


def backtested(folder: Path, symbols: Sequence[str], days: dict[str, str]) -> dict[str, Any]:
    """The answer of `hftray backtest`."""
    arguments = ["backtest", "--data", str(folder), "--json"]
    arguments += [text for symbol in symbols for text in ("--symbol", symbol)]
    arguments += [text for name, day in days.items() for text in (f"--{name[:-4]}", day)]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "hftray.cli", *arguments],
        check=True, stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    print(f"backtest  in {time.perf_counter() - began:.1f} s", flush=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--symbols", help="comma-separated; default: every file of the folder")
    parser.add_argument("--from", dest="from_day", metavar="DAY", help="default: the data's first")
    parser.add_argument("--to", dest="to_day", metavar="DAY", help="default: the data's last")
    chosen = parser.parse_args()
    symbols = symbols_of(chosen.folder, chosen.symbols)
    days = {name: day for name in ("from_day", "to_day") if (day := getattr(chosen, name))}
    answer = backtested(chosen.folder, symbols, days)
    status, trades = replayed(chosen.folder, symbols, days)
    live, played = round_trips(trades), answer["trades"]
    found = differences(live, played)
    ends = Decimal(status["capital"]), Decimal(answer["equity_curve"][-1]["equity"])
    print(f"symbols   {len(symbols)}, sessions {len(answer['equity_curve'])}")
    print(f"trades    replay {len(live)}, backtest {len(played)}, different {len(found)}")
    print(f"equity    replay {ends[0]}, backtest {ends[1]}")
    print(f"degraded  {status['degraded']}")
    print("\n".join(found[:10]))
    return int(bool(found) or ends[0] != ends[1] or not live)


if __name__ == "__main__":
    sys.exit(main())
