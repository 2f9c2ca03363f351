"""Unpacking gzip with a bound, as it comes: what a few kilobytes can unpack to is told before it is held.

It knows zlib's stream and RFC 1952's members, one behind the other. It does not know what is packed.
"""

import zlib
from collections.abc import Iterator

MAGIC = b"\x1f\x8b"
PIECE_BYTES = 1 << 16
GZIP_FORM = 16 + zlib.MAX_WBITS


class GunzipError(Exception):
    """Not gzip, damaged, or more than the bound."""


class Gunzip:
    """One packed stream."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes, self.unpacked_bytes = limit_bytes, 0
        self._member = zlib.decompressobj(GZIP_FORM)
        self._is_begun = False

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """What some more packed bytes come to, in pieces. Raises GunzipError."""
        while packed:
            if self._member.eof:
                if packed.strip(b"\0") == b"":  # padding behind the last member
                    return
                self._member, self._is_begun = zlib.decompressobj(GZIP_FORM), False
            self._is_begun = True
            try:
                piece = self._member.decompress(packed, PIECE_BYTES)
            except zlib.error as error:
                raise GunzipError(f"damaged: {error}") from None
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self.unpacked_bytes += len(piece)
            if self.unpacked_bytes > self._limit_bytes:
                raise GunzipError(f"it unpacks to more than {self._limit_bytes:,} bytes")
            if piece:
                yield piece

    def finish(self) -> None:
        """No more will come. Raises GunzipError where something is missing."""
        if self._is_begun and not self._member.eof:
            raise GunzipError("damaged: it ends in the middle")
