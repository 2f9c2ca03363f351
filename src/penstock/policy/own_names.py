"""A subscriber's own list: names that he allows or denies, whatever lists say. One table for all of them.

    (number, name) ─► word: 62 bits of a keyed hash << 2 | action        open addressing; 0: empty, action 0: taken away

A name stands for itself and all below it, and of several the nearest decides. A word is written at once, so whoever reads
finds the old entry or the new one. One process writes. It knows no subscribers, only their numbers.
"""

from penstock.compile.memory import put64, shared, shr, u8, u64
from penstock.policy.judge import OWN_NOTHING
from penstock.wire.headers import mix

WORD_BYTES = 8
ACTION_BITS, ACTION_MASK = 2, 3
HOST_LIMIT = 255
PROBE_LIMIT = 32  # words; the table is at most half full
DOT = 46


@shared
def begin_hash(secret, number):  # type: ignore[no-untyped-def]
    """Where the hashes of a subscriber's names begin; their bytes follow from the last to the first."""
    return mix(mix(secret, number), number)


@shared
def add_byte(state, byte):  # type: ignore[no-untyped-def]
    """One more byte of a name, in any case."""
    return mix(state, byte + 32 if 65 <= byte <= 90 else byte)


@shared
def tag_of(secret, state):  # type: ignore[no-untyped-def]
    """The tag of a name whose bytes are all added: never 0."""
    return shr(mix(state, secret), ACTION_BITS) | 1


@shared
def _find(table, mask, tag):  # type: ignore[no-untyped-def]
    """The action of the word with this tag. Bounds: PROBE_LIMIT."""
    for turn in range(PROBE_LIMIT):
        word = u64(table + ((shr(tag, 20) + turn) & mask) * WORD_BYTES)
        if word == 0:
            return OWN_NOTHING
        if shr(word, ACTION_BITS) == tag:
            return word & ACTION_MASK
    return OWN_NOTHING


@shared
def find_own(table, mask, secret, number, host, length):  # type: ignore[no-untyped-def]
    """What a subscriber's own list says of a host: the nearest of its names.

    Reads: the table of mask + 1 words; host[0:length) (any case). Returns: OWN_NOTHING, OWN_ALLOW or OWN_DENY.
    Bounds: HOST_LIMIT bytes, a look-up a label.
    """
    if length <= 0 or length > HOST_LIMIT:
        return OWN_NOTHING
    state, found, at = begin_hash(secret, number), OWN_NOTHING, host + length - 1
    while at >= host:
        byte = u8(at)
        if byte == DOT:
            action = _find(table, mask, tag_of(secret, state))
            found = action if action else found
        state = add_byte(state, byte)
        at -= 1
    action = _find(table, mask, tag_of(secret, state))
    return action if action else found


@shared
def put_own(table, mask, secret, number, name, length, action):  # type: ignore[no-untyped-def]
    """Write what a subscriber says of a name (lower case); OWN_NOTHING takes it away.

    Returns: what he said of it before; -1 when there is no room. Bounds: HOST_LIMIT bytes, PROBE_LIMIT words.
    """
    state, at = begin_hash(secret, number), name + length - 1
    while at >= name:
        state = add_byte(state, u8(at))
        at -= 1
    tag, free = tag_of(secret, state), 0
    for turn in range(PROBE_LIMIT):
        place = table + ((shr(tag, 20) + turn) & mask) * WORD_BYTES
        word = u64(place)
        if shr(word, ACTION_BITS) == tag:
            put64(place, tag << ACTION_BITS | action)
            return word & ACTION_MASK
        if free == 0 and word & ACTION_MASK == OWN_NOTHING:
            free = place
        if word == 0:
            break
    if action == OWN_NOTHING:
        return OWN_NOTHING
    if free == 0:
        return -1
    put64(free, tag << ACTION_BITS | action)
    return OWN_NOTHING
