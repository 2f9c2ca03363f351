"""QUIC connections whose hellos are read or were read: found by connection ID, not by port.

    heads (hash of the address pair) ──► newest entry of the pair ──► the one before ──► ...
    entries: a ring, the next one takes the oldest one's place      stores: the CRYPTO bytes, lent round and round

An entry is known by its serial number, which never comes again, so a link to an entry whose place was taken is seen to
be dead, and all behind it are older and dead too. Nothing is freed and nothing is searched for.

Memory is bounded by name: CONNECTION_COUNT connections, STORE_COUNT hellos of up to 4 KB and LARGE_COUNT of up to 64 KB.
An entry's place is taken only after LEAST_MS, in which most servers have given up a handshake; a store's as soon as its
hello was judged. When half of all places were taken within LEAST_MS, no subscriber gets more than SHARE_LIMIT of them in
that time. Who wants more waits: the client repeats its Initial, or asks over TCP.
"""

from penstock.compile.memory import be32, move, put64, same, shared, shr, u64
from penstock.flow.crypto import (
    BYTES,
    CAPACITY,
    CONTIGUOUS,
    HEAD_BYTES,
    LARGE_BYTES,
    SMALL_BYTES,
    clear_crypto,
    grow_crypto,
)
from penstock.kernel.tables import FLOW_PORTS, UP_KEY, UP_OWNER
from penstock.wire.headers import mix

# The memory of one worker's connections.
NEXT_SERIAL, HEADS, ENTRIES, STORES, LARGES, NEXT_LARGE, NOW_MS, SECRET, SHARES = 0, 8, 16, 24, 32, 40, 48, 56, 64
CONNECTIONS_BYTES = 72

HEAD_COUNT = 1 << 14
CONNECTION_COUNT = 1 << 15  # per worker: 12 MB, touched only when used
STORE_COUNT, LARGE_COUNT = 16384, 64  # per worker: 75 MB and 5 MB, touched only when used
PAIR_LIMIT = 256  # connections of one client with one server within RETAIN_MS
RETAIN_MS = 60_000  # as long as nginx waits for the rest of a handshake
LEAST_MS = 10_000
SHARE_COUNT, SHARE_BYTES = 4096, 16  # lines by the owner's number; a few may share one
SHARE_SINCE_MS, SHARE_TAKEN = 0, 8
SCARCE_COUNT = STORE_COUNT // 2  # whoever takes all of them leaves as many stores to the others
SHARE_LIMIT = CONNECTION_COUNT // 8
STORE_TRIES = 64
HELLO_MS = 10_000  # in which a hello must become whole, before its store may be another's
TRIES = 8  # keys tried on an Initial of an unknown connection ID

READING, JUDGED, REFUSED = 1, 2, 3  # 0: never used

E_SERIAL, E_STATE, E_PREVIOUS, E_BORN_MS, E_VERSION, E_EXPECTED = 0, 8, 16, 24, 32, 40
E_CLIENT, E_SERVER, E_PORTS = 48, 64, 80
E_DCID_BYTES, E_DCID, E_SCID_BYTES, E_SCID, E_ALIAS_BYTES, E_ALIAS = 88, 96, 120, 128, 152, 160
E_KEYS = 184  # 64 bytes: request.initial
E_STORE, E_LARGE, E_DONE, E_HELD, E_HELD_LAST, E_HELD_COUNT, E_TIMES, E_HOST, E_BYTES = (
    248, 256, 264, 272, 280, 288, 296, 304, 312,
)  # fmt: skip
ENTRY_BYTES = 384
CID_ROOM = 24

STORE_OWNER = HEAD_BYTES
STORE_DATA = HEAD_BYTES + 8
STORE_BYTES = STORE_DATA + SMALL_BYTES // 8 + SMALL_BYTES
LARGE_DATA = 8
LARGE_STRIDE = LARGE_DATA + LARGE_BYTES // 8 + LARGE_BYTES


@shared
def _hash_pair(c, u):  # type: ignore[no-untyped-def]
    """Which head an address pair has. Keyed, so that nobody can choose addresses that meet another's."""
    state = mix(u64(c + SECRET), u64(u + UP_KEY))
    for word in range(8, 32, 8):
        state = mix(state, u64(u + UP_KEY + word))
    return shr(mix(state, u64(c + SECRET)), 40) & (HEAD_COUNT - 1)


@shared
def entry_at(c, serial):  # type: ignore[no-untyped-def]
    """The entry with this serial number, or 0 when its place was taken or it is too old to matter."""
    if serial == 0:
        return 0
    entry = u64(c + ENTRIES) + (serial & (CONNECTION_COUNT - 1)) * ENTRY_BYTES
    if u64(entry + E_SERIAL) != serial or u64(c + NOW_MS) - u64(entry + E_BORN_MS) > RETAIN_MS:
        return 0
    return entry


@shared
def is_of_pair(entry, u):  # type: ignore[no-untyped-def]
    """Is this a connection between the two addresses of the packet?"""
    return same(entry + E_CLIENT, u + UP_KEY, 32)


@shared
def newest_of(c, u):  # type: ignore[no-untyped-def]
    """The newest entry under the head of the packet's address pair, or 0."""
    return entry_at(c, u64(u64(c + HEADS) + _hash_pair(c, u) * 8))


@shared
def previous_of(c, entry):  # type: ignore[no-untyped-def]
    """The entry before this one under the same head, or 0."""
    return entry_at(c, u64(entry + E_PREVIOUS))


@shared
def _is_cid(entry, size_at, cid, size):  # type: ignore[no-untyped-def]
    return u64(entry + size_at) == size and same(entry + size_at + 8, cid, size)


@shared
def find_connection(c, u, cid, size):  # type: ignore[no-untyped-def]
    """The connection of the packet's address pair with this destination connection ID: the client's first one, or the one
    that the server chose later.

    Returns: its entry, 0 when it is not known, -1 when the pair has more than PAIR_LIMIT of them. Bounds: PAIR_LIMIT.
    """
    entry = newest_of(c, u)
    for _ in range(PAIR_LIMIT):
        if entry == 0:
            return 0
        if is_of_pair(entry, u):
            if _is_cid(entry, E_DCID_BYTES, cid, size) or (size and _is_cid(entry, E_ALIAS_BYTES, cid, size)):
                return entry
        entry = previous_of(c, entry)
    return -1


@shared
def _is_over_share(c, u, serial):  # type: ignore[no-untyped-def]
    """Count a place for the packet's subscriber. Returns: 1 when he has had enough of them, and others need the rest."""
    now_ms = u64(c + NOW_MS)
    line = u64(c + SHARES) + (u64(u + UP_OWNER) & (SHARE_COUNT - 1)) * SHARE_BYTES
    if now_ms - u64(line + SHARE_SINCE_MS) > LEAST_MS:
        put64(line + SHARE_SINCE_MS, now_ms)
        put64(line + SHARE_TAKEN, 0)
    before = u64(c + ENTRIES) + (serial - SCARCE_COUNT & (CONNECTION_COUNT - 1)) * ENTRY_BYTES
    is_scarce = u64(before + E_STATE) and now_ms - u64(before + E_BORN_MS) < LEAST_MS
    if is_scarce and u64(line + SHARE_TAKEN) >= SHARE_LIMIT:
        return 1
    put64(line + SHARE_TAKEN, u64(line + SHARE_TAKEN) + 1)
    return 0


@shared
def make_connection(c, u, version, dcid, dcid_bytes, scid, scid_bytes):  # type: ignore[no-untyped-def]
    """A new entry for the connection that an Initial of the packet opens, READING, without keys and store.

    Returns: its entry; 0 when the place that is due is younger than LEAST_MS, or the subscriber has had his share.
    """
    serial = u64(c + NEXT_SERIAL) + 1
    entry = u64(c + ENTRIES) + (serial & (CONNECTION_COUNT - 1)) * ENTRY_BYTES
    if u64(entry + E_STATE) and u64(c + NOW_MS) - u64(entry + E_BORN_MS) < LEAST_MS:
        return 0
    if _is_over_share(c, u, serial):
        return 0
    put64(c + NEXT_SERIAL, serial)
    for word in range(0, E_BYTES, 8):
        put64(entry + word, 0)
    head = u64(c + HEADS) + _hash_pair(c, u) * 8
    put64(entry + E_PREVIOUS, u64(head))
    put64(head, serial)
    put64(entry + E_SERIAL, serial)
    put64(entry + E_STATE, READING)
    put64(entry + E_BORN_MS, u64(c + NOW_MS))
    put64(entry + E_VERSION, version)
    move(entry + E_CLIENT, u + UP_KEY, 32)
    put64(entry + E_PORTS, u64(u + UP_KEY + FLOW_PORTS))
    put64(entry + E_DCID_BYTES, dcid_bytes)
    move(entry + E_DCID, dcid, dcid_bytes)
    put64(entry + E_SCID_BYTES, scid_bytes)
    move(entry + E_SCID, scid, scid_bytes)
    return entry


@shared
def set_alias(entry, cid, size):  # type: ignore[no-untyped-def]
    """The client uses this destination connection ID now: the server chose it."""
    put64(entry + E_ALIAS_BYTES, size)
    move(entry + E_ALIAS, cid, size)
    return 0


@shared
def _may_be_lent(c, serial):  # type: ignore[no-untyped-def]
    """Does the owner of a store not need it any more?"""
    owner = entry_at(c, serial)
    return owner == 0 or u64(owner + E_STATE) != READING or u64(c + NOW_MS) - u64(owner + E_BORN_MS) > HELLO_MS


@shared
def crypto_of(c, entry):  # type: ignore[no-untyped-def]
    """The connection's CRYPTO bytes, or 0: none yet, or they were lent to another since its hello was judged."""
    if u64(entry + E_STORE) == 0:
        return 0
    store = u64(c + STORES) + (u64(entry + E_STORE) - 1) * STORE_BYTES
    if u64(store + STORE_OWNER) != u64(entry + E_SERIAL):
        return 0
    if u64(store + CAPACITY) > SMALL_BYTES:
        large = u64(c + LARGES) + (u64(entry + E_LARGE) - 1) * LARGE_STRIDE
        if u64(large) != u64(entry + E_SERIAL):
            return 0
    return store


@shared
def take_crypto(c, entry):  # type: ignore[no-untyped-def]
    """An empty store for the connection's CRYPTO bytes: the one that goes with its place, which was lent STORE_COUNT places
    ago, or one behind it. Returns: 0 when all that are tried are needed. Bounds: STORE_TRIES."""
    for turn in range(STORE_TRIES):
        number = u64(entry + E_SERIAL) + turn & (STORE_COUNT - 1)
        store = u64(c + STORES) + number * STORE_BYTES
        if _may_be_lent(c, u64(store + STORE_OWNER)):
            put64(store + STORE_OWNER, u64(entry + E_SERIAL))
            put64(entry + E_STORE, number + 1)
            clear_crypto(store, store + STORE_DATA, SMALL_BYTES)
            return store
    return 0


@shared
def enlarge_crypto(c, entry, store):  # type: ignore[no-untyped-def]
    """Make room for 64 KB. Returns: 1; 0 when it has that already, or all large stores are needed. Bounds: LARGE_COUNT."""
    if u64(store + CAPACITY) > SMALL_BYTES:
        return 0
    for _ in range(LARGE_COUNT):
        number = u64(c + NEXT_LARGE)
        put64(c + NEXT_LARGE, (number + 1) & (LARGE_COUNT - 1))
        large = u64(c + LARGES) + number * LARGE_STRIDE
        if _may_be_lent(c, u64(large)):
            put64(large, u64(entry + E_SERIAL))
            put64(entry + E_LARGE, number + 1)
            grow_crypto(store, large + LARGE_DATA, LARGE_BYTES)
            return 1
    return 0


@shared
def message_bytes(entry, store):  # type: ignore[no-untyped-def]
    """How long the handshake message is that begins behind what was judged, with its header; 0 while that is not known."""
    if u64(store + CONTIGUOUS) - u64(entry + E_DONE) < 4:
        return 0
    at = u64(store + BYTES) + u64(entry + E_DONE)
    return 4 + (be32(at) & 0xFFFFFF)
