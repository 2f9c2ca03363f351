"""What the portal asks of a `run`, and the answers: everything that is counted, the switch, a reload.

    tell     →  switch, versions, ledger, exceptions, times, health, links, guard, feeds     what `status` and metrics know
    switch   →  {on, by}: whether it was turned
    reload   →  {by}: begun; what comes of it is in the log
    tap      →  {prefixes, seconds, by}: a socket that sees these on the subscribers' side (`tap`)

Knows the words. Refuses to know who may say them (`portal.roles`).
"""

import os
import time
from collections import deque
from typing import Any, Protocol

import structlog

from penstock import __version__
from penstock.control.exceptions import CAUSES
from penstock.control.guard import Guard
from penstock.control.health import Health, find_median_ms
from penstock.control.ledger import find_quantile_us
from penstock.control.line_watch import LineWatch
from penstock.control.policy_in_force import PolicyInForce
from penstock.control.portal.tap import PREFIX_LIMIT, open_tap
from penstock.control.reporter import Reporter
from penstock.errors import PenstockError
from penstock.kernel.tables import LAYOUT_VERSION
from penstock.line.inline import SIDES, Control, Pair
from penstock.line.pins import Pins, find_tables, open_switches

TAP_LIMIT, TAP_SPAN_S = 60, 600.0  # each costs the kernel time for every packet, until whoever has it closes it
NAME_LIMIT = 100  # of a token's name in the log

log = structlog.get_logger()


class WordError(PenstockError):
    """What was asked makes no sense; the text says why."""


class Counted(Protocol):
    """Who hands events to the journal."""

    lost_events: int


class Asked(Protocol):
    """The `run` that is asked."""

    pair: Pair
    pins: Pins
    control: Control
    policy: PolicyInForce
    guard: Guard
    reporter: Reporter
    line_watch: LineWatch | None
    reloads: bool

    @property
    def portal(self) -> Counted:
        """Its keeper."""


class PortalWords:
    """The answers of one `run`."""

    def __init__(self, run: Asked) -> None:
        self.run = run
        self._tapped_s: deque[float] = deque()

    def answer(self, word: str, said: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """What to say to a word. Raises PenstockError."""
        if word == "tell":
            return self._tell(), []
        if word == "switch":
            return self._turn(bool(said.get("on")), _name_caller(said)), []
        if word == "reload":
            log.info("the portal asks for a reload", by=_name_caller(said))
            self.run.reloads = True
            return {}, []
        if word == "tap":
            return {}, [self._tap(said)]
        raise WordError(f"{word} makes no sense")

    def _turn(self, wanted: bool, by: str) -> dict[str, Any]:
        switches = open_switches(find_tables(self.run.pins.directory))  # of every version, as `penstock off` does
        changed = [switch.turn(wanted) for switch in switches]
        log.warning("the switch is turned by the portal", on=wanted, by=by)
        return {"changed": any(changed)}

    def _tap(self, said: dict[str, Any]) -> int:
        prefixes = said.get("prefixes")
        if not isinstance(prefixes, list) or len(prefixes) > PREFIX_LIMIT:
            raise WordError(f"expected a list of at most {PREFIX_LIMIT} prefixes")
        now_s = time.monotonic()
        while self._tapped_s and self._tapped_s[0] < now_s - TAP_SPAN_S:
            self._tapped_s.popleft()
        if len(self._tapped_s) >= TAP_LIMIT:
            raise WordError("too many recordings in a short time: ask again in some minutes")
        self._tapped_s.append(now_s)
        with open_tap(self.run.pair.ingress, prefixes) as tap:
            log.warning("the portal records packets", prefixes=prefixes, by=_name_caller(said))
            return tap.detach()

    def _tell(self) -> dict[str, Any]:
        run, readings = self.run, self.run.reporter.read_metrics()
        ledger, times = readings.ledger, readings.verdict_times
        now_s, is_any = time.monotonic(), bool(times.sum())
        episodes = readings.watch.episodes
        return {
            "at_s": time.time(),
            "version": __version__,
            "layout": LAYOUT_VERSION,
            "pid": os.getpid(),
            "is_on": run.control.is_on,
            "seen": ledger.seen,
            "waiting": ledger.waiting,
            "difference": ledger.difference,
            "verdicts": {verdict.name.lower(): count for verdict, count in ledger.verdicts.items()},
            "reasons": ledger.reasons,
            "lost_events": readings.lost_events,
            "unwritten_events": run.portal.lost_events,
            "exceptions": [
                {
                    "cause": cause.name,
                    "packets": sum(ledger.reasons[name] for name in cause.reasons),
                    "active_s": now_s - episodes[cause.name].begin_s if cause.name in episodes else None,
                }
                for cause in CAUSES
            ],
            "ring_to_wire_us": {
                f"p{round(100 * q)}": find_quantile_us(times, q) if is_any else None for q in (0.5, 0.9, 0.99)
            },
            "health": {name: _describe_health(one) for name, one in readings.health.items()},
            "links": [self._describe_link(side) for side in SIDES],
            "guard": {
                "requests": run.guard.last_hour.requests,
                "refusals": run.guard.refusals,
                "is_held": bool(run.guard.is_held),
                "share": run.guard.share,
            },
            "generation": run.policy.snapshot.generation,
            "names": run.policy.snapshot.name_count,
            "built_s": run.policy.snapshot.built_ns / 1e9,
            "is_reloading": run.policy.is_busy or run.reloads,
        }

    def _describe_link(self, side: str) -> dict[str, Any]:
        watch = self.run.line_watch
        link = watch.links[side] if watch is not None else None
        return {
            "side": side,
            "name": getattr(self.run.pair, side),
            "is_up": bool(link and link.has_carrier),
            "is_held": watch is not None and watch.held == side,
            "mtu": link.mtu if link else 0,
        }


def _name_caller(said: dict[str, Any]) -> str:
    return str(said.get("by"))[:NAME_LIMIT]


def _describe_health(health: Health) -> dict[str, Any]:
    return {
        "handshakes": health.handshakes,
        "completed": health.completed,
        "segments": {"client": health.segments[0], "server": health.segments[1]},
        "repeated": {"client": health.repeated[0], "server": health.repeated[1]},
        "resets": {"client": health.resets[0], "server": health.resets[1]},
        "median_ms": {
            "client": find_median_ms(health.client_latency),
            "server": find_median_ms(health.server_latency),
        },
    }
