"""Addresses to subscribers: one open-addressing table per prefix length in use, asked from the longest to the shortest.

    directory, one record per length: | mask high | mask low | table off | slot mask |
    table, one record per prefix:     | address high | address low | scope | subscriber + 1 (0: empty) |

An address is 16 bytes as in IPv6; an IPv4 address is ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). A scope keeps apart networks that
use the same addresses. A trie costs a cache miss per level (the kernel's LPM trie was measured at 665 ns with a million
entries), hence the tables and the bound on their number. It does not know what a subscriber has chosen.
"""

from penstock.compile.memory import be64, put64, shared, shr, u64
from penstock.policy.layout import LENGTH_COUNT, LENGTHS_OFF, SNAPSHOT_KEY

LENGTH_LIMIT = 8  # prefix lengths in use, both families together
PROBE_LIMIT = 64  # slots; tables are at most half full

# One record of the directory of lengths, longest first.
LENGTH_HIGH = 0  # the mask of the address's first 8 bytes
LENGTH_LOW = 8
LENGTH_TABLE_OFF = 16  # from the start of the snapshot
LENGTH_SLOT_MASK = 24  # slots - 1, a power of two less one
LENGTH_BITS = 32  # 0..128
LENGTH_BYTES = 40

# One slot of a table.
PREFIX_HIGH = 0
PREFIX_LOW = 8
PREFIX_SCOPE = 16
PREFIX_SUBSCRIBER = 24  # subscriber + 1; 0: empty
PREFIX_BYTES = 32

FACTOR_1 = -7046029254386353131
FACTOR_2 = -4265267296055464877


@shared
def hash_prefix(high, low, scope, key):  # type: ignore[no-untyped-def]
    """Hash the two halves of a masked address and its scope.

    Reads: nothing. Writes: nothing. Returns: 64 bits. Bounds: constant. Source: MurmurHash3's fmix64, once per word.
    """
    value = (key ^ high) * FACTOR_1
    value = ((value ^ shr(value, 32)) ^ low) * FACTOR_2
    value = ((value ^ shr(value, 29)) ^ scope) * FACTOR_1
    return value ^ shr(value, 32)


@shared
def find_subscriber(snapshot, address16, scope):  # type: ignore[no-untyped-def]
    """Find whose address this is: the subscriber of the longest prefix that holds it.

    Reads: snapshot (mapped), address16[0:16). Writes: nothing.
    Returns: the subscriber's index in the snapshot; -1 when no prefix holds the address.
    Bounds: LENGTH_LIMIT tables, PROBE_LIMIT slots each.
    """
    high = be64(address16)
    low = be64(address16 + 8)
    key = u64(snapshot + SNAPSHOT_KEY)
    record = snapshot + u64(snapshot + LENGTHS_OFF)
    count = u64(snapshot + LENGTH_COUNT)
    for number in range(LENGTH_LIMIT):
        if number >= count:
            return -1
        masked_high = high & u64(record + LENGTH_HIGH)
        masked_low = low & u64(record + LENGTH_LOW)
        table = snapshot + u64(record + LENGTH_TABLE_OFF)
        slot_mask = u64(record + LENGTH_SLOT_MASK)
        home = hash_prefix(masked_high, masked_low, scope, key)
        for turn in range(PROBE_LIMIT):
            slot = table + ((home + turn) & slot_mask) * PREFIX_BYTES
            subscriber = u64(slot + PREFIX_SUBSCRIBER)
            if subscriber == 0:
                break
            if (
                u64(slot + PREFIX_HIGH) == masked_high
                and u64(slot + PREFIX_LOW) == masked_low
                and u64(slot + PREFIX_SCOPE) == scope
            ):
                return subscriber - 1
        record += LENGTH_BYTES
    return -1


@shared
def place_prefixes(table, slot_mask, key, prefixes, count):  # type: ignore[no-untyped-def]
    """Put `count` prefixes, records as in the table, into an empty table, for the snapshot's builder.

    Reads: prefixes. Writes: table. Returns: 1; 0 when a prefix found no slot within PROBE_LIMIT of its home.
    Bounds: count * PROBE_LIMIT turns.
    """
    for number in range(count):
        prefix = prefixes + number * PREFIX_BYTES
        home = hash_prefix(u64(prefix + PREFIX_HIGH), u64(prefix + PREFIX_LOW), u64(prefix + PREFIX_SCOPE), key)
        placed = 0
        for turn in range(PROBE_LIMIT):
            slot = table + ((home + turn) & slot_mask) * PREFIX_BYTES
            if u64(slot + PREFIX_SUBSCRIBER) == 0:
                for word in range(0, PREFIX_BYTES, 8):
                    put64(slot + word, u64(prefix + word))
                placed = 1
                break
        if placed == 0:
            return 0
    return 1
