"""Names bound to addresses: which name a client last resolved to an address, and which names it resolved at all.

    hash of (client, address) ──► name        for flows that say no name themselves
    hash of (client, name) ────► flags        was it resolved, and did its answers offer ECH?
    path.overrides' hashes ────► flags        who was warned of which host, and who went on

One table for all workers, because an answer and the flow that follows it have different servers and so different workers.
Nobody locks: an entry's key is taken away before it is written and given back afterwards, and who reads looks at the key
again. BINDING_COUNT entries for all clients; what expires first goes first. Keyed by a secret hash: nobody can choose
addresses or names that meet another's.
"""

from penstock.compile.memory import acquire64, fence, move, put64, release64, shared, u8, u64
from penstock.wire.headers import mix

BINDING_COUNT = 1 << 16  # 12 MB, touched only when used
WAYS = 4
B_KEY, B_EXPIRES_MS, B_FLAGS, B_HOST_BYTES, B_HOST = 0, 8, 16, 24, 32
HOST_ROOM = 160  # of a longer name the last bytes, which hold its parents
BINDING_BYTES = B_HOST + HOST_ROOM
BINDINGS_BYTES = BINDING_COUNT * BINDING_BYTES
RESOLVED, OFFERED_ECH, OVERRIDDEN, WARNED = 1, 2, 4, 8
NONE = -1


@shared
def hash_address(secret, client, address):  # type: ignore[no-untyped-def]
    """The key of an address (16 bytes each)."""
    state = mix(mix(secret, u64(client)), u64(client + 8))
    return mix(mix(mix(state, u64(address)), u64(address + 8)), secret) | 1


@shared
def hash_name(secret, client, host, size):  # type: ignore[no-untyped-def]
    """The key of a name, in any case. Bounds: HOST_ROOM bytes from its end."""
    state = mix(mix(secret ^ -1, u64(client)), u64(client + 8))
    start = max(size - HOST_ROOM, 0)
    for at in range(start, size):
        byte = u8(host + at)
        state = mix(state, byte + 32 if 65 <= byte <= 90 else byte)
    return mix(state, secret) & -2 | 2


@shared
def _first_way(table, key):  # type: ignore[no-untyped-def]
    return table + (key >> 40 & (BINDING_COUNT // WAYS - 1)) * WAYS * BINDING_BYTES


@shared
def read_binding(table, key, now_ms, out):  # type: ignore[no-untyped-def]
    """Read what is bound to a key.

    Writes: at most HOST_ROOM bytes at `out`. Returns: flags << 16 | size of the name; NONE when nothing is, or when it is
    being written at this moment. Bounds: WAYS.
    """
    entry = _first_way(table, key)
    for _ in range(WAYS):
        if acquire64(entry + B_KEY) == key:
            size, flags, expires_ms = u64(entry + B_HOST_BYTES), u64(entry + B_FLAGS), u64(entry + B_EXPIRES_MS)
            move(out, entry + B_HOST, min(max(size, 0), HOST_ROOM))
            fence()
            if u64(entry + B_KEY) == key and expires_ms > now_ms and size >= 0 and size <= HOST_ROOM:
                return flags << 16 | size
            return NONE
        entry += BINDING_BYTES
    return NONE


@shared
def put_binding(table, key, now_ms, ttl_ms, flags, host, size):  # type: ignore[no-untyped-def]
    """Bind a name to a key until `ttl_ms` from now. Flags of an entry that lives are kept. Bounds: WAYS."""
    entry, best = _first_way(table, key), 0
    for _ in range(WAYS):
        if u64(entry + B_KEY) == key:
            best = entry
            break
        if best == 0 or u64(entry + B_EXPIRES_MS) < u64(best + B_EXPIRES_MS):
            best = entry
        entry += BINDING_BYTES
    if u64(best + B_KEY) == key and u64(best + B_EXPIRES_MS) > now_ms:
        flags |= u64(best + B_FLAGS)
    kept = min(size, HOST_ROOM)
    put64(best + B_KEY, 0)
    fence()
    put64(best + B_EXPIRES_MS, now_ms + ttl_ms)
    put64(best + B_FLAGS, flags)
    put64(best + B_HOST_BYTES, kept)
    move(best + B_HOST, host + size - kept, kept)
    release64(best + B_KEY, key)
    return best
