"""Inputs for the readers of packets: headers of a frame, TCP options, QUIC datagrams, frames and Initials, CRYPTO bytes."""

from functools import cache
from typing import Any

import numpy as np

from penstock.compile.memory import CHECKED, allow, forbid
from penstock.flow import crypto
from penstock.kernel import options, tables
from penstock.kernel import primitives as kernel_side
from penstock.request import initial, quic
from penstock.request.status import BAD, COMPLETE, NOT_MINE
from penstock.wire import headers
from penstock.wire import quic as wire_quic
from tests.fuzz.machines import FILL, Machine
from tests.vocabulary import sum16

Said = tuple[Any, ...]
PLACED = (headers.IS_TCP, headers.IS_UDP)
SECRET = 0x5DEECE66D


def see_headers(machine: Machine, frame: bytes, client_side: int) -> tuple[int, bytes, bytes]:
    """What the walk says: the kind, the view, the key."""
    start, view = machine.lend(frame), machine.room(headers.VIEW_BYTES, FILL)
    key = machine.room(tables.KEY_BYTES, FILL)
    end = start + len(frame)
    kind = machine.run("wire.headers.parse_packet", start, end, client_side, 0, view, key)
    if kind in PLACED:
        machine.run("wire.headers.hash_flow", SECRET, view, key)
    return kind, machine.view(view, headers.VIEW_BYTES), machine.view(key, tables.KEY_BYTES)


def read_headers(machine: Machine, content: bytes) -> Said:
    """A frame of either side: places follow each other, and the answer's frame has the same flow."""
    client_side, frame = content[:1] > b"\x7f", content[1:]
    kind, view, key = see_headers(machine, frame, int(client_side))
    assert 0 <= kind <= headers.IS_UDP
    if kind not in PLACED:
        return kind, view, key
    words = {at: int.from_bytes(view[at : at + 8], "little", signed=True) for at in range(0, headers.VIEW_BYTES, 8)}
    l3, l4, payload = (words[at] for at in (headers.VIEW_L3, headers.VIEW_L4, headers.VIEW_PAYLOAD))
    assert 14 <= l3 < l4 < payload
    assert l3 + 20 <= l4 < len(frame)
    assert 0 <= words[headers.VIEW_SIZE] <= words[headers.VIEW_END] - payload
    back = swap_ends(frame, l3, l4, bool(words[headers.VIEW_IS_IPV6]))
    kind_back, view_back, key_back = see_headers(machine, back, int(not client_side))
    assert (kind_back, key_back, view_back[headers.VIEW_HASH :]) == (kind, key, view[headers.VIEW_HASH :])
    opens = -1
    if kind == headers.IS_UDP and words[headers.VIEW_SIZE] >= wire_quic.HEAD_BYTES <= len(frame) - payload:
        version = int.from_bytes(frame[payload + 1 : payload + 5])
        opens = machine.run("wire.quic.may_open", frame[payload], version)
    return kind, view, key, opens


def swap_ends(frame: bytes, l3: int, l4: int, is_ipv6: bool) -> bytes:
    """The frame with source and destination exchanged, addresses and ports."""
    start, size = (l3 + 8, 16) if is_ipv6 else (l3 + 12, 4)
    swapped = bytearray(frame)
    swapped[start : start + 2 * size] = frame[start + size : start + 2 * size] + frame[start : start + size]
    swapped[l4 : l4 + 4] = frame[l4 + 2 : l4 + 4] + frame[l4 : l4 + 2]
    return bytes(swapped)


def read_options(machine: Machine, content: bytes) -> Said:
    """The options of a handshake: MPTCP and Fast Open go, nothing else changes, the checksum stays as right as it was."""
    kept = content[: len(content) // 4 * 4][:40]
    frame = bytes(14) + bytes(20) + bytes(12) + bytes([5 + len(kept) // 4 << 4]) + bytes(7) + kept
    start, context = machine.lend(frame, is_written=True), machine.room(kernel_side.CONTEXT_BYTES)
    bindings = machine.room(8 * kernel_side.BINDING_WORDS)
    place = machine.room(options.SCRATCH_BYTES * tables.COUNTER_CPUS, FILL)
    machine.put_word(bindings + 8 * tables.scratch.number, place)
    for at, value in (
        (kernel_side.CONTEXT_DATA, start), (kernel_side.CONTEXT_END, start + len(frame)),
        (kernel_side.CONTEXT_BINDINGS, bindings),
    ):  # fmt: skip
        machine.put_word(context + at, value)
    payload = 54 + len(kept)
    said = machine.run("kernel.options.read_handshake_options", context, 34, payload)
    changed = machine.run("kernel.options.neutralise_options", context, 34, payload)
    after = machine.view(start, len(frame))
    assert changed == int(after != frame)
    assert after[:50] + after[52:54] == frame[:50] + frame[52:54]
    assert sum16(after[34:]) % 0xFFFF == sum16(frame[34:]) % 0xFFFF
    erased = erase_options(kept)
    assert after[54:] == erased
    assert machine.run("kernel.options.neutralise_options", context, 34, payload) == 0
    return said, changed, after


def erase_options(kept: bytes) -> bytes:
    """RFC 9293 3.1: kind and length, up to the end of the list or what does not fit."""
    after, at = bytearray(kept), 0
    while at < len(kept) and kept[at] != options.OPTION_END:
        size = 1
        if kept[at] != options.OPTION_NOP:
            size = kept[at + 1] if at + 1 < len(kept) else 0
            if size < 2 or at + size > len(kept):
                break
            if kept[at] in (options.OPTION_MPTCP, options.OPTION_FAST_OPEN, options.OPTION_EXPERIMENT):
                after[at : at + size] = bytes([options.OPTION_NOP]) * size
        at += size
    return bytes(after)


def read_datagrams(machine: Machine, content: bytes) -> Said:
    """The packets of a QUIC datagram, one behind the other."""
    start, packet = machine.lend(content), machine.room(quic.PACKET_BYTES, FILL)
    at, end = start, start + len(content)
    found: list[Said] = []
    while at < end and len(found) < 64:
        status = machine.run("request.quic.parse_packet", at, end, packet)
        assert status in (COMPLETE, NOT_MINE, BAD)
        words = [machine.word(packet + slot) for slot in (quic.PACKET_VERSION, quic.DCID_BYTES, quic.SCID_BYTES)]
        if status != COMPLETE:
            foreign = machine.run("request.quic.is_foreign_initial", at, end, packet)
            return found, status, words[0], foreign
        kind, behind, number = (
            machine.word(packet + slot) for slot in (quic.PACKET_TYPE, quic.PACKET_END, quic.PACKET_NUMBER)
        )
        assert at < number <= behind <= end
        spans = []
        for slot in (quic.DCID, quic.SCID):
            place, size = machine.word(packet + slot), machine.word(packet + slot + 8)
            assert at < place <= place + size <= number
            assert 0 <= size <= quic.CID_LIMIT
            spans.append((place - start, size))
        assert kind in (quic.INITIAL, quic.ZERO_RTT, quic.HANDSHAKE, quic.RETRY)
        found.append((words, kind, number - start, behind - start, spans))
        at = behind
    return found, COMPLETE, 0, 0


class Crypto:
    """The store of CRYPTO bytes on a machine, and beside it what each place should hold."""

    def __init__(self, machine: Machine, capacity: int) -> None:
        self.machine, self.capacity = machine, capacity
        self.head = machine.room(crypto.HEAD_BYTES, FILL)
        self.held, self.is_held, self.last = bytearray(crypto.LARGE_BYTES), bytearray(crypto.LARGE_BYTES + 1), 0
        machine.run("flow.crypto.clear_crypto", self.head, self.make_room(capacity), capacity)

    def make_room(self, capacity: int) -> int:
        return self.machine.room(capacity // 8 + capacity, FILL)

    def put(self, offset: int, place: int, content: bytes) -> int:
        """Put bytes; the outcome is what it should be."""
        outcome = self.machine.run("flow.crypto.put_crypto", self.head, offset, place, len(content))
        here = slice(offset, offset + len(content))
        if here.stop > self.capacity:
            assert outcome == crypto.OUTSIDE
        elif any(known and a != b for known, a, b in zip(self.is_held[here], self.held[here], content, strict=True)):
            assert outcome == crypto.CONFLICT
        else:
            assert outcome == crypto.STORED
            self.held[here], self.is_held[here] = content, b"\1" * len(content)
            self.last = max(self.last, here.stop if content else 0)
            self.compare()
        return outcome

    def grow(self) -> None:
        """Give it all the room that there is."""
        self.capacity = crypto.LARGE_BYTES
        self.machine.run("flow.crypto.grow_crypto", self.head, self.make_room(self.capacity), self.capacity)
        self.compare()

    def compare(self) -> None:
        end = self.is_held.find(0)
        assert self.machine.word(self.head + crypto.CONTIGUOUS) == end
        assert self.machine.word(self.head + crypto.LAST) == self.last
        assert self.machine.view(self.machine.word(self.head + crypto.BYTES), end) == self.held[:end]


def read_frames(machine: Machine, content: bytes) -> Said:
    """The frames of an opened Initial, and their CRYPTO bytes in the store."""
    start, packet = machine.lend(content), machine.room(quic.PACKET_BYTES, FILL)
    end, store, found = start + len(content), Crypto(machine, crypto.SMALL_BYTES), []
    at = start
    while at > 0:
        before, at = at, machine.run("request.quic.find_crypto", at, end, packet)
        if at > 0:
            assert before < at <= end
            slots = (quic.CRYPTO_OFFSET, quic.CRYPTO_DATA, quic.CRYPTO_BYTES)
            offset, place, size = (machine.word(packet + slot) for slot in slots)
            assert before < place <= place + size == at
            assert 0 <= offset < 1 << 62
            outcome = store.put(offset, place, content[place - start : place - start + size])
            found.append((offset, place - start, size, outcome))
            if outcome == crypto.CONFLICT:
                break
    return found, min(at, 1)


def read_crypto(machine: Machine, content: bytes) -> Said:
    """CRYPTO bytes in any order: four bytes of input each say where, how many, and whether they are other ones."""
    store, outcomes = Crypto(machine, crypto.SMALL_BYTES), []
    for at in range(0, min(len(content), 160) // 4 * 4, 4):
        flags, high, low, size = content[at : at + 4]
        if flags & 0x40 and store.capacity == crypto.SMALL_BYTES:
            store.grow()
        offset = (high << 8 | low) >> (0 if flags & 0x40 else 4)
        size = size << (flags & 3)
        piece = bytearray((place * 37 ^ place >> 8) & 255 for place in range(offset, offset + size))
        if flags & 0x80 and size:
            piece[low % size] ^= 1 + (flags >> 2 & 15)
        outcome = store.put(offset, machine.lend(bytes(piece)), bytes(piece))
        outcomes.append(outcome)
        if outcome == crypto.CONFLICT:
            break
    return outcomes, bytes(store.held[: store.last]), bytes(store.is_held[: store.last])


@cache
def prepare_cipher() -> bytes:
    """A worker's cipher, prepared once."""
    room = np.zeros(initial.CIPHER_BYTES // 8 + 1, np.int64)
    region = allow(room.ctypes.data, room.ctypes.data + room.nbytes) if CHECKED else None
    initial.prepare_cipher(int(room.ctypes.data))
    if region is not None:
        forbid(region)
    return room.tobytes()[: initial.CIPHER_BYTES]


def read_initials(machine: Machine, content: bytes) -> Said:
    """Seal frames, open them, damage them; then open bytes that nobody sealed.

    flags │ size of the connection ID │ what is damaged │ connection ID, frames ...
    """
    flags, size, damage = content[:3].ljust(3, b"\0")
    size = size % (initial.CID_LIMIT + 1)
    cid, frames = content[3 : 3 + size], content[3 + size : 1500]
    version = initial.VERSION_2 if flags & 1 else initial.VERSION_1
    number_bytes = (flags >> 2 & 3) + 1
    cipher, keys = machine.lend(prepare_cipher(), is_written=True), machine.room(initial.KEYS_BYTES, FILL)
    known = machine.run(
        "request.initial.derive_keys", version, machine.lend(cid), len(cid), flags >> 1 & 1, keys, cipher
    )
    assert known == 1
    head = bytes([0xC0 | number_bytes - 1]) + cid + damage.to_bytes(number_bytes)
    frames = frames.ljust(4, b"\0")
    whole = len(head) + len(frames) + 16
    packet = machine.lend(head.ljust(whole, b"\0"), is_written=True)
    sealed = machine.run(
        "request.initial.seal_initial", packet, len(head), number_bytes, machine.lend(frames), len(frames), keys,
        damage, cipher,
    )  # fmt: skip
    assert sealed == whole
    bytes_sealed, number_off = machine.view(packet, whole), len(head) - number_bytes
    out = machine.room(whole, FILL)

    def open_packet(content: bytes) -> int:
        place = machine.lend(content)
        end = place + len(content)
        return machine.run("request.initial.open_initial", place, place + number_off, end, damage, keys, out, cipher)

    assert open_packet(bytes_sealed) == len(frames)
    assert machine.view(out, len(frames)) == frames
    assert machine.word(cipher + initial.LAST_NUMBER) == damage
    damaged = bytearray(bytes_sealed)
    damaged[damage * whole >> 8] ^= 1 + (flags >> 5)
    assert open_packet(bytes(damaged)) in (initial.BAD_TAG, initial.TOO_SHORT)
    raw = content.ljust(number_off, b"\0")[:whole]
    opened = open_packet(raw)
    assert opened in (initial.BAD_TAG, initial.TOO_SHORT) or raw == bytes_sealed
    return bytes_sealed, machine.view(keys, initial.KEYS_BYTES), opened
