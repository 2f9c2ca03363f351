"""The memory of one worker: where everything is that the path needs, as offsets of 64-bit words in its block.

The control side fills the block before the worker starts and changes nothing in it afterwards; what changes while it
runs (snapshot, stop) stands in the *orders*, which the worker reads once per batch.
"""

from penstock.policy.judge import OUT_BYTES

# ---- the worker's block -----------------------------------------------------------------------------------------------
W_POOL = 600  # POOL_BYTES of flow.stream
W_FLOWS, W_CONTROL, W_PULSE, W_BUCKET_MASK = 0, 8, 16, 24
W_RING, W_RING_MASK = 32, 40  # consumer page, producer page, data (mapped twice, end to end)
W_CLIENT_FD, W_SERVER_FD, W_RING_FD = 48, 56, 64  # packet sockets towards each side, the ring's descriptor
W_SNAPSHOT, W_NAMES = 136, 144
W_EVENTS, W_COUNTERS, W_HISTOGRAM, W_ORDERS = 152, 160, 168, 176
W_HELLO, W_FRAME, W_ANSWER, W_MESSAGE = (
    184,
    192,
    200,
    208,
)  # scratch: a hello put together, a frame, an answer, a msghdr
W_NOW_NS, W_OPTIONS, W_SECRET = 216, 224, 232
# Fragments; room to parse into; where frames go without a wire; a record and a reader's state for what is judged on sight.
W_FRAGMENTS, W_VIEW, W_CAPTURE, W_SIGHT = 248, 376, 384, 392
W_EXPIRE_NS = 368  # when fragments and held datagrams are looked at next
# QUIC: connections, the cipher's scratch, an opened Initial, what a packet and a hello say, datagrams held.
W_EPOCH, W_EPOCH_MS = 128, 240  # the epoch in which datagrams are read, and since when
W_INBOUND = 512  # who was asked as a server: INBOUND_COUNT lines of a key and a time
INBOUND_COUNT = 1024
W_LENIENT = 360  # 1: an Initial that no key opens may be an honest one
W_CONNECTIONS, W_CIPHER, W_PLAIN, W_PACKET, W_HOLDS, W_HOLDER, W_ENTRY = 72, 80, 88, 96, 104, 112, 120
W_DNS = 496  # what request.dns found, its hosts, the plan of an answer, the size of one in W_ANSWER
D_TEXT, D_PLAN, D_SIZE, D_CUTS, D_BYTES = 384, 1408, 1536, 1920, 4096
# An address, or the name of a binding; the name that led to a server: room for flow.bindings.HOST_ROOM each.
D_MAPPED, D_HOST = 1544, 1712
W_BINDINGS = 504  # flow.bindings: one table for all workers
W_SAMPLES = 528  # path.sample: the requests of late
W_TARGET, W_TARGET_BYTES, W_URLS = 568, 576, 584  # of the request that is judged: path and query; policy.urls' scratch
W_ADDRESSES, W_ADDRESS_MASK, W_SUBSCRIBERS, W_SUBSCRIBER_MASK = 536, 544, 552, 560  # kernel.owners
# path.asks: what waits for hooks; its rings; may the unit at hand be asked about; which hook decided it; where the server
# stands of the flow at hand.
W_ASKS, W_ASK_RING, W_ANSWER_RING, W_MAY_ASK, W_HOOK, W_RELEASED_END = 896, 904, 912, 920, 928, 936
# At W_PACKET: what request.quic found, what request.hello found, keys, the frames and the bytes of an answer.
Q_HELLO, Q_KEYS, Q_FRAMES, Q_SEALED, Q_BYTES = 128, 384, 448, 512, 1024
W_OWN_NAMES, W_OWN_NAMES_MASK = 256, 264  # policy.own_names
W_OVERRIDES, W_FILLS = 272, 280  # path.overrides; what goes into the places of a page
W_JUDGED = 704  # what `judge` said last: OUT_BYTES
W_UNIT = W_JUDGED + OUT_BYTES  # what `read_unit` found, see below
WORKER_BYTES = 1024

NO_WIRE_CLIENT, NO_WIRE_SERVER = -1, -2  # W_CLIENT_FD and W_SERVER_FD where there is no wire

# W_OPTIONS
ALL_REQUESTS, TRUST_CHECKSUMS = 1, 2

# ---- what read_unit found ---------------------------------------------------------------------------------------------
UNIT_J, UNIT_F, UNIT_HOST, UNIT_HOST_BYTES = W_UNIT, W_UNIT + 8, W_UNIT + 16, W_UNIT + 24
UNIT_REASON, UNIT_DETAIL, UNIT_PROTO, UNIT_VERSION = W_UNIT + 32, W_UNIT + 40, W_UNIT + 48, W_UNIT + 56
UNIT_ALLOWED, UNIT_IS_HEAD = W_UNIT + 64, W_UNIT + 72

# ---- orders: shared with the control side -----------------------------------------------------------------------------
ORDER_STOP, ORDER_GENERATION, ORDER_SNAPSHOT, ORDER_NAMES, ORDER_TAKEN = 0, 8, 16, 24, 32
ORDER_BYTES = 64
STOP, HAND_ON = 1, 2  # ORDER_STOP: for good, or for another process that goes on with ring and records at once

SIGHT_BYTES = 1024

HELD = -1  # instead of a path reason: the packet waits

# ---- scratch sizes ----------------------------------------------------------------------------------------------------
FRAME_BYTES = 65536 + 256
PLAIN_BYTES = 65536 + 64
ANSWER_BYTES = 8192
MESSAGE_BYTES = 256

# ---- protocols of events ----------------------------------------------------------------------------------------------
PROTO_HTTP, PROTO_TLS, PROTO_TCP, PROTO_QUIC, PROTO_DNS, PROTO_UDP = 0, 1, 2, 3, 4, 5
PROTO_NAMES = ("http", "tls", "tcp", "quic", "dns", "udp")
