"""DNS answers to a protected subscriber: what they say is remembered, and the keys of ECH are taken out if he wants.

    message ─► question ─► A, AAAA: this client knows this address by this name; HTTPS, SVCB: did it offer ECH?
                        └► he chose remove or refuse ─► the message without `ech` (RFC 9848) goes on in its place

An answer that cannot be read passes as it came: it is the server's word to the client, and asks nobody for anything.
RFC 1035 4.1.3, RFC 9460, RFC 4035 3.2.1 (who asked with DO would find a changed answer to be bogus, so it stays).
"""

from penstock.answer.udp import write_datagram
from penstock.compile.memory import move, put32, put64, shared, u32, u64
from penstock.flow.bindings import OFFERED_ECH, hash_address, hash_name, put_binding
from penstock.flow.stream import POOL_NOW_MS
from penstock.kernel import reasons as r
from penstock.kernel.tables import (
    FLOW_CLIENT,
    UP_GSO_SIZE,
    UP_HEAD,
    UP_IS_IPV6,
    UP_KEY,
    UP_L3,
    UP_L4,
    UP_PAYLOAD,
    UP_PAYLOAD_BYTES,
)
from penstock.path.hosts import note_resolved, secret_of, switches_of, wants_ech
from penstock.path.layout import (
    D_CUTS,
    D_MAPPED,
    D_TEXT,
    W_BINDINGS,
    W_DNS,
    W_FRAME,
    W_PLAIN,
    W_POOL,
)
from penstock.path.send import send_frame, send_packet, vlan_tag_of
from penstock.request import dns, dns_answer
from penstock.request.status import COMPLETE
from penstock.wire.checksum import WRONG
from penstock.wire.headers import MAPPED_PREFIX

TTL_LEAST_S = 300  # browsers and stubs keep addresses for longer than they are told
TTL_MOST_S = 3_600
MS_PER_S = 954  # milliseconds of 2^20 ns, as POOL_NOW_MS counts them
RECORDS_LIMIT = 512


@shared
def _bind_record(w, u, record, host, size):  # type: ignore[no-untyped-def]
    """Remember what one record says. Returns: 1 when it offers ECH."""
    kind, address = u64(record + dns_answer.TYPE), u64(record + dns_answer.DATA_AT)
    client, table, secret = u + UP_KEY + FLOW_CLIENT, u64(w + W_BINDINGS), secret_of(w, u)
    ttl_ms = min(max(u64(record + dns_answer.TTL), TTL_LEAST_S), TTL_MOST_S) * MS_PER_S
    if kind == dns.A and u64(record + dns_answer.DATA_BYTES) == 4:
        mapped = u64(w + W_DNS) + D_MAPPED
        put64(mapped, 0)
        put32(mapped + 8, MAPPED_PREFIX)
        put32(mapped + 12, u32(address))
        address = mapped
    elif kind != dns.AAAA or u64(record + dns_answer.DATA_BYTES) != 16:
        return 1 if dns_answer.find_ech(record, u64(w + W_DNS) + D_MAPPED) > 0 else 0
    key = hash_address(secret, client, address)
    put_binding(table, key, u64(w + W_POOL + POOL_NOW_MS), ttl_ms, 0, host, size)
    return 0


@shared
def _bind_message(w, u, p, end):  # type: ignore[no-untyped-def]
    """Remember what the answers of [p, end) say of their question. Returns: 1 when one of them offers ECH.

    Bounds: RECORDS_LIMIT."""
    state, record, has_ech = u64(w + W_DNS), u64(w + W_DNS) + D_CUTS, 0
    if dns_answer.read_answers(p, end, state, state + D_TEXT) != COMPLETE or u64(state + dns.QUESTION_COUNT) != 1:
        return 0
    host = state + D_TEXT + u64(state + dns.QUESTIONS + dns.HOST_OFF)
    size, at = u64(state + dns.QUESTIONS + dns.HOST_BYTES), dns_answer.find_records(p, end, record)
    for _ in range(RECORDS_LIMIT):
        if at <= 0:
            break
        at = dns_answer.find_record(at, end, p, record)
        if at > 0 and u64(record + dns_answer.SECTION) == dns_answer.ANSWER:
            has_ech |= _bind_record(w, u, record, host, size)
    note_resolved(w, u, host, size)
    if has_ech:
        key = hash_name(secret_of(w, u), u + UP_KEY + FLOW_CLIENT, host, size)
        put_binding(
            u64(w + W_BINDINGS), key, u64(w + W_POOL + POOL_NOW_MS), TTL_MOST_S * MS_PER_S, OFFERED_ECH, host, 0
        )
    return has_ech


@shared
def _wants_ech_removed(w, u, p, end):  # type: ignore[no-untyped-def]
    """Does the client want no ECH, and check no signatures?"""
    state = u64(w + W_DNS)
    dns.read_edns(p, end, state)
    return u64(state + dns.DNSSEC_OK) == 0 and not wants_ech(switches_of(w, u))


@shared
def _send_without_ech(w, u, p, end):  # type: ignore[no-untyped-def]
    """Send the message on without ECH. Returns: a path reason."""
    out, cuts = u64(w + W_PLAIN), u64(w + W_DNS) + D_CUTS
    size = dns_answer.remove_ech(out, p, end, cuts)
    if size == dns_answer.CANNOT:
        size = end - p
        move(out, p, size)
        if dns_answer.neutralise_ech(out, out + size, cuts) <= 0:
            return r.ANSWER_PASSED
    if size <= 0:
        return r.ANSWER_PASSED
    frame = u64(w + W_FRAME)
    length = write_datagram(
        frame, u + UP_HEAD, u32(u + UP_L3), u32(u + UP_L4), u32(u + UP_IS_IPV6), vlan_tag_of(u), 0, out, size
    )
    return r.ANSWER_CHANGED if send_frame(w, frame, length, 0) else r.ANSWER_FAILED


@shared
def take_answer(w, u, checksum):  # type: ignore[no-untyped-def]
    """A datagram from a DNS server. Returns: a path reason."""
    if checksum == WRONG:
        return r.BAD_CHECKSUM
    p, size, step = u + UP_HEAD + u32(u + UP_PAYLOAD), u32(u + UP_PAYLOAD_BYTES), u32(u + UP_GSO_SIZE)
    if step == 0 or step >= size:
        if _bind_message(w, u, p, p + size) and _wants_ech_removed(w, u, p, p + size):
            reason = _send_without_ech(w, u, p, p + size)
            if reason != r.ANSWER_PASSED:
                return reason
    return r.ANSWER_PASSED if send_packet(w, u, 0, checksum) else r.ANSWER_FAILED
