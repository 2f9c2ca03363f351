"""The DNS answers of a policy, as the packet path reads them: the plan for refused names, and the table of rewrites.

Layouts are `answer.dns`'s (plans) and `policy.rewrites`'s (slots). It does not know files: a part is appended, its offset
comes back.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from penstock.answer import dns as plan
from penstock.control.configuration import Configuration
from penstock.control.lists.names_file import hash_names
from penstock.control.safe_search import SERVICES, Addresses, chosen_groups
from penstock.policy import layout, rewrites

Append = Callable[[bytes], int]
SetWord = Callable[[int, int], None]
CODES = {"blocked": plan.BLOCKED, "filtered": plan.FILTERED, "censored": plan.CENSORED}

CANARIES = [
    ("use-application-dns.net", False),  # Firefox: no DoH by itself
    ("mask.icloud.com", True),  # Apple: no Private Relay
    ("mask-h2.icloud.com", True),
    ("resolver.arpa", True),  # RFC 9462: no designated resolver
]


def add_answers(
    configuration: Configuration, targets: Addresses, key: bytes, append: Append, set_word: SetWord
) -> None:
    """Append all plans and the table of rewrites, and set the head's words."""
    settings = configuration.dns
    text = settings.text or f"refused by {configuration.page.operator}"
    structured = {"c": [configuration.page.contact], "j": text, "o": configuration.page.operator}
    if not configuration.page.contact:
        del structured["c"]
    words = json.dumps(structured, ensure_ascii=False, separators=(",", ":")).encode()
    set_word(layout.DNS_JUDGED, int(settings.judge))
    set_word(layout.DOT_REFUSED, int(settings.judge and settings.dot == "refuse"))
    set_word(layout.DNS_TEXT_OFF, append(words))
    set_word(layout.DNS_TEXT_BYTES, len(words))
    refused = new_plan(settings.ttl_s)
    refused[plan.EDE_CODE // 8] = CODES[settings.error]
    refused[plan.EDE_TEXT // 8], refused[plan.EDE_TEXT_BYTES // 8] = append(text.encode()), len(text.encode())
    if settings.answer == "nxdomain":
        refused[plan.RCODE // 8] = plan.NXDOMAIN
    by_family: dict[int, bytes] = {}
    if settings.answer == "null":
        by_family = {4: bytes(4), 6: bytes(16)}
    elif settings.answer == "address":
        by_family = {address.version: address.packed for address in settings.addresses}
    for version, packed in by_family.items():
        refused[(plan.ADDRESS4 if version == 4 else plan.ADDRESS6) // 8] = append(packed)
    set_word(layout.DNS_PLAN_OFF, append(refused.tobytes()))
    set_word(layout.DNS_NODATA_OFF, append(new_plan(settings.ttl_s).tobytes()))
    _add_rewrites(configuration, targets, key, append, set_word)


def new_plan(ttl_s: int) -> Any:
    """A plan for NODATA: no error, no records, negative answers cached."""
    made = np.zeros(plan.PLAN_BYTES // 8, np.int64)
    made[plan.TTL_S // 8], made[plan.EDE_CODE // 8], made[plan.NEGATIVE_SOA // 8] = ttl_s, -1, 1
    return made


def wire_name(name: str) -> bytes:
    """A name as DNS messages have it, not compressed."""
    return b"".join(bytes([len(label)]) + label for label in name.encode().split(b".")) + b"\0"


def _target_plan(name: str, targets: Addresses, ttl_s: int, append: Append) -> int:
    made = new_plan(ttl_s)
    found = targets.get(name, [])
    made[plan.PLAN_CNAME // 8], made[plan.PLAN_CNAME_BYTES // 8] = append(wire_name(name)), len(wire_name(name))
    for version, at, count in (
        (4, plan.TARGET4_AT, plan.TARGET4_COUNT),
        (6, plan.TARGET6_AT, plan.TARGET6_COUNT),
    ):
        packed = [address.packed for address in found if address.version == version][: plan.TARGETS_LIMIT]
        made[at // 8], made[count // 8] = append(b"".join(packed)), len(packed)
    return append(made.tobytes())


def _add_rewrites(
    configuration: Configuration, targets: Addresses, key: bytes, append: Append, set_word: SetWord
) -> None:
    ttl_s = configuration.dns.ttl_s
    negative = new_plan(ttl_s)
    negative[plan.RCODE // 8] = plan.NXDOMAIN
    canary = append(negative.tobytes())
    entries = [(name, rewrites.CANARY, below, canary, canary) for name, below in CANARIES]
    used = {group for profile in configuration.profiles.values() for group in chosen_groups(profile)}
    plans: dict[str, int] = {}
    for group, listed, *leads in SERVICES:
        if group in used:
            for target in leads:
                plans[target] = plans.get(target) or _target_plan(target, targets, ttl_s, append)
            entries += [(name, group, False, plans[leads[0]], plans[leads[1]]) for name in listed]
    slots = 8
    while slots < 2 * len(entries):
        slots *= 2
    lines = b"".join(name.encode() + b"\n" for name, *_ in entries)
    hashes = [int(value) & (1 << 64) - 1 for value in hash_names(lines, len(entries), key)]
    table = np.zeros((slots, rewrites.REWRITE_BYTES // 8), np.int64)
    for value, (_, group, below, moderate, strict) in zip(hashes, entries, strict=True):
        slot = (value >> 40) & (slots - 1)
        while table[slot, 0]:
            slot = (slot + 1) & (slots - 1)
        signed = value - (1 << 64) if value >> 63 else value
        table[slot] = [signed, group, int(below), moderate, strict]
    set_word(layout.REWRITES_OFF, append(table.tobytes()))
    set_word(layout.REWRITES_MASK, slots - 1)
