"""A scan of ten symbol actors beside a bare Ray fan-out of ten calls, in one run.

    python benchmarks/scan.py [--rounds 300]

Ours: `Scanner.scan` as the engine actor runs it, on the simulated market: poll the feed, let the
exchange match, step ten symbols through eight strategies, mark risk, write the ledger. Bare: ten
async actors that return at once, called and gathered.
"""

import argparse
import asyncio

import ray
from system import paired, started

from hftray import venues
from hftray.actors import handles, ray_calls
from hftray.actors.outbox import Outbox
from hftray.actors.scan import Scanner


class Bare:
    """An actor that does nothing."""

    async def call(self, value: int) -> int:
        return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    with started() as (plan, run):
        settings = plan.settings
        ledger = handles.LedgerHandle()
        feed = venues.build_feed(settings, plan.start_day)
        names = list(plan.instruments)
        scanner = Scanner(
            feed=feed,
            broker=handles.BrokerHandle(),
            risk=handles.RiskHandle(),
            symbols={s: handles.SymbolHandle(ray_calls.symbol_actor(s)) for s in names},
            outbox=Outbox(ledger, run.run_id, settings.engine.equity_interval),
            history=settings.signals.candle_buffer,
            timeout=settings.engine.scan_timeout,
            tolerance=settings.feed.future_tolerance_seconds,
            pause=lambda batch: 0.0,
        )
        bare = [ray.remote(num_cpus=0)(Bare).remote() for _ in names]
        ready = False

        async def ours() -> None:
            nonlocal ready
            if not ready:
                await feed.start(names, None)
                scanner.crew.roster = await ledger.roster(-1) or scanner.crew.roster
                ready = True
            await scanner.scan()

        async def fan_out() -> None:
            await asyncio.gather(*(actor.call.remote(1) for actor in bare))

        paired(ours, fan_out, 40)  # warm-up: first scans load history
        mine, theirs, ratio = paired(ours, fan_out, rounds)
        print(f"scan of {len(names)} symbol actors   {mine * 1e3:8.2f} ms")
        print(f"bare fan-out of {len(names)} calls    {theirs * 1e3:8.2f} ms")
        print(f"ratio (median of pairs)     {ratio:8.2f}")


if __name__ == "__main__":
    main()
