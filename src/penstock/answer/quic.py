"""The QUIC answers: an Initial with CONNECTION_CLOSE, sealed under the keys that the client expects; Version Negotiation.

    Initial   form, type │ version │ DCID = the client's source ID │ SCID │ token: none │ length │ number │ frames │ tag
    frames    1c │ 0170: the TLS alert unrecognized_name │ 06: caused by CRYPTO │ length │ reason

The client takes the Initial of whoever knows its first Destination Connection ID, which is all that the keys are made
of. It holds no ack-eliciting frame, so it needs no padding to 1,200 bytes, and it is far shorter than what it answers.
A browser then asks over TCP at once, where the answer can say more.

The error is the alert that a TLS client gets. CONNECTION_REFUSED would say it too, but curl takes that for a server that
is restarting, and asks again and again.

Refuses to know: why. RFC 9000 10.2.3, 17.2.1, 17.2.2, 19.19; RFC 9001 4.8, 5.2; RFC 9369 3.2.
"""

from penstock.answer.tls import UNRECOGNIZED_NAME
from penstock.compile.memory import move, put8, put32, putbe16, putbe32, shared
from penstock.request.initial import seal_initial
from penstock.wire.quic import FIXED_BIT, LONG_HEADER, VERSION_1, VERSION_2

CONNECTION_CLOSE, CRYPTO_FRAME = 0x1C, 0x06
CRYPTO_ERROR = 0x4100  # 0x0100 as a variable-length integer; the alert is added (RFC 9001 4.8)
NUMBER_BYTES = 4
REASON = int.from_bytes(b"refused by the network's policy\0", "little")  # for the client's log
REASON_BYTES = 31
REASON_WORDS = tuple((REASON >> 32 * word) & 0xFFFFFFFF for word in range(8))
FRAMES_BYTES = 5 + REASON_BYTES
TAG_BYTES = 16
CLOSE_LIMIT = 128  # bytes of a whole answer: 7 + 2 * 20 of header, 8 of length and number, the frames, the tag
LENGTH_FORM = 0x4000  # a variable-length integer of two bytes


@shared
def _write_invariants(out, first, version, dcid, dcid_bytes, scid, scid_bytes):  # type: ignore[no-untyped-def]
    """Write what long headers of all versions share. Returns: the place behind it. Source: RFC 8999 5.1."""
    put8(out, first)
    putbe32(out + 1, version)
    put8(out + 5, dcid_bytes)
    move(out + 6, dcid, dcid_bytes)
    at = out + 6 + dcid_bytes
    put8(at, scid_bytes)
    move(at + 1, scid, scid_bytes)
    return at + 1 + scid_bytes


@shared
def write_close(out, frames, version, number, dcid, dcid_bytes, scid, scid_bytes, keys, cipher):  # type: ignore[no-untyped-def]
    """Write an Initial that ends the connection.

    Reads: `dcid`: the client's source connection ID; `scid`: the ID that the client chose for its server; `keys`: the
    server's, from `derive_keys`. `number`: 0 to 2^32 - 1; a later answer has a higher one.
    Writes: CLOSE_LIMIT bytes at `out` at most, FRAMES_BYTES + 1 at `frames` (scratch). Returns: the packet's size.
    Bounds: those of `seal_initial`. Source: RFC 9000 17.2.2, 19.19.
    """
    kind = 1 if version == VERSION_2 else 0
    first = LONG_HEADER | FIXED_BIT | kind << 4 | (NUMBER_BYTES - 1)
    at = _write_invariants(out, first, version, dcid, dcid_bytes, scid, scid_bytes)
    put8(at, 0)
    putbe16(at + 1, LENGTH_FORM | (NUMBER_BYTES + FRAMES_BYTES + TAG_BYTES))
    putbe32(at + 3, number)
    put8(frames, CONNECTION_CLOSE)
    putbe16(frames + 1, CRYPTO_ERROR + UNRECOGNIZED_NAME)
    put8(frames + 3, CRYPTO_FRAME)
    put8(frames + 4, REASON_BYTES)
    put32(frames + 5, REASON_WORDS[0])
    put32(frames + 9, REASON_WORDS[1])
    put32(frames + 13, REASON_WORDS[2])
    put32(frames + 17, REASON_WORDS[3])
    put32(frames + 21, REASON_WORDS[4])
    put32(frames + 25, REASON_WORDS[5])
    put32(frames + 29, REASON_WORDS[6])
    put32(frames + 33, REASON_WORDS[7])
    return seal_initial(out, at + 3 + NUMBER_BYTES - out, NUMBER_BYTES, frames, FRAMES_BYTES, keys, number, cipher)


@shared
def write_version_negotiation(out, packet_first, dcid, dcid_bytes, scid, scid_bytes):  # type: ignore[no-untyped-def]
    """Write a Version Negotiation packet that offers the versions which are read.

    Reads: `dcid`: the client's source connection ID; `scid`: the destination connection ID that the client used.
    Writes: 15 + dcid_bytes + scid_bytes at `out`. Returns: its size. Bounds: no loop. Source: RFC 9000 17.2.1.
    """
    at = _write_invariants(out, LONG_HEADER | FIXED_BIT | packet_first & 0x0F, 0, dcid, dcid_bytes, scid, scid_bytes)
    putbe32(at, VERSION_1)
    putbe32(at + 4, VERSION_2)
    return at + 8 - out
