"""AES-128-GCM of one message at a time: load the key, set the nonce, open or seal.

    SUM = GHASH(header | cipher text | lengths)        tag = SUM + AES(nonce | 1)        text from AES(nonce | 2, 3, ...)

Knows NIST SP 800-38D 7.1 and 7.2 for nonces of 12 bytes and the memory that `layout` describes. Refuses to know where
keys and nonces come from, and whether a tag that is wrong matters.
"""

from penstock.cipher.layout import (
    BLOCK_BYTES,
    COUNTER,
    FACTORS,
    HASH_KEY,
    LENGTHS,
    MASKS,
    SCHEDULE,
    STRIDE_BLOCKS,
    SUM,
    TAG,
    TAIL,
    ZEROS,
)
from penstock.cipher.primitives import (
    encrypt_block,
    expand_key,
    hash_one,
    hash_stride,
    prepare_factors,
    stream_one,
    stream_stride,
)
from penstock.compile.memory import move, put64, putbe64, shared, u64

NONCE_BYTES = 12
TAG_BYTES = 16
TAG_NUMBER = 1  # the counter of the block that covers the tag
TEXT_NUMBER = 2  # of the first block of text
STRIDE_BYTES = STRIDE_BLOCKS * BLOCK_BYTES


@shared
def load_key(key, cipher):  # type: ignore[no-untyped-def]
    """Make the key the one of the next messages.

    Reads: 16 bytes at `key`. Writes: SCHEDULE, HASH_KEY, FACTORS. Returns: 0. Bounds: none depends on input.
    Source: NIST SP 800-38D 7.1 step 1.
    """
    expand_key(key, cipher + SCHEDULE, cipher)
    encrypt_block(cipher + SCHEDULE, cipher + ZEROS, cipher + HASH_KEY, cipher)
    return prepare_factors(cipher + HASH_KEY, cipher + FACTORS, cipher)


@shared
def add_bytes(source, size, cipher):  # type: ignore[no-untyped-def]
    """Add bytes to SUM, the last block filled with zeros.

    Reads: [source, source + size) and, when the last block is not whole, up to 15 bytes behind it, whose values do not
    matter. Writes: SUM, TAIL. Returns: 0. Bounds: size / 16 + 1 blocks. Source: NIST SP 800-38D 6.4, 7.1 step 5.
    """
    at, end = source, source + size
    while at + STRIDE_BYTES <= end:
        hash_stride(cipher + FACTORS, cipher + SUM, at)
        at += STRIDE_BYTES
    while at + BLOCK_BYTES <= end:
        hash_one(cipher + FACTORS, cipher + SUM, at)
        at += BLOCK_BYTES
    if at < end:
        mask, tail = cipher + MASKS + BLOCK_BYTES - (end - at), cipher + TAIL
        put64(tail, u64(at) & u64(mask))
        put64(tail + 8, u64(at + 8) & u64(mask + 8))
        hash_one(cipher + FACTORS, cipher + SUM, tail)
    return 0


@shared
def stream_bytes(source, size, to, number, cipher):  # type: ignore[no-untyped-def]
    """Encrypt or decrypt; `number` is the counter of the first block.

    Reads: [source, source + size), SCHEDULE, COUNTER. Writes: `size` bytes at `to` and, when the last block is not whole,
    up to 15 bytes behind; TAIL. Returns: 0. Bounds: size / 16 + 1 blocks. Source: NIST SP 800-38D 6.5.
    """
    schedule, counter = cipher + SCHEDULE, cipher + COUNTER
    at, end, ahead = source, source + size, to - source
    while at + STRIDE_BYTES <= end:
        stream_stride(schedule, counter, number, at, at + ahead, cipher)
        at += STRIDE_BYTES
        number += STRIDE_BLOCKS
    while at + BLOCK_BYTES <= end:
        stream_one(schedule, counter, number, at, at + ahead, cipher)
        at += BLOCK_BYTES
        number += 1
    if at < end:
        move(cipher + TAIL, at, end - at)
        stream_one(schedule, counter, number, cipher + TAIL, at + ahead, cipher)
    return 0


@shared
def begin_sum(header, header_bytes, cipher):  # type: ignore[no-untyped-def]
    """Start SUM with a header.

    Reads: [header, header + header_bytes) and up to 15 bytes behind, whose values do not matter. Writes: SUM, TAIL.
    Returns: 0. Bounds: as `add_bytes`. Source: NIST SP 800-38D 7.1 step 5.
    """
    put64(cipher + SUM, 0)
    put64(cipher + SUM + 8, 0)
    return add_bytes(header, header_bytes, cipher)


@shared
def end_sum(header_bytes, size, to, cipher):  # type: ignore[no-untyped-def]
    """Write the tag of a message whose header and cipher text are in SUM.

    Reads: SUM, SCHEDULE, COUNTER. Writes: TAG_BYTES at `to`; SUM, LENGTHS. Returns: 0. Bounds: one block.
    Source: NIST SP 800-38D 7.1 steps 5 and 6.
    """
    putbe64(cipher + LENGTHS, header_bytes * 8)
    putbe64(cipher + LENGTHS + 8, size * 8)
    hash_one(cipher + FACTORS, cipher + SUM, cipher + LENGTHS)
    return stream_one(cipher + SCHEDULE, cipher + COUNTER, TAG_NUMBER, cipher + SUM, to, cipher)


@shared
def open_message(header, header_bytes, source, size, to, cipher):  # type: ignore[no-untyped-def]
    """Verify a message and decrypt it.

    The header may stand at `to`: it is done with before anything is written there.
    Reads: the header and up to 15 bytes behind it; [source, source + size) and the tag behind; the key, COUNTER.
    Writes: [to, to + size) and up to 15 bytes behind; TAG and scratch. Returns: True; False when the tag is wrong, and
    what was written means nothing. Bounds: size / 16 + header_bytes / 16 + 4 blocks. Source: NIST SP 800-38D 7.2.
    """
    begin_sum(header, header_bytes, cipher)
    at, end, ahead, number = source, source + size, to - source, TEXT_NUMBER
    while at + STRIDE_BYTES <= end:  # a stride of each at a time: the processor computes one beside the other
        hash_stride(cipher + FACTORS, cipher + SUM, at)
        stream_stride(cipher + SCHEDULE, cipher + COUNTER, number, at, at + ahead, cipher)
        at += STRIDE_BYTES
        number += STRIDE_BLOCKS
    add_bytes(at, end - at, cipher)
    stream_bytes(at, end - at, at + ahead, number, cipher)
    tag = cipher + TAG
    end_sum(header_bytes, size, tag, cipher)
    return (u64(tag) ^ u64(end)) | (u64(tag + 8) ^ u64(end + 8)) == 0


@shared
def seal_message(header, header_bytes, text, size, to, cipher):  # type: ignore[no-untyped-def]
    """Encrypt a message and write its tag behind it.

    Reads: the header and up to 15 bytes behind it; [text, text + size); the key, COUNTER. Writes: size + TAG_BYTES at
    `to`; scratch. Returns: 0. Bounds: as `open_message`. Source: NIST SP 800-38D 7.1.
    """
    stream_bytes(text, size, to, TEXT_NUMBER, cipher)
    begin_sum(header, header_bytes, cipher)
    add_bytes(to, size, cipher)
    return end_sum(header_bytes, size, to + size, cipher)
