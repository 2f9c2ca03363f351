"""The protection of QUIC Initials: keys from a connection ID, one packet opened or sealed.

    clear      │ first byte │ version ... length │ packet number │ frames ...          │
    protected  │ ....xxxx   │ the same           │ xxxxxxxx      │ xxxxxxxxxxxxxxxxxxx │ tag 16 │
                                                 └ number_at            └ the 16 bytes from number_at + 4 give the mask

The keys follow from bytes that anyone on the way can read, so nothing here is a secret, and no time is hidden. What the
tag does prove is that the sender knew the connection ID: a packet that fails says nothing about its flow.

Knows RFC 9001 5.2 to 5.4, RFC 9369 3.3, RFC 9000 17.1 and A.3. Refuses to know the header's other fields, frames, and
which connection ID a flow's keys come from.

`cipher` is one worker's CIPHER_BYTES, aligned to 8; `prepare_cipher` fills it once, before the start.
"""

from penstock.cipher import layout
from penstock.cipher.gcm import NONCE_BYTES, TAG_BYTES, load_key, open_message, seal_message
from penstock.cipher.hkdf import (
    STATES_BYTES,
    build_label,
    build_states,
    sign_block,
    sign_three,
    write_states,
)
from penstock.cipher.layout import COUNTER, HASH_BLOCK_BYTES, SCHEDULE, TAG, write_room
from penstock.cipher.primitives import encrypt_block, expand_key
from penstock.compile.memory import be32, be64, move, put8, put32, put64, putbe32, putbe64, shared, u8, u32

VERSION_1 = 1
VERSION_2 = 0x6B3343CF

# Results of `open_initial` that are no size.
BAD_TAG = -1
TOO_SHORT = -2

# Of KEYS_BYTES.
KEY = 0
IV = 16
HP = 32
KEYS_BYTES = 48

CID_LIMIT = 20  # RFC 9000 17.2
SAMPLE_OFF = 4  # from the packet number
SAMPLE_BYTES = 16
PROTECTED_BITS = 0x0F  # of a long header's first byte
NUMBER_LIMIT = 1 << 62

# What a version's keys are derived with: the states of its salt, then word blocks of labels.
CLIENT_LABEL = STATES_BYTES
SERVER_LABEL = CLIENT_LABEL + HASH_BLOCK_BYTES
KEY_LABELS = SERVER_LABEL + HASH_BLOCK_BYTES  # key, iv, hp
TEMPLATE_BYTES = KEY_LABELS + 3 * HASH_BLOCK_BYTES
SALTS = (
    ("quic", bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")),  # RFC 9001 5.2
    ("quicv2", bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9")),  # RFC 9369 3.3.1
)

# Of CIPHER_BYTES, behind what `layout` describes.
LAST_NUMBER = layout.ROOM_BYTES  # the packet number of the packet opened last
TEMPLATES = LAST_NUMBER + 8
CID_BYTES = TEMPLATES + len(SALTS) * TEMPLATE_BYTES  # scratch: the connection ID, padded
CID_BLOCK = CID_BYTES + 24  # scratch: its word block; the words between ID and length stay 0
STATES = CID_BLOCK + HASH_BLOCK_BYTES  # scratch: of the secret at hand
SECRET = STATES + STATES_BYTES  # scratch: a digest, then three of them
CIPHER_BYTES = SECRET + 3 * HASH_BLOCK_BYTES


def prepare_cipher(cipher: int) -> None:
    """Fill CIPHER_BYTES at the address `cipher`. Ordinary Python, before the start."""
    layout.prepare(cipher)
    write_room(cipher + LAST_NUMBER, bytes(CIPHER_BYTES - LAST_NUMBER))
    for number, (prefix, salt) in enumerate(SALTS):
        labels = [build_label("client in", 32), build_label("server in", 32)]
        labels += [
            build_label(f"{prefix} {name}", size) for name, size in (("key", 16), ("iv", NONCE_BYTES), ("hp", 16))
        ]
        write_room(cipher + TEMPLATES + number * TEMPLATE_BYTES, build_states(salt) + b"".join(labels))


@shared
def write_cid_block(cid, cid_bytes, cipher):  # type: ignore[no-untyped-def]
    """Write the word block of a connection ID.

    Reads: cid_bytes at `cid`, at most CID_LIMIT. Writes: CID_BYTES, CID_BLOCK. Returns: 0. Bounds: six words.
    Source: RFC 9001 5.2; FIPS 180-4 5.1.1.
    """
    room, block = cipher + CID_BYTES, cipher + CID_BLOCK
    put64(room, 0)
    put64(room + 8, 0)
    put64(room + 16, 0)
    move(room, cid, cid_bytes)
    put8(room + cid_bytes, 0x80)
    for at in range(0, 24, 4):
        put32(block + at, be32(room + at))
    put32(block + HASH_BLOCK_BYTES - 4, 8 * (HASH_BLOCK_BYTES + cid_bytes))
    return 0


@shared
def derive_keys(version, cid, cid_bytes, from_server, keys, cipher):  # type: ignore[no-untyped-def]
    """Write the keys of one direction's Initials.

    Reads: cid_bytes at `cid`. Writes: KEYS_BYTES at `keys`; scratch. Returns: 1; 0 for another version than VERSION_1 and
    VERSION_2, and for more than CID_LIMIT bytes: nothing is written. Bounds: 14 blocks of SHA-256.
    Source: RFC 9001 5.1, 5.2; RFC 9369 3.3.1, 3.3.2.
    """
    if (version != VERSION_1 and version != VERSION_2) or cid_bytes < 0 or cid_bytes > CID_LIMIT:
        return 0
    template = cipher + TEMPLATES
    if version == VERSION_2:
        template += TEMPLATE_BYTES
    label = template + (SERVER_LABEL if from_server != 0 else CLIENT_LABEL)
    states, secret = cipher + STATES, cipher + SECRET
    write_cid_block(cid, cid_bytes, cipher)
    sign_block(template, cipher + CID_BLOCK, secret, cipher)
    write_states(secret, states, cipher)
    sign_block(states, label, secret, cipher)
    write_states(secret, states, cipher)
    sign_three(states, template + KEY_LABELS, secret, cipher)
    for at in range(0, 16, 4):
        putbe32(keys + KEY + at, u32(secret + at))
        putbe32(keys + IV + at, u32(secret + HASH_BLOCK_BYTES + at))
        putbe32(keys + HP + at, u32(secret + 2 * HASH_BLOCK_BYTES + at))
    put32(keys + IV + NONCE_BYTES, 0)
    return 1


@shared
def write_mask(sample, keys, cipher):  # type: ignore[no-untyped-def]
    """Write the mask of a header to TAG: byte 0 is for the first byte, 1 to 4 are for the packet number.

    Reads: SAMPLE_BYTES at `sample`, the key HP. Writes: TAG, SCHEDULE. Returns: 0. Bounds: one block.
    Source: RFC 9001 5.4.3.
    """
    expand_key(keys + HP, cipher + SCHEDULE, cipher)
    return encrypt_block(cipher + SCHEDULE, sample, cipher + TAG, cipher)


@shared
def write_nonce(number, keys, cipher):  # type: ignore[no-untyped-def]
    """Write the nonce of a packet to COUNTER.

    Reads: the IV. Writes: COUNTER. Returns: 0. Bounds: no loop. Source: RFC 9001 5.3.
    """
    put32(cipher + COUNTER, u32(keys + IV))
    putbe64(cipher + COUNTER + 4, be64(keys + IV + 4) ^ number)
    return 0


@shared
def decode_number(expected, sent, number_bytes):  # type: ignore[no-untyped-def]
    """The packet number whose lowest bytes were sent and that is nearest to the one expected.

    Reads, Writes: nothing. Returns: [0, 2^62). Bounds: no loop. Source: RFC 9000 A.3.
    """
    window = 1 << 8 * number_bytes
    number = expected & -window | sent
    if number <= expected - (window >> 1) and number < NUMBER_LIMIT - window:
        return number + window
    if number > expected + (window >> 1) and number >= window:
        return number - window
    return number


@shared
def open_initial(p, number_at, end, expected, keys, out, cipher):  # type: ignore[no-untyped-def]
    """Verify an Initial and write its frames.

    `p`: the packet's first byte; `number_at`: its packet number; `end`: the address behind it; `expected`: the next packet
    number, 0 for none. The clear header is put together at `out`, verified there, and overwritten by the frames.

    Reads: [p, end), KEYS_BYTES. Writes: within [out, out + end - p), which may not overlap the packet; LAST_NUMBER, once
    the tag is verified; scratch. Returns: the size of the frames; TOO_SHORT without room for sample and tag; BAD_TAG,
    and what stands at `out` means nothing. Bounds: (end - p) / 16 + 5 blocks. Source: RFC 9001 5.3, 5.4.
    """
    if number_at <= p or end - number_at < SAMPLE_OFF + SAMPLE_BYTES:
        return TOO_SHORT
    write_mask(number_at + SAMPLE_OFF, keys, cipher)
    first = u8(p) ^ u8(cipher + TAG) & PROTECTED_BITS
    number_bytes, number_off = (first & 3) + 1, number_at - p
    move(out, p, number_off)
    put8(out, first)
    sent = 0
    for at in range(number_bytes):
        byte = u8(number_at + at) ^ u8(cipher + TAG + 1 + at)
        put8(out + number_off + at, byte)
        sent = sent << 8 | byte
    number = decode_number(expected, sent, number_bytes)
    write_nonce(number, keys, cipher)
    load_key(keys + KEY, cipher)
    text, size = number_at + number_bytes, end - TAG_BYTES - number_at - number_bytes
    if not open_message(out, number_off + number_bytes, text, size, out, cipher):
        return BAD_TAG
    put64(cipher + LAST_NUMBER, number)
    return size


@shared
def seal_initial(out, head_bytes, number_bytes, frames, frames_bytes, keys, number, cipher):  # type: ignore[no-untyped-def]
    """Encrypt frames behind a clear header and protect the header.

    Reads: head_bytes at `out`, of which the last number_bytes (1 to 4) are the packet number; frames_bytes at `frames`, so
    many that number_bytes + frames_bytes >= 4; KEYS_BYTES. Writes: the packet at `out`, which may not overlap the frames;
    scratch. Returns: the packet's size, head_bytes + frames_bytes + TAG_BYTES. Bounds: frames_bytes / 16 +
    head_bytes / 16 + 5 blocks. Source: RFC 9001 5.3, 5.4.
    """
    write_nonce(number, keys, cipher)
    load_key(keys + KEY, cipher)
    seal_message(out, head_bytes, frames, frames_bytes, out + head_bytes, cipher)
    number_at = out + head_bytes - number_bytes
    write_mask(number_at + SAMPLE_OFF, keys, cipher)
    put8(out, u8(out) ^ u8(cipher + TAG) & PROTECTED_BITS)
    for at in range(number_bytes):
        put8(number_at + at, u8(number_at + at) ^ u8(cipher + TAG + 1 + at))
    return head_bytes + frames_bytes + TAG_BYTES
