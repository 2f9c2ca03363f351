"""The head of a snapshot file: one int64 each, all offsets from the start of the file.

    | head | lengths | prefix tables | subscribers | profiles | template directory | templates | JSON for Python |

Records are described where they are read: lengths and prefixes in `subscribers`, profiles in `judge`, templates in
`snapshot`. A snapshot never changes; another choice is another file with the next generation.
"""

MAGIC = 0x01594C4F504E4550  # the bytes "PENPOLY", then 1
VERSION = 1

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
HEAD_BYTES = 128

# One subscriber, by index.
SUBSCRIBER_PROFILE_OFF = 0
SUBSCRIBER_FLAGS = 8
SUBSCRIBER_BYTES = 16
FAIL_CLOSED = 1  # flag: without a judgement nothing of this subscriber passes
