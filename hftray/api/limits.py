"""How often one caller may change something.

Each replica counts for itself, so with N replicas a caller gets up to N times the rate. What ends
risk is never refused: a kill or a stop must work most of all when something sends too much.
"""

import math
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from hftray.api.problems import problem
from hftray.api.security import SAFE_METHODS

NEVER_REFUSED = frozenset({"/api/engine/kill", "/api/engine/stop"})
MAX_CLIENTS = 10_000
"""So many callers are remembered; beyond, those who could call freely anyway are forgotten."""


class Allowance:
    """A token bucket per client: it holds `burst` calls and refills at `per_minute`.

    Kept as one number a client, the moment when its bucket is full again (the generic cell rate
    algorithm, ITU-T I.371). The clock is monotonic: a wall clock that is set back, as the storage
    of the libraries at hand reads it, would lock everybody out for as long.
    """

    def __init__(
        self, *, per_minute: int, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = 60 / per_minute
        self._capacity = burst * self._interval
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def wait(self, client: str) -> float:
        """Take a call out of the client's bucket; the seconds to wait first when it is empty."""
        now = self._clock()
        full_at = max(now, self._full_at.get(client, now)) + self._interval
        # A refill computed in floats may miss the moment by a rounding, never by a microsecond.
        missing = full_at - now - self._capacity
        if missing > 1e-6:
            return missing
        if len(self._full_at) >= MAX_CLIENTS:
            self._full_at = {who: full for who, full in self._full_at.items() if full > now}
        self._full_at[client] = full_at
        return 0.0


class MutationLimit:
    """Answers 429 to a client that changes things too often; reading is not counted.

    Stands behind the gate: only callers with the token, all as one client, or loopback addresses
    come here, and nobody else can use up their allowance.
    """

    def __init__(self, app: ASGIApp, allowance: Allowance, *, has_token: bool) -> None:
        self.app = app
        self._allowance = allowance
        self._has_token = has_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or say when to come back."""
        if scope["type"] != "http" or not self._counts(scope):
            await self.app(scope, receive, send)
            return
        seconds = self._allowance.wait(self._client(scope))
        if seconds == 0:
            await self.app(scope, receive, send)
            return
        whole = str(math.ceil(seconds))
        detail = f"too many changes at once; try again in {whole} s"
        refusal = problem(scope["path"], 429, detail, headers={"Retry-After": whole})
        await refusal(scope, receive, send)

    @staticmethod
    def _counts(scope: Scope) -> bool:
        return scope["method"] not in SAFE_METHODS and scope["path"] not in NEVER_REFUSED

    def _client(self, scope: Scope) -> str:
        address = scope.get("client")
        return "token" if self._has_token or address is None else address[0]
