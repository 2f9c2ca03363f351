"""The TLS answer: one fatal alert in the clear, which a client takes as long as it has no keys.

    15 | 03 03 | 00 02 | 02 | 70        alert, record version, length, fatal, unrecognized_name

UNRECOGNIZED_NAME is the description to use. Chromium has an error of its own for it (ERR_SSL_UNRECOGNIZED_NAME_ALERT)
and leaves it at that; ACCESS_DENIED becomes ERR_SSL_PROTOCOL_ERROR there, and each connection is tried once more
(counted with Chromium 156: 3 or 4 hellos for a page against 6). curl, OpenSSL and NSS name either alert. Neither says
what happened: no alert means "blocked". The record's version is the hello's own, for clients that stop at TLS 1.0;
where that is none of TLS, 0x0303.

Refuses to know: anything about the hello but the version of its record.

RFC 8446 5.1 (records), 6.2 (alerts); RFC 6066 3 (unrecognized_name).
"""

from penstock.compile.memory import put8, putbe16, shared

ALERT_BYTES = 7
RECORD_ALERT = 21
LEVEL_FATAL = 2
ACCESS_DENIED = 49
UNRECOGNIZED_NAME = 112
TLS_1_0 = 0x0301
TLS_1_2 = 0x0303


@shared
def write_alert(out, description, record_version):  # type: ignore[no-untyped-def]
    """Write a fatal alert record.

    Reads: `record_version`, that of the hello's record. Writes: ALERT_BYTES. Returns: ALERT_BYTES. Bounds: no loop.
    Source: RFC 8446 5.1 and 6.
    """
    version = record_version
    if version < TLS_1_0 or version > TLS_1_2:
        version = TLS_1_2
    put8(out, RECORD_ALERT)
    putbe16(out + 1, version)
    putbe16(out + 3, 2)
    put8(out + 5, LEVEL_FATAL)
    put8(out + 6, description)
    return ALERT_BYTES
