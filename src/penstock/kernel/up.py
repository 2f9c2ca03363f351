"""The way up: a packet is copied into the ring of its flow and withheld, or refused a place by name.

A ring belongs to one worker and is chosen by the address pair, never by CPU. The reader wakes only when it said that it
sleeps. Each packet is paid for from its subscriber's budget. When the ring's pulse is older than STALE_NS nobody reads:
the packet passes (or, for a subscriber who fails closed, does not), and the flow is marked as one whose bytes passed
unread; so it is when the ring is full and the policy is to forward.
"""

from penstock.compile.memory import fetch_add32, put32, put64, shared, shr, u64
from penstock.kernel import tables as t
from penstock.kernel.budget import owner_of, spend
from penstock.kernel.exceptions import FORWARD, policy_of
from penstock.kernel.exceptions import RING_FULL as CAUSE_RING_FULL
from penstock.kernel.primitives import (
    FORCE_WAKEUP,
    NO_WAKEUP,
    coarse_time_ns,
    constant,
    discard,
    load_bytes,
    reserve,
    ring_of,
    skb_gso_segs,
    skb_gso_size,
    skb_len,
    skb_vlan_present,
    skb_vlan_proto,
    skb_vlan_tci,
    submit,
    time_ns,
    value_of,
)
from penstock.kernel.reasons import OVER_BUDGET, RING_FULL, RING_FULL_OPEN, STALE_CLOSED, STALE_OPEN, TOO_BIG
from penstock.kernel.tables import UP_HEAD, UP_LARGE, UP_MIDDLE, UP_SMALL
from penstock.wire.headers import (
    VIEW_ACK,
    VIEW_ADDRESS_HASH,
    VIEW_FLAGS,
    VIEW_IS_IPV6,
    VIEW_L3,
    VIEW_L4,
    VIEW_PAYLOAD,
    VIEW_SEQ,
    VIEW_SIZE,
    VIEW_TTL,
)


@shared
def _write_head(skb, place, view, key, number, rights, reason, length):  # type: ignore[no-untyped-def]
    """Fill the head of a ring record: what the worker needs to judge the packet and to send it on."""
    put32(place + t.UP_REASON, reason)
    put32(place + t.UP_FROM_CLIENT, constant(skb, t.from_client))
    put32(place + t.UP_LENGTH, length)
    put32(place + t.UP_GSO_SIZE, skb_gso_size(skb))
    put32(place + t.UP_GSO_SEGS, skb_gso_segs(skb))
    put32(place + t.UP_VLAN_PRESENT, skb_vlan_present(skb))
    put32(place + t.UP_VLAN_TCI, skb_vlan_tci(skb))
    put32(place + t.UP_VLAN_PROTO, skb_vlan_proto(skb))
    put32(place + t.UP_L3, u64(view + VIEW_L3))
    put32(place + t.UP_L4, u64(view + VIEW_L4))
    put32(place + t.UP_PAYLOAD, u64(view + VIEW_PAYLOAD))
    put32(place + t.UP_PAYLOAD_BYTES, u64(view + VIEW_SIZE))
    put32(place + t.UP_FLOW, number)
    put64(place + t.UP_TIME_NS, time_ns(skb))
    put32(place + t.UP_IS_IPV6, u64(view + VIEW_IS_IPV6))
    put32(place + t.UP_FLAGS, u64(view + VIEW_FLAGS))
    put32(place + t.UP_SEQ, u64(view + VIEW_SEQ))
    put32(place + t.UP_ACK, u64(view + VIEW_ACK))
    put32(place + t.UP_TTL, u64(view + VIEW_TTL))
    put32(place + t.UP_IS_PEEK, 0)
    put64(place + t.UP_OWNER, owner_of(rights))
    for word in range(0, t.KEY_BYTES, 8):
        put64(place + t.UP_KEY + word, u64(key + word))
    return 0


@shared
def _finish(skb, place, record, pulse, reason):  # type: ignore[no-untyped-def]
    """Give the filled record to the reader; a full barrier stands between its reservation and the look at `sleeping`."""
    # A packet without a record has no number; the barrier is wanted all the same.
    counter = record + t.FLOW_SENT_UP if record else pulse + t.PULSE_UNNUMBERED
    put32(place + t.UP_NUMBER, fetch_add32(counter, 1) + 1)
    if u64(pulse + t.PULSE_SLEEPING):
        put64(pulse + t.PULSE_SLEEPING, 0)  # one wake-up is enough: it costs more than the record, most of all in a VM
        submit(place, FORCE_WAKEUP)
    else:
        submit(place, NO_WAKEUP)
    return reason


@shared
def _give_place_up(skb, record, rights):  # type: ignore[no-untyped-def]
    """The ring has no room. Returns: RING_FULL, or RING_FULL_OPEN, and the flow's bytes passed unread."""
    if rights & t.SUBSCRIBER_CLOSED or policy_of(skb, CAUSE_RING_FULL) != FORWARD:
        return RING_FULL
    if record:
        put32(record + t.FLOW_EPOCH, 0)
    return RING_FULL_OPEN


@shared
def send_up(skb, view, key, record, number, rights, reason):  # type: ignore[no-untyped-def]
    """Copy the packet into its ring.

    Reads: record: the flow's record or 0, and its number; rights: the subscriber's, as the subscribers table has them.
    Returns: `reason`, or why it could not go up (STALE_OPEN, STALE_CLOSED, OVER_BUDGET, RING_FULL, RING_FULL_OPEN,
        TOO_BIG).
    """
    ring_number = shr(u64(view + VIEW_ADDRESS_HASH), 40) & constant(skb, t.ring_mask) & (t.RINGS_BOUND - 1)
    pulse = value_of(skb, t.pulse) + ring_number * t.PULSE_BYTES
    if coarse_time_ns(skb) - u64(pulse + t.PULSE_TIME_NS) > t.STALE_NS:
        if rights & t.SUBSCRIBER_CLOSED:
            return STALE_CLOSED
        if record and u64(view + VIEW_SIZE):
            put32(record + t.FLOW_EPOCH, 0)
        return STALE_OPEN
    if spend(skb, rights, 1) == 0:
        return OVER_BUDGET
    ring = ring_of(skb, t.rings, ring_number)
    length = skb_len(skb)
    if ring == 0 or length < 1:
        return _give_place_up(skb, record, rights)
    if length <= UP_SMALL:
        place = reserve(ring, UP_HEAD + UP_SMALL, 0)
        if place == 0:
            return _give_place_up(skb, record, rights)
        _write_head(skb, place, view, key, number, rights, reason, length)
        if load_bytes(skb, 0, place + UP_HEAD, length) == 0:
            return _finish(skb, place, record, pulse, reason)
        discard(place, 0)
        return RING_FULL
    if length <= UP_MIDDLE:
        place = reserve(ring, UP_HEAD + UP_MIDDLE, 0)
        if place == 0:
            return _give_place_up(skb, record, rights)
        _write_head(skb, place, view, key, number, rights, reason, length)
        if load_bytes(skb, 0, place + UP_HEAD, length) == 0:
            return _finish(skb, place, record, pulse, reason)
        discard(place, 0)
        return RING_FULL
    if length > UP_LARGE:
        return TOO_BIG
    place = reserve(ring, UP_HEAD + UP_LARGE, 0)
    if place == 0:
        return _give_place_up(skb, record, rights)
    _write_head(skb, place, view, key, number, rights, reason, length)
    if load_bytes(skb, 0, place + UP_HEAD, length) == 0:
        return _finish(skb, place, record, pulse, reason)
    discard(place, 0)
    return RING_FULL


@shared
def send_peek(skb, view, key, number, rights, limit):  # type: ignore[no-untyped-def]
    """Copy the first `limit` bytes of a packet into the ring; the packet itself goes on. Nothing waits for it, nobody
    wakes. `limit`: UP_SMALL at most."""
    ring_number = shr(u64(view + VIEW_ADDRESS_HASH), 40) & constant(skb, t.ring_mask) & (t.RINGS_BOUND - 1)
    ring = ring_of(skb, t.rings, ring_number)
    length = min(skb_len(skb), limit)
    if ring == 0 or length < 1:
        return 0
    place = reserve(ring, UP_HEAD + UP_SMALL, 0)
    if place == 0:
        return 0
    _write_head(skb, place, view, key, number, rights, 0, length)
    put32(place + t.UP_IS_PEEK, 1)
    if load_bytes(skb, 0, place + UP_HEAD, length):
        discard(place, 0)
        return 0
    submit(place, NO_WAKEUP)
    return 1
