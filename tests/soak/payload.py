"""Bytes that both ends make for themselves from a seed, so that every byte which crosses the box can be compared.

Knows how the bytes follow from the seed. Refuses to know how they travel.
"""

import hashlib
import itertools
import random

TXT_NAMES = 32  # names with a TXT record of their own
TXT_BYTES = 400  # of its text: the answer fits into one datagram


def build_payload(seed: int, size: int) -> bytes:
    """The `size` bytes of a seed; they are no text, and begin like no protocol."""
    return b"\x00" + random.Random(seed).randbytes(size - 1) if size else b""


def cut_pieces(seed: int, content: bytes, count: int) -> list[bytes]:
    """The same bytes in at most `count` pieces, none of them empty."""
    marks = sorted({random.Random(seed).randrange(1, max(2, len(content))) for _ in range(count - 1)})
    edges = [0, *(mark for mark in marks if mark < len(content)), len(content)]
    return [content[start:end] for start, end in itertools.pairwise(edges)] if content else []


def word_receipt(content: bytes) -> bytes:
    """What a server says of the bytes that it took."""
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}\n".encode()


def txt_name(number: int) -> str:
    """A name whose TXT record is `txt_text` of the same number."""
    return f"text{number}.example.test"


def txt_text(number: int) -> str:
    """The text of a TXT record."""
    return build_payload(number, TXT_BYTES // 2).hex()


def compare(expected: bytes, found: bytes) -> str:
    """Where `found` differs, in words; empty when it does not."""
    if expected == found:
        return ""
    both = zip(expected, found, strict=False)
    place = next((at for at, (one, other) in enumerate(both) if one != other), min(len(expected), len(found)))
    return f"{len(found)} bytes where {len(expected)} were expected, other ones from byte {place}"
