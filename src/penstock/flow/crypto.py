"""The CRYPTO bytes of one QUIC connection, put together by place, whatever the order, cut or repetition in which they come.

    0              contiguous            last
    │ all here     │ some here: a bit    │
    │              │ for each            │

A byte that was taken is fixed: another one at its place is a CONFLICT, for two servers could read two hellos. Nothing is
ever counted by number of bytes, for repetitions would be counted twice. RFC 9000 19.6.
"""

from penstock.compile.memory import count_trailing_zeros, move, put8, put64, same, shared, shr, u8, u64

STORED, CONFLICT, OUTSIDE = 0, 1, 2

CONTIGUOUS, LAST, CAPACITY, BITS, BYTES = 0, 8, 16, 24, 32  # BITS, BYTES: addresses
HEAD_BYTES = 40
SMALL_BYTES, LARGE_BYTES = 4096, 65536


@shared
def clear_crypto(crypto, data, capacity):  # type: ignore[no-untyped-def]
    """Make it empty. Reads nothing. Writes: the head at `crypto`; the bits, which lie in front of the bytes, at `data`.

    `capacity` is a multiple of 64. Bounds: capacity / 64 turns.
    """
    put64(crypto + CONTIGUOUS, 0)
    put64(crypto + LAST, 0)
    put64(crypto + CAPACITY, capacity)
    put64(crypto + BITS, data)
    put64(crypto + BYTES, data + capacity // 8)
    for word in range(0, capacity // 8, 8):
        put64(data + word, 0)
    return 0


@shared
def grow_crypto(crypto, data, capacity):  # type: ignore[no-untyped-def]
    """Move everything to `data`, where `capacity` bytes and their bits have room. Bounds: capacity / 64 turns."""
    old, bits, bytes_at = u64(crypto + CAPACITY), u64(crypto + BITS), u64(crypto + BYTES)
    contiguous, last = u64(crypto + CONTIGUOUS), u64(crypto + LAST)
    clear_crypto(crypto, data, capacity)
    move(u64(crypto + BITS), bits, old // 8)
    move(u64(crypto + BYTES), bytes_at, last)
    put64(crypto + CONTIGUOUS, contiguous)
    put64(crypto + LAST, last)
    return 0


@shared
def _put_word(crypto, offset, p, size):  # type: ignore[no-untyped-def]
    """Put `size` bytes that share one word of bits. Returns: STORED or CONFLICT. Bounds: 64 turns."""
    word_at, shift = u64(crypto + BITS) + (offset >> 6) * 8, offset & 63
    mask = (shr(-1, 64 - size)) << shift
    word, to = u64(word_at), u64(crypto + BYTES) + offset
    if word & mask == 0:
        move(to, p, size)
    elif word & mask == mask:
        return STORED if same(to, p, size) else CONFLICT
    else:
        for at in range(size):
            if shr(word, shift + at) & 1 and u8(to + at) != u8(p + at):
                return CONFLICT
        for at in range(size):
            put8(to + at, u8(p + at))
    put64(word_at, word | mask)
    return STORED


@shared
def _advance(crypto):  # type: ignore[no-untyped-def]
    """Move CONTIGUOUS over the bits that are set. Bounds: capacity / 64 turns."""
    at, last = u64(crypto + CONTIGUOUS), u64(crypto + LAST)
    while at < last:
        missing = ~u64(u64(crypto + BITS) + (at >> 6) * 8)
        gap = count_trailing_zeros(shr(missing, at & 63))
        if gap < 64 - (at & 63):
            at += gap
            break
        at = (at | 63) + 1
    put64(crypto + CONTIGUOUS, min(at, last))
    return 0


@shared
def put_crypto(crypto, offset, p, size):  # type: ignore[no-untyped-def]
    """Put the `size` bytes of a CRYPTO frame in their place.

    Reads: [p, p + size). Writes: crypto and what it points to.
    Returns: STORED; CONFLICT (bytes before the other one may have been taken); OUTSIDE (does not fit, nothing changed).
    Bounds: size / 64 + 2 turns and one copy.
    """
    if offset < 0 or offset + size > u64(crypto + CAPACITY):
        return OUTSIDE
    contiguous = u64(crypto + CONTIGUOUS)
    if offset < contiguous:
        known = min(size, contiguous - offset)
        if not same(u64(crypto + BYTES) + offset, p, known):
            return CONFLICT
        offset, p, size = offset + known, p + known, size - known
    if size == 0:
        return STORED
    end, last = offset + size, u64(crypto + LAST)
    if offset == contiguous and last == contiguous:  # the common case: in order
        move(u64(crypto + BYTES) + offset, p, size)
        put64(crypto + CONTIGUOUS, end)
        put64(crypto + LAST, end)
        return STORED
    at = offset
    while at < end:
        step = min(64 - (at & 63), end - at)
        if _put_word(crypto, at, p + at - offset, step) == CONFLICT:
            return CONFLICT
        at += step
    put64(crypto + LAST, max(last, end))
    _advance(crypto)
    return STORED
