"""The life of a position as a table: every step that exists, and no other."""

from itertools import product

import pytest
from engine_world import DAY, D, at

from hftray.core.errors import IllegalTransition
from hftray.core.orders import Side
from hftray.core.position import Phase, Position, Trigger, next_phase
from hftray.core.risk_records import gross_result

LEGAL = {
    (Phase.FLAT, Trigger.ENTRY_INTENDED): Phase.ENTERING,
    (Phase.ENTERING, Trigger.ENTRY_DENIED): Phase.FLAT,
    (Phase.ENTERING, Trigger.ENTRY_FAILED): Phase.FLAT,
    (Phase.ENTERING, Trigger.ENTRY_FILLED): Phase.OPEN,
    (Phase.OPEN, Trigger.EXIT_INTENDED): Phase.EXITING,
    (Phase.EXITING, Trigger.EXIT_DENIED): Phase.OPEN,
    (Phase.EXITING, Trigger.EXIT_FAILED): Phase.OPEN,
    (Phase.EXITING, Trigger.EXIT_PARTIAL): Phase.OPEN,
    (Phase.EXITING, Trigger.EXIT_FILLED): Phase.FLAT,
    (Phase.OPEN, Trigger.GUARD_PARTIAL): Phase.OPEN,
    (Phase.OPEN, Trigger.GUARD_FILLED): Phase.FLAT,
}


@pytest.mark.parametrize(("phase", "trigger"), list(product(Phase, Trigger)))
def test_every_step_of_a_position(phase, trigger):
    after = LEGAL.get((phase, trigger))
    if after is not None:
        assert next_phase(phase, trigger) is after
        return
    with pytest.raises(IllegalTransition, match=f"'{trigger}' cannot happen while {phase}"):
        next_phase(phase, trigger)


def test_every_phase_can_be_left_and_reached_and_leads_back_to_flat():
    assert {phase for phase, _ in LEGAL} == set(Phase) == set(LEGAL.values())
    for start in Phase:
        reached = {start}
        for _ in Phase:
            reached |= {after for (before, _), after in LEGAL.items() if before in reached}
        assert reached == set(Phase)


@pytest.mark.parametrize(
    ("side", "price", "quantity", "gross"),
    [
        (Side.BUY, "1010.05", None, "201.00"), (Side.BUY, "990", None, "-200"),
        (Side.SELL, "990", None, "200"), (Side.SELL, "1010.05", None, "-201.00"),
        (Side.BUY, "1010", 3, "30"), (Side.SELL, "1010", 3, "-30"), (Side.BUY, "1010", 0, "0"),
    ],
)  # fmt: skip
def test_gross_pnl(side, price, quantity, gross):
    position = Position("E1", "INFY", side, 20, D(1000), at(0), DAY, D(900), D(1200), 1000.0)
    assert position.gross_pnl(D(price), quantity) == D(gross)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize(("low", "high"), [(90.0, 95.0), (99.0, 101.0), (105.0, 110.0)])
def test_a_range_improves_as_its_ends_do(side, low, high):
    held = Position("E1", "INFY", side, 20, D(1000), at(0), DAY, D(900), D(1200), 100.0)
    assert held.improved_within(low, high) == held.improved_by(high).improved_by(low)
    assert held.best_price == 100.0


@pytest.mark.parametrize("side", list(Side))
def test_what_leaves_where_it_entered_gained_zero_without_a_sign(side):
    position = Position("E1", "INFY", side, 20, D(1000), at(0), DAY, D(900), D(1200), 1000.0)
    gains = position.gross_pnl(D("1000.00")), gross_result(D("20000.00"), D(20000), side)
    assert [str(gain) for gain in gains] == ["0.00", "0.00"]
