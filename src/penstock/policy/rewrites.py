"""Names whose DNS answer the policy writes itself: SafeSearch, YouTube's restricted modes, canaries that must not resolve.

    slots: | hash | group | covers what is below | plan at level 1 | plan at level 2 |      open addressing, hash 0: empty

A name is known by the hash that the names database gives it, so that one pass over a host finds its own entry and those
of the names above it. A subscriber has a level for each group (`policy.switches`); level 0 is off. What a plan says is
`answer.dns`'s business; here it is an offset. It does not know who fills the table.
"""

from penstock.compile.memory import shared, shr, u8, u64
from penstock.policy.layout import REWRITES_MASK, REWRITES_OFF
from penstock.policy.names import HOST_LIMIT, NAMES_KEY, finish_hash, mix_byte
from penstock.policy.switches import SWITCH_MASK

CANARY, SAFE_SEARCH, YOUTUBE = 0, 1, 2
GROUP_NAMES = ("canary", "safe_search", "youtube")

REWRITE_HASH, REWRITE_GROUP, REWRITE_BELOW, REWRITE_PLANS = 0, 8, 16, 24
REWRITE_BYTES = 40
PROBE_LIMIT = 32  # slots; the table is at most half full


@shared
def home_slot(value, mask):  # type: ignore[no-untyped-def]
    """Where the search for a hash begins."""
    return shr(value, 40) & mask


@shared
def _find_plan(snapshot, value, switches, is_below):  # type: ignore[no-untyped-def]
    """The plan for the name with this hash at the subscriber's level, or 0. Bounds: PROBE_LIMIT."""
    mask, table = u64(snapshot + REWRITES_MASK), snapshot + u64(snapshot + REWRITES_OFF)
    slot = home_slot(value, mask)
    for _ in range(PROBE_LIMIT):
        entry = table + slot * REWRITE_BYTES
        if u64(entry + REWRITE_HASH) == 0:
            return 0
        if u64(entry + REWRITE_HASH) == value:
            level = switches >> 2 * u64(entry + REWRITE_GROUP) & SWITCH_MASK
            if level == 0 or (is_below and u64(entry + REWRITE_BELOW) == 0):
                return 0
            return u64(entry + REWRITE_PLANS + 8 * (level - 1))
        slot = (slot + 1) & mask
    return 0


@shared
def find_rewrite(snapshot, names, switches, host, length):  # type: ignore[no-untyped-def]
    """Find the answer that a subscriber wants for a host.

    Reads: snapshot, names (their key), host[0:length) (any case).
    Returns: the plan's offset from the start of the snapshot, 0 for none. Bounds: HOST_LIMIT bytes, a look-up a label.
    """
    if u64(snapshot + REWRITES_MASK) == 0 or length > HOST_LIMIT:
        return 0
    state, key, plan = u64(names + NAMES_KEY), u64(names + NAMES_KEY + 8), 0
    at = host + length - 1
    while at >= host:
        byte = u8(at)
        if byte == 46:
            found = _find_plan(snapshot, finish_hash(state, key), switches, True)
            plan = found if found else plan
        state = mix_byte(state, byte)
        at -= 1
    found = _find_plan(snapshot, finish_hash(state, key), switches, False)
    return found if found else plan
