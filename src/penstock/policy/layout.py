"""The head of a snapshot file: one int64 each, all offsets from the start of the file.

    | head | lengths | prefix tables | subscribers | profiles | templates | DNS plans, rewrites | JSON for Python |

Records are described where they are read: lengths and prefixes in `subscribers`, profiles in `judge`, templates in
`snapshot`. A snapshot never changes; another choice is another file with the next generation.
"""

MAGIC = 0x01594C4F504E4550  # the bytes "PENPOLY", then 1
VERSION = 2

SNAPSHOT_MAGIC = 0
SNAPSHOT_VERSION = 8
SNAPSHOT_GENERATION = 16
SNAPSHOT_BYTES = 24  # of the whole file
SNAPSHOT_KEY = 32  # of the prefix tables
NAMES_KEY_COPY = 40  # two words: the key of the names database that this snapshot belongs to
REPORT_ONLY = 56  # 1: every action but FORWARD is taken as REPORT
LENGTH_COUNT = 64
LENGTHS_OFF = 72
SUBSCRIBER_COUNT = 80
SUBSCRIBERS_OFF = 88
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

# One subscriber, by index.
SUBSCRIBER_PROFILE_OFF = 0
SUBSCRIBER_FLAGS = 8
SUBSCRIBER_BYTES = 16
FAIL_CLOSED = 1  # flag: without a judgement nothing of this subscriber passes
