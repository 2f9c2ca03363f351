"""What the kernel and the packet process share: the tables, and the layout of every byte in them.

A *bucket* of the flow table holds eight records; their tags stand together in front, so that a search touches one cache
line. One record is 128 bytes:

      0  client address 16 | 16  server address 16 | 32  ports | 36  scope 24 bits, protocol 8 bits
     40  word: J | F - J << 32 | state << 62       | 48  A     | 52  server_next | 56  seen | 60  epoch
     64  sent_up | 68  handled | 72  client_next   | 76  syn_next | 80  birth | 84  server_isn | 88  tsval | 92  flags
     96  ttl, mode | 100 stream | 104 mark | 108 watch | 112 left, or: answer | 116 answer_seq | 120 answer_end
    124  fin: behind the client's FIN, as last seen

Of a flow over UDP only key, word, seen, sent_up, handled and flags mean something.

The process writes word, handled, mode, stream, mark, watch and left or answer; the kernel writes the rest. Integers are
the machine's order. Change a layout and LAYOUT_VERSION changes: a pinned table of another version is never used. Two
things are the same in every version, so that the emergency switch works whatever runs: the table `control` has that name,
and its first word is the epoch, odd while the switch is on.
"""

from penstock.kernel.declared import Constant, Map

LAYOUT_VERSION = 5
# Begins the name of every table: the one place for it that all kinds of tables have.
VERSION_WORD = f"v{LAYOUT_VERSION}_"
MMAPABLE = 1 << 10

# ---- flow table -------------------------------------------------------------------------------------------------------
WAYS = 8
BUCKET_RECORDS = 64  # offset of the first record in a bucket
RECORD_BYTES = 128
BUCKET_BYTES = BUCKET_RECORDS + WAYS * RECORD_BYTES
TAG_EMPTY, TAG_BUSY, TAG_LEFT = 0, 2, 4  # a tag in use is odd

FLOW_CLIENT, FLOW_SERVER, FLOW_PORTS, FLOW_SCOPE, FLOW_PROTOCOL = 0, 16, 32, 36, 39
FLOW_WORD, FLOW_ACKED, FLOW_SERVER_NEXT, FLOW_SEEN, FLOW_EPOCH = 40, 48, 52, 56, 60
FLOW_SENT_UP, FLOW_HANDLED, FLOW_CLIENT_NEXT, FLOW_SYN_NEXT = 64, 68, 72, 76
FLOW_BIRTH, FLOW_SERVER_ISN, FLOW_TSVAL, FLOW_FLAGS = 80, 84, 88, 92
FLOW_TTL, FLOW_MODE, FLOW_STREAM, FLOW_MARK, FLOW_WATCH = 96, 98, 100, 104, 108
MODE_TLS = 5  # FLOW_MODE of a stream whose ClientHello was read: path.units
FLOW_LEFT = 112  # of an open flow: bytes of a body past F, 64 bits
FLOW_ANSWER, FLOW_ANSWER_SEQ, FLOW_ANSWER_END = 112, 116, 120  # of a refused flow
FLOW_FIN = 124
KEY_BYTES = 40
SCOPE_MASK = 0xFFFFFF

# FLOW_FLAGS
HAS_TIMESTAMPS, HAS_MD5, FAILS_CLOSED, IS_UNPROTECTED, IS_INBOUND = 1, 2, 4, 8, 16
CLIENT_FIN, CLIENT_RST, SERVER_FIN, SERVER_RST = 32, 64, 128, 256  # seen; hints for the choice of a record to use again
SYN_SEEN = 512  # a SYN of the client since the record was made
CONTESTED = (
    1024  # another handshake of the same ports could still be completed, until the server acknowledges something
)
ONE_WAY = 2048  # the client's SYN and first bytes made it: of the server nothing was seen
OWNER_SHIFT, OWNER_MASK = 12, 0xFFFFF  # the upper bits: whose flow it is, the number of its subscriber

# ---- ring records -----------------------------------------------------------------------------------------------------
UP_REASON, UP_FROM_CLIENT, UP_LENGTH, UP_GSO_SIZE, UP_GSO_SEGS, UP_VLAN_PRESENT = 0, 4, 8, 12, 16, 20
UP_VLAN_TCI, UP_VLAN_PROTO, UP_L3, UP_L4, UP_PAYLOAD, UP_PAYLOAD_BYTES = 24, 28, 32, 36, 40, 44
UP_FLOW, UP_NUMBER, UP_TIME_NS, UP_IS_IPV6, UP_FLAGS = 48, 52, 56, 64, 68
UP_SEQ, UP_ACK, UP_TTL, UP_IS_PEEK = 72, 76, 80, 84
UP_OWNER = 88
UP_KEY = 96
UP_HEAD = UP_KEY + KEY_BYTES  # the packet's bytes follow
NO_RECORD = 0xFFFFFFFF
UP_SMALL, UP_MIDDLE, UP_LARGE = 2048, 16384, 65536 + 128  # bytes of packet that a record can hold
PEEK_BYTES = 1024

# ---- control words, one value -----------------------------------------------------------------------------------------
CONTROL_EPOCH = 0  # odd: on. `off` and `on` add one, a start of the process adds two
CONTROL_ZERO = 8  # stays 0: what is XORed with it is unknown to the verifier
CONTROL_SHAPES = 16  # shapes of places in use: how many, and << 8 in which bank
CONTROL_EXCEPTIONS = 24  # two bits for each cause: kernel.exceptions
CONTROL_HASH_KEY = 32  # of the flow table; 0: not drawn yet
CONTROL_STALE_SEEN = 40  # packets that found nobody to read them, as the control process saw it last
CONTROL_ACTIVE = 48  # a bit for each cause whose end is not told yet: control.exceptions
CONTROL_SHAPE_LINES = 64  # two banks of SHAPE_LIMIT lines, longest first: one is read, the other may be written
SHAPE_HIGH, SHAPE_LOW = 0, 8  # the mask of the address
SHAPE_PORTS = 16  # the mask of the client's port
SHAPE_WORD = 24  # what sets one shape apart from the others
SHAPE_BYTES, SHAPE_LIMIT = 32, 8
SHAPE_BANK_BYTES = SHAPE_LIMIT * SHAPE_BYTES
CONTROL_PORTS = 1024  # a bit per TCP port that is judged
CONTROL_SCOPES = CONTROL_PORTS + 8192  # 16 bits per VLAN ID: the scope
CONTROL_BYTES = CONTROL_SCOPES + 2 * 4096

# ---- pulse: one line of 64 bytes per ring -----------------------------------------------------------------------------
PULSE_BYTES = 64
PULSE_TIME_NS, PULSE_SLEEPING, PULSE_UNNUMBERED = 0, 8, 16
RINGS_BOUND = 16
STALE_NS = 100_000_000  # the brief's limit: fail open within 100 ms

# ---- addresses: place -> number of its subscriber ---------------------------------------------------------------------
ADDRESS_SLOTS, ADDRESS_BUCKET_BYTES = 8, 64  # a cache line of words: tag << NUMBER_BITS | number, 0: empty
NUMBER_BITS, NUMBER_MASK = 20, 0xFFFFF  # as many bits as OWNER_MASK has

# ---- subscribers: one line per number; 0 is nobody, the last one whoever shares an address by ports ----------------------
SUBSCRIBER_CLIENT_NS, SUBSCRIBER_SERVER_NS = 0, 8  # when what was spent would be earned again: either side's budget
SUBSCRIBER_INTERVAL_NS, SUBSCRIBER_REFUSED = (
    16,
    20,
)  # the time in which a packet is earned (0: no limit); packets dropped
SUBSCRIBER_PROFILE, SUBSCRIBER_FLAGS = 24, 28  # policy.layout.profile_tag; the flags below
SUBSCRIBER_SERVICES, SUBSCRIBER_SWITCHES = 32, 40  # a bit for each service that is on; policy.switches
SUBSCRIBER_BYTES = 64
SUBSCRIBER_PROTECTED, SUBSCRIBER_CLOSED, SUBSCRIBER_SHARED, SUBSCRIBER_PAUSED, SUBSCRIBER_NAMES = 1, 2, 4, 8, 16
RIGHTS_OWNER_SHIFT = 32  # rights: the flags, and the owner's number above them

# ---- handshakes: the latest ones by hash, whether or not their flow has a record ---------------------------------------
HANDSHAKE_COUNT, HANDSHAKE_BYTES = 1 << 16, 32
HANDSHAKE_TAG, HANDSHAKE_STATE, HANDSHAKE_SYN_NS, HANDSHAKE_SYN_ACK_NS, HANDSHAKE_NEXT = 0, 4, 8, 16, 24

# ---- health: per CPU, a line for unprotected flows and one for protected ones -------------------------------------------
HEALTH_LATENCY_BUCKETS = 24  # by powers of two of a microsecond
HEALTH_CLIENT_SEGMENTS, HEALTH_CLIENT_REPEATED, HEALTH_CLIENT_RESETS = 0, 8, 16
HEALTH_SERVER_SEGMENTS, HEALTH_SERVER_REPEATED, HEALTH_SERVER_RESETS = 24, 32, 40
HEALTH_HANDSHAKES, HEALTH_COMPLETED = 48, 56
HEALTH_SERVER_LATENCY = 64  # SYN to SYN-ACK
HEALTH_CLIENT_LATENCY = HEALTH_SERVER_LATENCY + 8 * HEALTH_LATENCY_BUCKETS  # SYN-ACK to the client's first packet
HEALTH_BYTES = 512

HISTOGRAM_STEP_NS, HISTOGRAM_BUCKETS = 500, 256  # from ring record to packet sent; the last bucket: later than 127.5 us
HISTOGRAM_BYTES = 8 * HISTOGRAM_BUCKETS
COUNTER_CPUS = 64
COUNTER_BYTES = 128 * 8  # one line of reasons per CPU

flows = Map("flows", "array", 4, BUCKET_BYTES, 32768, MMAPABLE)
control = Map("control", "array", 4, CONTROL_BYTES, 1, MMAPABLE)
pulse = Map("pulse", "array", 4, PULSE_BYTES * RINGS_BOUND, 1, MMAPABLE)
counters = Map("counters", "array", 4, COUNTER_BYTES * COUNTER_CPUS, 1, MMAPABLE)
path_counters = Map("path_counters", "array", 4, COUNTER_BYTES * RINGS_BOUND, 1, MMAPABLE)  # a line per worker
verdict_times = Map("verdict_times", "array", 4, HISTOGRAM_BYTES * RINGS_BOUND, 1, MMAPABLE)  # a histogram per worker
scratch = Map("scratch", "array", 4, 128 * COUNTER_CPUS, 1, 0)
addresses = Map("addresses", "array", 4, ADDRESS_BUCKET_BYTES, 65536, MMAPABLE)
subscribers = Map("subscribers", "array", 4, SUBSCRIBER_BYTES, 65536, MMAPABLE)
own_names = Map("own_names", "array", 4, 8, 1 << 17, MMAPABLE)  # policy.own_names: the path's alone
handshakes = Map("handshakes", "array", 4, HANDSHAKE_BYTES * HANDSHAKE_COUNT, 1, 0)
health = Map("health", "array", 4, HEALTH_BYTES * 2 * COUNTER_CPUS, 1, MMAPABLE)
rings = Map("rings", "array_of_maps", 4, 4, RINGS_BOUND)
RING_BYTES = 1 << 23

bucket_mask = Constant("bucket_mask")
ring_mask = Constant("ring_mask")
peer_ifindex = Constant("peer_ifindex")
from_client = Constant("from_client")  # 1 in the program of ingress, 0 in that of egress
hash_key = Constant("hash_key")
address_mask = Constant("address_mask")  # buckets of `addresses` less one
subscriber_mask = Constant("subscriber_mask")
