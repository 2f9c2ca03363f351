"""What the path does where it cannot judge as it should: the policies of kernel.exceptions, and how a flow is refused."""

from penstock.compile.memory import put32, put64, shared, u32, u64
from penstock.flow.record import REFUSED, pack_word
from penstock.flow.stream import ANSWER_RESET
from penstock.kernel import tables as t
from penstock.kernel.exceptions import read_policy
from penstock.kernel.tables import UP_ACK, UP_FLAGS, UP_PAYLOAD_BYTES, UP_SEQ
from penstock.path.layout import W_CONTROL
from penstock.path.refusal import send_reset
from penstock.wire.headers import FIN


@shared
def policy_at(w, cause):  # type: ignore[no-untyped-def]
    """The policy of a cause, as it is at this moment."""
    return read_policy(u64(u64(w + W_CONTROL) + t.CONTROL_EXCEPTIONS), cause)


@shared
def refuse_by_policy(w, u, record, released_end, reason):  # type: ignore[no-untyped-def]
    """Reset both sides of a flow that cannot be judged; its record, if it has one (else 0), says so from now on.

    Reads: released_end: the first sequence number that the server does not have. Returns: `reason`.
    """
    end = u32(u + UP_SEQ) + u32(u + UP_PAYLOAD_BYTES) + (u32(u + UP_FLAGS) & FIN)
    if record:
        put32(record + t.FLOW_ANSWER, ANSWER_RESET)
        put32(record + t.FLOW_EPOCH, u64(u64(w + W_CONTROL) + t.CONTROL_EPOCH))
        put64(record + t.FLOW_WORD, pack_word(REFUSED, end, 0))
    send_reset(w, u, 1, released_end, u32(u + UP_ACK))
    send_reset(w, u, 0, u32(u + UP_ACK), end)
    return reason
