"""The flow table: how a record is found, and how it is born.

Over TCP only a SYN-ACK makes a record, because it confirms the client's sequence number and says who the client is; over
UDP the client's first datagram does, and so do his first bytes on a connection whose server's packets do not come by here
(ONE_WAY, until a SYN-ACK does come). A record is used again only when its flow is free, ended by both sides, idle, or
half-open without a byte, or over UDP. With no room, a protected subscriber's TCP connection waits (its SYN is repeated): an
unjudged flow is never forgotten for another.
"""

from penstock.compile.memory import compare_exchange32, put32, put64, shared, shr, u8, u32, u64
from penstock.flow.record import REFUSED, age_of, is_settled, pack_word, sequence_difference, state_of
from penstock.kernel import tables as t
from penstock.kernel.primitives import constant, element, value_of
from penstock.wire.headers import PROTOCOL_UDP, VIEW_HASH, blur, hash_flow, is_same_key

IDLE_MS = 600_000  # above RFC 5382's 4 minutes for transitory NAT state; longer for a stream that only waits
CLOSED_MS = 2_000  # behind the last packet of a connection that both sides have ended
REFUSED_MS = 30_000  # a refused client has had its answer, and repeats
HALF_OPEN_MS = 65_000  # a client that got a SYN-ACK and is silent: Linux keeps its half for 63 s (tcp_synack_retries 5)
AGE_MASK = 0xFFFFFFFF
NO_ROOM = 0


@shared
def find_bucket(skb, view, key):  # type: ignore[no-untyped-def]
    """The bucket of a flow key; fills the view's hashes. 0 only where the kernel cannot prove the index."""
    hash_flow(constant(skb, t.hash_key), view, key)
    return element(skb, t.flows, u64(view + VIEW_HASH) & constant(skb, t.bucket_mask))


@shared
def tag_of(view):  # type: ignore[no-untyped-def]
    """The 32-bit tag of a flow: odd, so none of TAG_EMPTY, TAG_BUSY and TAG_LEFT."""
    return shr(u64(view + VIEW_HASH), 32) | 1


@shared
def find_record(skb, bucket, view, key):  # type: ignore[no-untyped-def]
    """The address of the flow's record in its bucket, or 0.

    Bounds: WAYS tags.
    """
    tag = tag_of(view)
    for way in range(t.WAYS):
        if u32(bucket + 4 * way) == tag and is_same_key(bucket + t.BUCKET_RECORDS + way * t.RECORD_BYTES, key):
            found = blur(way, u64(value_of(skb, t.control) + t.CONTROL_ZERO), t.WAYS - 1)
            return bucket + t.BUCKET_RECORDS + found * t.RECORD_BYTES
    return 0


@shared
def number_of(view, bucket, record, mask):  # type: ignore[no-untyped-def]
    """The record's number in the whole table: bucket << 3 | way."""
    return (u64(view + VIEW_HASH) & mask) << 3 | way_of(bucket, record)


@shared
def way_of(bucket, record):  # type: ignore[no-untyped-def]
    """Which way of its bucket a record is."""
    return (record - bucket - t.BUCKET_RECORDS) >> 7 & (t.WAYS - 1)


@shared
def is_closed(record):  # type: ignore[no-untyped-def]
    """Have both sides ended the connection, so that no server reads on? The client's word alone proves nothing: its FIN or
    RST may be one that never reached the server."""
    flags = u32(record + t.FLOW_FLAGS)
    if flags & t.SERVER_RST:
        return True
    if flags & t.SERVER_FIN == 0:
        return False
    fin = u32(record + t.FLOW_FIN)
    has_fin = flags & t.CLIENT_FIN and u32(record + t.FLOW_ACKED) == fin and u32(record + t.FLOW_CLIENT_NEXT) == fin
    return has_fin or flags & t.CLIENT_RST != 0


@shared
def _may_go(record, age):  # type: ignore[no-untyped-def]
    """May the record of a flow that was silent for `age` ms be used for another?"""
    if u8(record + t.FLOW_PROTOCOL) == PROTOCOL_UDP:
        return True  # it only saves its datagrams the way up: what is judged is a connection, and the process knows it
    word = u64(record + t.FLOW_WORD)
    if age > IDLE_MS or is_settled(word, u32(record + t.FLOW_ACKED)):
        return True
    if age > REFUSED_MS and state_of(word) == REFUSED:
        return True
    if age > HALF_OPEN_MS and u32(record + t.FLOW_CLIENT_NEXT) == u32(record + t.FLOW_BIRTH):
        return True
    return age > CLOSED_MS and is_closed(record)


@shared
def _choose_way(bucket, zero, now_ms):  # type: ignore[no-untyped-def]
    """The way that a new record may take: an empty one, else the longest silent of those that may go; WAYS if none may.

    The choice is blurred at every turn: else each way's fate would double what the verifier has to prove.
    """
    best, best_age = t.WAYS, 0
    for way in range(t.WAYS):
        tag = u32(bucket + 4 * way)
        record = bucket + t.BUCKET_RECORDS + way * t.RECORD_BYTES
        age = age_of(now_ms, u32(record + t.FLOW_SEEN))
        if tag == t.TAG_EMPTY:
            age = AGE_MASK + 1
        elif tag == t.TAG_BUSY or not _may_go(record, age):
            age = 0
        if age > best_age:
            best, best_age = way, age
        best = blur(best, zero, 15)
        best_age ^= zero
    return best


@shared
def is_foreign_segment(record, seq):  # type: ignore[no-untyped-def]
    """Is the server's segment of another handshake of the same ports? Until the server has acknowledged something of this
    one, what lies outside of its numbers says nothing of it."""
    if u32(record + t.FLOW_ACKED) != u32(record + t.FLOW_BIRTH):
        return False
    is_behind = sequence_difference(seq, u32(record + t.FLOW_SERVER_ISN)) < 0
    return is_behind or sequence_difference(seq, u32(record + t.FLOW_SERVER_NEXT)) > 0


@shared
def note_flags(record, flags):  # type: ignore[no-untyped-def]
    """Add flags to a record."""
    put32(record + t.FLOW_FLAGS, u32(record + t.FLOW_FLAGS) | flags)
    return 0


@shared
def make_record(skb, bucket, record, view, key, birth, server_isn, state, flags, tsval, now_ms):  # type: ignore[no-untyped-def]
    """Make or renew the record of the flow whose packet is in the view.

    Reads: record: the flow's present record, or 0; birth: the client's first byte; state and flags for the record.
    Returns: the record; NO_ROOM when every way of the bucket holds a flow that must not be forgotten.
    """
    tag = tag_of(view)
    tag_at = 0
    if record:
        age = age_of(now_ms, u32(record + t.FLOW_SEEN))
        # It answers the SYN that was seen last, and that came after the record was made.
        is_new = u32(record + t.FLOW_FLAGS) & t.SYN_SEEN and u32(record + t.FLOW_SYN_NEXT) == birth
        is_same = u32(record + t.FLOW_BIRTH) == birth
        is_unused = u32(record + t.FLOW_ACKED) == u32(record + t.FLOW_BIRTH)
        if is_same and u32(record + t.FLOW_SERVER_ISN) == server_isn and (is_unused or not is_new):
            return record  # the SYN-ACK again. (Cookies give the next connection the same numbers.)
        if not is_new and not _may_go(record, age):
            return record
        if u32(record + t.FLOW_SENT_UP) != u32(record + t.FLOW_HANDLED):
            # A packet of the old connection is with the worker, whose verdict must not fall on the new one.
            put32(record + t.FLOW_SEEN, now_ms)
            note_flags(record, t.CLIENT_RST | t.SERVER_RST)  # it may be used again a while after that
            put32(bucket + 4 * way_of(bucket, record), t.TAG_LEFT)
            record = 0
    if record == 0:
        zero = u64(value_of(skb, t.control) + t.CONTROL_ZERO)
        way = _choose_way(bucket, zero, now_ms)
        if way >= t.WAYS:
            return NO_ROOM
        way = blur(way, zero, t.WAYS - 1)
        tag_at = bucket + 4 * way
        old = u32(tag_at)
        if old == t.TAG_BUSY or compare_exchange32(tag_at, old, t.TAG_BUSY) != old:
            return NO_ROOM  # another CPU takes it at this moment
        record = bucket + t.BUCKET_RECORDS + way * t.RECORD_BYTES
        for word in range(0, t.KEY_BYTES, 8):
            put64(record + word, u64(key + word))
        put32(record + t.FLOW_SENT_UP, 0)
        put32(record + t.FLOW_HANDLED, 0)
        put32(record + t.FLOW_SYN_NEXT, birth)
    put32(record + t.FLOW_STREAM, 0)  # a connection may have the number of the one before it
    put32(record + t.FLOW_ACKED, birth)
    put32(record + t.FLOW_SERVER_NEXT, server_isn + 1)
    put32(record + t.FLOW_SEEN, now_ms)
    put32(record + t.FLOW_EPOCH, u64(value_of(skb, t.control) + t.CONTROL_EPOCH))
    put32(record + t.FLOW_CLIENT_NEXT, birth)
    put32(record + t.FLOW_BIRTH, birth)
    put32(record + t.FLOW_SERVER_ISN, server_isn)
    put32(record + t.FLOW_TSVAL, tsval)
    put32(record + t.FLOW_FLAGS, flags)
    put32(record + t.FLOW_TTL, 0)  # and mode
    put64(record + t.FLOW_MARK, 0)  # and watch
    put64(record + t.FLOW_LEFT, 0)
    put64(record + t.FLOW_WORD, pack_word(state, birth, 0))
    if tag_at:
        compare_exchange32(tag_at, t.TAG_BUSY, tag)  # a full barrier behind the fields
    return record
