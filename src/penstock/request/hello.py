"""The inside of a ClientHello: from one whole handshake message to the name it asks for.

Knows the fields of the message, and the few extensions that say what is asked for and what may follow. Refuses to know
records and segments (`tls.py` puts the message together), and what a name means: its bytes are handed on as the client
sent them, case included, without one trailing dot, and without a port, which nginx cuts off before it looks for its
server. An address as a name is a name.

    ┌──────┬──────────┬─────────┬────────┬───────────────┬────────────────┬───────────────┬───────────────────────┐
    │ 01   │ length   │ version │ random │ session id    │ cipher suites  │ compression   │ extensions (optional) │
    │ 1    │ 3        │ 2       │ 32     │ 1 + 0..255    │ 2 + 0..65535   │ 1 + 0..255    │ 2 + to the very end   │
    └──────┴──────────┴─────────┴────────┴───────────────┴────────────────┴───────────────┴───────────────────────┘

A security reader: what OpenSSL, BoringSSL, NSS, Go or Java would act upon is read, or called BAD. So nothing is asked
of fields that cannot change the name (a session identifier of 33 bytes, an odd list of ciphers), and all of those
that can: two servers could take different names from two server_name extensions, or from a list of two names.

Source: RFC 8446 section 4.1.2 (4.2.1 supported_versions, 4.2.10 early_data, 4.2.11 pre_shared_key), RFC 5246 section
7.4.1.2, RFC 6066 section 3 (server_name), RFC 7301 section 3.1 (ALPN), RFC 9849 section 5 (encrypted_client_hello).
"""

from penstock.compile.memory import be16, put64, shared, u8
from penstock.request.status import BAD, COMPLETE

# The result: offsets of int64 slots in the reader's state. Slots from 88 on belong to the record layer (`tls.py`).
STATUS_DETAIL = 0  # why BAD: one of DETAILS
HOST_AT = 8  # address of the name's first byte
HOST_LENGTH = 16  # in bytes; 0 = the hello names no host
ALPN_AT = 24  # address of the protocol list: (1-byte length, name) after each other
ALPN_LENGTH = 32  # in bytes; 0 = no list
VERSIONS = 40  # what the client offers: VERSION_1_0 | ...
FLAGS = 48  # HAS_SNI | ...

VERSION_1_0, VERSION_1_1, VERSION_1_2, VERSION_1_3 = 1, 2, 4, 8

HAS_SNI = 1
HAS_ECH = 2  # encrypted_client_hello: the name is the outer one, or the extension is GREASE
EARLY_DATA = 4
PSK = 8
HAS_ALPN = 16
HAS_VERSIONS = 32
IS_HELLO = 64  # set by `tls.read_flight` alone

# Why a hello is BAD. Never renumbered.
BAD_RECORD_LENGTH = 1
BAD_RECORD_TYPE = 2
BAD_HELLO_LENGTH = 3
BAD_COALESCED = 4
BAD_STRUCTURE = 5
BAD_DUPLICATE = 6
BAD_NAME_LIST = 7
BAD_NAME = 8
BAD_LEADING = 9
BAD_CHANGED = 10
DETAILS = {
    BAD_RECORD_LENGTH: "a TLS record inside the ClientHello is empty or longer than the standard allows",
    BAD_RECORD_TYPE: "another record stands inside the ClientHello, or the bytes are no TLS record",
    BAD_HELLO_LENGTH: "the ClientHello is longer than 65,536 bytes",
    BAD_COALESCED: "the record that ends the ClientHello goes on with other bytes",
    BAD_STRUCTURE: "the lengths inside the ClientHello contradict each other",
    BAD_DUPLICATE: "an extension that must be unique stands in the ClientHello twice",
    BAD_NAME_LIST: "server_name holds anything but exactly one host name",
    BAD_NAME: "the host name is empty, too long, or holds a space or control byte",
    BAD_LEADING: "too many alerts before the ClientHello",
    BAD_CHANGED: "the bytes of the ClientHello changed while it was read",
}

HANDSHAKE_HEADER_BYTES = 4
RANDOM_END = 34  # behind version and random, from the start of the body
NAME_LIMIT = 255  # the most that OpenSSL takes, and a byte more than DNS can say

DOT, COLON = 0x2E, 0x3A

SERVER_NAME = 0
ALPN = 16
PRE_SHARED_KEY = 41
EARLY_DATA_TYPE = 42
SUPPORTED_VERSIONS = 43
ENCRYPTED_CLIENT_HELLO = 0xFE0D


@shared
def fail(state, detail):  # type: ignore[no-untyped-def]
    """Remember why. Writes: STATUS_DETAIL. Returns: BAD."""
    put64(state + STATUS_DETAIL, detail)
    return BAD


@shared
def find_vector8_end(at, end):  # type: ignore[no-untyped-def]
    """Find the end of a vector with a length of one byte.

    Reads: one byte at `at`.
    Returns: the address behind the vector; 0 when it does not fit below `end`, or when `at` is 0.
    """
    if at == 0 or end - at < 1:
        return 0
    behind = at + 1 + u8(at)
    if behind > end:
        return 0
    return behind


@shared
def find_vector16_end(at, end):  # type: ignore[no-untyped-def]
    """Find the end of a vector with a length of two bytes.

    Reads: two bytes at `at`.
    Returns: the address behind the vector; 0 when it does not fit below `end`, or when `at` is 0.
    """
    if at == 0 or end - at < 2:
        return 0
    behind = at + 2 + be16(at)
    if behind > end:
        return 0
    return behind


@shared
def find_version_bit(version):  # type: ignore[no-untyped-def]
    """Returns: the bit of one protocol version (0x0301..0x0304), 0 for SSL 3.0, GREASE and what is yet to come."""
    if 0x0301 <= version <= 0x0304:
        return 1 << (version - 0x0301)
    return 0


@shared
def find_legacy_versions(version):  # type: ignore[no-untyped-def]
    """Returns: the versions that a hello without supported_versions offers: its own (1.2 at most) and all below."""
    if version >= 0x0303:
        return VERSION_1_0 | VERSION_1_1 | VERSION_1_2
    if version == 0x0302:
        return VERSION_1_0 | VERSION_1_1
    if version == 0x0301:
        return VERSION_1_0
    return 0


@shared
def find_extension_flag(kind):  # type: ignore[no-untyped-def]
    """Returns: the flag of an extension that is read, 0 for all others."""
    if kind == SERVER_NAME:
        return HAS_SNI
    if kind == ALPN:
        return HAS_ALPN
    if kind == SUPPORTED_VERSIONS:
        return HAS_VERSIONS
    if kind == PRE_SHARED_KEY:
        return PSK
    if kind == EARLY_DATA_TYPE:
        return EARLY_DATA
    if kind == ENCRYPTED_CLIENT_HELLO:
        return HAS_ECH
    return 0


@shared
def parse_server_name(at, end, state):  # type: ignore[no-untyped-def]
    """Parse server_name: a list of exactly one name, of type host_name.

    Reads: [at, end), the extension's content.
    Writes: HOST_AT, HOST_LENGTH (a port and a trailing dot left out; colons of an IPv6 address have no dot before them).
    Returns: 0, BAD_NAME_LIST or BAD_NAME.
    Bounds: NAME_LIMIT turns.
    Source: RFC 6066 section 3. OpenSSL takes only a list of one; Go takes the first host_name of several types.
    """
    size = end - at - 5
    if size < 0 or be16(at) != size + 3 or u8(at + 2) != 0 or be16(at + 3) != size:
        return BAD_NAME_LIST
    name = at + 5
    if size == 0 or size > NAME_LIMIT:
        return BAD_NAME
    host_bytes, has_dot = size, 0
    for offset in range(size):
        byte = u8(name + offset)
        if byte <= 0x20 or byte == 0x7F:
            return BAD_NAME
        if byte == DOT:
            has_dot = 1
        if byte == COLON and has_dot and host_bytes == size:
            host_bytes = offset
    if u8(name + host_bytes - 1) == DOT:
        host_bytes -= 1
        if host_bytes == 0 or u8(name + host_bytes - 1) == DOT:
            return BAD_NAME
    put64(state + HOST_AT, name)
    put64(state + HOST_LENGTH, host_bytes)
    return 0


@shared
def parse_protocols(at, end, state):  # type: ignore[no-untyped-def]
    """Parse ALPN: a list of protocol names, none of them empty.

    Reads: [at, end), the extension's content.
    Writes: ALPN_AT, ALPN_LENGTH.
    Returns: 0 or BAD_STRUCTURE.
    Bounds: each turn consumes two bytes or more.
    Source: RFC 7301 section 3.1.
    """
    if end - at < 4 or be16(at) != end - at - 2:
        return BAD_STRUCTURE
    name = at + 2
    while name < end:
        behind = find_vector8_end(name, end)
        if behind == 0 or behind == name + 1:
            return BAD_STRUCTURE
        name = behind
    put64(state + ALPN_AT, at + 2)
    put64(state + ALPN_LENGTH, end - at - 2)
    return 0


@shared
def parse_versions(at, end, state):  # type: ignore[no-untyped-def]
    """Parse supported_versions, which replaces what the legacy field says.

    Reads: [at, end), the extension's content.
    Writes: VERSIONS.
    Returns: 0 or BAD_STRUCTURE.
    Bounds: 127 turns.
    Source: RFC 8446 section 4.2.1.
    """
    size = end - at - 1
    if size < 2 or size & 1 or u8(at) != size:
        return BAD_STRUCTURE
    versions = 0
    for offset in range(0, size, 2):
        versions |= find_version_bit(be16(at + 1 + offset))
    put64(state + VERSIONS, versions)
    return 0


@shared
def parse_extensions(at, end, state):  # type: ignore[no-untyped-def]
    """Parse the extensions that fill [at, end) exactly.

    Reads: [at, end).
    Writes: the result slots.
    Returns: 0, or why the hello is BAD.
    Bounds: each turn consumes four bytes or more; at most 16,384 turns.
    Source: RFC 8446 section 4.2.
    """
    flags = 0
    detail = 0
    while at < end:
        behind = find_vector16_end(at + 2, end)
        if behind == 0:
            return BAD_STRUCTURE
        kind = be16(at)
        flag = find_extension_flag(kind)
        if flags & flag:
            return BAD_DUPLICATE
        flags |= flag
        if kind == SERVER_NAME:
            detail = parse_server_name(at + 4, behind, state)
        elif kind == ALPN:
            detail = parse_protocols(at + 4, behind, state)
        elif kind == SUPPORTED_VERSIONS:
            detail = parse_versions(at + 4, behind, state)
        if detail != 0:
            return detail
        at = behind
    put64(state + FLAGS, flags)
    return 0


@shared
def parse_hello(message, end, state):  # type: ignore[no-untyped-def]
    """Parse one whole ClientHello.

    Reads: [message, end), the handshake message with its header, whose type and length the caller has checked.
    Writes: all result slots.
    Returns: COMPLETE, or BAD with STATUS_DETAIL.
    Bounds: every byte is looked at once at most; random, key shares and unknown extensions are skipped.
    Source: RFC 8446 section 4.1.2; a hello that ends behind the compression methods is legal before TLS 1.3.
    """
    for slot in range(HOST_AT, FLAGS + 8, 8):
        put64(state + slot, 0)
    body = message + HANDSHAKE_HEADER_BYTES
    if end - body < RANDOM_END:
        return fail(state, BAD_STRUCTURE)
    put64(state + VERSIONS, find_legacy_versions(be16(body)))
    at = find_vector8_end(body + RANDOM_END, end)
    at = find_vector16_end(at, end)
    at = find_vector8_end(at, end)
    if at == 0:
        return fail(state, BAD_STRUCTURE)
    if at == end:
        return COMPLETE
    if find_vector16_end(at, end) != end:
        return fail(state, BAD_STRUCTURE)
    detail = parse_extensions(at + 2, end, state)
    if detail != 0:
        return fail(state, detail)
    return COMPLETE
