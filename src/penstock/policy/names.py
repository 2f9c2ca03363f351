"""The names database as compiled code reads it: a host in, the mask of its categories out.

    0      HEAD_BYTES
    +------+--------+-----------+--------+-----------+-----------------+------+
    | head | filter | slots     | filter | slots     | sets            | JSON |
    |      | of the names       | of the web addresses, see `urls`     |      |
    +------+--------+-----------+--------+-----------+-----------------+------+
             64 ...   tag 48 | set 16 ...              four masks of 64

A name is known only by its keyed 64-bit hash, taken from the last byte to the first, so that one pass over a host
yields the hash of every parent on the way. The top `TABLE_BITS` bits of a hash are its home slot, the low 48 bits its tag.
Names lie in the order of their hashes, each as near behind its home as it can (no wrap: the table has a tail), and a
look-up ends at the first empty slot. Most names asked for are in no list: the filter (Bloom, two bits a name in one word)
says so from a sixteenth of the memory, which stays in the processor's cache.

A set says of one name which categories it puts a host into, and out of which it takes it: the host of exactly this name,
and the hosts below it. From the last label to the first each name has its say, so the entry nearest to the host decides,
for each category by itself.

It does not know what a category means, who writes the file (`control.lists`) or which format a list had.
The key keeps a stranger from choosing two names with one hash; it is no secret that protects anything else.
"""

from penstock.compile.memory import prefetch, put64, shared, shr, u8, u64

MAGIC = 0x01534D414E4E4550  # the bytes "PENNAMS", then 1
VERSION = 2

# The head: one int64 each.
NAMES_MAGIC = 0
NAMES_VERSION = 8
NAMES_KEY = 16  # two words
SETS_OFF = 32
SET_COUNT = 40  # set 0 is never used: a slot of 0 is empty
BUILT_NS = 48  # since 1970
METADATA_OFF = 56
METADATA_BYTES = 64
FILE_BYTES = 72
NAMES_TABLE = 80
URLS_TABLE = 112
HEAD_BYTES = 192

# One table of the head.
TABLE_FILTER_OFF = 0
TABLE_SLOTS_OFF = 8
TABLE_BITS = 16  # the table has 2**TABLE_BITS homes and PROBE_LIMIT slots behind the last
TABLE_COUNT = 24
NAME_COUNT = NAMES_TABLE + TABLE_COUNT
URL_COUNT = URLS_TABLE + TABLE_COUNT

SLOT_BYTES = 8
FILTER_SHIFT = 4  # one word of the filter for 16 slots: half a byte per slot, two bits per name
SET_BYTES = 32
SET_HERE = 0  # this very name is in these categories,
SET_NOT_HERE = 8  # and not in these, whatever lies above it
SET_BELOW = 16  # the same of what lies below it
SET_NOT_BELOW = 24
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
def fold_byte(state, byte):  # type: ignore[no-untyped-def]
    """The hash state after one more byte.

    Reads: nothing. Writes: nothing. Returns: 64 bits. Bounds: constant.
    Source: multiply and fold as in FNV-1a, with a secret start and the high half folded into the low one each time.
    """
    state = (state ^ byte) * STEP_FACTOR
    return state ^ shr(state, 32)


@shared
def mix_byte(state, byte):  # type: ignore[no-untyped-def]
    """The hash state after one more byte of a name, an ASCII capital taken as the small letter."""
    if 65 <= byte <= 90:
        byte += 32
    return fold_byte(state, byte)


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
def find_set(names, table, value):  # type: ignore[no-untyped-def]
    """Find the address of the category set that belongs to this hash.

    Reads: the head, of the table (NAMES_TABLE or URLS_TABLE) one word of the filter and at most PROBE_LIMIT slots.
    Writes: nothing.
    Returns: an address; 0 when the hash is not there.
    Bounds: PROBE_LIMIT turns.
    """
    bits = u64(names + table + TABLE_BITS)
    wanted = (1 << (value & 63)) | (1 << (shr(value, 6) & 63))
    word = u64(names + u64(names + table + TABLE_FILTER_OFF) + shr(value, 64 - bits + FILTER_SHIFT) * 8)
    if word & wanted != wanted:
        return 0
    slot_at = names + u64(names + table + TABLE_SLOTS_OFF) + shr(value, 64 - bits) * SLOT_BYTES
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
def prefetch_set(names, table, value):  # type: ignore[no-untyped-def]
    """Have fetched what `find_set` is going to read: of the millions of lines of a large table none is in the cache."""
    bits = u64(names + table + TABLE_BITS)
    prefetch(names + u64(names + table + TABLE_FILTER_OFF) + shr(value, 64 - bits + FILTER_SHIFT) * 8)
    prefetch(names + u64(names + table + TABLE_SLOTS_OFF) + shr(value, 64 - bits) * SLOT_BYTES)


@shared
def apply_set(mask, found, part):  # type: ignore[no-untyped-def]
    """The categories of a host after a set's say (SET_HERE or SET_BELOW); of no set (0) those that it had."""
    if found == 0:
        return mask
    return (mask & ~u64(found + (part ^ 8))) | u64(found + part)


@shared
def find_mask(names, host, length, here, below):  # type: ignore[no-untyped-def]
    """Find what the entries nearest to a host put it into (SET_HERE, SET_BELOW), or take it out of (the other two).

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
    near, middle, far = 0, 0, 0  # hashes of names above the host whose look-up waits for memory while hashing goes on
    while at >= first:
        byte = u8(at)
        if byte == 46:
            if labels >= 3:
                mask = apply_set(mask, find_set(names, NAMES_TABLE, far), below)
            far, middle, near = middle, near, finish_hash(state, key)
            prefetch_set(names, NAMES_TABLE, near)
            labels += 1
            if labels == LABEL_LIMIT:
                break
        state = mix_byte(state, byte)
        at -= 1
    whole = finish_hash(state, key)
    prefetch_set(names, NAMES_TABLE, whole)
    if labels >= 3:
        mask = apply_set(mask, find_set(names, NAMES_TABLE, far), below)
    if labels >= 2:
        mask = apply_set(mask, find_set(names, NAMES_TABLE, middle), below)
    if labels >= 1:
        mask = apply_set(mask, find_set(names, NAMES_TABLE, near), below)
    if first == host and labels < LABEL_LIMIT:
        mask = apply_set(mask, find_set(names, NAMES_TABLE, whole), here)
    return mask


@shared
def find_categories(names, host, length):  # type: ignore[no-untyped-def]
    """Find the categories of a host: in each, the nearest entry decides, of its own name or of a name above it.

    Reads, writes, returns, bounds: as `find_mask`.
    """
    return find_mask(names, host, length, SET_HERE, SET_BELOW)


@shared
def find_exceptions(names, host, length):  # type: ignore[no-untyped-def]
    """Find the categories out of which the nearest entry takes a host. As `find_categories`."""
    return find_mask(names, host, length, SET_NOT_HERE, SET_NOT_BELOW)


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
