"""TCP options of handshakes, read and rewritten in the kernel.

Multipath TCP (RFC 8684) and Fast Open (RFC 7413) would let a client's bytes reach the server by another path, or before
the handshake. Both fall back to plain TCP when their option does not arrive, so in a SYN of a protected subscriber they
are overwritten with NOPs. The options are copied into a scratch line of this CPU: offsets into it are easy to prove.
"""

from penstock.compile.memory import be32, put8, shared, stack, u8
from penstock.kernel.primitives import (
    checksum_difference,
    cpu_number,
    load_bytes,
    replace_checksum,
    store_bytes,
    value_of,
)
from penstock.kernel.tables import COUNTER_CPUS, scratch

OPTION_END, OPTION_NOP, OPTION_TIMESTAMPS, OPTION_MD5, OPTION_MPTCP, OPTION_FAST_OPEN = 0, 1, 8, 19, 30, 34
OPTION_EXPERIMENT = 254  # RFC 6994: Fast Open was deployed under it, with the magic number 0xF989
OPTIONS_BYTES = 40
TCP_HEADER_BYTES, TCP_CHECKSUM = 20, 16
SCRATCH_BYTES, SCRATCH_COPY = 128, 64
USUAL_TIMESTAMPS, USUAL_BYTES, USUAL_ECHO = 0x0101080A, 12, 8  # two NOPs and the option: RFC 7323 appendix A


@shared
def _load_options(skb, l4, size):  # type: ignore[no-untyped-def]
    """Copy the options of the TCP header at offset `l4` into this CPU's scratch line, twice; its address, or 0."""
    place = value_of(skb, scratch) + (cpu_number(skb) & (COUNTER_CPUS - 1)) * SCRATCH_BYTES
    if load_bytes(skb, l4 + TCP_HEADER_BYTES, place, size):
        return 0
    if load_bytes(skb, l4 + TCP_HEADER_BYTES, place + SCRATCH_COPY, size):
        return 0
    return place


@shared
def neutralise_options(skb, l4, payload):  # type: ignore[no-untyped-def]
    """Overwrite MPTCP and Fast Open options of a SYN with NOPs; the checksum follows. Returns 1 if there were any.

    Bounds: OPTIONS_BYTES turns.
    """
    size = (payload - l4 - TCP_HEADER_BYTES) & 63
    if size < 4 or size > OPTIONS_BYTES:
        return 0
    place = _load_options(skb, l4, size)
    if place == 0:
        return 0
    following, erases, changed = 0, 0, 0
    for at in range(OPTIONS_BYTES):  # byte by byte: an offset that the verifier knows, at every turn
        if at >= size:
            break
        if at == following:
            kind = u8(place + at)
            if kind == OPTION_END:
                break
            following = at + 1
            erases = 0
            if kind != OPTION_NOP:
                length = u8(place + at + 1)
                if length < 2 or at + length > size:
                    break
                following = at + length
                if kind == OPTION_MPTCP or kind == OPTION_FAST_OPEN or kind == OPTION_EXPERIMENT:
                    erases = 1
        if erases:
            put8(place + SCRATCH_COPY + at, OPTION_NOP)
            changed = 1
    if changed:
        difference = checksum_difference(place, size, place + SCRATCH_COPY, size, 0)
        replace_checksum(skb, l4 + TCP_CHECKSUM, 0, difference, 0)
        store_bytes(skb, l4 + TCP_HEADER_BYTES, place + SCRATCH_COPY, size, 0)
    return changed


@shared
def read_handshake_options(skb, l4, payload):  # type: ignore[no-untyped-def]
    """What a SYN-ACK's options say of its connection: TSecr (the client's TSval) << 2 | has MD5 << 1 | has timestamps."""
    size = (payload - l4 - TCP_HEADER_BYTES) & 63
    if size < 4 or size > OPTIONS_BYTES:
        return 0
    place = _load_options(skb, l4, size)
    if place == 0:
        return 0
    following, result = 0, 0
    for at in range(OPTIONS_BYTES):
        if at >= size:
            break
        if at == following:
            kind = u8(place + at)
            if kind == OPTION_END:
                break
            following = at + 1
            if kind != OPTION_NOP:
                length = u8(place + at + 1)
                if length < 2 or at + length > size:
                    break
                following = at + length
                if kind == OPTION_TIMESTAMPS and length == 10 and be32(place + at + 6):  # 0 echoes nothing
                    result |= be32(place + at + 6) << 2 | 1
                if kind == OPTION_MD5:
                    result |= 2
    return result


@shared
def read_echo(skb, l4, payload):  # type: ignore[no-untyped-def]
    """The TSecr of a segment whose options begin as RFC 7323 appendix A wants them; 0 for any other."""
    place = stack(16)
    if payload - l4 < TCP_HEADER_BYTES + USUAL_BYTES or load_bytes(skb, l4 + TCP_HEADER_BYTES, place, USUAL_BYTES):
        return 0
    return be32(place + USUAL_ECHO) if be32(place) == USUAL_TIMESTAMPS else 0
