"""UDP datagrams of protected subscribers: DNS and QUIC are judged, everything else by its server, and set free.

    packet ─► datagrams (a super-packet holds many) ─► packets in each ─► Initial: initials.py
                                                                         0-RTT: as its connection
                                                                         a version that is not read: told which are
                                                                         anything else: passes

The gravest of what the parts say holds for the whole. RFC 9000 12.2 (coalesced packets), 6 (versions), 17.2.
"""

from penstock.answer.quic import write_version_negotiation
from penstock.compile.memory import put64, shared, shr, u8, u32, u64
from penstock.flow.connection import (
    E_PORTS,
    E_STATE,
    E_TIMES,
    JUDGED,
    NOW_MS,
    PAIR_LIMIT,
    READING,
    REFUSED,
    RETAIN_MS,
    find_connection,
    is_of_pair,
    make_connection,
    newest_of,
    previous_of,
)
from penstock.flow.record import FREED, OPEN, pack_word, state_of
from penstock.flow.record import REFUSED as REFUSED_FLOW
from penstock.flow.stream import POOL_NOW_MS
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.tables import FLOW_PORTS, UP_GSO_SIZE, UP_HEAD, UP_KEY, UP_PAYLOAD, UP_PAYLOAD_BYTES
from penstock.path.events import EVENT_IS_REQUEST, write_event
from penstock.path.hosts import blame_nobody, identify, is_paused, judge_hello, subscriber_of
from penstock.path.initials import (
    TIMES_LIMIT,
    derive_own,
    hold_for,
    open_connection,
    opens_itself,
    send_bounded,
    take_initial,
)
from penstock.path.layout import (
    HELD,
    INBOUND_COUNT,
    PROTO_QUIC,
    PROTO_UDP,
    Q_SEALED,
    UNIT_HOST,
    UNIT_HOST_BYTES,
    W_CONNECTIONS,
    W_CONTROL,
    W_EPOCH,
    W_EPOCH_MS,
    W_HOLDER,
    W_INBOUND,
    W_JUDGED,
    W_LENIENT,
    W_PACKET,
    W_POOL,
    W_SNAPSHOT,
)
from penstock.path.queries import is_dns, take_query
from penstock.policy.actions import BLOCK
from penstock.policy.judge import OUT_WOULD
from penstock.policy.layout import QUIC_VERSIONS_PASS, REPORT_ONLY
from penstock.request import quic
from penstock.request.status import COMPLETE, NOT_MINE

PACKETS_LIMIT = 32  # coalesced in one datagram
DATAGRAMS_LIMIT = 128  # in one super-packet: UDP_MAX_SEGMENTS of Linux
NOTHING = 0  # instead of a reason: no packet so far


@shared
def _graver(a, b):  # type: ignore[no-untyped-def]
    """Which of two reasons holds for both: withheld before held before passed."""
    if a >= r.BLOCKED or b == NOTHING:
        return a
    if b >= r.BLOCKED:
        return b
    if a == HELD or b == HELD:
        return HELD
    return b if a == NOTHING or a == r.JUDGED_CONNECTION or a == r.NOT_A_REQUEST else a


@shared
def _tell_version(w, u, version):  # type: ignore[no-untyped-def]
    """Report a connection in a version that is not read."""
    blame_nobody(w, BLOCK)
    write_event(
        w, u, identify(w, u, version), PROTO_QUIC, BLOCK, r.UNREAD_VERSION, subscriber_of(w, u), version,
        EVENT_IS_REQUEST, u, 0,
    )  # fmt: skip
    return 0


@shared
def _take_foreign(w, u, p, packet):  # type: ignore[no-untyped-def]
    """A long header packet of a version that is not read. Returns: a path reason."""
    if u64(u64(w + W_SNAPSHOT) + QUIC_VERSIONS_PASS) or u64(u64(w + W_SNAPSHOT) + REPORT_ONLY):
        return r.ON_SIGHT
    c, scratch, version = u64(w + W_CONNECTIONS), u64(w + W_PACKET), u64(packet + quic.PACKET_VERSION)
    dcid, dcid_bytes = u64(packet + quic.DCID), u64(packet + quic.DCID_BYTES)
    scid, scid_bytes = u64(packet + quic.SCID), u64(packet + quic.SCID_BYTES)
    entry = find_connection(c, u, dcid, dcid_bytes)
    if entry == 0:
        entry = make_connection(c, u, version, dcid, dcid_bytes, scid, scid_bytes)
    if entry <= 0:
        return r.CONNECTION_FULL
    if u64(entry + E_STATE) == READING:
        put64(entry + E_STATE, REFUSED)
        _tell_version(w, u, version)
    times = u64(entry + E_TIMES)
    if times < TIMES_LIMIT:
        put64(entry + E_TIMES, times + 1)
        size = write_version_negotiation(scratch + Q_SEALED, u8(p), scid, scid_bytes, dcid, dcid_bytes)
        send_bounded(w, u, scratch + Q_SEALED, size)
    return r.UNREAD_VERSION


@shared
def _find_likely(c, u):  # type: ignore[no-untyped-def]
    """The newest connection of the packet's own flow, or 0. Bounds: PAIR_LIMIT."""
    entry = newest_of(c, u)
    for _ in range(PAIR_LIMIT):
        if entry == 0:
            return 0
        if u64(entry + E_PORTS) == u64(u + UP_KEY + FLOW_PORTS) and is_of_pair(entry, u):
            return entry
        entry = previous_of(c, entry)
    return 0


@shared
def _take_zero_rtt(w, u, packet):  # type: ignore[no-untyped-def]
    """A 0-RTT packet: as its connection. One that comes before its hello waits for it."""
    c = u64(w + W_CONNECTIONS)
    entry = find_connection(c, u, u64(packet + quic.DCID), u64(packet + quic.DCID_BYTES))
    if entry == 0:
        entry = _find_likely(c, u)
    if entry == 0:
        entry = open_connection(w, u, packet, derive_own(w, packet))
    if entry <= 0:
        return r.CONNECTION_FULL
    if u64(entry + E_STATE) == REFUSED:
        return r.REFUSED_CLIENT
    if u64(entry + E_STATE) == JUDGED:
        return r.JUDGED_CONNECTION
    return hold_for(w, entry)


@shared
def _take_packet(w, u, p, end, is_first, packet):  # type: ignore[no-untyped-def]
    """One packet of a datagram [.., end). Writes: PACKET_END. Returns: a path reason or HELD; NOTHING when what stands here
    is no packet that matters."""
    put64(packet + quic.PACKET_END, end)
    status = quic.parse_packet(p, end, packet)
    version = u64(packet + quic.PACKET_VERSION)
    if status == NOT_MINE:
        if version and is_first and quic.is_foreign_initial(p, end, packet):
            return _take_foreign(w, u, p, packet)
        return r.NOT_A_REQUEST if is_first else NOTHING
    if status != COMPLETE:
        put64(packet + quic.PACKET_END, end)
        return r.ON_SIGHT if is_first else NOTHING
    kind = u64(packet + quic.PACKET_TYPE)
    if kind == quic.INITIAL:
        reason = take_initial(w, u, p, packet)
        return r.UNSEALED if reason == r.UNDECRYPTABLE and u64(w + W_LENIENT) == 0 else reason
    if kind == quic.ZERO_RTT:
        return _take_zero_rtt(w, u, packet)
    entry = find_connection(u64(w + W_CONNECTIONS), u, u64(packet + quic.DCID), u64(packet + quic.DCID_BYTES))
    if entry > 0 and u64(entry + E_STATE) == REFUSED:
        return r.REFUSED_CLIENT
    return r.JUDGED_CONNECTION if entry > 0 else r.ON_SIGHT


@shared
def _take_one(w, u, p, end):  # type: ignore[no-untyped-def]
    """One datagram: as DNS where it goes there, and packet by packet as QUIC. Returns: a path reason, or HELD.

    Bounds: PACKETS_LIMIT."""
    packet, at, reason = u64(w + W_PACKET), p, NOTHING
    if is_dns(u):
        reason = take_query(w, u, p, end)
    for number in range(PACKETS_LIMIT):
        if at >= end:
            return reason if number else _graver(reason, r.NOT_A_REQUEST)
        reason = _graver(reason, _take_packet(w, u, at, end, number == 0, packet))
        at = u64(packet + quic.PACKET_END)
    return reason if at >= end else r.BAD_INITIAL  # no honest client sends so many


@shared
def _judge_nameless(w, u, record):  # type: ignore[no-untyped-def]
    """Judge a flow of another protocol by its server: once where it is allowed, again and again where it is refused, for
    what led to its server may have been forgotten. Returns: a path reason."""
    state = state_of(u64(record + t.FLOW_WORD))
    if state != OPEN and state != REFUSED_FLOW:
        return r.NOT_A_REQUEST
    refused = judge_hello(w, u, u, 0, 0)
    if refused == 0:
        return r.NOT_A_REQUEST
    if state == REFUSED_FLOW:
        return r.REFUSED_CLIENT
    put64(record + t.FLOW_WORD, pack_word(REFUSED_FLOW, 0, 0))
    write_event(
        w, u, identify(w, u, 0), PROTO_UDP, u64(w + W_JUDGED + OUT_WOULD), refused, subscriber_of(w, u), 0,
        EVENT_IS_REQUEST, u64(w + UNIT_HOST), u64(w + UNIT_HOST_BYTES),
    )  # fmt: skip
    return refused


@shared
def _inbound_line(w, u):  # type: ignore[no-untyped-def]
    """The line for the packet's flow among those whose subscriber was asked as a server."""
    return u64(w + W_INBOUND) + (shr(identify(w, u, 0), 40) & (INBOUND_COUNT - 1)) * 16


@shared
def _may_be_undecryptable(w, u, now_ms):  # type: ignore[no-untyped-def]
    """Can an honest subscriber send an Initial that no key opens? As a server, to whoever asked him; or in a connection
    that began before anybody read here."""
    line = _inbound_line(w, u)
    is_asked = u64(line) == identify(w, u, 0) and now_ms - u64(line + 8) < RETAIN_MS
    return is_asked or now_ms - u64(w + W_EPOCH_MS) < RETAIN_MS


@shared
def take_inbound(w, u):  # type: ignore[no-untyped-def]
    """A datagram from the internet, looked at in passing: a client's Initial, which its own keys open, makes the subscriber
    a server. (A server's answer to him does not: other keys seal it.)"""
    p, packet = u + UP_HEAD + u32(u + UP_PAYLOAD), u64(w + W_PACKET)
    end = p + u32(u + UP_PAYLOAD_BYTES)
    if end <= u + UP_HEAD + u32(u + t.UP_LENGTH) and quic.parse_packet(p, end, packet) == COMPLETE:
        if u64(packet + quic.PACKET_TYPE) == quic.INITIAL and opens_itself(w, p, packet):
            line = _inbound_line(w, u)
            put64(line, identify(w, u, 0))
            put64(line + 8, u64(w + W_POOL + POOL_NOW_MS))
    return r.PEEKED


@shared
def take_datagram(w, u, record):  # type: ignore[no-untyped-def]
    """A UDP packet of a protected subscriber, which may be a super-packet.

    Reads: record: the flow's record, or 0.
    Writes: the record's state; W_HOLDER. Returns: a path reason; HELD: for the connection in W_HOLDER, to be held.
    Bounds: DATAGRAMS_LIMIT datagrams of PACKETS_LIMIT packets.
    """
    if is_paused(w, u):
        if record:
            put64(record + t.FLOW_WORD, pack_word(OPEN, 0, 0))
        return r.PAUSED
    now_ms, epoch = u64(w + W_POOL + POOL_NOW_MS), u64(u64(w + W_CONTROL) + t.CONTROL_EPOCH)
    put64(u64(w + W_CONNECTIONS) + NOW_MS, now_ms)
    put64(w + W_HOLDER, 0)
    if epoch != u64(w + W_EPOCH):
        put64(w + W_EPOCH, epoch)
        put64(w + W_EPOCH_MS, now_ms)
    put64(w + W_LENIENT, 1 if _may_be_undecryptable(w, u, now_ms) else 0)
    at = u + UP_HEAD + u32(u + UP_PAYLOAD)
    end, step, reason = at + u32(u + UP_PAYLOAD_BYTES), u32(u + UP_GSO_SIZE), NOTHING
    if step == 0:
        step = max(end - at, 1)
    if end - at > step * DATAGRAMS_LIMIT:
        return r.OUT_OF_WINDOW
    for number in range(DATAGRAMS_LIMIT):
        if at >= end and number:
            break
        reason = _graver(reason, _take_one(w, u, at, min(at + step, end)))
        at += step
    if reason == HELD and u64(u64(w + W_HOLDER) + E_STATE) == JUDGED:
        reason = r.ALLOWED  # the rest of its hello came in the same packet
    if reason == r.NOT_A_REQUEST and record and not is_dns(u):
        reason = _judge_nameless(w, u, record)
    if record and not is_dns(u) and reason != HELD and reason != r.UNDECRYPTABLE and reason < r.BLOCKED:
        put64(record + t.FLOW_WORD, pack_word(FREED, 0, 0))
    return reason
