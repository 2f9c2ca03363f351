"""Which datagrams may open a QUIC connection, by the few bytes that all versions share; for kernel and process alike.

    | 1 form, 1 fixed, 6 of the version | version (4) | length | destination connection ID | length | source connection ID |

Refuses to know: what stands behind (`request.quic`). RFC 8999 5.1 (long headers), RFC 9000 17.2, RFC 9369 3.1.
"""

from penstock.compile.memory import shared

LONG_HEADER = 0x80
FIXED_BIT = 0x40
VERSION_BYTES_OFF = 1
HEAD_BYTES = 5  # form and version
VERSION_1, VERSION_2 = 0x00000001, 0x6B3343CF
# Versions that some server still speaks, by their first bytes: drafts of version 1 and of Google's and Meta's own QUIC.
DRAFT_PREFIX, GOOGLE_Q, GOOGLE_T, META_PREFIX = 0xFF0000, 0x51, 0x54, 0xFACEB0


@shared
def is_foreign_version(version):  # type: ignore[no-untyped-def]
    """Is this a version that is not read here but that some server may speak?"""
    is_google = version >> 24 == GOOGLE_Q or version >> 24 == GOOGLE_T
    return is_google or version >> 8 == DRAFT_PREFIX or version >> 8 == META_PREFIX


@shared
def may_open(first, version):  # type: ignore[no-untyped-def]
    """May a datagram that begins with this byte and this version open a connection? Its first packet says so for all that
    are coalesced behind it, for none can stand behind a short header."""
    if first & LONG_HEADER == 0:
        return False
    is_read = version == VERSION_1 or version == VERSION_2
    return is_read or (first & FIXED_BIT != 0 and is_foreign_version(version))
