"""TLS connections that are open while more is refused to their subscriber than before: whose names they were judged by, no
record says, so all of them end, and what is still allowed is connected anew.

    end_streams   each TLS stream of these subscribers is refused: both sides are reset; which ones is written down
    end_again     those that somebody wrote over meanwhile: they are the same streams, and open still

It does not know what was chosen.
"""

from penstock.compile.memory import put32, put64, shared, u8, u16, u32, u64
from penstock.flow.record import REFUSED, pack_word, state_of
from penstock.flow.stream import ANSWER_RESET_BOTH
from penstock.kernel import tables as t
from penstock.kernel.owners import find_owner_at
from penstock.wire.headers import PROTOCOL_TCP

ENDED_BYTES = 16  # of one that was ended: where its record is, and its birth with the server's first number


@shared
def _is_judged_tls(record):  # type: ignore[no-untyped-def]
    """Is it TLS whose hello was judged? It may be free, or wait for the rest of its handshake."""
    flags = u32(record + t.FLOW_FLAGS)
    is_theirs = u8(record + t.FLOW_PROTOCOL) == PROTOCOL_TCP and u16(record + t.FLOW_MODE) == t.MODE_TLS
    is_refused = state_of(u64(record + t.FLOW_WORD)) == REFUSED
    return is_theirs and not is_refused and flags & (t.IS_UNPROTECTED | t.IS_INBOUND) == 0


@shared
def _end(control, record):  # type: ignore[no-untyped-def]
    put32(record + t.FLOW_ANSWER, ANSWER_RESET_BOTH)
    put32(record + t.FLOW_EPOCH, u64(control + t.CONTROL_EPOCH))
    put64(record + t.FLOW_WORD, pack_word(REFUSED, u32(record + t.FLOW_CLIENT_NEXT), 0))


@shared
def end_streams(flows, first, count, control, addresses, address_mask, chosen, number_mask, ended, room):  # type: ignore[no-untyped-def]
    """End the judged TLS streams in `count` buckets from `first` on whose owner's byte in chosen[0:number_mask + 1) is set.

    Writes: records; ended[0:room) entries. Returns: how many were ended. Bounds: `count` * WAYS records; `room` of them.
    """
    found, secret = 0, u64(control + t.CONTROL_HASH_KEY)
    for number in range(first, first + count):
        bucket = flows + number * t.BUCKET_BYTES
        for way in range(t.WAYS):
            record = bucket + t.BUCKET_RECORDS + way * t.RECORD_BYTES
            if u32(bucket + 4 * way) & 1 == 0 or found == room or not _is_judged_tls(record):
                continue
            owner = find_owner_at(control, addresses, address_mask, secret, record)
            if u8(chosen + (owner & number_mask)):
                put64(ended + found * ENDED_BYTES, record - flows)
                put64(ended + found * ENDED_BYTES + 8, u64(record + t.FLOW_BIRTH))
                found += 1
                _end(control, record)
    return found


@shared
def end_again(flows, control, ended, count):  # type: ignore[no-untyped-def]
    """End those of `count` entries that are open again. Returns: how many. Bounds: `count`."""
    found = 0
    for number in range(count):
        record = flows + u64(ended + number * ENDED_BYTES)
        if u64(record + t.FLOW_BIRTH) == u64(ended + number * ENDED_BYTES + 8) and _is_judged_tls(record):
            found += 1
            _end(control, record)
    return found
