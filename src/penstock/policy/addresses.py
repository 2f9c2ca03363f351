"""An address as text, the way lists and `Host` fields write it: dotted decimal, or IPv6 in brackets (RFC 5952 4).

Knows nothing of who uses it. An address is 16 bytes; IPv4 is ::ffff:a.b.c.d (RFC 4291 2.5.5.2).
"""

from penstock.compile.memory import be16, put8, shared, u8, u32, u64
from penstock.wire.headers import MAPPED_PREFIX

ADDRESS_ROOM = 48  # eight groups of four, colons and brackets are 41
GROUPS = 8


@shared
def _write_decimal(out, value):  # type: ignore[no-untyped-def]
    """Write a byte in decimal. Returns: the place behind."""
    if value >= 100:
        put8(out, 48 + value // 100)
        out += 1
    if value >= 10:
        put8(out, 48 + value // 10 % 10)
        out += 1
    put8(out, 48 + value % 10)
    return out + 1


@shared
def _write_group(out, value):  # type: ignore[no-untyped-def]
    """Write 16 bits in hexadecimal without leading zeros. Returns: the place behind."""
    started = False
    for shift in range(12, -1, -4):
        digit = value >> shift & 15
        if digit or started or shift == 0:
            started = True
            put8(out, digit + 48 if digit < 10 else digit + 87)
            out += 1
    return out


@shared
def _find_zeros(address):  # type: ignore[no-untyped-def]
    """The longest run of zero groups, at least two, the first of equals. Returns: first << 8 | count; 0 for none."""
    best, start, count = 0, 0, 0
    for number in range(GROUPS):
        if be16(address + 2 * number):
            count = 0
            continue
        if count == 0:
            start = number
        count += 1
        if count >= 2 and count > best & 0xFF:
            best = start << 8 | count
    return best


@shared
def write_address(out, address):  # type: ignore[no-untyped-def]
    """Write an address as text.

    Reads: [address, address + 16). Writes: ADDRESS_ROOM bytes at most. Returns: its size. Bounds: GROUPS.
    Source: RFC 5952 4.
    """
    at = out
    if u64(address) == 0 and u32(address + 8) == MAPPED_PREFIX:
        for number in range(4):
            if number:
                put8(at, 46)
                at += 1
            at = _write_decimal(at, u8(address + 12 + number))
        return at - out
    zeros = _find_zeros(address)
    first, behind = zeros >> 8, (zeros >> 8) + (zeros & 0xFF)
    put8(at, 91)
    at += 1
    for number in range(GROUPS):
        if zeros and number >= first and number < behind:
            if number == first:
                put8(at, 58)
                put8(at + 1, 58)
                at += 2
            continue
        if number and not (zeros and number == behind):
            put8(at, 58)
            at += 1
        at = _write_group(at, be16(address + 2 * number))
    put8(at, 93)
    return at + 1 - out
