"""From hosts read to a decision: judges each name of a request, and tells of it.

A request may name several hosts (target and Host fields); it is allowed only when each of them is.
"""

from penstock.compile.memory import shared, u32, u64
from penstock.kernel.reasons import ALLOWED, REPORTED
from penstock.kernel.tables import FLOW_CLIENT, FLOW_PORTS, FLOW_SERVER, UP_ACK, UP_KEY, UP_SEQ
from penstock.path.events import EVENT_IS_REQUEST, write_event
from penstock.path.layout import ALL_REQUESTS, W_JUDGED, W_NAMES, W_OPTIONS, W_SECRET, W_SNAPSHOT
from penstock.policy.actions import FORWARD, REPORT
from penstock.policy.judge import judge
from penstock.policy.subscribers import find_subscriber
from penstock.request.http_state import HOST_COUNT, HOST_LIMIT, HOST_SPANS, SPAN_BYTES, SPAN_OFF, SPAN_STRIDE
from penstock.wire.headers import mix


@shared
def identify(w, u, marker):  # type: ignore[no-untyped-def]
    """The reference number of a request: a keyed hash of its flow and place, so that a repetition has the same one."""
    state = mix(u64(w + W_SECRET), u64(u + UP_KEY + FLOW_CLIENT))
    state = mix(state, u64(u + UP_KEY + FLOW_CLIENT + 8))
    state = mix(state, u64(u + UP_KEY + FLOW_SERVER))
    state = mix(state, u64(u + UP_KEY + FLOW_SERVER + 8))
    state = mix(state, u64(u + UP_KEY + FLOW_PORTS))
    return mix(mix(state, marker), u64(w + W_SECRET))


@shared
def marker_of(u):  # type: ignore[no-untyped-def]
    """What tells a request of a TCP flow from the others: where it stands."""
    return u32(u + UP_SEQ) << 32 | u32(u + UP_ACK)


@shared
def subscriber_of(w, u):  # type: ignore[no-untyped-def]
    """The index of the subscriber behind the packet's client, or -1."""
    return find_subscriber(u64(w + W_SNAPSHOT), u + UP_KEY + FLOW_CLIENT, 0)


@shared
def judge_host(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """The action for one host (0 bytes: a request without a name); W_JUDGED says which category and service."""
    return judge(u64(w + W_SNAPSHOT), u64(w + W_NAMES), subscriber_of(w, u), host, host_bytes, w + W_JUDGED)


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
    """Judge a host that is known not to be refused once more, and write its event if somebody wants it.

    Returns: 1 when the policy reports it, else 0.
    """
    action = judge_host(w, u, host, host_bytes)
    if action == FORWARD and u64(w + W_OPTIONS) & ALL_REQUESTS == 0:
        return 0
    reason = REPORTED if action == REPORT else ALLOWED
    write_event(
        w, u, identify(w, u, marker), proto, action, reason, subscriber_of(w, u), detail,
        flags | EVENT_IS_REQUEST, host, host_bytes,
    )  # fmt: skip
    return 1 if action == REPORT else 0
