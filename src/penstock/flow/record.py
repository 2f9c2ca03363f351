"""The rule of the flow record: what the kernel forwards alone, and what goes up.

The record keeps sequence marks, not protocols. J (`judged_end`) and F (`free_end`) and the state share one word, so that
one store moves them together: with J and F written apart a random model of evaders found bypasses.

      A            J                 F                 F + 64 KB
 ─────┼────────────┼─────────────────┼─────────────────┼──────►  client's sequence numbers
  the │ judged,    │ a body: the     │ not judged:     │ dropped,
  server has it    │ kernel forwards │ goes up         │ the sender repeats it
      │ goes up    │

A flow that proved to be no request, or a handshake that is over, is SETTLING: what proved it lies before J and stays fixed
until the server has acknowledged it (it may be a decoy that the server never gets); what follows passes. From then on it
is as good as FREED.

All arithmetic is modulo 2^32 (RFC 9293 3.4, RFC 1982).
"""

from penstock.compile.memory import shared, shr
from penstock.kernel.reasons import (
    ACKNOWLEDGED,
    BEYOND,
    BODY,
    EMPTY,
    FINISHED,
    FREE,
    UP_GAP,
    UP_REFUSED,
    UP_UNJUDGED,
    UP_WAITING,
)

OPEN, FREED, REFUSED, SETTLING = 0, 1, 2, 3
SEQUENCE_MASK = 0xFFFFFFFF
BODY_LIMIT = (1 << 30) - 1  # bits of F - J in the word
BEYOND_BYTES = 65536
APART_MS = 1 << 20  # 18 minutes: more than the clocks of two readers of a record can be apart
BIRTH_BYTES = 1 << 30  # after so many acknowledged bytes no other handshake of the same ports can still be completed


@shared
def sequence_difference(a, b):  # type: ignore[no-untyped-def]
    """a - b of two sequence numbers, in [-2^31, 2^31)."""
    return ((a - b + 0x80000000) & SEQUENCE_MASK) - 0x80000000


@shared
def age_of(now_ms, seen_ms):  # type: ignore[no-untyped-def]
    """How long ago `seen_ms` was, modulo 2^32; 0 when it is ahead: another CPU saw a packet after `now_ms` was read."""
    age = (now_ms - seen_ms) & 0xFFFFFFFF
    return age & (shr(age + APART_MS, 32) - 1)


@shared
def pack_word(state, judged_end, body_bytes):  # type: ignore[no-untyped-def]
    """The record's word from its three parts; body_bytes = F - J <= BODY_LIMIT."""
    return state << 62 | body_bytes << 32 | judged_end & SEQUENCE_MASK


@shared
def state_of(word):  # type: ignore[no-untyped-def]
    """OPEN, FREED, REFUSED or SETTLING."""
    return shr(word, 62)


@shared
def judged_end_of(word):  # type: ignore[no-untyped-def]
    """J: every byte before it was judged."""
    return word & SEQUENCE_MASK


@shared
def free_end_of(word):  # type: ignore[no-untyped-def]
    """F: the bytes from J to it are a body."""
    return (word + (shr(word, 32) & BODY_LIMIT)) & SEQUENCE_MASK


@shared
def is_settled(word, acked):  # type: ignore[no-untyped-def]
    """May everything of this flow pass, whatever comes?"""
    state = state_of(word)
    return state == FREED or (state == SETTLING and sequence_difference(acked, judged_end_of(word)) >= 0)


@shared
def is_before_birth(seq, birth, acked):  # type: ignore[no-untyped-def]
    """Does a segment begin before the client's first byte? Then it belongs to another handshake of the same ports, which a
    server that answers with SYN cookies could still complete. (The byte before the first is a keep-alive probe's.)"""
    is_young = (acked - birth) & SEQUENCE_MASK < BIRTH_BYTES
    return is_young and sequence_difference(seq, birth) < -1


@shared
def classify_segment(word, acked, birth, is_waiting, is_gap, is_urgent, seq, end, has_payload):  # type: ignore[no-untyped-def]
    """What the kernel does with the client's segment [seq, end), FIN counting as one byte.

    Reads: the record's word, A and the client's first sequence number; is_waiting: sent_up != handled; is_gap: bytes of
        this flow passed unread; is_urgent: URG is set, which may take a byte out of the stream wherever it points.
    Returns: a steer reason (its range is the verdict).
    """
    state = state_of(word)
    if state == REFUSED:
        return UP_REFUSED
    is_free = is_settled(word, acked)
    if end == seq and (is_free or not is_urgent):
        return EMPTY
    if is_waiting:
        return UP_WAITING
    if is_free:
        return FREE
    if is_gap:
        return UP_GAP
    if is_urgent or is_before_birth(seq, birth, acked):
        return UP_UNJUDGED
    if sequence_difference(end, acked) <= 0:
        return ACKNOWLEDGED
    judged_end, free_end = judged_end_of(word), free_end_of(word)
    if state == SETTLING:
        return FREE if sequence_difference(seq, judged_end) >= 0 else UP_UNJUDGED
    if sequence_difference(seq, judged_end) >= 0 and sequence_difference(end, free_end) <= 0:
        return BODY
    if not has_payload and seq == judged_end and seq == free_end:
        return FINISHED  # nothing unjudged stands before this FIN, and it is no byte that could become a request
    if sequence_difference(seq, free_end) > BEYOND_BYTES:
        return BEYOND
    return UP_UNJUDGED
