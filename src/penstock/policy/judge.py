"""The only code that decides: what a subscriber switched on and a host in, an action out.

It knows neither packets nor protocols, neither time nor flows; whoever asks for several hosts asks once for each.

    court orders ─► his own list ─► rules: of those whose category has the host and whose service is on, the first

Rules stand in the order of the configuration's services; one that warns stands behind those that refuse, and one that only
reports behind all others, else who goes on, or a report, would open what another service refuses. A category's rules lie
together, each with its place in the order of all.
"""

from penstock.compile.memory import count_trailing_zeros, put64, shared, u8, u16, u32, u64
from penstock.policy.actions import BLOCK, FORWARD, REPORT
from penstock.policy.layout import (
    CATEGORY_FIRST,
    CATEGORY_RECORD_BYTES,
    CATEGORY_RULES,
    CATEGORY_SERVICES,
    COURT_CATEGORIES,
    REPORT_ONLY,
    RULE_ACTION,
    RULE_BYTES,
    RULE_RANK,
    RULE_SERVICE,
    RULE_WOULD,
    RULES_OFF,
)
from penstock.policy.names import CATEGORY_LIMIT, find_categories
from penstock.policy.urls import find_url_categories

SERVICE_LIMIT = 64  # a bit of a word each

# His own list: what it says of a host.
OWN_NOTHING, OWN_ALLOW, OWN_DENY = 0, 1, 2

# What `judge` writes, one int64 each.
OUT_CATEGORY = 0  # the deciding category's bit number, or -1
OUT_SERVICE = 8  # its service's bit number, or -1
OUT_WOULD = 16  # the action without report-only mode
OUT_WHY = 24  # who decides
OUT_BYTES = 32
BY_NOBODY, BY_SERVICE, BY_COURT, BY_OWN_LIST, BY_OVERRIDE = 0, 1, 2, 3, 4  # the last one is `path.hosts`' word


@shared
def find_rule(snapshot, services, hits):  # type: ignore[no-untyped-def]
    """Find the rule that decides among those of the categories hit.

    Reads: snapshot. Writes: nothing. Returns: the rule's offset << 8 | category; -1 for none.
    Bounds: CATEGORY_LIMIT categories, SERVICE_LIMIT rules each.
    """
    records, best, best_rank = snapshot + u64(snapshot + RULES_OFF), -1, 1 << 16
    for _ in range(CATEGORY_LIMIT):
        if hits == 0:
            return best
        category = count_trailing_zeros(hits)
        hits &= hits - 1
        record = records + category * CATEGORY_RECORD_BYTES
        if u64(record + CATEGORY_SERVICES) & services == 0:
            continue
        rule = u32(record + CATEGORY_FIRST)
        for _ in range(u32(record + CATEGORY_RULES)):
            rank = u16(snapshot + rule + RULE_RANK)
            if rank >= best_rank:
                break  # they are in order
            if services >> u8(snapshot + rule + RULE_SERVICE) & 1:
                best, best_rank = rule << 8 | category, rank
                break
            rule += RULE_BYTES
    return best


@shared
def judge(snapshot, names, services, own, host, length, out):  # type: ignore[no-untyped-def]
    """Judge one host for one subscriber.

    Reads: snapshot, names (mapped files that belong together), services (a bit for each that is on), own (what his own list
        says of the host: OWN_*), host[0:length) (any case).
    Writes: out[0:OUT_BYTES): category, service, the action it would be without report-only mode, and who decides.
    Returns: an action. FORWARD for whom nothing holds, and for a request without a host (length 0).
    Bounds: those of `find_categories` and `find_rule`.
    """
    if _begin(snapshot, services, own, out) == 0:
        return FORWARD
    hits = 0
    if services | u64(snapshot + COURT_CATEGORIES):
        hits = find_categories(names, host, length)
    return _decide(snapshot, services, own, hits, out)


@shared
def judge_url(snapshot, names, services, own, host, length, target, target_bytes, scratch, out):  # type: ignore[no-untyped-def]
    """The same for a request for a path of the host: what the lists say of web addresses counts too.

    Reads: as `judge`, and target[0:target_bytes). Writes: out; scratch[0:urls.SCRATCH_BYTES).
    """
    if _begin(snapshot, services, own, out) == 0:
        return FORWARD
    hits = 0
    if services | u64(snapshot + COURT_CATEGORIES):
        hits = find_url_categories(names, host, length, target, target_bytes, scratch)
    return _decide(snapshot, services, own, hits, out)


@shared
def _begin(snapshot, services, own, out):  # type: ignore[no-untyped-def]
    """Nothing decided so far. Returns: 0 when nothing can be."""
    put64(out + OUT_CATEGORY, -1)
    put64(out + OUT_SERVICE, -1)
    put64(out + OUT_WOULD, FORWARD)
    put64(out + OUT_WHY, BY_NOBODY)
    return services | own | u64(snapshot + COURT_CATEGORIES)


@shared
def _decide(snapshot, services, own, hits, out):  # type: ignore[no-untyped-def]
    """The action for what was hit. Writes: out."""
    action, would = FORWARD, FORWARD
    ordered = hits & u64(snapshot + COURT_CATEGORIES)
    if ordered:
        put64(out + OUT_CATEGORY, count_trailing_zeros(ordered))
        put64(out + OUT_WHY, BY_COURT)
        action = would = BLOCK
    elif own != OWN_NOTHING:
        put64(out + OUT_WHY, BY_OWN_LIST)
        action = would = BLOCK if own == OWN_DENY else FORWARD
    else:
        found = find_rule(snapshot, services, hits)
        if found < 0:
            return FORWARD
        rule = snapshot + (found >> 8)
        put64(out + OUT_CATEGORY, found & 0xFF)
        put64(out + OUT_SERVICE, u8(rule + RULE_SERVICE))
        put64(out + OUT_WHY, BY_SERVICE)
        action, would = u8(rule + RULE_ACTION), u8(rule + RULE_WOULD)
    put64(out + OUT_WOULD, would)
    if u64(snapshot + REPORT_ONLY) != 0 and action > REPORT:
        return REPORT
    return action
