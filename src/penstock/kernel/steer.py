"""`steer`: the program on both interfaces. It decides nothing about policy: it remembers verdicts.

    headers → flow record → forward | drop | up (copied into the ring of its flow, and withheld)

One text, loaded twice: the constants `from_client` and `peer_ifindex` make it the program of ingress or of egress, and
the verifier removes the other half. Compiled natively it is the program of replay and of the parity tests.
"""

from penstock.compile.memory import be32, put16, put32, put64, shared, shr, stack, u8, u16, u32, u64
from penstock.flow.record import (
    FREED,
    OPEN,
    REFUSED,
    age_of,
    classify_segment,
    pack_word,
    sequence_difference,
    state_of,
)
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.budget import OPEN_COST, flags_of, rights_of, spend
from penstock.kernel.exceptions import (
    ASYMMETRIC,
    FORWARD,
    GAP,
    MALFORMED,
    MIDSTREAM,
    TABLE_FULL,
    policy_of,
)
from penstock.kernel.health import (
    NOT_ASKED,
    find_first_byte,
    health_line,
    note_first_ack,
    note_segment,
    note_syn,
    note_syn_ack,
)
from penstock.kernel.options import neutralise_options, read_echo, read_handshake_options
from penstock.kernel.owners import find_rights
from penstock.kernel.primitives import (
    coarse_time_ns,
    constant,
    cpu_number,
    load_bytes,
    pull_data,
    redirect,
    skb_data,
    skb_end,
    skb_gso_size,
    skb_len,
    skb_vlan_present,
    skb_vlan_tci,
    value_of,
)
from penstock.kernel.records import (
    find_bucket,
    find_record,
    is_closed,
    is_foreign_segment,
    make_record,
    note_flags,
    number_of,
)
from penstock.kernel.tables import KEY_BYTES
from penstock.kernel.up import send_peek, send_up
from penstock.wire import headers as h
from penstock.wire.headers import VIEW_BYTES
from penstock.wire.quic import HEAD_BYTES, VERSION_BYTES_OFF, may_open

TCX_NEXT, TCX_DROP = -1, 2
HEADERS_BYTES = 256  # what is pulled into the linear part of a packet whose headers are not all there
SEEN = 127  # the counter beside the reasons: every packet, counted before anything is decided
MS_SHIFT = 20  # nanoseconds to (about) milliseconds
DNS_PORT = 53
ASKED_MS = 10_000  # in which an answer belongs to what was asked: stubs wait for 5 s
DATAGRAM_LIMIT = 128  # in one super-packet: UDP_MAX_SEGMENTS of Linux


@shared
def count(skb, number):  # type: ignore[no-untyped-def]
    """Add one to a counter of this CPU."""
    line = value_of(skb, t.counters) + (cpu_number(skb) & (t.COUNTER_CPUS - 1)) * t.COUNTER_BYTES
    place = line + ((number & 127) << 3)
    put64(place, u64(place) + 1)
    return 0


@shared
def is_judged_port(skb, view):  # type: ignore[no-untyped-def]
    """Is the server's port among those that are judged?"""
    port = u64(view + h.VIEW_SERVER_PORT) & 0xFFFF
    return u8(value_of(skb, t.control) + t.CONTROL_PORTS + (port >> 3)) >> (port & 7) & 1


@shared
def scope_of(skb, view):  # type: ignore[no-untyped-def]
    """The scope of the packet's outer VLAN (IEEE 802.1Q), in the device's metadata or in front of its bytes."""
    tag = skb_vlan_tci(skb) if skb_vlan_present(skb) else u64(view + h.VIEW_VLAN)
    return u16(value_of(skb, t.control) + t.CONTROL_SCOPES + ((tag & h.VLAN_ID) << 1))


@shared
def parse(skb, view, key):  # type: ignore[no-untyped-def]
    """parse_packet, once more after the headers were pulled into the linear part if they did not all stand there."""
    zero = u64(value_of(skb, t.control) + t.CONTROL_ZERO)
    status = h.parse_packet(skb_data(skb), skb_end(skb), constant(skb, t.from_client), zero, view, key)
    if status == h.IS_TRUNCATED and skb_len(skb) > skb_end(skb) - skb_data(skb):
        pull_data(skb, min(skb_len(skb), HEADERS_BYTES))
        zero = u64(value_of(skb, t.control) + t.CONTROL_ZERO)
    status = h.parse_packet(skb_data(skb), skb_end(skb), constant(skb, t.from_client), zero, view, key)
    has_end = status == h.IS_TCP or status == h.IS_UDP or status == h.IS_OTHER or status == h.IS_FRAGMENT
    if has_end and u64(view + h.VIEW_END) > skb_len(skb):
        return h.IS_MALFORMED  # the IP header claims more bytes than there are
    put32(key + t.FLOW_SCOPE, u32(key + t.FLOW_SCOPE) | scope_of(skb, view))
    return status


@shared
def steer_handshake(skb, view, key, bucket, record, now_ms):  # type: ignore[no-untyped-def]
    """A SYN, or a SYN-ACK (the server's makes the record)."""
    from_client, is_answer = constant(skb, t.from_client), u64(view + h.VIEW_FLAGS) & h.ACK
    l4, payload = u64(view + h.VIEW_L4), u64(view + h.VIEW_PAYLOAD)
    rights = find_rights(skb, key)
    is_judged = rights & t.SUBSCRIBER_PROTECTED and is_judged_port(skb, view)
    if from_client:
        if is_answer:
            return r.SYN_DATA if u64(view + h.VIEW_SIZE) and rights & t.SUBSCRIBER_PROTECTED else r.HANDSHAKE
        if record:
            put32(record + t.FLOW_SYN_NEXT, u64(view + h.VIEW_SEQ) + 1)
            note_end(record, t.SYN_SEEN, 0)
        if is_judged:
            if u64(view + h.VIEW_SIZE):
                return r.SYN_DATA
            if spend(skb, rights, OPEN_COST) == 0:
                return r.OVER_BUDGET
            neutralise_options(skb, l4, payload)
        note_syn(skb, view, rights & t.SUBSCRIBER_PROTECTED)
        return r.HANDSHAKE
    birth, state, flags, tsval = u64(view + h.VIEW_ACK), FREED, t.IS_UNPROTECTED, 0
    if not is_answer:
        # Somebody on the internet opens it. Only his SYN says so: the subscriber's SYN-ACK would be the client's word.
        if record or rights & t.SUBSCRIBER_PROTECTED == 0:
            return r.HANDSHAKE
        flags = t.IS_INBOUND
    else:
        note_syn_ack(skb, view, rights & t.SUBSCRIBER_PROTECTED)
        if is_judged:
            if record == 0 and spend(skb, rights, OPEN_COST) == 0:
                return r.OVER_BUDGET
            options = read_handshake_options(skb, l4, payload)
            state, tsval = OPEN, shr(options, 2)
            flags = options & (t.HAS_TIMESTAMPS | t.HAS_MD5) | flags_of(rights)
    isn, zero = u64(view + h.VIEW_SEQ), u64(value_of(skb, t.control) + t.CONTROL_ZERO)
    state, flags, tsval = state ^ zero, flags ^ zero, tsval ^ zero  # one path for the verifier, not one for each value
    if make_record(skb, bucket, record, view, key, birth, isn, state, flags, tsval, now_ms) or flags == t.IS_INBOUND:
        return r.HANDSHAKE
    if state == FREED:
        return r.TABLE_FULL_OPEN
    return r.TABLE_FULL_PASSED if policy_of(skb, TABLE_FULL) == FORWARD else r.TABLE_FULL


@shared
def note_end(record, fin, rst):  # type: ignore[no-untyped-def]
    """Remember that one side said it ends the connection, or begins another. It changes no verdict."""
    return note_flags(record, fin | rst)


@shared
def steer_unrecorded(skb, view, key, bucket, now_ms):  # type: ignore[no-untyped-def]
    """A segment from the subscriber's side, of a flow without a record: older than we are, or one whose server's packets
    take another way. The first is judged segment by segment, the second gets a record now."""
    if u64(view + h.VIEW_SIZE) == 0 and u64(view + h.VIEW_FLAGS) & h.URG == 0:
        return r.NO_FLOW
    rights = find_rights(skb, key)
    if rights & t.SUBSCRIBER_PROTECTED == 0 or not is_judged_port(skb, view):
        return r.UNPROTECTED
    birth, record, reason = find_first_byte(skb, view), 0, r.UP_MIDSTREAM
    if birth != NOT_ASKED:
        if policy_of(skb, ASYMMETRIC) == FORWARD:
            return r.ASYMMETRIC_OPEN
        isn, flags = u64(view + h.VIEW_ACK) - 1, flags_of(rights) | t.ONE_WAY | t.SYN_SEEN
        record, reason = make_record(skb, bucket, 0, view, key, birth, isn, OPEN, flags, 0, now_ms), r.UP_ASYMMETRIC
    elif policy_of(skb, MIDSTREAM) == FORWARD:
        return r.MIDSTREAM_OPEN
    number = t.NO_RECORD
    if record:
        number = number_of(view, bucket, record, constant(skb, t.bucket_mask))
        put32(
            record + t.FLOW_ACKED, birth - 1
        )  # not in use as the server's handshake would have it: a SYN-ACK renews it
        put32(record + t.FLOW_CLIENT_NEXT, u64(view + h.VIEW_SEQ) + u64(view + h.VIEW_SIZE))
    reason = send_up(skb, view, key, record, number, rights, reason)
    if reason == r.OVER_BUDGET and birth == NOT_ASKED and rights & t.SUBSCRIBER_CLOSED == 0:
        return r.MIDSTREAM_OPEN  # an upload that is older than we are is not to be throttled
    return reason


@shared
def steer_client(skb, view, key, bucket, record, now_ms):  # type: ignore[no-untyped-def]
    """A segment from the subscriber's side that is no handshake."""
    seq, size = u64(view + h.VIEW_SEQ), u64(view + h.VIEW_SIZE)
    if record == 0:
        return steer_unrecorded(skb, view, key, bucket, now_ms)
    end = seq + size + (u64(view + h.VIEW_FLAGS) & h.FIN)
    is_gap = u32(record + t.FLOW_EPOCH) != u64(value_of(skb, t.control) + t.CONTROL_EPOCH)
    # Its ports may be another connection's, which nobody saw begin.
    is_over = is_gap and (state_of(u64(record + t.FLOW_WORD)) == REFUSED or is_closed(record))
    put32(record + t.FLOW_SEEN, now_ms)
    flags = u64(view + h.VIEW_FLAGS)
    if flags & (h.FIN | h.RST):
        note_end(record, t.CLIENT_FIN if flags & h.FIN else 0, t.CLIENT_RST if flags & h.RST else 0)
        put32(record + t.FLOW_FIN, end)
    is_protected = u32(record + t.FLOW_FLAGS) & t.IS_UNPROTECTED == 0
    if u16(record + t.FLOW_TTL) == 0:  # the handshake's third packet
        put16(record + t.FLOW_TTL, u64(view + h.VIEW_TTL))
        note_first_ack(skb, view, is_protected)
    note_segment(health_line(skb, is_protected), flags, end, size, u32(record + t.FLOW_CLIENT_NEXT))
    if sequence_difference(end, u32(record + t.FLOW_CLIENT_NEXT)) > 0:
        put32(record + t.FLOW_CLIENT_NEXT, end)
    is_waiting = u32(record + t.FLOW_SENT_UP) != u32(record + t.FLOW_HANDLED)
    word, acked = u64(record + t.FLOW_WORD), u32(record + t.FLOW_ACKED)
    birth, is_urgent = u32(record + t.FLOW_BIRTH), flags & h.URG != 0
    if is_over:
        reason = r.UP_GAP if end != seq else r.EMPTY
    else:
        reason = classify_segment(word, acked, birth, is_waiting, is_gap, is_urgent, seq, end, size > 0)
    if reason == r.UP_GAP and policy_of(skb, GAP) == FORWARD:
        return r.GAP_OPEN
    if reason < r.UP_FIRST:
        if size == 0 or acked != birth or state_of(word) == FREED or reason >= r.DROP_FIRST:
            return r.ASYMMETRIC if reason == r.FREE and u32(record + t.FLOW_FLAGS) & t.ONE_WAY else reason
        reason = r.UP_UNJUDGED  # those of another handshake of the same ports may lie where these are free to go
    if reason == r.UP_UNJUDGED and u32(record + t.FLOW_FLAGS) & t.ONE_WAY:
        reason = r.UP_ASYMMETRIC
    number = number_of(view, bucket, record, constant(skb, t.bucket_mask))
    return send_up(skb, view, key, record, number, rights_of(record), reason)


@shared
def note_echo(skb, view, record):  # type: ignore[no-untyped-def]
    """The server echoes the last timestamp that it took (RFC 7323 4.3): what is older than that, it discards."""
    echo = read_echo(skb, u64(view + h.VIEW_L4), u64(view + h.VIEW_PAYLOAD))
    if echo and sequence_difference(echo, u32(record + t.FLOW_TSVAL)) > 0:
        put32(record + t.FLOW_TSVAL, echo)
    return 0


@shared
def steer_server(skb, view, key, bucket, record, now_ms):  # type: ignore[no-untyped-def]
    """A segment from the internet's side that is no handshake: it moves A and server_next, and passes unless refused."""
    if record == 0:
        return r.NO_FLOW
    seq, ack, size = u64(view + h.VIEW_SEQ), u64(view + h.VIEW_ACK), u64(view + h.VIEW_SIZE)
    flags = u64(view + h.VIEW_FLAGS)
    put32(record + t.FLOW_SEEN, now_ms)
    if u32(record + t.FLOW_FLAGS) & t.ONE_WAY:
        # Both directions do come by, and only the SYN-ACK was missed: it is judged like a flow of which bytes were.
        put32(record + t.FLOW_FLAGS, u32(record + t.FLOW_FLAGS) & ~t.ONE_WAY)
        put64(record + t.FLOW_WORD, pack_word(OPEN, u32(record + t.FLOW_CLIENT_NEXT), 0))
        put32(record + t.FLOW_EPOCH, 0)
        return r.SERVER
    if is_foreign_segment(record, seq):
        return r.SERVER
    if flags & h.ACK and flags & h.RST == 0 and sequence_difference(ack, u32(record + t.FLOW_ACKED)) > 0:
        # Only what the client has sent can be acknowledged: a forged ACK must not free unread bytes.
        if sequence_difference(ack, u32(record + t.FLOW_CLIENT_NEXT)) <= 0:
            put32(record + t.FLOW_ACKED, ack)
    if flags & (h.FIN | h.RST):
        # A reset that answers a wrong ACK (RFC 9293 3.10.7.4) has that ACK's number, and ends nothing.
        is_reset = flags & h.RST and seq == u32(record + t.FLOW_SERVER_NEXT)
        note_end(record, t.SERVER_FIN if flags & h.FIN else 0, t.SERVER_RST if is_reset else 0)
    end = seq + size + (flags & h.FIN)
    place = health_line(skb, u32(record + t.FLOW_FLAGS) & t.IS_UNPROTECTED == 0) + t.HEALTH_SERVER_SEGMENTS
    note_segment(place, flags, end, size, u32(record + t.FLOW_SERVER_NEXT))
    if flags & h.RST == 0 and sequence_difference(end, u32(record + t.FLOW_SERVER_NEXT)) > 0:
        put32(record + t.FLOW_SERVER_NEXT, end)
    is_gap = u32(record + t.FLOW_EPOCH) != u64(value_of(skb, t.control) + t.CONTROL_EPOCH)
    state = state_of(u64(record + t.FLOW_WORD))
    if state == OPEN and u32(record + t.FLOW_FLAGS) & t.HAS_TIMESTAMPS and not is_gap:
        note_echo(skb, view, record)
    if state == REFUSED and not is_gap:
        number = number_of(view, bucket, record, constant(skb, t.bucket_mask))
        return send_up(skb, view, key, record, number, rights_of(record), r.UP_REFUSED)
    if size and u32(record + t.FLOW_WATCH) and seq == u32(record + t.FLOW_MARK):
        send_peek(skb, view, key, number_of(view, bucket, record, constant(skb, t.bucket_mask)), 0, t.PEEK_BYTES)
    return r.SERVER


@shared
def may_open_connection(skb, view):  # type: ignore[no-untyped-def]
    """May a datagram of this packet open a QUIC connection? A super-packet holds one every `gso_size` bytes.

    Bounds: DATAGRAM_LIMIT.
    """
    zero = u64(value_of(skb, t.control) + t.CONTROL_ZERO)  # makes one path of those that lead to different offsets
    at, step = u64(view + h.VIEW_PAYLOAD) ^ zero, skb_gso_size(skb)
    end, head = (
        at + u64(view + h.VIEW_SIZE),
        stack(8) + 3,
    )  # the version is aligned: the verifier wants it so on the stack
    for _ in range(DATAGRAM_LIMIT):
        if at + HEAD_BYTES > end:
            return False
        if load_bytes(skb, at, head, HEAD_BYTES):
            return True
        if may_open(u8(head), be32(head + VERSION_BYTES_OFF)):
            return True
        if step == 0:
            return False
        at += step
    return True


@shared
def steer_datagram(skb, view, key):  # type: ignore[no-untyped-def]
    """A UDP datagram from the subscriber's side. Everything of a flow that nobody has looked at goes up; of a free one,
    what may open a QUIC connection, for a flow can carry many."""
    bucket = find_bucket(skb, view, key)
    if bucket == 0:
        return r.NO_FLOW
    record, now_ms = find_record(skb, bucket, view, key), coarse_time_ns(skb) >> MS_SHIFT
    if record:
        put32(record + t.FLOW_SEEN, now_ms)
        is_waiting = u32(record + t.FLOW_SENT_UP) != u32(record + t.FLOW_HANDLED)
        if state_of(u64(record + t.FLOW_WORD)) == FREED and not is_waiting and not may_open_connection(skb, view):
            return r.FREE
        rights = rights_of(record)
    else:
        rights = find_rights(skb, key)
        if rights & t.SUBSCRIBER_PROTECTED == 0:
            return r.UNPROTECTED
        if spend(skb, rights, OPEN_COST - 1) == 0:  # and one for going up
            return r.OVER_BUDGET
        record = make_record(skb, bucket, 0, view, key, 0, 0, OPEN, flags_of(rights), 0, now_ms)
    number = t.NO_RECORD
    if record:
        number = number_of(view, bucket, record, constant(skb, t.bucket_mask))
    return send_up(skb, view, key, record, number, rights, r.UP_DATAGRAM)


@shared
def steer_inbound_datagram(skb, view, key):  # type: ignore[no-untyped-def]
    """A UDP datagram from the internet's side. What a DNS server answers is read, if it was asked a moment ago. One that
    may open a QUIC connection where the subscriber asked nothing may make him its server: it is looked at in passing."""
    is_dns = u64(view + h.VIEW_SERVER_PORT) & 0xFFFF == DNS_PORT
    if is_dns or may_open_connection(skb, view):
        bucket = find_bucket(skb, view, key)
        if bucket == 0:
            return r.DATAGRAM_SERVER
        record, now_ms = find_record(skb, bucket, view, key), coarse_time_ns(skb) >> MS_SHIFT
        if is_dns and record and age_of(now_ms, u32(record + t.FLOW_SEEN)) < ASKED_MS:
            return send_up(skb, view, key, 0, t.NO_RECORD, rights_of(record), r.UP_ANSWER)
        if not is_dns and record == 0:
            rights = find_rights(skb, key)
            if rights & t.SUBSCRIBER_PROTECTED and spend(skb, rights, 1):
                send_peek(skb, view, key, t.NO_RECORD, rights, t.UP_SMALL)
    return r.DATAGRAM_SERVER


@shared
def decide(skb, view, key):  # type: ignore[no-untyped-def]
    """The reason of one packet; its range is the verdict."""
    from_client = constant(skb, t.from_client)
    status = parse(skb, view, key)
    if status == h.IS_FOREIGN:
        return r.NOT_IP
    if status == h.IS_OTHER:
        return r.NOT_TCP
    if status == h.IS_UDP:
        return steer_datagram(skb, view, key) if from_client else steer_inbound_datagram(skb, view, key)
    if status != h.IS_TCP:
        if not from_client:
            return r.FRAGMENT_SERVER if status == h.IS_FRAGMENT else r.TRUNCATED
        if status == h.IS_DEEP and u64(view + h.VIEW_L3) == 0:
            return r.MALFORMED  # tags that no honest frame has, before an address that nobody has read
        rights, protocol = find_rights(skb, key), u64(view + h.VIEW_PROTOCOL)
        if status != h.IS_FRAGMENT:
            # No server should read it; a protected subscriber's must not be the one that does.
            if rights & t.SUBSCRIBER_PROTECTED == 0:
                return r.TRUNCATED
            return r.MALFORMED_OPEN if policy_of(skb, MALFORMED) == FORWARD else r.MALFORMED
        if protocol != h.PROTOCOL_TCP and protocol != h.PROTOCOL_UDP and not u64(view + h.VIEW_IS_IPV6):
            return r.NOT_TCP
        if rights & (t.SUBSCRIBER_PROTECTED | t.SUBSCRIBER_SHARED) == 0:
            return r.UNPROTECTED  # (whose piece it is of a shared address, the whole packet's port says)
        find_bucket(skb, view, key)
        put64(view + h.VIEW_SIZE, 0)
        return send_up(skb, view, key, 0, t.NO_RECORD, rights, r.UP_FRAGMENT)
    bucket = find_bucket(skb, view, key)
    if bucket == 0:
        return r.NO_FLOW
    record = find_record(skb, bucket, view, key)
    now_ms = coarse_time_ns(skb) >> MS_SHIFT
    if u64(view + h.VIEW_FLAGS) & h.SYN:
        return steer_handshake(skb, view, key, bucket, record, now_ms)
    if from_client:
        return steer_client(skb, view, key, bucket, record, now_ms)
    return steer_server(skb, view, key, bucket, record, now_ms)


def steer(skb):  # type: ignore[no-untyped-def]
    """The program. Returns: a redirect to the other interface, or drop (dropped, or withheld because it went up)."""
    count(skb, SEEN)
    if u64(value_of(skb, t.control) + t.CONTROL_EPOCH) & 1 == 0:
        count(skb, r.OFF)
        return TCX_NEXT
    key, view = stack(KEY_BYTES), stack(VIEW_BYTES)
    for word in range(0, VIEW_BYTES, 8):
        put64(view + word, 0)
    for word in range(0, KEY_BYTES, 8):
        put64(key + word, 0)
    reason = decide(skb, view, key)
    count(skb, reason)
    if reason >= r.DROP_FIRST:
        return TCX_DROP
    return redirect(constant(skb, t.peer_ifindex), 0)
