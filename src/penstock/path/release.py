"""The way on of a client's packet: as it came, or put together."""

from penstock.compile.memory import shared, u32, u64
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.path.fragments import IS_WHOLE, release_pieces, release_whole, slot_of
from penstock.path.layout import TRUST_CHECKSUMS, W_OPTIONS
from penstock.path.queries import is_dns
from penstock.path.send import checksum_of, is_udp, send_packet
from penstock.wire.checksum import RIGHT, WRONG

LONGEST_QUERY = 1514  # bytes of frame: a query that was cut goes on in one packet, as a segment does


@shared
def release(w, u, checksum, reason):  # type: ignore[no-untyped-def]
    """Send the client's packet on. Returns: its reason."""
    if u32(u + t.UP_IS_PEEK) == IS_WHOLE:
        slot = slot_of(w, u)
        if is_udp(u) and not is_dns(u):
            return reason if release_pieces(w, slot) else r.ANSWER_FAILED
        if is_udp(u):
            if u32(u + t.UP_LENGTH) > LONGEST_QUERY:
                return r.FRAGMENT_BAD
            return reason if send_packet(w, u, 1, checksum) else r.ANSWER_FAILED
        return reason if release_whole(w, u, slot) else r.ANSWER_FAILED
    return reason if send_packet(w, u, 1, checksum) else r.ANSWER_FAILED


@shared
def read_checksum(w, u):  # type: ignore[no-untyped-def]
    """What the packet's checksum is; RIGHT where it is not to be verified (captures)."""
    checksum = checksum_of(u)
    if checksum == WRONG and u64(w + W_OPTIONS) & TRUST_CHECKSUMS:
        return RIGHT
    return checksum
