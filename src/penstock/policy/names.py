"""The names database as compiled code reads it: a host in, the mask of its categories out.

    0                    filter_off       slots_off              sets_off              metadata_off
    +--------------------+----------------+----------------------+---------------------+--------------+
    | magic, key, counts | words of 64    | tag 48 | set 16  ... | exact 64 | below 64 | JSON         |
    +--------------------+----------------+----------------------+---------------------+--------------+

A name is known only by its keyed 64-bit hash, taken from the last byte to the first, so that one pass over a host
yields the hash of every parent on the way. The top `slot_bits` bits of a hash are its home slot, the low 48 bits its tag.
Names lie in the order of their hashes, each as near behind its home as it can (no wrap: the table has a tail), and a
look-up ends at the first empty slot. Most names asked for are in no list: the filter (Bloom, two bits a name in one word)
says so from a sixteenth of the memory, which stays in the processor's cache. A set holds two masks: the categories of
exactly this name, and those of it and all below.

It does not know what a category means, who writes the file (`control.lists`) or which format a list had.
The key keeps a stranger from choosing two names with one hash; it is no secret that protects anything else.
"""

from penstock.compile.memory import put64, shared, shr, u8, u64

MAGIC = 0x01534D414E4E4550  # the bytes "PENNAMS", then 1
VERSION = 1

# The head: one int64 each.
NAMES_MAGIC = 0
NAMES_VERSION = 8
NAMES_KEY = 16  # two words
SLOTS_OFF = 32
SLOT_BITS = 40  # the table has 2**SLOT_BITS homes and PROBE_LIMIT slots behind the last
SETS_OFF = 48
SET_COUNT = 56  # set 0 is never used: a slot of 0 is empty
NAME_COUNT = 64
BUILT_NS = 72  # since 1970
METADATA_OFF = 80
METADATA_BYTES = 88
FILTER_OFF = 96
FILE_BYTES = 104
HEAD_BYTES = 128

SLOT_BYTES = 8
FILTER_SHIFT = 4  # one word of the filter for 16 slots: half a byte per slot, two bits per name
SET_BYTES = 16
SET_EXACT = 0
SET_BELOW = 8
TAG_MASK = (1 << 48) - 1
SET_LIMIT = 1 << 16

PROBE_LIMIT = 64  # slots; at a load of 0.65 the farthest of 10 M names in hash order lies about 20 slots from home
HOST_LIMIT = 255  # bytes: no longer name can be resolved (RFC 1035, 2.3.4)
LABEL_LIMIT = 128  # a name of 255 bytes has at most 127 labels (RFC 1035, 3.1)
CATEGORY_LIMIT = 64  # bits of a mask

STEP_FACTOR = -7046029254386353131  # 2**64 / golden ratio, odd (Knuth, TAOCP 3, 6.4)
FINISH_FACTOR_1 = -49064778989728563  # the two factors of MurmurHash3's fmix64
FINISH_FACTOR_2 = -4265267296055464877


@shared
def mix_byte(state, byte):  # type: ignore[no-untyped-def]
    """The hash state after one more byte, an ASCII capital taken as the small letter.

    Reads: nothing. Writes: nothing. Returns: 64 bits. Bounds: constant.
    Source: multiply and fold as in FNV-1a, with a secret start and the high half folded into the low one each time.
    """
    if 65 <= byte <= 90:
        byte += 32
    state = (state ^ byte) * STEP_FACTOR
    return state ^ shr(state, 32)


@shared
def finish_hash(state, key):  # type: ignore[no-untyped-def]
    """The hash that belongs to a state: every bit of it depends on every bit of the state.

    Reads: nothing. Writes: nothing. Returns: 64 bits. Bounds: constant.
    Source: fmix64 of MurmurHash3 (public domain), keyed by the second half of the key.
    """
    value = state ^ key
    value = (value ^ shr(value, 33)) * FINISH_FACTOR_1
    value = (value ^ shr(value, 33)) * FINISH_FACTOR_2
    return value ^ shr(value, 33)


@shared
def find_set(names, value):  # type: ignore[no-untyped-def]
    """Find the address of the category set of the name with this hash.

    Reads: the head, one word of the filter, at most PROBE_LIMIT slots. Writes: nothing.
    Returns: an address; 0 when the name is not there.
    Bounds: PROBE_LIMIT turns.
    """
    bits = u64(names + SLOT_BITS)
    wanted = (1 << (value & 63)) | (1 << (shr(value, 6) & 63))
    word = u64(names + u64(names + FILTER_OFF) + shr(value, 64 - bits + FILTER_SHIFT) * 8)
    if word & wanted != wanted:
        return 0
    slot_at = names + u64(names + SLOTS_OFF) + shr(value, 64 - bits) * SLOT_BYTES
    tag = value & TAG_MASK
    for _ in range(PROBE_LIMIT):
        slot = u64(slot_at)
        if slot == 0:
            return 0
        if shr(slot, 16) == tag:
            return names + u64(names + SETS_OFF) + (slot & 0xFFFF) * SET_BYTES
        slot_at += SLOT_BYTES
    return 0


@shared
def find_categories(names, host, length):  # type: ignore[no-untyped-def]
    """Find the categories of a host: those of its own name and of every name above it that covers what lies below.

    Reads: names (the mapped file), host[0:length) (any case; dots at the end are ignored).
    Writes: nothing.
    Returns: a bit mask of categories; 0 for a host that no list has.
    Bounds: HOST_LIMIT dots at the end, HOST_LIMIT bytes, LABEL_LIMIT look-ups. Of a longer host the last HOST_LIMIT bytes
        are read, so that its parents are found all the same; it has no set of its own, as no list can hold it.
    """
    at = host + length - 1
    for _ in range(HOST_LIMIT):
        if at < host or u8(at) != 46:
            break
        at -= 1
    if at < host:
        return 0
    first = max(host, at - HOST_LIMIT + 1)
    state = u64(names + NAMES_KEY)
    key = u64(names + NAMES_KEY + 8)
    mask = 0
    labels = 0
    while at >= first:
        byte = u8(at)
        if byte == 46:
            found = find_set(names, finish_hash(state, key))
            if found != 0:
                mask |= u64(found + SET_BELOW)
            labels += 1
            if labels == LABEL_LIMIT:
                return mask
        state = mix_byte(state, byte)
        at -= 1
    if first == host:
        found = find_set(names, finish_hash(state, key))
        if found != 0:
            mask |= u64(found + SET_EXACT) | u64(found + SET_BELOW)
    return mask


@shared
def hash_names(text, end, key, out, limit):  # type: ignore[no-untyped-def]
    """Hash the names of [text, end), each ended by a line feed, for the table's builder.

    Reads: text[0:end), key (two words). Writes: out (one int64 a name).
    Returns: how many names were hashed.
    Bounds: end - text bytes, at most `limit` names.
    """
    count = 0
    while text < end and count < limit:
        line_end = text
        while line_end < end and u8(line_end) != 10:
            line_end += 1
        state = u64(key)
        at = line_end - 1
        while at >= text:
            state = mix_byte(state, u8(at))
            at -= 1
        put64(out + count * 8, finish_hash(state, u64(key + 8)))
        count += 1
        text = line_end + 1
    return count
