"""One Initial of a client: whose it is, what it says, and what becomes of its connection.

    Initial ─► connection (by ID, else by keys) ─► frames ─► CRYPTO bytes ─► hello whole? ─► judge
                  │ no keys open it                              │ other bytes at one place  │ allowed: what is held goes on
                  └ withheld, unless it may be a server's        └ refused                   └ refused: closed

Every Initial is opened under keys of its own: those of its destination connection ID where that is new, those of its
connection where the server chose the ID, those of the other version where the connection changed it. A connection is judged
for each hello that it shows, and refused for good by one of them. RFC 9000 7.2, 17.2.2; RFC 9001 5.2; RFC 9368 2.3.
"""

from penstock.answer.quic import write_close
from penstock.compile.memory import move, put64, same, shared, u8, u32, u64
from penstock.flow.connection import (
    E_ALIAS_BYTES,
    E_DCID,
    E_DCID_BYTES,
    E_DONE,
    E_EXPECTED,
    E_HOST,
    E_KEYS,
    E_PORTS,
    E_SCID,
    E_SCID_BYTES,
    E_STATE,
    E_TIMES,
    E_VERSION,
    JUDGED,
    PAIR_LIMIT,
    READING,
    REFUSED,
    TRIES,
    crypto_of,
    enlarge_crypto,
    find_connection,
    is_of_pair,
    make_connection,
    message_bytes,
    newest_of,
    previous_of,
    set_alias,
    take_crypto,
)
from penstock.flow.crypto import BYTES, CONFLICT, CONTIGUOUS, LARGE_BYTES, LAST, OUTSIDE, put_crypto
from penstock.kernel import reasons as r
from penstock.kernel.tables import UP_PAYLOAD_BYTES
from penstock.path.asks import is_wanted
from penstock.path.events import EVENT_HAS_ECH, EVENT_IS_REQUEST, write_event
from penstock.path.holds import end_hold
from penstock.path.hosts import blame_nobody, hello_flags, identify, judge_hello, subscriber_of, tell_allowed
from penstock.path.layout import (
    HELD,
    PLAIN_BYTES,
    PROTO_QUIC,
    Q_FRAMES,
    Q_HELLO,
    Q_KEYS,
    Q_SEALED,
    UNIT_HOST,
    UNIT_HOST_BYTES,
    W_CIPHER,
    W_CONNECTIONS,
    W_ENTRY,
    W_HOLDER,
    W_JUDGED,
    W_PACKET,
    W_PLAIN,
    W_SNAPSHOT,
)
from penstock.path.send import send_payload
from penstock.policy.actions import BLOCK, REPORT
from penstock.policy.judge import OUT_WOULD
from penstock.policy.layout import REPORT_ONLY
from penstock.request import hello, quic
from penstock.request.initial import KEYS_BYTES, LAST_NUMBER, derive_keys, open_initial
from penstock.request.status import COMPLETE
from penstock.wire.headers import mix
from penstock.wire.quic import VERSION_1, VERSION_2

CLIENT_HELLO = 1
MESSAGES_LIMIT = 4  # hellos of one connection: TLS knows two
TIMES_LIMIT = 64  # answers to one connection
NO_STORE, TOO_LONG, BAD_FRAME, STORED = 3, 4, 5, 0


@shared
def _open_with(w, p, packet, expected, keys):  # type: ignore[no-untyped-def]
    """Open the Initial into W_PLAIN. Returns: how many bytes of frames, or a negative."""
    end = u64(packet + quic.PACKET_END)
    if end - p > PLAIN_BYTES:
        return -1
    return open_initial(p, u64(packet + quic.PACKET_NUMBER), end, expected, keys, u64(w + W_PLAIN), u64(w + W_CIPHER))


@shared
def _open_known(w, p, packet, entry):  # type: ignore[no-untyped-def]
    """Open the Initial with the keys of a connection. Its number is short for one near what was seen, or as a server reads
    it that saw nothing before. Returns: bytes of frames, or a negative."""
    keys, version = entry + E_KEYS, u64(packet + quic.PACKET_VERSION)
    if version != u64(entry + E_VERSION):  # compatible version negotiation keeps the first connection ID (RFC 9369 4)
        keys = u64(w + W_PACKET) + Q_KEYS
        derive_keys(version, entry + E_DCID, u64(entry + E_DCID_BYTES), 0, keys, u64(w + W_CIPHER))
    expected = u64(entry + E_EXPECTED)
    size = _open_with(w, p, packet, expected, keys)
    if size < 0 and expected:
        size = _open_with(w, p, packet, 0, keys)
    if size >= 0:
        put64(entry + E_EXPECTED, max(expected, u64(u64(w + W_CIPHER) + LAST_NUMBER) + 1))
    return size


@shared
def derive_own(w, packet):  # type: ignore[no-untyped-def]
    """Derive the keys that belong to the packet's destination connection ID. Returns: where they are."""
    keys = u64(w + W_PACKET) + Q_KEYS
    version, dcid = u64(packet + quic.PACKET_VERSION), u64(packet + quic.DCID)
    derive_keys(version, dcid, u64(packet + quic.DCID_BYTES), 0, keys, u64(w + W_CIPHER))
    return keys


@shared
def opens_itself(w, p, packet):  # type: ignore[no-untyped-def]
    """Is it a client's first Initial, which the keys of its own destination connection ID open?"""
    return _open_with(w, p, packet, 0, derive_own(w, packet)) >= 0


@shared
def open_connection(w, u, packet, keys):  # type: ignore[no-untyped-def]
    """A new connection for the packet at hand. Returns: its entry or 0."""
    version = u64(packet + quic.PACKET_VERSION)
    entry = make_connection(
        u64(w + W_CONNECTIONS), u, version,
        u64(packet + quic.DCID), u64(packet + quic.DCID_BYTES), u64(packet + quic.SCID), u64(packet + quic.SCID_BYTES),
    )  # fmt: skip
    if entry:
        move(entry + E_KEYS, keys, KEYS_BYTES)
    return entry


@shared
def _open_unknown(w, u, p, packet):  # type: ignore[no-untyped-def]
    """Open an Initial whose destination connection ID is not known: it opens a connection, or the server chose the ID.

    Writes: W_ENTRY: the connection's entry. Returns: bytes of frames; or, negative, a reason. Bounds: PAIR_LIMIT.
    """
    c, keys = u64(w + W_CONNECTIONS), derive_own(w, packet)
    size = _open_with(w, p, packet, 0, keys)
    if size >= 0:
        entry = open_connection(w, u, packet, keys)
        if entry == 0:
            return -r.CONNECTION_FULL
        put64(entry + E_EXPECTED, u64(u64(w + W_CIPHER) + LAST_NUMBER) + 1)
        put64(w + W_ENTRY, entry)
        return size
    entry, tries = newest_of(c, u), 0
    for _ in range(PAIR_LIMIT):
        if entry == 0 or tries == TRIES:
            break
        if is_of_pair(entry, u):
            tries += 1
            size = _open_known(w, p, packet, entry)
            if size >= 0:
                set_alias(entry, u64(packet + quic.DCID), u64(packet + quic.DCID_BYTES))
                put64(w + W_ENTRY, entry)
                return size
        entry = previous_of(c, entry)
    return -r.UNDECRYPTABLE


@shared
def _put_frame(c, entry, packet):  # type: ignore[no-untyped-def]
    """Keep the bytes of one CRYPTO frame. Returns: STORED, CONFLICT, NO_STORE or TOO_LONG."""
    offset, size = u64(packet + quic.CRYPTO_OFFSET), u64(packet + quic.CRYPTO_BYTES)
    if offset + size > LARGE_BYTES:
        return TOO_LONG
    crypto = crypto_of(c, entry)
    if crypto == 0:
        if u64(entry + E_STATE) != READING or u64(entry + E_DONE):
            return NO_STORE  # what it said before is forgotten: nothing can be compared any more
        crypto = take_crypto(c, entry)
        if crypto == 0:
            return NO_STORE
    outcome = put_crypto(crypto, offset, u64(packet + quic.CRYPTO_DATA), size)
    if outcome == OUTSIDE:
        if enlarge_crypto(c, entry, crypto) == 0:
            return NO_STORE
        outcome = put_crypto(crypto, offset, u64(packet + quic.CRYPTO_DATA), size)
    return outcome


@shared
def put_frames(w, entry, packet, size):  # type: ignore[no-untyped-def]
    """Keep what the opened Initial says. Returns: STORED, CONFLICT, NO_STORE, TOO_LONG or BAD_FRAME.

    Bounds: `size` frames."""
    c, at = u64(w + W_CONNECTIONS), u64(w + W_PLAIN)
    end = at + size
    for _ in range(size):
        at = quic.find_crypto(at, end, packet)
        if at <= 0:
            return BAD_FRAME if at < 0 else STORED
        if u64(packet + quic.CRYPTO_BYTES):
            outcome = _put_frame(c, entry, packet)
            if outcome != STORED:
                return outcome
    return STORED


@shared
def send_close(w, u, entry):  # type: ignore[no-untyped-def]
    """Close the client's connection. At most three times as long as what it answers (RFC 9000 8.1)."""
    scratch = u64(w + W_PACKET)
    times = u64(entry + E_TIMES)
    if times == TIMES_LIMIT:
        return 0
    put64(entry + E_TIMES, times + 1)
    version, cipher = u64(entry + E_VERSION), u64(w + W_CIPHER)
    derive_keys(version, entry + E_DCID, u64(entry + E_DCID_BYTES), 1, scratch + Q_KEYS, cipher)
    size = write_close(
        scratch + Q_SEALED, scratch + Q_FRAMES, version, times, entry + E_SCID, u64(entry + E_SCID_BYTES),
        entry + E_DCID, u64(entry + E_DCID_BYTES), scratch + Q_KEYS, cipher,
    )  # fmt: skip
    return send_bounded(w, u, scratch + Q_SEALED, size)


@shared
def send_bounded(w, u, payload, size):  # type: ignore[no-untyped-def]
    """Send the client a datagram that is no longer than three times its own (RFC 9000 8.1). Returns: 0 when it was not."""
    return send_payload(w, u, payload, size) if size <= 3 * u32(u + UP_PAYLOAD_BYTES) else 0


@shared
def _marker(entry):  # type: ignore[no-untyped-def]
    """What tells one connection of a flow from another, and a repetition not."""
    return mix(u64(entry + E_DCID), u64(entry + E_DCID + 8))


@shared
def refuse_connection(w, u, entry, reason, detail, host, host_bytes):  # type: ignore[no-untyped-def]
    """Refuse the connection for good: what is held is dropped, the client is told. Returns: `reason`."""
    action = u64(w + W_JUDGED + OUT_WOULD)
    if reason != r.BLOCKED and reason != r.COURT_ORDER and reason != r.OWN_LIST:
        action = BLOCK
        blame_nobody(w, BLOCK)
    put64(entry + E_STATE, REFUSED)
    flags = EVENT_IS_REQUEST | (EVENT_HAS_ECH if reason == r.ENCRYPTED_HELLO else 0)
    write_event(
        w, u, identify(w, u, _marker(entry)), PROTO_QUIC, action, reason, subscriber_of(w, u), detail, flags, host,
        host_bytes,
    )  # fmt: skip
    end_hold(w, entry, 0, reason)
    send_close(w, u, entry)
    return reason


@shared
def _refuse_unless_reporting(w, u, entry, reason, detail):  # type: ignore[no-untyped-def]
    """Refuse a hello with two readings; where the box only reports, tell and let it go."""
    if u64(u64(w + W_SNAPSHOT) + REPORT_ONLY) == 0:
        return refuse_connection(w, u, entry, reason, detail, u, 0)
    blame_nobody(w, REPORT)
    write_event(
        w, u, identify(w, u, _marker(entry)), PROTO_QUIC, REPORT, reason, subscriber_of(w, u), detail,
        EVENT_IS_REQUEST, u, 0,
    )  # fmt: skip
    return settle_connection(w, entry, r.REPORTED)


@shared
def settle_connection(w, entry, reason):  # type: ignore[no-untyped-def]
    """The hellos so far are allowed: what is held goes on. Returns: `reason`."""
    put64(entry + E_STATE, JUDGED)
    end_hold(w, entry, 1, reason)
    return reason


@shared
def _is_told(w, u, entry, value):  # type: ignore[no-untyped-def]
    """Was this host told of a moment ago, for the same client connection? After a Retry the client asks once more.

    Bounds: PAIR_LIMIT.
    """
    c, other = u64(w + W_CONNECTIONS), newest_of(u64(w + W_CONNECTIONS), u)
    for _ in range(PAIR_LIMIT):
        if other == 0:
            return False
        is_same = u64(other + E_HOST) == value and u64(other + E_PORTS) == u64(entry + E_PORTS) and is_of_pair(other, u)
        if is_same and same(other + E_SCID_BYTES, entry + E_SCID_BYTES, E_ALIAS_BYTES - E_SCID_BYTES):
            return True
        other = previous_of(c, other)
    return False


@shared
def _judge_hello(w, u, entry, message, end):  # type: ignore[no-untyped-def]
    """Judge one whole ClientHello. Returns: its reason; the connection is refused, or not settled yet."""
    state = u64(w + W_PACKET) + Q_HELLO
    put64(state + hello.STATUS_DETAIL, 0)
    if hello.parse_hello(message, end, state) != COMPLETE:
        return _refuse_unless_reporting(w, u, entry, r.AMBIGUOUS, u64(state + hello.STATUS_DETAIL))
    host, host_bytes = u64(state + hello.HOST_AT), u64(state + hello.HOST_LENGTH)
    has_ech = u64(state + hello.FLAGS) & hello.HAS_ECH
    refused = judge_hello(w, u, host, host_bytes, has_ech)
    if refused:
        return refuse_connection(w, u, entry, refused, 0, u64(w + UNIT_HOST), u64(w + UNIT_HOST_BYTES))
    if u64(u64(w + W_SNAPSHOT) + REPORT_ONLY) == 0 and is_wanted(w, u, PROTO_QUIC, host, host_bytes):
        return refuse_connection(w, u, entry, r.ASKED_BY_TCP, 0, host, host_bytes)  # a hello over TCP can wait
    value = 1
    for at in range(host_bytes):
        value = mix(value, u8(host + at))
    if _is_told(w, u, entry, value):
        return r.ALLOWED
    put64(entry + E_HOST, value)
    flags = hello_flags(w, u, host, host_bytes, has_ech)
    return r.REPORTED if tell_allowed(w, u, _marker(entry), PROTO_QUIC, 0, flags, host, host_bytes) else r.ALLOWED


@shared
def read_hellos(w, u, entry, crypto):  # type: ignore[no-untyped-def]
    """Read hello after hello as far as the bytes reach. Returns: a reason, or HELD while one is not whole.

    Bounds: MESSAGES_LIMIT.
    """
    reason = HELD
    for _ in range(MESSAGES_LIMIT):
        done, size = u64(entry + E_DONE), message_bytes(entry, crypto)
        if u64(crypto + LAST) <= done and reason != HELD:
            return settle_connection(w, entry, reason)
        message = u64(crypto + BYTES) + done
        if u64(crypto + CONTIGUOUS) > done and u8(message) != CLIENT_HELLO:
            return settle_connection(w, entry, r.NOT_A_REQUEST)  # no server goes on with it
        if done + size > LARGE_BYTES:
            return _refuse_unless_reporting(w, u, entry, r.AMBIGUOUS, hello.BAD_HELLO_LENGTH)
        if size == 0 or u64(crypto + CONTIGUOUS) < done + size:
            return HELD
        reason = _judge_hello(w, u, entry, message, message + size)
        put64(entry + E_DONE, done + size)
        if u64(entry + E_STATE) == REFUSED:
            return reason
    return _refuse_unless_reporting(w, u, entry, r.AMBIGUOUS, hello.BAD_COALESCED)


@shared
def hold_for(w, entry):  # type: ignore[no-untyped-def]
    """The packet at hand waits for this connection's hello. One that would have to wait for two is withheld for good: half
    of a hello must not travel on the ticket of another. Returns: HELD or CONNECTION_FULL."""
    holder = u64(w + W_HOLDER)
    if holder and holder != entry and u64(holder + E_STATE) == READING:
        return r.CONNECTION_FULL
    put64(w + W_HOLDER, entry)
    return HELD


@shared
def take_initial(w, u, p, packet):  # type: ignore[no-untyped-def]
    """Take the Initial whose header is in `packet`. Returns: a path reason, or HELD with its connection in W_HOLDER."""
    c = u64(w + W_CONNECTIONS)
    entry = find_connection(c, u, u64(packet + quic.DCID), u64(packet + quic.DCID_BYTES))
    if entry < 0:
        return r.CONNECTION_FULL
    if entry and u64(entry + E_VERSION) != VERSION_1 and u64(entry + E_VERSION) != VERSION_2:
        entry = 0  # it was told which versions are read, and asks again
    size, is_known = -1, entry != 0
    if entry:
        size = _open_known(w, p, packet, entry)
    if size < 0:  # a server may choose an ID that the client has used for another
        size = _open_unknown(w, u, p, packet)
        if size < 0:
            return r.UNSEALED if is_known else -size
        entry = u64(w + W_ENTRY)
    if u64(entry + E_STATE) == REFUSED:
        send_close(w, u, entry)
        return r.REFUSED_CLIENT
    outcome = put_frames(w, entry, packet, size)
    if outcome == CONFLICT:
        return _refuse_unless_reporting(w, u, entry, r.CONFLICT, 0)
    if outcome == TOO_LONG:
        return _refuse_unless_reporting(w, u, entry, r.AMBIGUOUS, hello.BAD_HELLO_LENGTH)
    if outcome != STORED:
        return r.BAD_INITIAL if outcome == BAD_FRAME else r.CONNECTION_FULL
    crypto, reason = crypto_of(c, entry), HELD
    if u64(entry + E_STATE) == JUDGED:
        if crypto == 0 or u64(crypto + LAST) <= u64(entry + E_DONE):
            return r.JUDGED_CONNECTION
        put64(entry + E_STATE, READING)  # a second hello begins
    if crypto:
        reason = read_hellos(w, u, entry, crypto)
    return hold_for(w, entry) if reason == HELD else reason
