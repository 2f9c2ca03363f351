"""Link-loss pass-through: when one side loses its carrier, which side is to be taken down, and when it comes up again.

    both carry ──── one lost ────► the other is taken down (`held`)
        ▲                               │ the lost one carries again
        │                               ▼
        └── up, carrier awaited ◄── it carried for hold_down_ns without another loss

Time and sights go in, an order comes out: no interface is touched here. Four rules keep two boxes, or two sides, from
waiting for each other:

- At most one side is held, and it is never the one that was lost: that one stays up, so that its carrier is seen to return.
- What a held side looks like is our own making and means nothing.
- A side that was brought up, by us or by a start, may take carrier_wait_ns to find its carrier before it counts as lost.
- Who brings a held side up by hand means it: the same loss takes it down no more.

When neither side carries there is nothing to pass on: both neighbours see it.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from penstock.line.inline import SIDES


class Sight(Enum):
    """What one look at a side shows."""

    GONE = "gone"
    DOWN = "down"
    NO_CARRIER = "no carrier"
    FLAPPED = "carrier, but it was lost since the last look"
    CARRIER = "carrier"

    @property
    def carries(self) -> bool:
        return self in (Sight.CARRIER, Sight.FLAPPED)


class Order(NamedTuple):
    """Bring a side up or take it down."""

    side: str
    up: bool


def other_side(side: str) -> str:
    return "egress" if side == "ingress" else "ingress"


class PassThrough:
    """The state of one pair. Times are the caller's, in nanoseconds, and never run backwards."""

    def __init__(self, hold_down_ns: int, carrier_wait_ns: int, now_ns: int, *, is_on: bool = True) -> None:
        self.hold_down_ns, self.carrier_wait_ns, self.is_on = hold_down_ns, carrier_wait_ns, is_on
        self.held: str | None = None
        self._awaited_ns = dict.fromkeys(SIDES, now_ns + carrier_wait_ns)
        self._spared: str | None = None  # a lost side whose loss is not passed on any more
        self._clear_ns: int | None = None  # since when the lost side has carried

    def turn(self, now_ns: int, sights: Mapping[str, Sight]) -> Order | None:
        """What is to be done now, if anything; it counts as done."""
        if self.held is None:
            return self._look_for_loss(now_ns, sights) if self.is_on else None
        if not self.is_on:
            return self.release(now_ns)
        return self._look_for_return(now_ns, sights, self.held)

    def release(self, now_ns: int) -> Order | None:
        """Hold nothing any more: at the end, or when the setting is off."""
        side, self.held = self.held, None
        return self._bring_up(side, now_ns) if side else None

    def await_carrier(self, side: str, now_ns: int) -> None:
        """Somebody else brought this side up, or made it anew."""
        self._awaited_ns[side] = now_ns + self.carrier_wait_ns

    def _look_for_loss(self, now_ns: int, sights: Mapping[str, Sight]) -> Order | None:
        for side in SIDES:
            if sights[side].carries:
                self._awaited_ns[side] = now_ns
                self._spared = None if self._spared == side else self._spared
        for side in SIDES:
            other = other_side(side)
            is_lost = not sights[side].carries and now_ns >= self._awaited_ns[side]
            if is_lost and sights[other].carries and self._spared != side:
                self.held, self._clear_ns = other, None
                return Order(other, False)
        return None

    def _look_for_return(self, now_ns: int, sights: Mapping[str, Sight], held: str) -> Order | None:
        lost = other_side(held)
        if sights[held] not in (Sight.GONE, Sight.DOWN):
            self.held, self._spared = None, lost
            self.await_carrier(held, now_ns)
            return None
        if not sights[lost].carries:
            self._clear_ns = None
        elif self._clear_ns is None or sights[lost] is Sight.FLAPPED:
            self._clear_ns = now_ns
        if self._clear_ns is None or now_ns - self._clear_ns < self.hold_down_ns:
            return None
        return self.release(now_ns)

    def _bring_up(self, side: str, now_ns: int) -> Order:
        self.await_carrier(side, now_ns)
        return Order(side, True)
