"""Requests a second of `/api/engine/status` beside a bare Serve endpoint, in one run.

    python benchmarks/api.py [--seconds 5] [--rounds 5]

One keep-alive connection; both applications on the same Serve instance behind the same ingress.
The engine scans meanwhile, as it does in use (simulation, one candle a second), or is stopped
with --idle.
"""

import argparse
import asyncio
import http.client
import statistics
import time

from fastapi import FastAPI
from ray import serve
from system import started

from hftray.actors.engine_handle import EngineHandle

bare = FastAPI()


@serve.deployment(ray_actor_options={"num_cpus": 0})
@serve.ingress(bare)
class Bare:
    """Returns at once."""

    @bare.get("/")
    async def answer(self) -> dict[str, bool]:
        return {"running": True}


def rate(connection: http.client.HTTPConnection, path: str, seconds: float) -> float:
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, f"{path}: {answer.status}"
        count += 1
    return count / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", action="store_true", help="stop the engine first")
    chosen = parser.parse_args()
    with started(serve_api=True) as (plan, _):
        engine = EngineHandle()
        asyncio.run(engine.stop() if chosen.idle else engine.start())
        serve.run(Bare.bind(), name="bare", route_prefix="/bare")
        server = plan.settings.server
        connection = http.client.HTTPConnection(server.host, server.port)
        pairs = []
        for path in ("/api/engine/status", "/bare/"):
            rate(connection, path, 1.0)
        for _ in range(chosen.rounds):
            ours = rate(connection, "/api/engine/status", chosen.seconds)
            pairs.append((ours, rate(connection, "/bare/", chosen.seconds)))
        state = "stopped" if chosen.idle else "scanning"
        print(f"engine {state}")
        print(f"/api/engine/status   {statistics.median(a for a, _ in pairs):8.0f} requests/s")
        print(f"bare endpoint        {statistics.median(b for _, b in pairs):8.0f} requests/s")
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"ratio (median of pairs) {ratio:5.2f}")


if __name__ == "__main__":
    main()
