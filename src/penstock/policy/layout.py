"""The head of a snapshot file: one int64 each, all offsets from the start of the file.

    | head | categories, their rules | templates | DNS plans, rewrites | filters, pages of hooks | JSON for Python |

Templates are described where they are read, in `snapshot`. A snapshot never changes; another policy is another file with
the next generation. Who switched what on is not in it: the subscribers' lines have a bit for each service, and a service
has the same bit in every snapshot.
"""

import zlib

MAGIC = 0x01594C4F504E4550  # the bytes "PENPOLY", then 1
VERSION = 4

SNAPSHOT_MAGIC = 0
SNAPSHOT_VERSION = 8
SNAPSHOT_GENERATION = 16
SNAPSHOT_BYTES = 24  # of the whole file
NAMES_KEY_COPY = 40  # two words: the key of the names database that this snapshot belongs to
REPORT_ONLY = 56  # 1: every action but FORWARD is taken as REPORT
RULES_OFF = 64  # a record for each category, below
COURT_CATEGORIES = 72  # a bit for each category that is refused for everybody
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
PAGE_ADDRESSES = 192  # 1: refused names lead to these two, the operator's page: 16 bytes each, 0 for none
PAGE_ADDRESS_4, PAGE_ADDRESS_6 = 200, 216
# What hooks are asked about, the pages of their refusals, and how long a request waits for them.
FILTERS_OFF, FILTERS_COUNT = 256, 264  # policy.filters; count 0: nobody is asked
HOOK_PAGES_OFF = 272  # offsets of policy.snapshot's templates: a row for each category, NAMELESS, and the redirect's
HOOK_BUDGET_NS = 280
HEAD_BYTES = 320

# One category: the services that act on it, and where its rules begin, as an offset from the start of the file.
CATEGORY_SERVICES, CATEGORY_FIRST, CATEGORY_RULES, CATEGORY_RECORD_BYTES = 0, 8, 12, 16
# One rule: its place in the order of all; who acts, and how, and how he would if he did not only report.
RULE_RANK, RULE_SERVICE, RULE_ACTION, RULE_WOULD, RULE_BYTES = 0, 2, 3, 4, 8


def profile_tag(name: str) -> int:
    """The 32 bits by which lines, samples and filters know a profile; 0 is none."""
    return zlib.crc32(name.encode()) or 1
