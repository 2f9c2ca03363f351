"""Each subscriber's budget of packets that go up, so that nobody takes the packet process from the others.

A bucket of BURST_NS worth of tokens, kept as one word: the time at which all that was spent would be earned again (the
generic cell rate algorithm, ITU-T I.371 annex A). What the client sends and what servers send to him are counted apart:
nobody on the internet can spend what a subscriber needs to ask. Two CPUs may spend one token at the same moment; that is
cheaper than an atomic operation and harms nobody.
"""

from penstock.compile.memory import put32, put64, shared, shr, u32, u64
from penstock.kernel import tables as t
from penstock.kernel.primitives import coarse_time_ns, constant, element

BURST_NS = 2_000_000_000  # what may be spent at once, in time
OPEN_COST = 4  # what opens a flow: a record that stays for a minute costs more than a packet that is read at once
CLOSED_SHIFT = 1  # from FAILS_CLOSED to SUBSCRIBER_CLOSED


@shared
def owner_of(rights):  # type: ignore[no-untyped-def]
    """The owner's number in rights: the flags of a subscriber's line, his number above them."""
    return shr(rights, t.RIGHTS_OWNER_SHIFT) & t.OWNER_MASK


@shared
def rights_of(record):  # type: ignore[no-untyped-def]
    """What a record remembers of its subscriber, as rights."""
    flags = u32(record + t.FLOW_FLAGS)
    closed = (flags & t.FAILS_CLOSED) >> CLOSED_SHIFT  # no branch: the verifier follows each
    return closed | shr(flags, t.OWNER_SHIFT) << t.RIGHTS_OWNER_SHIFT


@shared
def flags_of(rights):  # type: ignore[no-untyped-def]
    """The same, for the flags of a record."""
    return (rights & t.SUBSCRIBER_CLOSED) << CLOSED_SHIFT | owner_of(rights) << t.OWNER_SHIFT


@shared
def spend(skb, rights, cost):  # type: ignore[no-untyped-def]
    """Spend `cost` packets of the subscriber's budget, the side's whose program this is.

    Returns: 1; 0 when there is too little left, and nothing was spent.
    """
    line = element(skb, t.subscribers, owner_of(rights) & constant(skb, t.subscriber_mask))
    if line == 0:
        return 1  # only where the kernel cannot prove the index
    interval_ns = u32(line + t.SUBSCRIBER_INTERVAL_NS)
    if interval_ns == 0:
        return 1
    place = line + (t.SUBSCRIBER_CLIENT_NS if constant(skb, t.from_client) else t.SUBSCRIBER_SERVER_NS)
    now_ns, earned_ns = coarse_time_ns(skb), u64(place)
    if earned_ns < now_ns:
        earned_ns = now_ns
    if earned_ns - now_ns > BURST_NS:
        put32(line + t.SUBSCRIBER_REFUSED, u32(line + t.SUBSCRIBER_REFUSED) + 1)
        return 0
    put64(place, earned_ns + cost * interval_ns)
    return 1
