"""The only code that decides: a profile and a host in, an action out.

It knows neither packets nor protocols, neither time nor flows; whoever asks for several hosts asks once for each.
A host in several categories gets the action of the first of them, in the order of the configuration's services; a category
that is only reported never outranks one that is acted on, else a report would open what another service refuses.
"""

from penstock.compile.memory import count_trailing_zeros, put64, shared, u8, u64
from penstock.policy.actions import FORWARD, REPORT
from penstock.policy.layout import (
    PROFILE_OFF,
    PROFILE_PROBES,
    PROFILE_RECORD_BYTES,
    PROFILE_TAG,
    PROFILES_MASK,
    PROFILES_OFF,
    REPORT_ONLY,
)
from penstock.policy.names import CATEGORY_LIMIT, find_categories
from penstock.policy.urls import find_url_categories

# One profile: what a subscriber switched on. The arrays have one byte per category.
PROFILE_MASK = 0  # categories with any action, int64
PROFILE_ACTIONS = 8
PROFILE_RANKS = PROFILE_ACTIONS + CATEGORY_LIMIT  # 0 is decided first; ranks of one profile differ
PROFILE_SERVICES = PROFILE_RANKS + CATEGORY_LIMIT  # index of the service
PROFILE_LEVELS = PROFILE_SERVICES + CATEGORY_LIMIT  # of rewrites.GROUP_NAMES, a byte each
PROFILE_ECH = PROFILE_LEVELS + 4  # KEEP, REMOVE or REFUSE
PROFILE_BYTES = PROFILE_LEVELS + 8
PROFILE_UNRESOLVED = PROFILE_LEVELS + 5  # what a hello for a name gets that its client never resolved
UNRESOLVED_IGNORED, UNRESOLVED_REPORTED, UNRESOLVED_BLOCKED = 0, 1, 2
ECH_KEEP, ECH_REMOVE, ECH_REFUSE = 0, 1, 2

# What `judge` writes, one int64 each.
OUT_CATEGORY = 0  # the deciding category's bit number, or -1
OUT_SERVICE = 8  # index of its service, or -1
OUT_WOULD = 16  # the action without report-only mode
OUT_BYTES = 24


@shared
def find_first(profile, hits):  # type: ignore[no-untyped-def]
    """Find the category that decides among those hit.

    Reads: profile. Writes: nothing. Returns: a bit number; -1 when `hits` is 0. Bounds: CATEGORY_LIMIT turns.
    """
    first = -1
    best_rank = 256
    for _ in range(CATEGORY_LIMIT):
        if hits == 0:
            return first
        category = count_trailing_zeros(hits)
        hits &= hits - 1
        rank = u8(profile + PROFILE_RANKS + category)
        if rank < best_rank:
            best_rank = rank
            first = category
    return first


@shared
def find_profile(snapshot, tag):  # type: ignore[no-untyped-def]
    """The profile with this tag, or 0 for none and for one that this snapshot lacks. Bounds: PROFILE_PROBES records."""
    if tag == 0:
        return 0
    table, mask = snapshot + u64(snapshot + PROFILES_OFF), u64(snapshot + PROFILES_MASK)
    for turn in range(PROFILE_PROBES):
        record = table + ((tag + turn) & mask) * PROFILE_RECORD_BYTES
        if u64(record + PROFILE_TAG) == tag:
            return snapshot + u64(record + PROFILE_OFF)
        if u64(record + PROFILE_TAG) == 0:
            return 0
    return 0


@shared
def judge(snapshot, names, profile, host, length, out):  # type: ignore[no-untyped-def]
    """Judge one host by one profile.

    Reads: snapshot, names (mapped files that belong together), profile (`find_profile`), host[0:length) (any case).
    Writes: out[0:OUT_BYTES): category, service, and the action it would be without report-only mode.
    Returns: FORWARD, REPORT, BLOCK, REDIRECT or EMPTY. FORWARD without a profile (0), and for a request without a host
        (length 0).
    Bounds: those of `find_categories` and `find_first`.
    """
    if _begin(profile, out) == 0:
        return FORWARD
    return _decide(snapshot, profile, find_categories(names, host, length), out)


@shared
def judge_url(snapshot, names, profile, host, length, target, target_bytes, scratch, out):  # type: ignore[no-untyped-def]
    """The same for a request for a path of the host: what the lists say of web addresses counts too.

    Reads: as `judge`, and target[0:target_bytes). Writes: out; scratch[0:urls.SCRATCH_BYTES).
    """
    if _begin(profile, out) == 0:
        return FORWARD
    hits = find_url_categories(names, host, length, target, target_bytes, scratch)
    return _decide(snapshot, profile, hits, out)


@shared
def _begin(profile, out):  # type: ignore[no-untyped-def]
    """Nothing decided so far. Returns: the categories that the profile acts on."""
    put64(out + OUT_CATEGORY, -1)
    put64(out + OUT_SERVICE, -1)
    put64(out + OUT_WOULD, FORWARD)
    return u64(profile + PROFILE_MASK) if profile else 0


@shared
def _decide(snapshot, profile, hits, out):  # type: ignore[no-untyped-def]
    """The action for what was hit. Writes: out."""
    hits &= u64(profile + PROFILE_MASK)
    if hits == 0:
        return FORWARD
    category = find_first(profile, hits)
    action = u8(profile + PROFILE_ACTIONS + category)
    put64(out + OUT_CATEGORY, category)
    put64(out + OUT_SERVICE, u8(profile + PROFILE_SERVICES + category))
    put64(out + OUT_WOULD, action)
    if u64(snapshot + REPORT_ONLY) != 0:
        return REPORT
    return action
