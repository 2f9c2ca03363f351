"""Whose address this is: a place on the line to the number of its subscriber, and the number to what holds for him.

    place: scope, address, client's port ─► shape by shape: masked, hashed ─► one of two buckets ─► tag << 20 | number

A shape is which bits of address and port count: a prefix length, or a block of ports of one address. At most eight are
in use, asked from the longest to the shortest. A bucket is one cache line of eight words, and a word is all that a place
takes: 2 million places fit into 32 MB. (The kernel's hash table takes 96 bytes for each; its trie took 665 ns to ask.) A
word is written at once, so whoever reads finds the old owner or the new one. The tag is 43 bits of a keyed hash beside
those that chose the bucket: that an address of nobody is taken for somebody's happens to one in 10^12 such addresses, and
that two of 2 million places are taken for each other in one box of a million.

It knows neither profiles nor where places come from.
"""

from penstock.compile.memory import put8, put64, shared, shr, u8, u16, u32, u64
from penstock.kernel import tables as t
from penstock.kernel.primitives import constant, element, value_of
from penstock.wire.headers import mix

NUMBER_NONE = 0


@shared
def hash_place(secret, high, low, scope, port, shape):  # type: ignore[no-untyped-def]
    """The keyed hash of a masked address, a masked port and the word of their shape."""
    state = mix(mix(secret, high), low)
    return mix(mix(state, scope << 32 | port << 16 | shape), secret)


@shared
def hash_client(secret, shape, key):  # type: ignore[no-untyped-def]
    """The hash of the place of this shape (a line of the control table) at which the key's client is."""
    high, low = u64(key + t.FLOW_CLIENT) & u64(shape), u64(key + t.FLOW_CLIENT + 8) & u64(shape + t.SHAPE_LOW)
    port, scope = shr(u32(key + t.FLOW_PORTS), 16) & u64(shape + t.SHAPE_PORTS), u32(key + t.FLOW_SCOPE) & t.SCOPE_MASK
    return hash_place(secret, high, low, scope, port, u64(shape + t.SHAPE_WORD))


@shared
def tag_of_place(state):  # type: ignore[no-untyped-def]
    """The tag within a bucket: odd, so that no word is 0."""
    return shr(state, t.NUMBER_BITS) | 1


@shared
def other_bucket(bucket, tag, mask):  # type: ignore[no-untyped-def]
    """The second bucket of a place that has this first one, and the first of one that has this second."""
    return (bucket ^ tag) & mask


@shared
def scan_bucket(bucket, tag):  # type: ignore[no-untyped-def]
    """The word with this tag in a bucket, or 0. Without a branch: the verifier would follow each.

    Bounds: ADDRESS_SLOTS words.
    """
    found = 0
    for slot in range(t.ADDRESS_SLOTS):
        word = u64(bucket + 8 * slot)
        found |= word & (((shr(word, t.NUMBER_BITS) ^ tag) - 1) >> 63)
    return found


@shared
def shape_at(control, shapes, number):  # type: ignore[no-untyped-def]
    """A shape's line, by what CONTROL_SHAPES says."""
    bank = (shapes >> 8 & 1) * t.SHAPE_BANK_BYTES
    return control + t.CONTROL_SHAPE_LINES + bank + number * t.SHAPE_BYTES


@shared
def find_owner(skb, key):  # type: ignore[no-untyped-def]
    """The number of the subscriber at the key's client, by the longest shape that holds him; 0 for nobody.

    Bounds: SHAPE_LIMIT shapes, two buckets each.
    """
    control, mask = value_of(skb, t.control), constant(skb, t.address_mask)
    shapes = u64(control + t.CONTROL_SHAPES)
    for number in range(t.SHAPE_LIMIT):
        if number >= shapes & 0xFF:
            break
        state = hash_client(constant(skb, t.hash_key), shape_at(control, shapes, number), key)
        tag = tag_of_place(state)
        first = element(skb, t.addresses, state & mask)
        second = element(skb, t.addresses, other_bucket(state & mask, tag, mask))
        if first == 0 or second == 0:
            break  # only where the kernel cannot prove the index
        found = scan_bucket(first, tag) | scan_bucket(second, tag)
        if found:
            return found & t.NUMBER_MASK
    return NUMBER_NONE


@shared
def rights_of_owner(skb, number):  # type: ignore[no-untyped-def]
    """What a subscriber's line says of him, with his number: see `kernel.budget`. 0 for nobody."""
    line = element(skb, t.subscribers, number & constant(skb, t.subscriber_mask))
    if line == 0 or number == NUMBER_NONE:
        return 0
    return u32(line + t.SUBSCRIBER_FLAGS) | number << t.RIGHTS_OWNER_SHIFT


@shared
def find_rights(skb, key):  # type: ignore[no-untyped-def]
    """The rights of the key's client, 0 without a subscriber."""
    return rights_of_owner(skb, find_owner(skb, key))


# ---- where both tables are plain memory: the process and the register ---------------------------------------------------
@shared
def find_owner_at(control, table, mask, secret, key):  # type: ignore[no-untyped-def]
    """The same look-up in a mapped table of `mask` + 1 buckets."""
    shapes = u64(control + t.CONTROL_SHAPES)
    for number in range(t.SHAPE_LIMIT):
        if number >= shapes & 0xFF:
            break
        state = hash_client(secret, shape_at(control, shapes, number), key)
        tag, bucket = tag_of_place(state), state & mask
        other = other_bucket(bucket, tag, mask)
        found = scan_bucket(table + bucket * t.ADDRESS_BUCKET_BYTES, tag)
        found |= scan_bucket(table + other * t.ADDRESS_BUCKET_BYTES, tag)
        if found:
            return found & t.NUMBER_MASK
    return NUMBER_NONE


# One place as the writer gives it: its mask is applied, and its shape is in use.
PLACE_SCOPE, PLACE_BITS, PLACE_PORT_BITS, PLACE_PORT, PLACE_ADDRESS, PLACE_BYTES = 0, 4, 5, 6, 8, 24


@shared
def _hash_row(secret, place):  # type: ignore[no-untyped-def]
    """The hash of a place."""
    shape = u8(place + PLACE_BITS) << 8 | u8(place + PLACE_PORT_BITS)
    high, low = u64(place + PLACE_ADDRESS), u64(place + PLACE_ADDRESS + 8)
    return hash_place(secret, high, low, u32(place + PLACE_SCOPE), u16(place + PLACE_PORT), shape)


@shared
def _slot_of(bucket, tag):  # type: ignore[no-untyped-def]
    """The slot of a bucket that has this tag (0: an empty one), or ADDRESS_SLOTS."""
    for slot in range(t.ADDRESS_SLOTS):
        if shr(u64(bucket + 8 * slot), t.NUMBER_BITS) == tag:
            return slot
    return t.ADDRESS_SLOTS


@shared
def _count_free(bucket):  # type: ignore[no-untyped-def]
    """How many slots of a bucket are empty."""
    free = 0
    for slot in range(t.ADDRESS_SLOTS):
        free += 1 if u64(bucket + 8 * slot) == 0 else 0
    return free


@shared
def _find_slot(table, mask, state, takes_empty):  # type: ignore[no-untyped-def]
    """The number of the slot (of the whole table) of a place, or, `takes_empty`, of one for it: in the emptier bucket.
    -1: there is none."""
    tag = tag_of_place(state)
    first = state & mask
    second = other_bucket(first, tag, mask)
    for bucket in (first, second):
        slot = _slot_of(table + bucket * t.ADDRESS_BUCKET_BYTES, tag)
        if slot < t.ADDRESS_SLOTS:
            return bucket * t.ADDRESS_SLOTS + slot
    if not takes_empty:
        return -1
    at, other = table + first * t.ADDRESS_BUCKET_BYTES, table + second * t.ADDRESS_BUCKET_BYTES
    bucket = first if _count_free(at) >= _count_free(other) else second
    slot = _slot_of(table + bucket * t.ADDRESS_BUCKET_BYTES, 0)
    return bucket * t.ADDRESS_SLOTS + slot if slot < t.ADDRESS_SLOTS else -1


@shared
def put_places(table, mask, secret, places, numbers, count, kept, failed):  # type: ignore[no-untyped-def]
    """Put `count` places into the table, each with its number (0: take it away), one store each.

    Reads: places (PLACE_BYTES each), numbers (32 bits each). Writes: table; kept (0, or a byte for each slot: 1 for those
        that were written); failed: the indices (64 bits) of places that found no room.
    Returns: how many found none.
    """
    lost = 0
    for index in range(count):
        state, number = _hash_row(secret, places + index * PLACE_BYTES), u32(numbers + 4 * index)
        slot = _find_slot(table, mask, state, number != NUMBER_NONE)
        if slot >= 0:
            put64(table + 8 * slot, tag_of_place(state) << t.NUMBER_BITS | number if number else 0)
            if kept:
                put8(kept + slot, 1)
        elif number:
            put64(failed + 8 * lost, index)
            lost += 1
    return lost


@shared
def forget_others(table, mask, kept):  # type: ignore[no-untyped-def]
    """Empty every slot that `kept` does not name. Returns: how many were in use."""
    gone = 0
    for slot in range((mask + 1) * t.ADDRESS_SLOTS):
        if u8(kept + slot) == 0 and u64(table + 8 * slot):
            put64(table + 8 * slot, 0)
            gone += 1
    return gone
