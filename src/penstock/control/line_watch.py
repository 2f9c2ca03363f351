"""The watch over the two interfaces: says what becomes of them, lays the line again, passes a loss of the carrier on.

    a notice of the kernel → look at both → tell what changed → is the line laid on what is there? → pass-through

A thread of its own, for a reload may take long. It looks at what *is*, never at what a notice says: so nothing gets out of
step, and what fails is tried again. It knows the order of the steps; what an interface is like (`line/links.py`), when a
side is held down (`line/pass_through.py`) and how the line is laid (`line/inline.py`) are others' knowledge.
"""

import select
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import structlog
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from penstock.control.configuration import Line
from penstock.errors import PenstockError
from penstock.line import links
from penstock.line.inline import (
    SIDES,
    Pair,
    attach_steer,
    is_attached,
    mark_held,
    raise_cable,
    set_promiscuous,
    set_up,
)
from penstock.line.links import Fault, Link, Notices, read_link
from penstock.line.pass_through import Order, PassThrough, Sight, other_side
from penstock.line.pins import Pins
from penstock.line.wires import Wires

TURN_S = 0.1  # between turns without a notice: hold-down and carrier wait are in seconds
LOOK_S = 5.0  # between looks without a notice: the kernel gives none of the sizes of super-packets
RETRY_S = 1.0  # between looks when something failed
STOP_S = 3.0
NS_PER_S = 1_000_000_000
FAILURES = (OSError, NetlinkError, PenstockError)

log = structlog.get_logger()

WORDS = {
    links.GONE: ("error", "the interface is gone"),
    links.RETURNED: ("info", "the interface is there again"),
    links.DOWN: ("warning", "the interface was taken down"),
    links.UP_AGAIN: ("info", "the interface is up"),
    links.CARRIER_LOST: ("warning", "the carrier is lost"),
    links.CARRIER_BACK: ("info", "the carrier is back"),
    links.MTU: ("info", "the MTU changed"),
}


class LineWatch:
    """The watch of one pair, whose line is laid and whose tables are open. `renew`: called when bytes may have passed
    unread. `settings` may be replaced at any time."""

    def __init__(self, pair: Pair, pins: Pins, wires: Wires, settings: Line, renew: Callable[[], None]) -> None:
        self.pair, self.pins, self.wires, self.settings, self.renew = pair, pins, wires, settings, renew
        self.links: dict[str, Link | None] = dict.fromkeys(SIDES)
        self.changes: Counter[tuple[str, str]] = Counter()
        self.faults: frozenset[Fault] = frozenset()
        self.machine = PassThrough(0, 0, 0)
        self._take_settings()
        self._flapped: set[str] = set()
        self._failed = ""
        self._due_s = 0.0
        self._stops = False
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> str | None:
        """The side that is down because the other one is lost."""
        return self.machine.held

    def start(self) -> None:
        """Begin to watch two sides that were brought up just now."""
        for side in SIDES:
            self.machine.await_carrier(side, time.monotonic_ns())
        self._stops = False
        self._thread = threading.Thread(target=self._watch, daemon=True, name="line watch")
        self._thread.start()

    def stop(self) -> None:
        """End the watch; it can begin again. No side stays down on our account."""
        self._stops = True
        if self._thread is not None:
            self._thread.join(STOP_S)
        order = self.machine.release(time.monotonic_ns())
        if order:
            self._carry_out(order)

    # ---- the turn -----------------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        with IPRoute() as route, closing(Notices()) as notices:
            self.links = {side: read_link(route, self.pair.name(side)) for side in SIDES}
            for side, link in self.links.items():
                if link and not link.has_carrier:
                    log.warning("no carrier", side=side, interface=link.name)
            while not self._stops:
                try:
                    if notices.drain() or time.monotonic() >= self._due_s:
                        self._look(route)
                    self._pass_loss_on(route)
                except FAILURES as error:
                    self._fail(str(error))
                select.select([notices], [], [], TURN_S)

    def _fail(self, error: str) -> None:
        """Say once what went wrong; it is tried again behind RETRY_S."""
        if error != self._failed:
            log.error("the line cannot be put in order; trying on", error=error)
        self._failed, self._due_s = error, time.monotonic() + RETRY_S

    def _look(self, route: Any) -> None:
        """Look at both sides, tell what changed, and lay the line again if it does not hang on what is there."""
        for side in SIDES:
            old, new = self.links[side], read_link(route, self.pair.name(side))
            self.links[side] = new
            for change in links.find_changes(old, new):
                self._tell(side, change, old, new)
        if all(self.links.values()) and not self._is_laid():
            self._lay()
            self.links = {side: read_link(route, self.pair.name(side)) for side in SIDES}
        self._tell_faults()
        self._restore_promiscuous()
        self._failed, self._due_s = "", time.monotonic() + LOOK_S

    def _tell(self, side: str, change: str, old: Link | None, new: Link | None) -> None:
        self.changes[side, change] += 1
        if change == links.CARRIER_BACK and old and old.has_carrier:
            self._flapped.add(side)
        level, text = WORDS[change]
        more = {"old": old.mtu, "new": new.mtu} if change == links.MTU and old and new else {}
        getattr(log, level)(text, side=side, interface=self.pair.name(side), **more)

    def _tell_faults(self) -> None:
        """Say what is wrong with the interfaces once, with its cure, and once that it is mended."""
        ingress, egress = (self.links[side] for side in SIDES)
        found = {fault for link in (ingress, egress) if link for fault in links.find_faults(link)}
        if ingress and egress:
            found |= set(links.find_pair_faults(ingress, egress))
        before = self.faults
        if not (ingress and egress):
            found |= before  # what cannot be looked at is not mended
        self.faults = frozenset(found)
        for fault in sorted(self.faults - before):
            log.warning(f"not as it must be: {fault.what}", problem=fault.problem, cure=fault.cure)
        for what in sorted({fault.what for fault in before} - {fault.what for fault in self.faults}):
            log.info(f"as it must be again: {what}")

    # ---- the line -----------------------------------------------------------------------------------------------------
    def _is_laid(self) -> bool:
        kinds = ((kind, side) for kind in ("cable", "steer") for side in SIDES)
        return self.wires.are_bound and all(is_attached(self.pair, self.pins, kind, side) for kind, side in kinds)

    def _lay(self) -> None:
        """Lay the line on the interfaces that are there now. `steer` goes first: nothing passes it unread."""
        lacked = {side for side in SIDES if not is_attached(self.pair, self.pins, "steer", side)}
        was_open = any(is_attached(self.pair, self.pins, "cable", side) for side in lacked)
        self.wires.bind()
        attach_steer(self.pair, self.pins)
        raise_cable(self.pair, self.pins, self.held)
        if was_open:  # somebody laid the cable before us
            self.renew()
        for side in lacked - {self.held}:
            self.machine.await_carrier(side, time.monotonic_ns())
        log.info("the line is laid again: judging", ingress=self.pair.ingress, egress=self.pair.egress)

    def _restore_promiscuous(self) -> None:
        for side, link in self.links.items():
            if link and not link.is_promiscuous:
                log.info("setting promiscuous mode again", side=side, interface=link.name)
                set_promiscuous(link.ifindex, True)

    # ---- link-loss pass-through ---------------------------------------------------------------------------------------
    def _pass_loss_on(self, route: Any) -> None:
        self._take_settings()
        machine, held = self.machine, self.machine.held
        sights = {side: self._find_sight(side) for side in SIDES}
        self._flapped.clear()
        order = machine.turn(time.monotonic_ns(), sights)
        if order:
            self._carry_out(order, sights[other_side(order.side)])
            self.links[order.side] = read_link(route, self.pair.name(order.side))  # our own doing is no news
        elif held and not machine.held:
            mark_held(self.pins, held, False)
            log.warning("brought up by somebody else: this loss is passed on no more", side=held)

    def _take_settings(self) -> None:
        self.machine.is_on = self.settings.link_loss == "pass"
        self.machine.hold_down_ns = self.settings.hold_down_s * NS_PER_S
        self.machine.carrier_wait_ns = self.settings.carrier_wait_s * NS_PER_S

    def _find_sight(self, side: str) -> Sight:
        link = self.links[side]
        if link is None:
            return Sight.GONE
        if not link.is_up:
            return Sight.DOWN
        if not link.has_carrier:
            return Sight.NO_CARRIER
        return Sight.FLAPPED if side in self._flapped else Sight.CARRIER

    def _carry_out(self, order: Order, cause: Sight | None = None) -> None:
        name = self.pair.name(order.side)
        try:
            mark_held(self.pins, order.side, not order.up)
            set_up(self.pair.ifindex(order.side), order.up)
        except FAILURES as error:
            log.error("link loss could not be passed on", side=order.side, interface=name, error=str(error))
            return
        if order.up:
            log.info("brought up again", side=order.side, interface=name)
        else:
            log.warning(
                "taken down, because the other side is lost",
                side=order.side, interface=name, other=cause.value if cause else "",
            )  # fmt: skip
