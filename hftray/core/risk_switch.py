"""ACTIVE, REDUCING, HALTED: who may change the risk state, and what lifts it again.

    from      daily loss   reduce      kill     resume   new day
    ACTIVE    REDUCING     REDUCING    HALTED   -        -
    REDUCING  -            new reason  HALTED   ACTIVE   ACTIVE if the daily loss was the reason
    HALTED    -            -           -        ACTIVE   -

A change is returned as the event to record, None when nothing changes.
"""

from datetime import datetime

from hftray.core.ledger import RiskStateChanged
from hftray.core.risk_view import RiskState

DAILY_LOSS = "daily loss"
"""How the reason of a reduction begins that a new day lifts, also after a restart."""


class RiskSwitch:
    """The risk state of one run and its reason."""

    def __init__(self, run_id: int) -> None:
        self._run_id = run_id
        self.state = RiskState.ACTIVE
        self.reason = ""

    def loss_reached(self, reason: str, now: datetime) -> RiskStateChanged | None:
        """The daily loss limit is reached; `reason` begins with DAILY_LOSS."""
        if self.state is not RiskState.ACTIVE:
            return None
        return self._change(RiskState.REDUCING, reason, now, "risk")

    def reduce(self, reason: str, now: datetime, actor: str) -> RiskStateChanged | None:
        """No entries until somebody resumes."""
        told = self.state is RiskState.REDUCING and self.reason == reason
        if told or self.state is RiskState.HALTED:
            return None
        return self._change(RiskState.REDUCING, reason, now, actor)

    def kill(self, reason: str, now: datetime, actor: str) -> RiskStateChanged | None:
        """No entries until somebody resumes; nothing weaker replaces it."""
        if self.state is RiskState.HALTED:
            return None
        return self._change(RiskState.HALTED, reason, now, actor)

    def resume(self, reason: str, now: datetime, actor: str) -> RiskStateChanged | None:
        """Entries again."""
        if self.state is RiskState.ACTIVE:
            return None
        return self._change(RiskState.ACTIVE, reason, now, actor)

    def new_day(self, now: datetime) -> RiskStateChanged | None:
        """Yesterday's loss does not bind today."""
        if self.state is not RiskState.REDUCING or not self.reason.startswith(DAILY_LOSS):
            return None
        return self._change(RiskState.ACTIVE, "a new session", now, "risk")

    def _change(self, state: RiskState, reason: str, now: datetime, actor: str) -> RiskStateChanged:
        self.state, self.reason = state, reason
        return RiskStateChanged(self._run_id, state.value, reason, actor, now)
