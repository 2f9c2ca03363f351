"""Which requests hooks are to be asked about, as compiled code finds out: filters of an operator's project, in a snapshot.

    | hosts' mask | filters: FILTER_BYTES each | hosts: hash, mask of filters; an open table |

A filter says no more than it can hold: what does not fit (ports, tags, hosts beyond its room) is taken as everything, for
the hook process decides again (`hooks.filters.Filter.matches` is the meaning). So this says yes too often, never no.
Refuses to know hooks. `control.filters` writes it.
"""

from penstock.compile.memory import shared, u8, u64
from penstock.policy.layout import FILTERS_COUNT, FILTERS_OFF, NAMES_KEY_COPY
from penstock.policy.names import HOST_LIMIT, URL_COUNT, find_categories, finish_hash, mix_byte
from penstock.policy.urls import find_url_categories

FILTER_LIMIT = 64  # bits of a mask
PORT_LIMIT, TAG_LIMIT = 8, 16
HOSTS_LIMIT = 4096  # hosts of all filters together
HOST_PROBES = 64

FILTERS_HOSTS_MASK, FILTERS_HEAD_BYTES = 0, 8  # the mask of the table of hosts; -1: there is none
FILTER_PROTOCOLS = 0  # a bit for each protocol of an event
FILTER_CATEGORIES, FILTER_HAS_CATEGORIES = 8, 16
FILTER_PORT_COUNT, FILTER_PORTS = 24, 32  # count -1: every port; first << 16 | last
FILTER_TAG_COUNT, FILTER_TAGS = FILTER_PORTS + 8 * PORT_LIMIT, FILTER_PORTS + 8 * PORT_LIMIT + 8  # -1: every profile
FILTER_ANY_HOST = FILTER_TAGS + 8 * TAG_LIMIT
FILTER_BYTES = FILTER_ANY_HOST + 8
HOST_HASH, HOST_MASK, HOST_BYTES = 0, 8, 16  # mask 0: empty


@shared
def _has_port(filter_, port):  # type: ignore[no-untyped-def]
    count = u64(filter_ + FILTER_PORT_COUNT)
    for number in range(PORT_LIMIT):
        if number >= count:
            break
        ports = u64(filter_ + FILTER_PORTS + 8 * number)
        if port >= ports >> 16 and port <= ports & 0xFFFF:
            return True
    return count < 0


@shared
def _has_tag(filter_, tag):  # type: ignore[no-untyped-def]
    count = u64(filter_ + FILTER_TAG_COUNT)
    for number in range(TAG_LIMIT):
        if number >= count:
            break
        if u64(filter_ + FILTER_TAGS + 8 * number) == tag:
            return True
    return count < 0


@shared
def _find_hash(table, mask, value):  # type: ignore[no-untyped-def]
    """The filters that have a host. Bounds: HOST_PROBES."""
    for turn in range(HOST_PROBES):
        entry = table + ((value + turn) & mask) * HOST_BYTES
        if u64(entry + HOST_MASK) == 0:
            return 0
        if u64(entry + HOST_HASH) == value:
            return u64(entry + HOST_MASK)
    return 0


@shared
def find_hosts(snapshot, host, length):  # type: ignore[no-untyped-def]
    """The filters that have a host, or a name above it: a bit each. Bounds: HOST_LIMIT bytes and as many look-ups."""
    block = snapshot + u64(snapshot + FILTERS_OFF)
    table, mask = block + FILTERS_HEAD_BYTES + u64(snapshot + FILTERS_COUNT) * FILTER_BYTES, u64(block)
    if mask < 0:
        return 0
    at, found, state, key = host + length - 1, 0, u64(snapshot + NAMES_KEY_COPY), u64(snapshot + NAMES_KEY_COPY + 8)
    for _ in range(HOST_LIMIT):
        if at < host or u8(at) != 46:
            break
        at -= 1
    last = at
    for _ in range(HOST_LIMIT):
        if at < host:
            break
        if u8(at) == 46:
            found |= _find_hash(table, mask, finish_hash(state, key))
        state = mix_byte(state, u8(at))
        at -= 1
    return found | _find_hash(table, mask, finish_hash(state, key)) if last >= host else 0


@shared
def find_all_categories(names, host, length, target, target_bytes, scratch):  # type: ignore[no-untyped-def]
    """The categories of a request, whoever asks: those of its host, and what lists say of its path. A mask."""
    if length == 0:
        return 0
    if target_bytes and u64(names + URL_COUNT):
        return find_url_categories(names, host, length, target, target_bytes, scratch)
    return find_categories(names, host, length)


@shared
def find_filter(snapshot, proto, port, tag, hits, host, length):  # type: ignore[no-untyped-def]
    """Is there a filter that this request may match?

    Reads: snapshot; host[0:length) (any case); hits: its categories, by `find_all_categories`.
    Bounds: FILTER_LIMIT filters, and those of `find_hosts`, once.
    """
    count = u64(snapshot + FILTERS_COUNT)
    block, hosts, is_read = snapshot + u64(snapshot + FILTERS_OFF) + FILTERS_HEAD_BYTES, 0, False
    for number in range(FILTER_LIMIT):
        if number >= count:
            break
        filter_ = block + number * FILTER_BYTES
        if u64(filter_ + FILTER_PROTOCOLS) >> proto & 1 == 0:
            continue
        if u64(filter_ + FILTER_HAS_CATEGORIES) and u64(filter_ + FILTER_CATEGORIES) & hits == 0:
            continue
        if not _has_port(filter_, port) or not _has_tag(filter_, tag):
            continue
        if u64(filter_ + FILTER_ANY_HOST):
            return True
        if not is_read:
            hosts, is_read = find_hosts(snapshot, host, length), True
        if hosts >> number & 1:
            return True
    return False
