"""ACTIVE, REDUCING, HALTED: who may change the risk state, and what lifts it again.

    from               judge                      reduce      kill    resume  new day
    ACTIVE             REDUCING: loss, impaired   REDUCING    HALTED  -       -
    REDUCING impaired  REDUCING: loss; or ACTIVE  REDUCING    HALTED  ACTIVE  -
    REDUCING for loss  -                          REDUCING    HALTED  ACTIVE  ACTIVE or impaired
    REDUCING by order  -                          new reason  HALTED  ACTIVE  -
    HALTED             -                          -           -       ACTIVE  -

`judge` holds the state against what is so now: it makes and lifts the automatic reductions, and
never touches what somebody ordered. Which of the REDUCING rows holds is told by how the reason
begins, so that a book recovered from the newest record goes on as this one would. A change is
returned as the event to record, None when nothing changes.
"""

from datetime import datetime
from typing import Any

from hftray.core.ledger import RiskStateChanged
from hftray.core.risk_view import RiskState

DAILY_LOSS = "daily loss"
"""How the reason of a reduction begins that a new day lifts, also after a restart."""

IMPAIRED = "impaired"
"""How the reason of a reduction begins that lifts itself when the impairment is over."""

_STATE = ("state", "reason", "since", "sequence", "impairment")


class RiskSwitch:
    """The risk state of one run, its reason and, once it has changed, since when.

    `impairment` is why nothing should be opened at present, whatever the state says; empty when
    nothing is in the way.
    """

    def __init__(self, run_id: int) -> None:
        self._run_id = run_id
        self.state = RiskState.ACTIVE
        self.reason = ""
        self.since: datetime | None = None
        self.sequence = 0
        self.impairment = ""

    def judge(self, loss: str | None, now: datetime, actor: str) -> RiskStateChanged | None:
        """Reduce for a daily loss (`loss` begins with DAILY_LOSS) or an impairment, or lift that.

        The loss goes before an impairment, as it lasts for the day. Another text of the same
        impairment is no change.
        """
        impaired = self._reduced_for(IMPAIRED)
        if not (impaired or self.state is RiskState.ACTIVE):
            return None
        if loss is not None:
            return self._change(RiskState.REDUCING, loss, now, actor)
        if self.impairment:
            return None if impaired else self._reduce_impaired(now, actor)
        if impaired:
            over = self.reason.removeprefix(f"{IMPAIRED}: ")
            return self._change(RiskState.ACTIVE, f"impairment over: {over}", now, actor)
        return None

    def reduce(self, reason: str, now: datetime, actor: str) -> RiskStateChanged | None:
        """No entries until somebody resumes."""
        if reason.startswith((DAILY_LOSS, IMPAIRED)):
            reason = f"told: {reason}"  # it must not be taken for one that lifts itself
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
        """Yesterday's loss does not bind today; what impairs does."""
        if not self._reduced_for(DAILY_LOSS):
            return None
        if self.impairment:
            return self._reduce_impaired(now, "risk")
        return self._change(RiskState.ACTIVE, "a new session", now, "risk")

    def recover(self, state: RiskState, reason: str, since: datetime | None, sequence: int) -> None:
        """Take the newest record; whether anything impairs now, the next look tells."""
        self.state, self.reason, self.since, self.sequence = state, reason, since, sequence
        self.impairment = ""

    def snapshot(self) -> dict[str, Any]:
        """State as picklable values."""
        return {name: getattr(self, name) for name in _STATE}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        for name in _STATE:
            setattr(self, name, state[name])

    def _reduced_for(self, marker: str) -> bool:
        return self.state is RiskState.REDUCING and self.reason.startswith(marker)

    def _reduce_impaired(self, now: datetime, actor: str) -> RiskStateChanged:
        return self._change(RiskState.REDUCING, f"{IMPAIRED}: {self.impairment}", now, actor)

    def _change(self, state: RiskState, reason: str, now: datetime, actor: str) -> RiskStateChanged:
        self.state, self.reason, self.since = state, reason, now
        self.sequence += 1
        return RiskStateChanged(self._run_id, state.value, reason, actor, now, self.sequence)
