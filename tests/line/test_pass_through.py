"""Link-loss pass-through: rules that hold for every course of events, then two boxes in a row, then examples."""

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.line.inline import SIDES
from penstock.line.pass_through import Order, PassThrough, Sight, other_side

HOLD_DOWN, CARRIER_WAIT = 50, 80
NEGOTIATION = CARRIER_WAIT - 10  # the longest that a wire takes to have a carrier once both its ends are up
sights = st.sampled_from(list(Sight))
steps = st.lists(st.tuples(st.integers(1, 40), sights, sights), max_size=120)


@dataclass
class Box:
    """A PassThrough with its two interfaces: orders are carried out, and what a side looks like follows."""

    machine: PassThrough
    is_up: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(SIDES, True))
    orders: list[tuple[int, Order]] = field(default_factory=list)

    def turn(self, now: int, seen: dict[str, Sight]) -> None:
        """One turn. A side that is down looks so, whatever its wire is like."""
        found = {side: seen[side] if self.is_up[side] or seen[side] is Sight.GONE else Sight.DOWN for side in SIDES}
        order = self.machine.turn(now, found)
        if order:
            self.is_up[order.side] = order.up
            self.orders.append((now, order))


def build_box() -> Box:
    return Box(PassThrough(HOLD_DOWN, CARRIER_WAIT, 0))


@settings(max_examples=500, deadline=None)
@given(steps)
def test_one_side_at_most_is_held_and_none_flaps(course: list[tuple[int, Sight, Sight]]) -> None:
    box, now, clear = build_box(), 0, None
    for pause, ingress, egress in course:
        now += pause
        seen = {"ingress": ingress, "egress": egress}
        held = box.machine.held
        lost = other_side(held) if held else None
        box.turn(now, seen)
        assert list(box.is_up.values()).count(False) == (box.machine.held is not None)
        if lost:  # what came up came up behind hold_down without a loss; and it does come up then
            if not seen[lost].carries:
                clear = None
            elif clear is None or seen[lost] is Sight.FLAPPED:
                clear = now
            rested = clear is not None and now - clear >= HOLD_DOWN
            assert (box.machine.held is None) == rested
        if box.machine.held != held:
            clear = None
    downs = [at for at, order in box.orders if not order.up]
    assert all(later - earlier >= HOLD_DOWN for earlier, later in pairwise(downs))
    for (_, first), (_, second) in pairwise(box.orders):
        assert first.up != second.up
        assert second.side == first.side or second.up is False


@settings(max_examples=300, deadline=None)
@given(steps)
def test_a_loss_is_passed_on_and_never_when_both_are_lost(course: list[tuple[int, Sight, Sight]]) -> None:
    box, now = build_box(), 0
    for pause, ingress, egress in course:
        now += pause
        seen, count, held = {"ingress": ingress, "egress": egress}, len(box.orders), box.machine.held
        box.turn(now, seen)
        if len(box.orders) > count and not box.orders[-1][1].up:
            assert sorted(sight.carries for sight in seen.values()) == [False, True]
        settled = held is None and now > CARRIER_WAIT and all(now - at > CARRIER_WAIT for at, _ in box.orders[:count])
        if settled and ingress.carries != egress.carries:
            assert box.machine.held == ("ingress" if ingress.carries else "egress")


@dataclass
class Wire:
    """A wire between two ends: it has a carrier when it is whole and both ends have been up for the negotiation."""

    ends: list[tuple[int, str]]
    is_whole: bool = True
    ready_at: int = 0


def run_row(faults: list[tuple[int, int, bool]], negotiation: int) -> list[Box]:
    """Two boxes in a row, each side on a wire; at each (pause, wire, is_whole), behind the pause, a wire breaks or is
    mended."""
    boxes = [build_box(), build_box()]
    wires = [Wire([(0, "ingress")]), Wire([(0, "egress"), (1, "ingress")]), Wire([(1, "egress")])]
    now = 0
    for pause, number, is_whole in faults:
        for _ in range(pause):
            now += 1
            carriers = {}
            for wire in wires:
                if not wire.is_whole or not all(boxes[box].is_up[side] for box, side in wire.ends):
                    wire.ready_at = now + 1 + negotiation
                for end in wire.ends:
                    carriers[end] = Sight.CARRIER if now >= wire.ready_at else Sight.NO_CARRIER
            for at, box in enumerate(boxes):
                box.turn(now, {side: carriers[at, side] for side in SIDES})
        wires[number].is_whole = is_whole
    return boxes


@settings(max_examples=200, deadline=None)
@given(
    faults=st.lists(st.tuples(st.integers(1, 150), st.integers(0, 2), st.booleans()), max_size=12),
    negotiation=st.integers(0, NEGOTIATION),
)
def test_two_boxes_never_wait_for_each_other(faults: list[tuple[int, int, bool]], negotiation: int) -> None:
    mended = [(1, number, True) for number in range(3)]
    boxes = run_row([*faults, *mended, (8 * (HOLD_DOWN + CARRIER_WAIT), 0, True)], negotiation)
    assert all(box.is_up == dict.fromkeys(SIDES, True) for box in boxes)


def test_a_broken_wire_takes_the_whole_row_down() -> None:
    boxes = run_row([(100, 0, False), (200, 0, False)], 0)
    assert [order for box in boxes for _, order in box.orders] == [Order("egress", False)] * 2


def look(ingress: Sight, egress: Sight) -> dict[str, Sight]:
    return {"ingress": ingress, "egress": egress}


def test_each_return_has_a_hold_down_of_its_own() -> None:
    machine = PassThrough(HOLD_DOWN, CARRIER_WAIT, 0)
    both, broken = look(Sight.CARRIER, Sight.CARRIER), look(Sight.CARRIER, Sight.NO_CARRIER)
    for begin in (0, 1000):
        assert machine.turn(begin, both) is None
        assert machine.turn(begin + 1, broken) == Order("ingress", False)
        back = look(Sight.DOWN, Sight.CARRIER)
        assert [machine.turn(begin + 2 + later, back) for later in range(HOLD_DOWN)] == [None] * HOLD_DOWN
        assert machine.turn(begin + 2 + HOLD_DOWN, back) == Order("ingress", True)


def test_what_was_brought_up_by_hand_stays_up() -> None:
    machine = PassThrough(HOLD_DOWN, CARRIER_WAIT, 0)
    both = look(Sight.CARRIER, Sight.CARRIER)
    broken = look(Sight.NO_CARRIER, Sight.CARRIER)
    assert machine.turn(0, both) is None
    assert machine.turn(1, broken) == Order("egress", False)
    for now in range(2, 500):  # somebody brought egress up
        assert machine.turn(now, broken) is None
    assert machine.turn(500, both) is None
    assert machine.turn(501, broken) == Order("egress", False)


def test_a_side_without_a_carrier_at_the_start_is_lost_behind_the_wait() -> None:
    machine = PassThrough(HOLD_DOWN, CARRIER_WAIT, 0)
    broken = look(Sight.NO_CARRIER, Sight.CARRIER)
    assert machine.turn(CARRIER_WAIT - 1, broken) is None
    assert machine.turn(CARRIER_WAIT, broken) == Order("egress", False)


def test_switched_off_it_holds_nothing() -> None:
    machine = PassThrough(HOLD_DOWN, CARRIER_WAIT, 0, is_on=False)
    assert machine.turn(500, look(Sight.GONE, Sight.CARRIER)) is None
    machine.is_on = True
    assert machine.turn(501, look(Sight.GONE, Sight.CARRIER)) == Order("egress", False)
    machine.is_on = False
    assert machine.turn(502, look(Sight.GONE, Sight.DOWN)) == Order("egress", True)
    assert machine.release(503) is None
