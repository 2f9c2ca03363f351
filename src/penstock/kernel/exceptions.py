"""What happens where the path cannot do its work: one cause, one policy.

A policy is two bits of the control table's word CONTROL_EXCEPTIONS. DEFAULT is what a cause does when nobody said
otherwise: the packet is judged as well as that can be done, or dropped so that its sender repeats it. The process that is
gone or late is no cause of these: whether it opens or closes is each subscriber's own (SUBSCRIBER_CLOSED).
"""

from penstock.compile.memory import shared, u64
from penstock.kernel.primitives import value_of
from penstock.kernel.tables import CONTROL_EXCEPTIONS, control

DEFAULT, FORWARD, REFUSE = 0, 1, 2

RING_FULL, TABLE_FULL, REASSEMBLY_FULL, FRAGMENT_FULL, MALFORMED, GAP, MIDSTREAM, ASYMMETRIC = 0, 2, 4, 6, 8, 10, 12, 14
POLICY_MASK = 3


@shared
def read_policy(word, cause):  # type: ignore[no-untyped-def]
    """The policy of a cause in the word of all policies."""
    return word >> cause & POLICY_MASK


@shared
def policy_of(skb, cause):  # type: ignore[no-untyped-def]
    """The policy of a cause, as the kernel's program reads it."""
    return read_policy(u64(value_of(skb, control) + CONTROL_EXCEPTIONS), cause)
