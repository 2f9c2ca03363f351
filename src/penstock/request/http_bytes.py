"""Classes of bytes, and the field names that matter to host and framing.

Knows: what a token is (RFC 9110 5.6.2), what CPython's `str.split` calls white space, the four names. Refuses to know:
lines, state, what follows from a name.
"""

from penstock.compile.memory import be32, be64, count_trailing_zeros, shared, u8, u64

HT, LF, CR, SPACE, COLON, DOT, SLASH, DELETE = 9, 10, 13, 32, 58, 46, 47, 127

NAME_OTHER, NAME_HOST, NAME_LENGTH, NAME_CODING, NAME_UPGRADE = range(5)
NAME_BYTES_LIMIT = 17  # of the names above

_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _signed(word: int) -> int:
    """The int64 with the bits of an unsigned 64-bit number."""
    return word - (1 << 64) if word >> 63 else word


TOKEN_LOW = _signed(sum(1 << byte for byte in _TOKEN if byte < 64))
TOKEN_HIGH = _signed(sum(1 << byte - 64 for byte in _TOKEN if byte >= 64))

LOWER_4 = 0x2020_2020
LOWER_8 = 0x2020_2020_2020_2020
TOP_BITS = _signed(0x8080_8080_8080_8080)


def _word(text: bytes) -> int:
    return int.from_bytes(text, "big")


HOST_WORD = _word(b"host")
UPGR_WORD, RADE_WORD = _word(b"upgr"), _word(b"rade")
CONTENT_WORD, LENGTH_WORD = _word(b"content-"), _word(b"t-length")
TRANSFER_WORD, ENCODIN_WORD, ENCODING_WORD = _word(b"transfer"), _word(b"-encodin"), _word(b"encoding")


@shared
def is_token(byte):  # type: ignore[no-untyped-def]
    """May this byte stand in a method or field name?"""
    if byte < 64:
        return (TOKEN_LOW >> byte) & 1 == 1
    return byte < 128 and (TOKEN_HIGH >> (byte - 64)) & 1 == 1


@shared
def is_space(byte):  # type: ignore[no-untyped-def]
    """Does any server separate words of the request line at this byte? (CPython: Latin-1 white space.)"""
    return byte == SPACE or (byte >= HT and byte <= CR) or (byte >= 28 and byte <= 31) or byte == 0x85 or byte == 0xA0


@shared
def is_control(byte):  # type: ignore[no-untyped-def]
    """Is this a control byte of ASCII (white space ones too)?"""
    return byte < SPACE or byte == DELETE


@shared
def find_control(at, stop):  # type: ignore[no-untyped-def]
    """Find the first byte below 0x20.

    Reads [at, stop). Returns its address, or `stop`. Bounds: one turn per 8 bytes.
    """
    while at + 8 <= stop:
        word = u64(at)
        below = (word - LOWER_8) & ~word & TOP_BITS
        if below != 0:
            return at + (count_trailing_zeros(below) >> 3)
        at += 8
    while at < stop and u8(at) >= SPACE:
        at += 1
    return at


@shared
def skip_spaces(at, stop):  # type: ignore[no-untyped-def]
    """The address of the first byte in [at, stop) that is neither space nor tab, or `stop`."""
    while at < stop and (u8(at) == SPACE or u8(at) == HT):
        at += 1
    return at


@shared
def trim_spaces(at, stop):  # type: ignore[no-untyped-def]
    """The end of [at, stop) without the spaces and tabs at its end."""
    while stop > at and (u8(stop - 1) == SPACE or u8(stop - 1) == HT):
        stop -= 1
    return stop


@shared
def find_name(at, size):  # type: ignore[no-untyped-def]
    """Which of the names that matter are these bytes, in any case?

    Reads [at, at + size). Returns NAME_HOST, NAME_LENGTH, NAME_CODING, NAME_UPGRADE or NAME_OTHER.
    Setting bit 5 maps only letters and control bytes onto letters and "-"; callers pass no control bytes.
    """
    if size == 4 and be32(at) | LOWER_4 == HOST_WORD:
        return NAME_HOST
    if size == 7 and be32(at) | LOWER_4 == UPGR_WORD and be32(at + 3) | LOWER_4 == RADE_WORD:
        return NAME_UPGRADE
    if size == 14 and be64(at) | LOWER_8 == CONTENT_WORD and be64(at + 6) | LOWER_8 == LENGTH_WORD:
        return NAME_LENGTH
    if (
        size == 17
        and be64(at) | LOWER_8 == TRANSFER_WORD
        and be64(at + 8) | LOWER_8 == ENCODIN_WORD
        and be64(at + 9) | LOWER_8 == ENCODING_WORD
    ):
        return NAME_CODING
    return NAME_OTHER
