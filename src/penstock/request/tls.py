"""TLS as the client sends it: records from a stream of bytes, and the ClientHello that they carry.

Knows the record layer and the length of a handshake message. Refuses to know what the hello says (`hello.py`), where
the bytes come from, in which order segments arrived, and whether the server asked for a second hello.

    stream   │ 16 03 01 len │ piece of the hello │ 16 03 01 len │ piece │ ...    any number of records
    hello    │ 01 length(3) │ body ...                                          at most HELLO_LIMIT bytes

`read_hello` reads the first flight, or the second one where `read_flight` says IS_HELLO; the state is zeroed for each.
A hello in one record is parsed where it stands. The pieces of a hello in several records are put together once, when
the last one is there, so the work is O(bytes) however the stream was cut.

What is NOT_MINE carries no name: bytes that no TLS server takes for a ClientHello. An SSLv2-format hello is NOT_MINE
too, for it has no room for a name. Two things that some servers accept, and therefore are read:
- a version field of any value (Go takes all below 0x1000, Java all from 0x0300): with a major version other than 3 the
  bytes are TLS only if lengths and handshake type agree too, so that other protocols are left alone;
- alert and change_cipher_spec records before the hello (Go drops warnings; a stateless server drops
  change_cipher_spec).

Source: RFC 8446 sections 4, 4.1.4, 5.1, D.4; RFC 5246 section 6.2.1.
"""

from penstock.compile.memory import be16, move, put64, shared, u8, u64
from penstock.request.hello import (
    ALPN_AT,
    ALPN_LENGTH,
    BAD_CHANGED,
    BAD_COALESCED,
    BAD_HELLO_LENGTH,
    BAD_LEADING,
    BAD_RECORD_LENGTH,
    BAD_RECORD_TYPE,
    DETAILS,
    EARLY_DATA,
    FLAGS,
    HANDSHAKE_HEADER_BYTES,
    HAS_ALPN,
    HAS_ECH,
    HAS_SNI,
    HAS_VERSIONS,
    HOST_AT,
    HOST_LENGTH,
    IS_HELLO,
    PSK,
    STATUS_DETAIL,
    VERSION_1_0,
    VERSION_1_1,
    VERSION_1_2,
    VERSION_1_3,
    VERSIONS,
    fail,
    parse_hello,
)
from penstock.request.status import BAD, COMPLETE, NEED_MORE, NOT_MINE

__all__ = [
    "ALPN_AT",
    "ALPN_LENGTH",
    "DETAILS",
    "EARLY_DATA",
    "FLAGS",
    "HAS_ALPN",
    "HAS_ECH",
    "HAS_SNI",
    "HAS_VERSIONS",
    "HELLO_END",
    "HELLO_LIMIT",
    "HOST_AT",
    "HOST_LENGTH",
    "IS_HELLO",
    "PSK",
    "RECORD_END",
    "RECORD_TYPE",
    "RECORD_VERSION",
    "SCRATCH_BYTES",
    "STATE_BYTES",
    "STATUS_DETAIL",
    "VERSIONS",
    "VERSION_1_0",
    "VERSION_1_1",
    "VERSION_1_2",
    "VERSION_1_3",
    "read_flight",
    "read_hello",
]

# More of the result: offsets of int64 slots in the state.
RECORD_VERSION = 56  # the version field of the hello's first record
HELLO_END = 64  # offset from p behind the last record of the hello
RECORD_TYPE = 72  # of `read_flight`
RECORD_END = 80  # of `read_flight`: offset from p behind the record, which may not be whole yet
# Where the reader stopped.
NEXT_RECORD = 88  # offset from p of the first record that was not whole
FIRST_RECORD = 96  # offset from p of the record with which the hello begins
RECORD_COUNT = 104  # whole records of the hello
COLLECTED = 112  # bytes of the hello in them
NEEDED = 120  # bytes of the hello with its header; 0 = not known
OPENING = 128  # the first bytes of the handshake header, as a number
LEADING_COUNT = 136  # records skipped before the hello
STATE_BYTES = 144

RECORD_HEADER_BYTES = 5
RECORD_LIMIT = 16_384 + 256  # RFC 8446 section 5.2
CIPHERTEXT_LIMIT = 16_384 + 2048  # RFC 5246 section 6.2.3: later records may be encrypted as TLS 1.2 does
HELLO_LIMIT = 65_536  # what Go takes; OpenSSL takes twice as much, browsers send 2 KB
SCRATCH_BYTES = HELLO_LIMIT + HANDSHAKE_HEADER_BYTES
LEADING_LIMIT = 32  # Go drops 16 records, BoringSSL 4

CHANGE_CIPHER_SPEC = 20
ALERT = 21
HANDSHAKE = 22
HEARTBEAT = 24
CLIENT_HELLO = 1

SHORTEST_HELLO = 38  # version, random and three empty vectors
LONGEST_HELLO = 1 << 18  # twice what any known server takes (OpenSSL: 131,396)


@shared
def judge_opening(at, end):  # type: ignore[no-untyped-def]
    """Judge from the first bytes of a record whether a ClientHello may begin with it.

    Reads: at most nine bytes of [at, end).
    Returns: COMPLETE when the bytes seen agree with a hello (at least six were seen), NEED_MORE, NOT_MINE, or the
    negative of a detail when they are TLS, yet no hello that is read.
    Bounds: no loop.
    Source: RFC 8446 sections 4 and 5.1.
    """
    size = end - at
    if size < RECORD_HEADER_BYTES:
        return NEED_MORE
    ours = u8(at + 1) == 3
    record_bytes = be16(at + 3)
    if record_bytes == 0:
        return -BAD_RECORD_LENGTH if ours else NOT_MINE
    if size == RECORD_HEADER_BYTES:
        return NEED_MORE
    if u8(at + 5) != CLIENT_HELLO:
        return NOT_MINE  # before its length is judged: random bytes in mid-stream begin with 22, 3 once in 65,536
    if record_bytes > RECORD_LIMIT:
        return -BAD_RECORD_LENGTH if ours else NOT_MINE
    if record_bytes >= HANDSHAKE_HEADER_BYTES and size >= RECORD_HEADER_BYTES + HANDSHAKE_HEADER_BYTES:
        hello_bytes = u8(at + 6) << 16 | be16(at + 7)
        if hello_bytes > HELLO_LIMIT:
            return -BAD_HELLO_LENGTH if ours else NOT_MINE
    return COMPLETE


@shared
def skip_leading_record(at, end, state):  # type: ignore[no-untyped-def]
    """Skip one short record that stands before the hello; it need not be whole, nor sensible.

    Reads: the header of the record at `at`.
    Writes: NEXT_RECORD, LEADING_COUNT.
    Returns: COMPLETE when it was skipped, NEED_MORE, NOT_MINE, or BAD with STATUS_DETAIL.
    Bounds: LEADING_LIMIT records.
    Source: RFC 8446 section D.4, RFC 5246 section 7.2 (an alert is two bytes).
    """
    kind = u8(at)
    if kind != ALERT and kind != CHANGE_CIPHER_SPEC:
        return NOT_MINE
    if end - at < RECORD_HEADER_BYTES:
        return NEED_MORE
    record_bytes = be16(at + 3)
    if record_bytes == 0 or record_bytes > 2:
        return NOT_MINE
    count = u64(state + LEADING_COUNT) + 1
    if count > LEADING_LIMIT:
        return fail(state, BAD_LEADING)
    put64(state + LEADING_COUNT, count)
    behind = u64(state + NEXT_RECORD) + RECORD_HEADER_BYTES + record_bytes
    put64(state + NEXT_RECORD, behind)
    put64(state + FIRST_RECORD, behind)
    return COMPLETE


@shared
def collect_record(at, record_bytes, state):  # type: ignore[no-untyped-def]
    """Count a whole handshake record as a piece of the hello.

    Reads: at most four bytes of the record's content.
    Writes: OPENING, NEEDED, COLLECTED, RECORD_COUNT, NEXT_RECORD, HELLO_END.
    Returns: COMPLETE, or BAD with STATUS_DETAIL.
    Bounds: four turns.
    Source: RFC 8446 section 4; section 5.1: a ClientHello ends where a record ends.
    """
    collected = u64(state + COLLECTED)
    content = at + RECORD_HEADER_BYTES
    if collected < HANDSHAKE_HEADER_BYTES:
        opening = u64(state + OPENING)
        missing = min(HANDSHAKE_HEADER_BYTES - collected, record_bytes)
        for offset in range(missing):
            opening = opening << 8 | u8(content + offset)
        put64(state + OPENING, opening)
        if collected + missing == HANDSHAKE_HEADER_BYTES:
            put64(state + NEEDED, HANDSHAKE_HEADER_BYTES + (opening & 0xFFFFFF))
    needed = u64(state + NEEDED)
    collected += record_bytes
    if needed > HANDSHAKE_HEADER_BYTES + HELLO_LIMIT:
        return fail(state, BAD_HELLO_LENGTH)
    if needed != 0 and collected > needed:
        return fail(state, BAD_COALESCED)
    behind = u64(state + NEXT_RECORD) + RECORD_HEADER_BYTES + record_bytes
    put64(state + COLLECTED, collected)
    put64(state + RECORD_COUNT, u64(state + RECORD_COUNT) + 1)
    put64(state + NEXT_RECORD, behind)
    put64(state + HELLO_END, behind)
    return COMPLETE


@shared
def take_record(p, end, state):  # type: ignore[no-untyped-def]
    """Take the record at NEXT_RECORD, if it is whole.

    Reads: its header, and the hello's first four bytes.
    Writes: the slots that say where the reader stopped.
    Returns: COMPLETE when it was taken, NEED_MORE, NOT_MINE, or BAD with STATUS_DETAIL.
    Bounds: no loop over bytes of the record.
    Source: RFC 8446 section 5.1.
    """
    at = p + u64(state + NEXT_RECORD)
    if end - at < 1:
        return NEED_MORE
    first = u64(state + COLLECTED) == 0
    if u8(at) != HANDSHAKE:
        if first:
            return skip_leading_record(at, end, state)
        return fail(state, BAD_RECORD_TYPE)
    if first:
        opening = judge_opening(at, end)
        if opening < 0:
            return fail(state, -opening)
        if opening != COMPLETE:
            return opening
        put64(state + RECORD_VERSION, be16(at + 1))
    if end - at < RECORD_HEADER_BYTES:
        return NEED_MORE
    record_bytes = be16(at + 3)
    if record_bytes == 0 or record_bytes > RECORD_LIMIT:
        return fail(state, BAD_RECORD_LENGTH)
    if end - at < RECORD_HEADER_BYTES + record_bytes:
        return NEED_MORE
    return collect_record(at, record_bytes, state)


@shared
def gather_hello(p, state, scratch):  # type: ignore[no-untyped-def]
    """Put the pieces of a hello together.

    Reads: the records that were counted; [p, p + HELLO_END) is there.
    Writes: NEEDED bytes at `scratch`.
    Returns: True; False when a record's length is not the one that was counted.
    Bounds: RECORD_COUNT records (each carries a byte of at most SCRATCH_BYTES).
    Source: RFC 8446 section 5.1.
    """
    at = p + u64(state + FIRST_RECORD)
    missing = u64(state + NEEDED)
    for _ in range(u64(state + RECORD_COUNT)):
        record_bytes = be16(at + 3)
        if record_bytes > missing:
            return False
        move(scratch, at + RECORD_HEADER_BYTES, record_bytes)
        scratch += record_bytes
        at += RECORD_HEADER_BYTES + record_bytes
        missing -= record_bytes
    return missing == 0


@shared
def read_hello(p, end, state, scratch):  # type: ignore[no-untyped-def]
    """Read the ClientHello with which this flight begins.

    Reads: [p, end), the stream from the flight's first byte on; the same bytes as before and more, at any address.
    Writes: state (STATE_BYTES, zeroed before the first call); scratch (SCRATCH_BYTES, lent for the call), where a hello
    in several records is put together. HOST_AT and ALPN_AT point into one of the two, until the next call.
    Returns: NEED_MORE, COMPLETE, NOT_MINE, or BAD with STATUS_DETAIL; COMPLETE and BAD once more when asked again.
    Bounds: every record is taken once, in all calls together; the hello is copied once at most for each COMPLETE.
    Source: RFC 8446 sections 4.1.2 and 5.1.
    """
    if u64(state + STATUS_DETAIL) != 0:
        return BAD
    while u64(state + NEEDED) == 0 or u64(state + COLLECTED) < u64(state + NEEDED):
        status = take_record(p, end, state)
        if status != COMPLETE:
            return status
    if p + u64(state + HELLO_END) > end:
        return NEED_MORE
    message = p + u64(state + FIRST_RECORD) + RECORD_HEADER_BYTES
    if u64(state + RECORD_COUNT) > 1:
        if not gather_hello(p, state, scratch):
            return fail(state, BAD_CHANGED)
        message = scratch
    return parse_hello(message, message + u64(state + NEEDED), state)


@shared
def read_flight(p, end, state):  # type: ignore[no-untyped-def]
    """Read what stands at p, behind an earlier hello: which record, and does a second ClientHello begin with it?

    The first byte of a handshake record that TLS 1.2 encrypted is a nonce's, and 1 in one of 256. So a record that is
    long enough to be one is a hello only if the length in its handshake header is a length for a hello; a shorter one
    is a hello by its first byte.

    Reads: at most nine bytes of [p, end).
    Writes: RECORD_TYPE, RECORD_END (offset from p; the record need not be whole), FLAGS (IS_HELLO or 0); STATUS_DETAIL.
    Returns: COMPLETE; NEED_MORE with less than five bytes, or nine of a handshake record; BAD when it is no TLS record.
    Bounds: no loop.
    Source: RFC 8446 sections 4.1.4 and 5.1, RFC 5246 section 6.2.3.
    """
    size = end - p
    if size < 1:
        return NEED_MORE
    kind = u8(p)
    if kind < CHANGE_CIPHER_SPEC or kind > HEARTBEAT:
        return fail(state, BAD_RECORD_TYPE)
    if size < RECORD_HEADER_BYTES:
        return NEED_MORE
    record_bytes = be16(p + 3)
    if u8(p + 1) != 3:
        return fail(state, BAD_RECORD_TYPE)
    if record_bytes > CIPHERTEXT_LIMIT or (record_bytes == 0 and kind == HANDSHAKE):
        return fail(state, BAD_RECORD_LENGTH)
    is_hello = 0
    if kind == HANDSHAKE:
        if size == RECORD_HEADER_BYTES:
            return NEED_MORE
        if u8(p + 5) == CLIENT_HELLO:
            is_hello = IS_HELLO
            if record_bytes >= HANDSHAKE_HEADER_BYTES:
                if size < RECORD_HEADER_BYTES + HANDSHAKE_HEADER_BYTES:
                    return NEED_MORE
                hello_bytes = u8(p + 6) << 16 | be16(p + 7)
                if hello_bytes < SHORTEST_HELLO or hello_bytes > LONGEST_HELLO:
                    is_hello = 0
    put64(state + FLAGS, is_hello)
    put64(state + RECORD_TYPE, kind)
    put64(state + RECORD_END, RECORD_HEADER_BYTES + record_bytes)
    return COMPLETE
