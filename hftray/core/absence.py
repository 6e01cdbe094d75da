"""A position that the broker does not hold: closed by hand, or by the broker itself.

Its exit is refused and its guard would open a position the other way. So the guard is withdrawn,
none is placed, and after a refusal ever fewer of the exits that fall due are tried: each leaves a
row in the ledger. That ends at once when the broker is seen to hold it, when a kill is ordered, or
when the position is settled by hand.
"""

from dataclasses import dataclass, replace

FIRST_REST, LONGEST_REST = 8, 1024  # due exits that are let pass between two that are tried


@dataclass(frozen=True, slots=True)
class Absence:
    """Why a position, named by its reference, is believed not to be held; "" when it is.

    `refused` counts the exits that the broker refused for it; so many due ones as `rest` says are
    let pass before the next is tried.
    """

    position: str = ""
    reason: str = ""
    refused: int = 0
    rest: int = 0

    def of(self, position: str) -> "Absence":
        """What is known of this position, nothing if it was of another."""
        return self if self.position == position else Absence(position)

    def told(self, reason: str) -> "Absence":
        """After a comparison with the broker's book, which found `reason`, or nothing wrong."""
        return replace(self, reason=reason) if reason else Absence(self.position)

    def refusal(self, reason: str) -> "Absence":
        """After an exit was refused."""
        rest = min(FIRST_REST << min(self.refused, 16), LONGEST_REST)
        return replace(self, reason=reason, refused=self.refused + 1, rest=rest)

    def passed(self) -> "Absence":
        """After one due exit was let pass."""
        return replace(self, rest=self.rest - 1)
