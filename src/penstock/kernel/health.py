"""Is it us? How connections fare, counted apart for protected and unprotected subscribers of the same line.

    SYN ──► SYN-ACK       the server's latency, as seen from the box
    SYN-ACK ──► first ACK the client's
    repeated segments, resets    of either side

Handshakes stand in a table of their own, by hash, the latest one in each line: it knows flows that have no record, and
tells a flow of which only one direction comes by here, and where it begins, from one that is older than we are.
"""

from penstock.compile.memory import put32, put64, shared, shr, u32, u64
from penstock.flow.record import sequence_difference
from penstock.kernel import tables as t
from penstock.kernel.primitives import cpu_number, time_ns, value_of
from penstock.kernel.records import tag_of
from penstock.wire.headers import RST, VIEW_HASH, VIEW_SEQ

ASKED, ANSWERED, COMPLETE = 1, 2, 3
"""States of a handshake: a SYN went by; its SYN-ACK too; the client's answer too."""

NOT_ASKED = -1
MICROSECOND_SHIFT = 10  # nanoseconds to (about) microseconds
LATENCY_MASK = (1 << t.HEALTH_LATENCY_BUCKETS) - 1


@shared
def health_line(skb, is_protected):  # type: ignore[no-untyped-def]
    """This CPU's counters of one class of flows."""
    number = (cpu_number(skb) & (t.COUNTER_CPUS - 1)) << 1 | (is_protected & 1)
    return value_of(skb, t.health) + number * t.HEALTH_BYTES


@shared
def _add(place, number):  # type: ignore[no-untyped-def]
    put64(place, u64(place) + number)
    return 0


@shared
def _note_latency(line, since_ns, now_ns):  # type: ignore[no-untyped-def]
    """Count a latency in its bucket: the logarithm of its microseconds to base 2, halving what is searched. Without a
    branch: the verifier would follow each."""
    rest, bucket = (now_ns - since_ns) >> MICROSECOND_SHIFT & LATENCY_MASK, 0
    for half in (16, 8, 4, 2, 1):
        is_more = shr(-(rest >> half), 63)
        rest >>= is_more * half
        bucket += is_more * half
    return _add(line + bucket * 8, 1)


@shared
def _handshake_line(skb, view):  # type: ignore[no-untyped-def]
    """The line of the flow whose hash is in the view."""
    return value_of(skb, t.handshakes) + (shr(u64(view + VIEW_HASH), 12) & (t.HANDSHAKE_COUNT - 1)) * t.HANDSHAKE_BYTES


@shared
def find_first_byte(skb, view):  # type: ignore[no-untyped-def]
    """The client's first sequence number, of a flow whose SYN went by and whose SYN-ACK did not; NOT_ASKED otherwise."""
    line = _handshake_line(skb, view)
    if u32(line + t.HANDSHAKE_TAG) != tag_of(view) or u32(line + t.HANDSHAKE_STATE) != ASKED:
        return NOT_ASKED
    return u32(line + t.HANDSHAKE_NEXT)


@shared
def note_syn(skb, view, is_protected):  # type: ignore[no-untyped-def]
    """The client's SYN. One that is repeated keeps the time of the first: that is what the client feels."""
    line, tag = _handshake_line(skb, view), tag_of(view)
    put32(line + t.HANDSHAKE_NEXT, u64(view + VIEW_SEQ) + 1)
    if u32(line + t.HANDSHAKE_TAG) == tag and u32(line + t.HANDSHAKE_STATE) == ASKED:
        return 0
    put32(line + t.HANDSHAKE_TAG, tag)
    put32(line + t.HANDSHAKE_STATE, ASKED)
    put64(line + t.HANDSHAKE_SYN_NS, time_ns(skb))
    return _add(health_line(skb, is_protected) + t.HEALTH_HANDSHAKES, 1)


@shared
def note_syn_ack(skb, view, is_protected):  # type: ignore[no-untyped-def]
    """The server's SYN-ACK."""
    line = _handshake_line(skb, view)
    if u32(line + t.HANDSHAKE_TAG) != tag_of(view) or u32(line + t.HANDSHAKE_STATE) != ASKED:
        return 0
    now_ns = time_ns(skb)
    put32(line + t.HANDSHAKE_STATE, ANSWERED)
    put64(line + t.HANDSHAKE_SYN_ACK_NS, now_ns)
    place = health_line(skb, is_protected) + t.HEALTH_SERVER_LATENCY
    return _note_latency(place, u64(line + t.HANDSHAKE_SYN_NS), now_ns)


@shared
def note_first_ack(skb, view, is_protected):  # type: ignore[no-untyped-def]
    """The client's first packet behind the SYN-ACK."""
    line = _handshake_line(skb, view)
    if u32(line + t.HANDSHAKE_TAG) != tag_of(view) or u32(line + t.HANDSHAKE_STATE) != ANSWERED:
        return 0
    put32(line + t.HANDSHAKE_STATE, COMPLETE)
    place = health_line(skb, is_protected)
    _add(place + t.HEALTH_COMPLETED, 1)
    return _note_latency(place + t.HEALTH_CLIENT_LATENCY, u64(line + t.HANDSHAKE_SYN_ACK_NS), time_ns(skb))


@shared
def note_segment(place, flags, end, size, expected):  # type: ignore[no-untyped-def]
    """Count a segment of one side at the three counters at `place`: with payload, repeated (all of its bytes came by
    before), reset."""
    if size:
        _add(place, 1)
        if sequence_difference(end, expected) <= 0:
            _add(place + 8, 1)
    if flags & RST:
        _add(place + 16, 1)
    return 0
