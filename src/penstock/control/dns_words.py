"""What a subscriber's DNS query for a host gets, in words for `penstock explain`: a refusal's answer, or a rewrite.

The rewrite is the one that the packet path finds, in the snapshot's own table; group and level come with it.
It does not know whether the host is refused, nor who asks.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from penstock.answer.dns import PLAN_CNAME, PLAN_CNAME_BYTES
from penstock.compile.memory import CHECKED, allow, forbid
from penstock.compile.native import kernel
from penstock.control.configuration import Configuration, Dns
from penstock.control.safe_search import SERVICES
from penstock.policy import rewrites
from penstock.policy.snapshot import Snapshot
from penstock.policy.switches import LEVELS, SWITCH_MASK

GROUP_TEXTS = {rewrites.SAFE_SEARCH: "SafeSearch", rewrites.YOUTUBE: "YouTube's restricted mode"}


@dataclass(frozen=True)
class Rewrite:
    """An answer that the policy writes itself. `target`: the name that it leads to; None for a canary, which has none."""

    group: int
    level: str
    target: str | None

    @property
    def answer(self) -> str:
        """What the client gets."""
        return f"an alias to {self.target}, with its addresses" if self.target else "NXDOMAIN"

    def word_reason(self, profile: str) -> str:
        """Why the answer is rewritten."""
        if self.group in GROUP_TEXTS:
            return f"{GROUP_TEXTS[self.group]} is {self.level} in profile {profile}"
        return "it asks whether filtering is in place, or for a way around it: no such name is the answer that it is"


def find_rewrite(configuration: Configuration, snapshot: Snapshot, switches: int, host: str) -> Rewrite | None:
    """The rewrite for one host by what a subscriber chose (`policy.switches`). None: he has none, or DNS is not judged."""
    if not configuration.dns.judge or switches == 0:
        return None
    offset = _find_plan(snapshot, switches, host.encode())
    if offset == 0:
        return None
    target = _read_target(snapshot.address, snapshot.address + offset)
    group = next((group for group, listed, *_ in SERVICES if target and host in listed), rewrites.CANARY)
    level = LEVELS[switches >> 2 * group & SWITCH_MASK] if group in GROUP_TEXTS else "on"
    return Rewrite(group, level, target)


def word_refusal(settings: Dns) -> str:
    """What a query for a refused name gets."""
    if not settings.judge:
        return "the server's own answer: DNS is not judged (dns.judge)"
    answers = {
        "nxdomain": "NXDOMAIN",
        "null": "0.0.0.0 and ::",
        "address": " and ".join(map(str, settings.addresses)),
    }
    return f"{answers[settings.answer]}, with the Extended DNS Error {settings.error.capitalize()}"


@cache
def _find_kernel() -> Any:
    return kernel(rewrites.find_rewrite)


def _find_plan(snapshot: Snapshot, switches: int, host: bytes) -> int:
    text = np.frombuffer(host, np.uint8)
    at = text.ctypes.data
    region = allow(at, at + len(host)) if CHECKED else None
    offset = int(_find_kernel()(snapshot.address, snapshot.names_address, switches, at, len(host)))
    if region is not None:
        forbid(region)
    return offset


def _read_target(snapshot: int, plan: int) -> str | None:
    """The name of the plan's alias, which is in wire format and not compressed."""
    off, size = (ctypes.c_int64.from_address(plan + at).value for at in (PLAN_CNAME, PLAN_CNAME_BYTES))
    if not off:
        return None
    wire, labels = ctypes.string_at(snapshot + off, size), []
    while wire[0]:
        labels.append(wire[1 : 1 + wire[0]].decode())
        wire = wire[1 + wire[0] :]
    return ".".join(labels)
