"""Going on all the same: the token in a warning's link, and what it opens for a while.

    warned ─► page with ?penstock-continue=TOKEN ─► the client follows it ─► token is right ─► override, 302 to the address
       └─► reference ──► host, for WARNED_MS

    token:  | reference 16 hex digits | HMAC-SHA-256 of (subscriber, reference), its first 12 bytes as hex |

A reference is that of the refused request, so that a page that is sent again has the same token. Warnings are kept among
the bindings of names, and end by themselves: a token is of use to one subscriber, for one host, for a while. So are
overrides, which hold for a host and all below it. A restart of the packet process ends both. It does not know who is
warned, and why.
"""

from penstock.answer.http import write_hex
from penstock.cipher.hkdf import STATES_BYTES, build_states, sign_block
from penstock.cipher.layout import HASH_BLOCK_BYTES, write_room
from penstock.compile.memory import put32, put64, shared, shr, u8, u32, u64
from penstock.flow.bindings import HOST_ROOM, OVERRIDDEN, WARNED, put_binding, read_binding
from penstock.flow.stream import POOL_NOW_MS
from penstock.kernel.tables import UP_OWNER
from penstock.path.layout import D_MAPPED, W_BINDINGS, W_CIPHER, W_DNS, W_OVERRIDES, W_POOL, W_SECRET
from penstock.wire.headers import mix

CONTINUE_QUERY = "?penstock-continue="
QUERY_BYTES = len(CONTINUE_QUERY)
WARNED_MS = 572_205  # ten minutes, in milliseconds of 2^20 ns
OVERRIDE_MS = 1_716_614  # half an hour
REFERENCE_DIGITS, MAC_BYTES = 16, 12
TOKEN_BYTES = REFERENCE_DIGITS + 2 * MAC_BYTES
MESSAGE_BYTES = 12
LABELS_LIMIT, NAME_LIMIT = 16, 255

# At W_OVERRIDES: the key's states, a message's word block, the digest, the text of a token and of the query.
O_STATES = 0
O_BLOCK = O_STATES + STATES_BYTES
O_DIGEST = O_BLOCK + HASH_BLOCK_BYTES
O_TOKEN = O_DIGEST + HASH_BLOCK_BYTES
O_QUERY = O_TOKEN + 40
OVERRIDES_BYTES = O_QUERY + 24


def prepare_overrides(address: int, key: bytes) -> None:
    """Fill OVERRIDES_BYTES at an address, for a key of 32 bytes. Ordinary Python, before the start."""
    write_room(address, build_states(key).ljust(O_QUERY, b"\0") + CONTINUE_QUERY.encode().ljust(24, b"\0"))


@shared
def _lower(byte):  # type: ignore[no-untyped-def]
    return byte + 32 if 65 <= byte <= 90 else byte


@shared
def write_token(w, u, reference):  # type: ignore[no-untyped-def]
    """Write the token of a reference for the packet's subscriber. Returns: where it stands, TOKEN_BYTES.

    Bounds: two blocks of SHA-256.
    """
    room = u64(w + W_OVERRIDES)
    block, token = room + O_BLOCK, room + O_TOKEN
    for at in range(0, HASH_BLOCK_BYTES, 8):
        put64(block + at, 0)
    put32(block, u64(u + UP_OWNER))
    put32(block + 4, shr(reference, 32))
    put32(block + 8, reference & 0xFFFFFFFF)
    put32(block + MESSAGE_BYTES, 1 << 31)  # FIPS 180-4 5.1.1
    put32(block + HASH_BLOCK_BYTES - 4, 8 * (HASH_BLOCK_BYTES + MESSAGE_BYTES))  # it stands behind the key's pad
    sign_block(room + O_STATES, block, room + O_DIGEST, u64(w + W_CIPHER))
    write_hex(token, reference, REFERENCE_DIGITS)
    for at in range(0, MAC_BYTES, 4):
        write_hex(token + REFERENCE_DIGITS + 2 * at, u32(room + O_DIGEST + at), 8)
    return token


@shared
def _key_of(w, number, kind):  # type: ignore[no-untyped-def]
    """The key of a warning among the bindings."""
    return mix(mix(mix(u64(w + W_SECRET), number), kind), u64(w + W_SECRET)) | 3


@shared
def note_warning(w, reference, host, host_bytes):  # type: ignore[no-untyped-def]
    """Remember for which host somebody was warned."""
    key, now_ms = _key_of(w, reference, WARNED), u64(w + W_POOL + POOL_NOW_MS)
    return put_binding(u64(w + W_BINDINGS), key, now_ms, WARNED_MS, WARNED, host, host_bytes)


@shared
def _read_reference(p):  # type: ignore[no-untyped-def]
    """The reference in a token's text. What is no digit makes another one: the comparison says so."""
    reference = 0
    for at in range(REFERENCE_DIGITS):
        byte = u8(p + at)
        reference = reference << 4 | ((byte - 48 if byte <= 57 else byte - 87) & 15)
    return reference


@shared
def _is_of_host(w, reference, host, host_bytes):  # type: ignore[no-untyped-def]
    """Was it this host for which the warning with this reference was given, not too long ago? Bounds: HOST_ROOM bytes."""
    now_ms, out = u64(w + W_POOL + POOL_NOW_MS), u64(w + W_DNS) + D_MAPPED
    found = read_binding(u64(w + W_BINDINGS), _key_of(w, reference, WARNED), now_ms, out)
    size = min(host_bytes, HOST_ROOM)
    if found < 0 or found >> 16 != WARNED or found & 0xFFFF != size:
        return False
    difference = 0
    for at in range(size):
        difference |= _lower(u8(out + at)) ^ _lower(u8(host + host_bytes - size + at))
    return difference == 0


@shared
def has_token(w, u, host, host_bytes, target, target_bytes):  # type: ignore[no-untyped-def]
    """Does the request's target end with a token that is this subscriber's, for this host, and not over?

    Bounds: those of a token; the comparison takes the same time wherever they differ.
    """
    query = u64(w + W_OVERRIDES) + O_QUERY
    given = target + target_bytes - TOKEN_BYTES
    if given - QUERY_BYTES < target:
        return False
    for at in range(QUERY_BYTES):
        if u8(given - QUERY_BYTES + at) != u8(query + at):
            return False
    reference = _read_reference(given)
    right, difference = write_token(w, u, reference), 0
    for at in range(TOKEN_BYTES):
        difference |= u8(given + at) ^ u8(right + at)
    return difference == 0 and _is_of_host(w, reference, host, host_bytes)


@shared
def _key_of_override(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """The key of an override among the bindings. Bounds: NAME_LIMIT bytes."""
    state = u64(u + UP_OWNER)
    for at in range(min(host_bytes, NAME_LIMIT)):
        state = mix(state, _lower(u8(host + at)))
    return _key_of(w, state, OVERRIDDEN)


@shared
def put_override(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """Let the packet's subscriber go on to a host for OVERRIDE_MS."""
    key, now_ms = _key_of_override(w, u, host, host_bytes), u64(w + W_POOL + POOL_NOW_MS)
    return put_binding(u64(w + W_BINDINGS), key, now_ms, OVERRIDE_MS, OVERRIDDEN, host, 0)


@shared
def is_overridden(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """May the packet's subscriber go on to a host, or to one above it? Bounds: LABELS_LIMIT look-ups."""
    table, now_ms, out = u64(w + W_BINDINGS), u64(w + W_POOL + POOL_NOW_MS), u64(w + W_DNS) + D_MAPPED
    at = 0
    for _ in range(LABELS_LIMIT):
        if at >= host_bytes:
            return False
        found = read_binding(table, _key_of_override(w, u, host + at, host_bytes - at), now_ms, out)
        if found >= 0 and found >> 16 == OVERRIDDEN:
            return True
        for _ in range(NAME_LIMIT):
            at += 1
            if at >= host_bytes or u8(host + at - 1) == 46:
                break
    return False
