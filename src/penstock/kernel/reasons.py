"""The numbered list of reasons: why a packet got its verdict. Enum, text and metric label at once.

A number is never used again for another reason. Every packet that the kernel sees ends with one *steer* reason, whose
range gives the verdict: seen = forwarded + dropped + up. Every packet that went up ends with one *path* reason:
up = released + answered + refused + expired + waiting.
"""

from enum import IntEnum
from typing import NamedTuple

REASON_COUNT = 128
DROP_FIRST, UP_FIRST, PATH_FIRST = 32, 48, 64


class Verdict(IntEnum):
    """What became of a packet."""

    FORWARDED = 0
    DROPPED = 1
    UP = 2
    RELEASED = 3
    ANSWERED = 4
    REFUSED = 5
    EXPIRED = 6


class Reason(NamedTuple):
    """One entry of the list."""

    number: int
    verdict: Verdict
    name: str
    text: str


REASONS: list[Reason] = []


def _reason(number: int, verdict: Verdict, name: str, text: str) -> int:
    REASONS.append(Reason(number, verdict, name, text))
    return number


_F, _D, _U = Verdict.FORWARDED, Verdict.DROPPED, Verdict.UP
# ---- steer: forwarded -------------------------------------------------------------------------------------------------
OFF = _reason(0, _F, "off", "the emergency switch is off: the cable carries everything")
NOT_IP = _reason(1, _F, "not_ip", "neither IPv4 nor IPv6 (ARP, LLDP, more than two VLAN tags, ...)")
NOT_TCP = _reason(2, _F, "not_tcp", "an IP protocol that is not judged (neither TCP nor UDP)")
HANDSHAKE = _reason(3, _F, "handshake", "a SYN or SYN-ACK")
NO_FLOW = _reason(4, _F, "no_flow", "no record, and nothing that could carry a request")
UNPROTECTED = _reason(5, _F, "unprotected", "the subscriber has no protection")
EMPTY = _reason(6, _F, "empty", "an ACK or RST without payload")
FREE = _reason(7, _F, "free", "a flow that was judged and set free")
ACKNOWLEDGED = _reason(8, _F, "acknowledged", "bytes that the server already has")
BODY = _reason(9, _F, "body", "the body of a request that was allowed")
FINISHED = _reason(10, _F, "finished", "a FIN behind nothing but judged bytes")
SERVER = _reason(11, _F, "server", "from the server, of a flow that is not refused")
FRAGMENT_SERVER = _reason(12, _F, "fragment_server", "a fragment from the internet's side")
STALE_OPEN = _reason(13, _F, "stale_open", "the packet process is gone or late: fail open")
TRUNCATED = _reason(14, _F, "truncated", "too short or malformed, and no protected subscriber's")
TABLE_FULL_OPEN = _reason(15, _F, "table_full_open", "no room for a flow of an unprotected subscriber")
DATAGRAM_SERVER = _reason(16, _F, "datagram_server", "a UDP datagram from the internet's side")
RING_FULL_OPEN = _reason(
    17, _F, "ring_full_open", "the ring to the packet process is full, and the policy is to forward"
)
MALFORMED_OPEN = _reason(18, _F, "malformed_open", "malformed, of a protected subscriber, and the policy is to forward")
MIDSTREAM_OPEN = _reason(
    19, _F, "midstream_open", "of a flow without a record, by policy, or beyond the subscriber's budget"
)
GAP_OPEN = _reason(20, _F, "gap_open", "of a flow whose bytes passed unread, and the policy is to forward")
ASYMMETRIC_OPEN = _reason(21, _F, "asymmetric_open", "of a flow seen in one direction, and the policy is to forward")
ASYMMETRIC = _reason(22, _F, "asymmetric", "of a flow seen in one direction that was judged on sight once")
TABLE_FULL_PASSED = _reason(
    23, _F, "table_full_passed", "no room for a protected subscriber's flow, and the policy is to forward"
)
# ---- steer: dropped ---------------------------------------------------------------------------------------------------
MALFORMED = _reason(32, _D, "malformed", "a header that no server should take, of a protected subscriber")
SYN_DATA = _reason(33, _D, "syn_data", "a SYN with payload from a protected subscriber")
BEYOND = _reason(34, _D, "beyond", "more than 64 KB past what was judged: the sender repeats it")
RING_FULL = _reason(35, _D, "ring_full", "the ring to the packet process is full: the sender repeats it")
TOO_BIG = _reason(36, _D, "too_big", "longer than a ring record")
STALE_CLOSED = _reason(37, _D, "stale_closed", "the packet process is gone or late: this subscriber fails closed")
TABLE_FULL = _reason(38, _D, "table_full", "no room for the record of a protected subscriber's flow")
OVER_BUDGET = _reason(39, _D, "over_budget", "more than the subscriber's budget: the sender repeats it")
# ---- steer: up --------------------------------------------------------------------------------------------------------
UP_UNJUDGED = _reason(48, _U, "up_unjudged", "client bytes that nobody has judged")
UP_WAITING = _reason(49, _U, "up_waiting", "behind a packet of its flow that still waits")
UP_GAP = _reason(50, _U, "up_gap", "of a flow whose bytes passed unread")
UP_MIDSTREAM = _reason(51, _U, "up_midstream", "of a flow without a record")
UP_REFUSED = _reason(52, _U, "up_refused", "of a refused flow, either direction")
UP_FRAGMENT = _reason(53, _U, "up_fragment", "a fragment of a protected subscriber")
UP_DATAGRAM = _reason(
    54, _U, "up_datagram", "UDP: of a flow that nobody has looked at, or one that may open a connection"
)
UP_ANSWER = _reason(55, _U, "up_answer", "from a DNS server to a protected subscriber")
UP_ASYMMETRIC = _reason(56, _U, "up_asymmetric", "of a flow of which only the client's direction is seen")
# ---- path: what became of a packet that went up -----------------------------------------------------------------------
_R, _A, _X, _E = Verdict.RELEASED, Verdict.ANSWERED, Verdict.REFUSED, Verdict.EXPIRED
ALLOWED = _reason(64, _R, "allowed", "completes a request that the policy allows")
INCOMPLETE = _reason(65, _R, "incomplete", "completes nothing yet: released and remembered")
NOT_A_REQUEST = _reason(66, _R, "not_a_request", "neither TLS nor HTTP, nor a QUIC Initial")
REPEATED = _reason(67, _R, "repeated", "repeats bytes that were released before")
SECOND_FLIGHT = _reason(68, _R, "second_flight", "TLS records behind a hello that was judged")
BODY_READ = _reason(69, _R, "body_read", "the body of an allowed request, read on the way")
ON_SIGHT = _reason(70, _R, "on_sight", "judged on sight, without a record or behind a gap")
FRAGMENT_JUDGED = _reason(71, _R, "fragment_judged", "fragments of an allowed or foreign packet")
REPORTED = _reason(72, _R, "reported", "would have been refused; the policy only reports")
PEEKED = _reason(73, _R, "peeked", "a response's head was looked at; the packet itself was forwarded")
SETTLED = _reason(74, _R, "settled", "waited while its flow was set free")
JUDGED_CONNECTION = _reason(75, _R, "judged_connection", "QUIC: of a connection that was judged before")
UNDECRYPTABLE = _reason(76, _R, "undecryptable", "a QUIC Initial of no known connection that its keys do not open")
ANSWER_PASSED = _reason(77, _R, "answer_passed", "a DNS answer, as it came")
ANSWER_CHANGED = _reason(78, _R, "answer_changed", "a DNS answer without the keys of Encrypted ClientHello")
STREAM_FULL_OPEN = _reason(
    79, _R, "stream_full_open", "no memory for another unfinished request, and the policy is to forward"
)
BLOCKED = _reason(80, _A, "blocked", "completes a request that the policy refuses")
AMBIGUOUS = _reason(81, _A, "ambiguous", "a request that two servers could read in two ways")
REFUSED_CLIENT = _reason(82, _A, "refused_client", "from the client, of a refused flow: acknowledged or answered again")
REFUSED_SERVER = _reason(83, _A, "refused_server", "from the server, of a refused flow: reset")
UNREAD_VERSION = _reason(84, _A, "unread_version", "a QUIC version that is not read: the client is told which are")
REWRITTEN = _reason(85, _A, "rewritten", "a DNS query whose answer the policy writes itself")
ENCRYPTED_DNS = _reason(86, _A, "encrypted_dns", "DNS over TLS or QUIC, whose names nobody could judge")
ENCRYPTED_HELLO = _reason(87, _A, "encrypted_hello", "a hello that hides its name, to a site that offers that")
UNRESOLVED = _reason(88, _A, "unresolved", "a hello for a name that this client never resolved here")
GAP_REFUSED = _reason(89, _A, "gap_refused", "of a flow whose bytes passed unread, and the policy is to refuse")
MIDSTREAM_REFUSED = _reason(90, _A, "midstream_refused", "of a flow without a record, and the policy is to refuse")
ASYMMETRIC_REFUSED = _reason(
    91, _A, "asymmetric_refused", "of a flow seen in one direction, and the policy is to refuse"
)
STREAM_FULL_REFUSED = _reason(
    92, _A, "stream_full_refused", "no memory for another unfinished request, and the policy is to refuse"
)
PAUSED = _reason(93, _A, "paused", "of a subscriber who is paused: reset, or dropped")
COURT_ORDER = _reason(94, _A, "court_order", "of a court's list, which holds for everybody")
OWN_LIST = _reason(95, _A, "own_list", "completes a request for a name on the subscriber's own list of denied ones")
BAD_CHECKSUM = _reason(96, _X, "bad_checksum", "a wrong TCP or UDP checksum")
NO_ACK_FLAG = _reason(97, _X, "no_ack_flag", "data without the ACK flag")
MD5_OPTION = _reason(98, _X, "md5_option", "an MD5 option that the handshake did not have")
OLD_TIMESTAMP = _reason(99, _X, "old_timestamp", "a timestamp older than the handshake's")
LOW_TTL = _reason(100, _X, "low_ttl", "a TTL clearly below the handshake's while bytes are unjudged")
CONFLICT = _reason(101, _X, "conflict", "other bytes at a place that was released before")
OUT_OF_WINDOW = _reason(102, _X, "out_of_window", "outside what can be kept: the sender repeats it")
STREAM_FULL = _reason(103, _X, "stream_full", "no memory for another unfinished request: the sender repeats it")
FRAGMENT_BAD = _reason(104, _X, "fragment_bad", "an overlapping, repeated or tiny fragment")
FRAGMENT_FULL = _reason(105, _X, "fragment_full", "no memory for another fragmented packet")
FRAGMENT_LATE = _reason(106, _X, "fragment_late", "a fragment whose packet did not become whole in time")
ANSWER_FAILED = _reason(107, _X, "answer_failed", "the wire did not take what was to be sent")
UNSEALED = _reason(108, _X, "unsealed", "a QUIC Initial that no key of its connections opens: a server discards it too")
CONNECTION_FULL = _reason(
    109, _X, "connection_full", "QUIC: no memory for another unfinished hello: the client repeats it"
)
HELLO_LATE = _reason(
    110, _X, "hello_late", "QUIC: held, and its hello did not become whole in time: the client repeats it"
)
BAD_INITIAL = _reason(111, _X, "bad_initial", "a QUIC Initial with frames that none may have")
EXPIRED = _reason(112, _E, "expired", "older than the stale limit when it was read")
FRAGMENT_FULL_OPEN = _reason(
    113, _R, "fragment_full_open", "no memory for another fragmented packet, and the policy is to forward"
)
BAD_OPTION = _reason(
    114, _X, "bad_option", "IP options or a source route for which routers and servers drop the packet"
)
CONTINUED = _reason(
    116, _A, "continued", "a warned subscriber goes on: his token is right, and he is sent to the address"
)
RESET_DATA = _reason(115, _R, "reset_data", "a reset that carries data, which no server reads (RFC 9293 3.10.7.4)")
ASKED_BY_TCP = _reason(
    117, _A, "asked_by_tcp", "a QUIC hello that hooks are to be asked about: closed, so that its client asks over TCP"
)
ASK_REPEATED = _reason(118, _X, "ask_repeated", "repeats what waits for a hook's answer")
ASK_FULL = _reason(
    119, _X, "ask_full", "behind a request that waits for a hook, with no room to wait too: the sender repeats it"
)
ASK_LEFT = _reason(
    120, _X, "ask_left", "waited for a hook, and bytes of its flow passed unread meanwhile: the sender repeats it"
)

NAMES = {reason.number: reason.name for reason in REASONS}


def verdict_of(number: int) -> Verdict:
    """The verdict that goes with a reason."""
    return next(reason.verdict for reason in REASONS if reason.number == number)
