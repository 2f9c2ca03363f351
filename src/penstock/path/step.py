"""The walk of one packet: ring record → flow → request → judge → settle → wire. `step` is the whole of it.

step ─┬─ take_segment ─ read_unit ... refuse_flow | release      segments.py: TCP
      ├─ wait_behind (a request of its flow waits for a hook)      asks.py
      ├─ take_midstream (no record: judged on sight)
      ├─ take_peek (the head of a response, looked at in passing)
      ├─ take_inbound (somebody asks the subscriber as a server)  datagrams.py
      ├─ take_refused (either side of a refused flow)             refusal.py
      ├─ take_answer (of a DNS server)                            answers.py
      ├─ take_udp ─ take_datagram ... hold | release              datagrams.py: QUIC, queries.py: DNS
      └─ take_fragment (held until its packet is whole)           fragments.py
"""

from penstock.compile.memory import put32, put64, shared, u32, u64
from penstock.flow.record import REFUSED, state_of
from penstock.flow.stream import record_at
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.exceptions import FORWARD, FRAGMENT_FULL
from penstock.kernel.tables import UP_FLOW, UP_KEY
from penstock.path.answers import take_answer
from penstock.path.asks import wait_behind
from penstock.path.datagrams import take_datagram, take_inbound
from penstock.path.decoys import find_bad_header
from penstock.path.fragments import (
    SLOT_BORN_NS,
    SLOT_COUNT_OFF,
    build_whole,
    expire_fragments,
    hold_fragment,
    piece_of,
    release_pieces,
)
from penstock.path.holds import count_path, expire_holds, hold_packet
from penstock.path.layout import HELD, W_HOLDER, W_NOW_NS, W_POOL
from penstock.path.policies import policy_at
from penstock.path.refusal import serve_refused_server
from penstock.path.release import read_checksum, release
from penstock.path.segments import take_midstream, take_peek, take_segment
from penstock.path.send import FRAGMENT, checksum_of, is_udp, send_packet
from penstock.wire.checksum import WRONG
from penstock.wire.headers import is_same_key


@shared
def find_own(w, u):  # type: ignore[no-untyped-def]
    """The record of the packet's flow, or 0: none, or its place was taken meanwhile."""
    if u32(u + UP_FLOW) == t.NO_RECORD:
        return 0
    record = record_at(w + W_POOL, u32(u + UP_FLOW))
    return record if is_same_key(record, u + UP_KEY) else 0


@shared
def take_udp(w, u):  # type: ignore[no-untyped-def]
    """A UDP packet: judged, then released, held for its connection, or withheld. Returns: its reason, or HELD."""
    checksum, reason = read_checksum(w, u), find_bad_header(w, u)
    if reason == 0:
        reason = r.BAD_CHECKSUM if checksum == WRONG else take_datagram(w, u, find_own(w, u))
    if reason == HELD:
        return hold_packet(w, u, u64(w + W_HOLDER), u64(w + W_NOW_NS))
    return release(w, u, checksum, reason) if reason < r.BLOCKED else reason


@shared
def judge_whole(w, slot):  # type: ignore[no-untyped-def]
    """Judge a packet whose fragments are all there. Returns: a reason for each of them, or HELD: they are held."""
    whole = build_whole(w, slot)
    if whole == 0:
        return r.FRAGMENT_JUDGED if release_pieces(w, slot) else r.ANSWER_FAILED
    if whole == -1:
        return r.FRAGMENT_BAD
    record = find_own(w, whole)
    if is_udp(whole):
        checksum = read_checksum(w, whole)
        reason = r.BAD_CHECKSUM if checksum == WRONG else take_datagram(w, whole, record)
        if reason != HELD:
            return release(w, whole, checksum, reason) if reason < r.BLOCKED else reason
        for number in range(u64(slot + SLOT_COUNT_OFF)):
            held = hold_packet(w, piece_of(slot, number), u64(w + W_HOLDER), u64(w + W_NOW_NS))
            if held != HELD:
                count_path(w, held, 1)
        return HELD
    if record == 0:
        return take_midstream(w, whole)
    if read_checksum(w, whole) != WRONG:
        waits = wait_behind(w, whole, record, u32(whole + UP_FLOW))
        if waits:
            return waits
    return take_segment(w, whole, record, u32(whole + UP_FLOW))


@shared
def take_fragment(w, u):  # type: ignore[no-untyped-def]
    """A fragment: held, or the last one of a packet that is judged now. Returns: its reason, or HELD."""
    slot = hold_fragment(w, u)
    if slot == HELD:
        return HELD
    if slot < 0:
        is_open = slot + 1000 == r.FRAGMENT_FULL and policy_at(w, FRAGMENT_FULL) == FORWARD
        if is_open and send_packet(w, u, 1, FRAGMENT):
            return r.FRAGMENT_FULL_OPEN
        return slot + 1000
    reason = judge_whole(w, slot)
    if reason != HELD:
        count_path(w, reason, u64(slot + SLOT_COUNT_OFF) - 1)
    put64(slot + SLOT_BORN_NS, 0)
    return reason


@shared
def expire_held(w, now_ns):  # type: ignore[no-untyped-def]
    """Drop what was held for too long: fragments, and datagrams of unfinished hellos."""
    expire_fragments(w, now_ns)
    return expire_holds(w, now_ns)


@shared
def step(w, u):  # type: ignore[no-untyped-def]
    """Take one ring record to its end.

    Reads: the worker's block, the ring record `u`, the flow's record and stream.
    Returns: the packet's path reason; its range is the verdict. HELD: it waits, for its packet's other fragments, for the
        rest of a hello, or for a hook.
    """
    if u32(u + t.UP_REASON) == r.UP_FRAGMENT:
        return take_fragment(w, u)
    record = find_own(w, u)
    if u32(u + t.UP_IS_PEEK) and is_udp(u):
        return take_inbound(w, u)
    if u32(u + t.UP_IS_PEEK):
        return take_peek(w, u, record) if record else r.PEEKED
    if is_udp(u):
        reason = take_udp(w, u) if u32(u + t.UP_FROM_CLIENT) else take_answer(w, u, read_checksum(w, u))
    elif record == 0:
        reason = take_midstream(w, u) if u32(u + t.UP_FROM_CLIENT) else r.REFUSED_SERVER
    elif u32(u + t.UP_FROM_CLIENT):
        waits = wait_behind(w, u, record, u32(u + UP_FLOW))
        if waits:
            return waits  # and its flow counts as waiting, so that whatever follows comes up too
        reason = take_segment(w, u, record, u32(u + UP_FLOW))
        if reason == HELD:
            return HELD
    elif state_of(u64(record + t.FLOW_WORD)) == REFUSED:
        reason = serve_refused_server(w, u, record)
    else:
        reason = r.SETTLED if send_packet(w, u, 0, checksum_of(u)) else r.ANSWER_FAILED
    if record:
        put32(record + t.FLOW_HANDLED, u32(u + t.UP_NUMBER))
    return reason
