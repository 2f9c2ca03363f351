"""From hosts read to a decision: judges each name of a request, and tells of it.

A request may name several hosts (target and Host fields); it is allowed only when each of them is.
"""

from penstock.compile.memory import put64, shared, u32, u64
from penstock.flow.bindings import OFFERED_ECH, RESOLVED, hash_address, hash_name, put_binding, read_binding
from penstock.flow.stream import POOL_NOW_MS
from penstock.kernel.reasons import (
    ALLOWED,
    BLOCKED,
    COURT_ORDER,
    ENCRYPTED_DNS,
    ENCRYPTED_HELLO,
    OWN_LIST,
    REPORTED,
    UNRESOLVED,
)
from penstock.kernel.tables import (
    CONTROL_HASH_KEY,
    FLOW_CLIENT,
    FLOW_PORTS,
    FLOW_SCOPE,
    FLOW_SERVER,
    SCOPE_MASK,
    SUBSCRIBER_BYTES,
    SUBSCRIBER_FLAGS,
    SUBSCRIBER_NAMES,
    SUBSCRIBER_PAUSED,
    SUBSCRIBER_SERVICES,
    SUBSCRIBER_SWITCHES,
    UP_ACK,
    UP_KEY,
    UP_OWNER,
    UP_SEQ,
)
from penstock.path.events import EVENT_HAS_ECH, EVENT_IS_REQUEST, EVENT_OVERRIDDEN, EVENT_UNRESOLVED, write_event
from penstock.path.layout import (
    ALL_REQUESTS,
    D_HOST,
    D_MAPPED,
    UNIT_HOST,
    UNIT_HOST_BYTES,
    W_BINDINGS,
    W_CONTROL,
    W_DNS,
    W_JUDGED,
    W_NAMES,
    W_OPTIONS,
    W_OWN_NAMES,
    W_OWN_NAMES_MASK,
    W_POOL,
    W_SECRET,
    W_SNAPSHOT,
    W_SUBSCRIBER_MASK,
    W_SUBSCRIBERS,
    W_TARGET,
    W_TARGET_BYTES,
    W_URLS,
)
from penstock.path.overrides import is_overridden
from penstock.path.sample import sample_request
from penstock.policy.actions import BLOCK, FORWARD, REPORT, WARN
from penstock.policy.addresses import write_address
from penstock.policy.judge import (
    BY_COURT,
    BY_NOBODY,
    BY_OVERRIDE,
    BY_OWN_LIST,
    OUT_CATEGORY,
    OUT_SERVICE,
    OUT_WHY,
    OUT_WOULD,
    OWN_NOTHING,
    judge,
    judge_url,
)
from penstock.policy.layout import DOT_REFUSED, PAGE_ADDRESS_4, PAGE_ADDRESS_6, REPORT_ONLY
from penstock.policy.names import URL_COUNT
from penstock.policy.own_names import find_own
from penstock.policy.switches import (
    ECH_KEEP,
    ECH_REFUSE,
    ECH_SHIFT,
    SWITCH_MASK,
    UNRESOLVED_BLOCKED,
    UNRESOLVED_IGNORED,
    UNRESOLVED_SHIFT,
)
from penstock.request.http_state import HOST_COUNT, HOST_LIMIT, HOST_SPANS, SPAN_BYTES, SPAN_OFF, SPAN_STRIDE
from penstock.wire.headers import mix

RESOLVED_MS = 3_433_000  # an hour, in milliseconds of 2^20 ns
DOT_PORT = 853  # RFC 7858 3.1, RFC 9250 4.1.1
DNS_PORT = 53


@shared
def identify(w, u, marker):  # type: ignore[no-untyped-def]
    """The reference number of a request: a keyed hash of its flow and place, so that a repetition has the same one."""
    state = mix(u64(w + W_SECRET), u64(u + UP_KEY + FLOW_CLIENT))
    state = mix(state, u64(u + UP_KEY + FLOW_CLIENT + 8))
    state = mix(state, u64(u + UP_KEY + FLOW_SERVER))
    state = mix(state, u64(u + UP_KEY + FLOW_SERVER + 8))
    state = mix(state, u64(u + UP_KEY + FLOW_PORTS))  # and the scope
    return mix(mix(state, marker), u64(w + W_SECRET))


@shared
def marker_of(u):  # type: ignore[no-untyped-def]
    """What tells a request of a TCP flow from the others: where it stands."""
    return u32(u + UP_SEQ) << 32 | u32(u + UP_ACK)


@shared
def subscriber_of(w, u):  # type: ignore[no-untyped-def]
    """The number of the subscriber behind the packet's client, as the kernel found it; 0 for nobody."""
    return u64(u + UP_OWNER)


@shared
def line_of(w, u):  # type: ignore[no-untyped-def]
    """What holds for the packet's client now: his line."""
    return u64(w + W_SUBSCRIBERS) + (u64(u + UP_OWNER) & u64(w + W_SUBSCRIBER_MASK)) * SUBSCRIBER_BYTES


@shared
def switches_of(w, u):  # type: ignore[no-untyped-def]
    """What holds for the packet's client beside his services (policy.switches); 0: nothing does."""
    return u32(line_of(w, u) + SUBSCRIBER_SWITCHES)


@shared
def wants_ech(switches):  # type: ignore[no-untyped-def]
    """Is ECH left alone for him?"""
    return switches >> ECH_SHIFT & SWITCH_MASK == ECH_KEEP


@shared
def is_paused(w, u):  # type: ignore[no-untyped-def]
    """Is the packet's subscriber to reach nothing? (DNS goes on: a name that was absent would stay so for a while.)"""
    is_dns = u32(u + UP_KEY + FLOW_PORTS) & 0xFFFF == DNS_PORT
    return u32(line_of(w, u) + SUBSCRIBER_FLAGS) & SUBSCRIBER_PAUSED and not is_dns


@shared
def secret_of(w, u):  # type: ignore[no-untyped-def]
    """The key of what is remembered of clients: one for each scope, where others have the same addresses."""
    return u64(w + W_SECRET) ^ (u32(u + UP_KEY + FLOW_SCOPE) & SCOPE_MASK)


@shared
def judge_host(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """The action for one host (0 bytes: a request without a name), with the path that W_TARGET shows of it; W_JUDGED says
    which category and service."""
    snapshot, names, out, line = u64(w + W_SNAPSHOT), u64(w + W_NAMES), w + W_JUDGED, line_of(w, u)
    services, own = u64(line + SUBSCRIBER_SERVICES), OWN_NOTHING
    if u32(line + SUBSCRIBER_FLAGS) & SUBSCRIBER_NAMES:
        own = find_own_of(w, u, host, host_bytes)
    size = u64(w + W_TARGET_BYTES)
    if size and u64(names + URL_COUNT):
        target, scratch = u64(w + W_TARGET), u64(w + W_URLS)
        action = judge_url(snapshot, names, services, own, host, host_bytes, target, size, scratch, out)
    else:
        action = judge(snapshot, names, services, own, host, host_bytes, out)
    if action == WARN and is_overridden(w, u, host, host_bytes):
        put64(out + OUT_WHY, BY_OVERRIDE)
        return REPORT
    return action


@shared
def find_own_of(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """What the own list of the packet's client says of a host."""
    secret = u64(u64(w + W_CONTROL) + CONTROL_HASH_KEY)
    return find_own(u64(w + W_OWN_NAMES), u64(w + W_OWN_NAMES_MASK), secret, u64(u + UP_OWNER), host, host_bytes)


@shared
def reason_of_refusal(w):  # type: ignore[no-untyped-def]
    """The path reason of what was judged last, where that is refused."""
    why = u64(w + W_JUDGED + OUT_WHY)
    if why == BY_COURT:
        return COURT_ORDER
    return OWN_LIST if why == BY_OWN_LIST else BLOCKED


@shared
def blame_nobody(w, would):  # type: ignore[no-untyped-def]
    """No category, service or list is the cause of what comes now: the action `would`."""
    put64(w + W_JUDGED + OUT_CATEGORY, -1)
    put64(w + W_JUDGED + OUT_SERVICE, -1)
    put64(w + W_JUDGED + OUT_WHY, BY_NOBODY)
    put64(w + W_JUDGED + OUT_WOULD, would)
    return 0


@shared
def judge_spans(w, u, p, state):  # type: ignore[no-untyped-def]
    """Judge every host that the HTTP reader found so far.

    Returns: the number of the first host that is to be refused, or -1. Bounds: HOST_LIMIT hosts.
    """
    for number in range(HOST_LIMIT):
        if number >= u64(state + HOST_COUNT):
            break
        span = state + HOST_SPANS + number * SPAN_STRIDE
        if judge_host(w, u, p + u64(span + SPAN_OFF), u64(span + SPAN_BYTES)) > REPORT:
            return number
    return -1


@shared
def tell_allowed(w, u, marker, proto, detail, flags, host, host_bytes):  # type: ignore[no-untyped-def]
    """Judge a host that is known not to be refused once more, write its event if somebody wants it, and sample it.

    Returns: 1 when the policy reports it, else 0.
    """
    sample_request(w, u, host, host_bytes)
    action = judge_host(w, u, host, host_bytes)
    if action > REPORT:
        action = FORWARD  # he is warned where he comes, not here
    if u64(w + W_JUDGED + OUT_WHY) == BY_OVERRIDE:
        flags |= EVENT_OVERRIDDEN
    if action == FORWARD and flags & EVENT_UNRESOLVED:
        action = REPORT
    if action == FORWARD and u64(w + W_OPTIONS) & ALL_REQUESTS == 0:
        return 0
    reason = REPORTED if action == REPORT else ALLOWED
    write_event(
        w, u, identify(w, u, marker), proto, action, reason, subscriber_of(w, u), detail,
        flags | EVENT_IS_REQUEST, host, host_bytes,
    )  # fmt: skip
    return 1 if action == REPORT else 0


@shared
def find_bound(w, u):  # type: ignore[no-untyped-def]
    """The name that this client last resolved to this server, at D_HOST. Returns: its size, 0 for none."""
    key = hash_address(secret_of(w, u), u + UP_KEY + FLOW_CLIENT, u + UP_KEY + FLOW_SERVER)
    found = read_binding(u64(w + W_BINDINGS), key, u64(w + W_POOL + POOL_NOW_MS), u64(w + W_DNS) + D_HOST)
    return max(found, 0) & 0xFFFF


@shared
def flags_of_name(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """What is known of a name as this client resolved it: RESOLVED, OFFERED_ECH; 0 when it did not."""
    key = hash_name(secret_of(w, u), u + UP_KEY + FLOW_CLIENT, host, host_bytes)
    found = read_binding(u64(w + W_BINDINGS), key, u64(w + W_POOL + POOL_NOW_MS), u64(w + W_DNS) + D_MAPPED)
    return max(found, 0) >> 16


@shared
def note_resolved(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """Remember that this client resolved a name, and that it resolves its names here."""
    table, now_ms, client = u64(w + W_BINDINGS), u64(w + W_POOL + POOL_NOW_MS), u + UP_KEY + FLOW_CLIENT
    for size in (host_bytes, 0):
        put_binding(table, hash_name(secret_of(w, u), client, host, size), now_ms, RESOLVED_MS, RESOLVED, host, 0)
    return 0


@shared
def hides_its_name(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """Does a hello with an ECH extension hide its name, rather than send the extension for show? For show it names what
    this client resolved; in earnest a front that nobody resolves, at an address of a site whose answers offered ECH."""
    if flags_of_name(w, u, host, host_bytes) & RESOLVED:
        return False
    size = find_bound(w, u)
    return size > 0 and flags_of_name(w, u, u64(w + W_DNS) + D_HOST, size) & OFFERED_ECH != 0


@shared
def is_unresolved(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """Does a client that resolves its names here ask for one that it never resolved? It may know it from elsewhere, or use
    it as a front for another."""
    asks_here = flags_of_name(w, u, host, 0) & RESOLVED
    return asks_here and host_bytes and flags_of_name(w, u, host, host_bytes) & RESOLVED == 0


@shared
def hello_flags(w, u, host, host_bytes, has_ech):  # type: ignore[no-untyped-def]
    """The flags of the event of a hello that is allowed."""
    flags, unresolved = EVENT_HAS_ECH if has_ech else 0, switches_of(w, u) >> UNRESOLVED_SHIFT & SWITCH_MASK
    if unresolved != UNRESOLVED_IGNORED and is_unresolved(w, u, host, host_bytes):
        flags |= EVENT_UNRESOLVED
    return flags


@shared
def show_host(w, host, host_bytes):  # type: ignore[no-untyped-def]
    """The host that the event of this request names."""
    put64(w + UNIT_HOST, host)
    put64(w + UNIT_HOST_BYTES, host_bytes)
    return 0


@shared
def _judge_server(w, u):  # type: ignore[no-untyped-def]
    """Judge a flow that says no name by the name that led to its server, and by its address. Returns: a reason, or 0."""
    host = u64(w + W_DNS) + D_HOST
    size = find_bound(w, u)
    show_host(w, host, size)
    if size and judge_host(w, u, host, size) > REPORT:
        return reason_of_refusal(w)
    size = write_address(host, u + UP_KEY + FLOW_SERVER)
    show_host(w, host, size)
    return reason_of_refusal(w) if judge_host(w, u, host, size) > REPORT else 0


@shared
def _judge_hidden(w, u, host, host_bytes, has_ech):  # type: ignore[no-untyped-def]
    """Refuse what the policy cannot judge: DNS over TLS or QUIC, a hidden name, a name that was never resolved.

    Returns: a reason, or 0."""
    snapshot, switches = u64(w + W_SNAPSHOT), switches_of(w, u)
    if switches == 0 or u64(snapshot + REPORT_ONLY):
        return 0
    if u32(u + UP_KEY + FLOW_PORTS) & 0xFFFF == DOT_PORT and u64(snapshot + DOT_REFUSED):
        return ENCRYPTED_DNS
    refuses_ech = switches >> ECH_SHIFT & SWITCH_MASK == ECH_REFUSE
    if has_ech and refuses_ech and hides_its_name(w, u, host, host_bytes):
        return ENCRYPTED_HELLO
    unresolved = switches >> UNRESOLVED_SHIFT & SWITCH_MASK
    if unresolved == UNRESOLVED_BLOCKED and is_unresolved(w, u, host, host_bytes):
        return UNRESOLVED
    return 0


@shared
def _leads_to_page(w, u):  # type: ignore[no-untyped-def]
    """Does the flow lead to the operator's own page, to which DNS sent the client?"""
    snapshot, server = u64(w + W_SNAPSHOT), u + UP_KEY + FLOW_SERVER
    for page in (PAGE_ADDRESS_4, PAGE_ADDRESS_6):
        high, low = u64(snapshot + page), u64(snapshot + page + 8)
        if low and high == u64(server) and low == u64(server + 8):
            return True
    return False


@shared
def judge_hello(w, u, host, host_bytes, has_ech):  # type: ignore[no-untyped-def]
    """Judge what a TLS or QUIC hello asks for, or (0 bytes) a flow that says no name.

    Writes: W_JUDGED; UNIT_HOST*: the host that decided. Returns: 0 when it is allowed, or the reason why it is refused.
    """
    show_host(w, host, host_bytes)
    if host_bytes == 0:
        reason = _judge_server(w, u)
        if reason:
            return reason
        show_host(w, host, 0)
    else:
        action = judge_host(w, u, host, host_bytes)
        if action > REPORT and not (action == WARN and _leads_to_page(w, u)):
            return reason_of_refusal(w)
    reason = _judge_hidden(w, u, host, host_bytes, has_ech)
    if reason:
        blame_nobody(w, BLOCK)
    return reason
