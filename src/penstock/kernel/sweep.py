"""What changed for a subscriber reaches his open flows: a walk over the flow table, beside the packets.

    record ─► whose is its address now, and what holds for him? ─► paused: refused, so that both sides are reset
                                                                   protected now: open again, its bytes passed unread
                                                                   protected no more: free
Kernel and workers write records meanwhile and may store over what stands here; whoever sweeps does so twice.
"""

from penstock.compile.memory import put32, put64, shared, shr, u8, u32, u64
from penstock.flow.record import FREED, OPEN, REFUSED, pack_word, state_of
from penstock.flow.stream import ANSWER_RESET_BOTH
from penstock.kernel import tables as t
from penstock.kernel.owners import find_owner_at
from penstock.wire.headers import PROTOCOL_UDP

DNS_PORT = 53  # a pause leaves names alone, so that they are not remembered as absent


@shared
def _is_judged_port(control, record):  # type: ignore[no-untyped-def]
    port = u32(record + t.FLOW_PORTS) & 0xFFFF
    return u8(control + t.CONTROL_PORTS + (port >> 3)) >> (port & 7) & 1


@shared
def _sweep_stream(control, record, number, rights):  # type: ignore[no-untyped-def]
    """A record of TCP. Returns: 1 when its state changed."""
    flags, state = u32(record + t.FLOW_FLAGS), state_of(u64(record + t.FLOW_WORD))
    next_ = u32(record + t.FLOW_CLIENT_NEXT)
    kept = flags & ~(t.OWNER_MASK << t.OWNER_SHIFT | t.FAILS_CLOSED) | number << t.OWNER_SHIFT
    kept |= t.FAILS_CLOSED if rights & t.SUBSCRIBER_CLOSED else 0
    is_protected = rights & t.SUBSCRIBER_PROTECTED and _is_judged_port(control, record)
    if rights & t.SUBSCRIBER_PAUSED and u32(record + t.FLOW_PORTS) & 0xFFFF != DNS_PORT:
        put32(record + t.FLOW_FLAGS, kept & ~t.IS_UNPROTECTED)
        if state == REFUSED:
            return 0
        put32(record + t.FLOW_ANSWER, ANSWER_RESET_BOTH)
        put32(record + t.FLOW_EPOCH, u64(control + t.CONTROL_EPOCH))
        put64(record + t.FLOW_WORD, pack_word(REFUSED, next_, 0))
        return 1
    if is_protected and flags & t.IS_UNPROTECTED:
        put32(record + t.FLOW_EPOCH, 0)
        put64(record + t.FLOW_WORD, pack_word(OPEN, next_, 0))
        put32(record + t.FLOW_FLAGS, kept & ~t.IS_UNPROTECTED)
        return 1
    if not is_protected and flags & (t.IS_UNPROTECTED | t.IS_INBOUND) == 0 and state != REFUSED:
        put32(record + t.FLOW_FLAGS, kept | t.IS_UNPROTECTED)
        put64(record + t.FLOW_WORD, pack_word(FREED, next_, 0))
        return 1
    if kept != flags:
        put32(record + t.FLOW_FLAGS, kept)
    return 0


@shared
def _sweep_datagrams(record, number, rights):  # type: ignore[no-untyped-def]
    """A record of UDP: looked at again when it is another's, or when everything of him is to be. Returns: as above."""
    flags = u32(record + t.FLOW_FLAGS)
    is_others = shr(flags, t.OWNER_SHIFT) & t.OWNER_MASK != number
    if rights & t.SUBSCRIBER_PROTECTED == 0 or not (is_others or rights & t.SUBSCRIBER_PAUSED):
        return 0
    kept = flags & ~(t.OWNER_MASK << t.OWNER_SHIFT | t.FAILS_CLOSED) | number << t.OWNER_SHIFT
    put32(record + t.FLOW_FLAGS, kept | (t.FAILS_CLOSED if rights & t.SUBSCRIBER_CLOSED else 0))
    state = state_of(u64(record + t.FLOW_WORD))
    put64(record + t.FLOW_WORD, pack_word(OPEN, 0, 0))
    return 0 if state == OPEN else 1


@shared
def sweep_flows(flows, first, count, control, addresses, address_mask, lines, line_mask):  # type: ignore[no-untyped-def]
    """Have the records of `count` buckets from `first` on agree with who is where, and with what holds for him.

    Reads: both tables of kernel.owners. Writes: records. Returns: how many flows changed their state.
    Bounds: `count` * WAYS records.
    """
    changed, secret = 0, u64(control + t.CONTROL_HASH_KEY)
    for number in range(first, first + count):
        bucket = flows + number * t.BUCKET_BYTES
        for way in range(t.WAYS):
            if u32(bucket + 4 * way) & 1 == 0:
                continue
            record = bucket + t.BUCKET_RECORDS + way * t.RECORD_BYTES
            owner = find_owner_at(control, addresses, address_mask, secret, record)
            rights = u32(lines + (owner & line_mask) * t.SUBSCRIBER_BYTES + t.SUBSCRIBER_FLAGS)
            if u8(record + t.FLOW_PROTOCOL) == PROTOCOL_UDP:
                changed += _sweep_datagrams(record, owner, rights)
            else:
                changed += _sweep_stream(control, record, owner, rights)
    return changed
