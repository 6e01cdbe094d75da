"""Does the API keep what its OpenAPI document says? Schemathesis, all checks, a fixed seed.

    python benchmarks/api_fuzz.py [--examples 100] [--seed 7]
    python benchmarks/api_fuzz.py --url http://127.0.0.1:5000 [--token TOKEN]

Without --url the application runs in this process over the in-memory catalogue, once open to
loopback and once with a token. An operation gets at least --examples generated requests where it
can be asked in so many ways (one without parameters cannot), beside examples, boundary values and
chains of calls.

With --url a running system is asked, and really changed: users and strategies come and go, the
engine is stopped and killed. Hence loopback addresses and the modes without a broker only. Start it
on a data directory of its own, with HFTRAY_SERVER__MUTATIONS_PER_MINUTE=0, or most answers are 429.

Exit code 1 when anything failed.
"""

import argparse
import asyncio
import ipaddress
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from schemathesis.schemas import BaseSchema

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from api_world import api_world
from openapi_fuzz import Report, configuration, fuzz, of_app, of_url

HARMLESS = ("simulation", "replay")


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def running_system(chosen: argparse.Namespace) -> BaseSchema:
    """The operations of a system that may be played with; SystemExit for any other."""
    if not is_loopback(chosen.url):
        sys.exit(f"{chosen.url} is not on this machine")
    headers = {"Authorization": f"Bearer {chosen.token}"} if chosen.token else {}
    answer = httpx.get(f"{chosen.url}/api/engine/status", headers=headers)
    if answer.status_code != 200:
        sys.exit(f"{chosen.url} answers {answer.status_code}: {answer.text}")
    if (mode := answer.json()["mode"]) not in HARMLESS:
        sys.exit(f"{chosen.url} is in mode {mode}: its orders are no toys")
    config = configuration(examples=chosen.examples, seed=chosen.seed, token=chosen.token)
    return of_url(chosen.url, config)


async def in_memory(chosen: argparse.Namespace, token: str | None) -> BaseSchema:
    """The operations of an application of our own."""
    config = configuration(examples=chosen.examples, seed=chosen.seed, token=token)
    async with api_world(token=token) as world:
        return of_app(world.app, config)


def show(name: str, report: Report, seconds: float) -> None:
    for failure in report.failures:
        print(f"FAILED {failure}\n")
    print(f"{name}: {len(report.requests)} operations, {report.requests.total()} requests,")
    print(f"  {min(report.requests.values())} to {max(report.requests.values())} an operation,")
    print(f"  answers {dict(sorted(report.answers.items()))},")
    print(f"  {len(report.failures)} failures, {seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=100, help="an operation")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--url", help="of a running system, on loopback")
    parser.add_argument("--token", help="of the running system")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.examples} examples an operation")
    if chosen.url:
        schemas = {chosen.url: running_system(chosen)}
    else:
        schemas = {
            "loopback": asyncio.run(in_memory(chosen, None)),
            "token": asyncio.run(in_memory(chosen, "a-long-token")),
        }
    failed = False
    for name, schema in schemas.items():
        began = time.monotonic()
        report = fuzz(schema)
        show(name, report, time.monotonic() - began)
        failed |= bool(report.failures)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
