"""The head of a snapshot file: one int64 each, all offsets from the start of the file.

    | head | profiles | their table | templates | DNS plans, rewrites | JSON for Python |

Records are described where they are read: profiles in `judge`, templates in `snapshot`. A snapshot never changes; another
choice is another file with the next generation. Who has which profile is not in it: the subscribers' lines name profiles
by their tags, which are the same in every snapshot.
"""

import zlib

MAGIC = 0x01594C4F504E4550  # the bytes "PENPOLY", then 1
VERSION = 3

SNAPSHOT_MAGIC = 0
SNAPSHOT_VERSION = 8
SNAPSHOT_GENERATION = 16
SNAPSHOT_BYTES = 24  # of the whole file
NAMES_KEY_COPY = 40  # two words: the key of the names database that this snapshot belongs to
REPORT_ONLY = 56  # 1: every action but FORWARD is taken as REPORT
PROFILES_OFF, PROFILES_MASK = 64, 72  # records PROFILE_TAG, PROFILE_OFF at tag & mask, or behind it
TEMPLATES_OFF = 96
METADATA_OFF = 104
METADATA_BYTES = 112
QUIC_VERSIONS_PASS = 120  # 1: QUIC in a version that is not read passes unjudged
DNS_JUDGED = 128  # 1: names in DNS queries are judged
DNS_PLAN_OFF = 136  # answer.dns's plan for a refused name; places in it are offsets from the start of the file
DNS_TEXT_OFF, DNS_TEXT_BYTES = 144, 152  # the error's text for who wants it structured (JSON)
DOT_REFUSED = 160  # 1: DNS over TLS and QUIC on their own port is refused
REWRITES_OFF, REWRITES_MASK = 168, 176  # policy.rewrites; the mask is 0 when there are none
DNS_NODATA_OFF = 184  # the plan of an answer without records and without an error
HEAD_BYTES = 256

# One record of the profiles' table, which is at most half full.
PROFILE_TAG, PROFILE_OFF, PROFILE_RECORD_BYTES = 0, 8, 16  # tag 0: empty
PROFILE_PROBES = 64


def profile_tag(name: str) -> int:
    """The 32 bits by which lines, samples and snapshots know a profile; 0 is none."""
    return zlib.crc32(name.encode()) or 1
