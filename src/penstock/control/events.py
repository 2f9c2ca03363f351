"""Events as people and programs read them: one JSON line each, field names after Suricata's EVE where it has them.

Knows the ring's layout and the snapshot's names of categories and services. What a line says is what the policy needs and
no more: no path, no header, no payload.
"""

import contextlib
import errno
import io
import ipaddress
import json
import os
import struct
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from penstock.control.subscribers.fixed import Owners
from penstock.kernel import tables
from penstock.kernel.reasons import AMBIGUOUS, NAMES, UNREAD_VERSION, Verdict, verdict_of
from penstock.path import events as e
from penstock.path.layout import PROTO_DNS, PROTO_HTTP, PROTO_NAMES, PROTO_QUIC, PROTO_TLS
from penstock.path.memory import BLOCK_BYTES, EVENTS_OFF, SharedMemory
from penstock.policy.actions import ACTION_NAMES, REPORT
from penstock.policy.snapshot import Snapshot
from penstock.request import http_state, tls

QTYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR", 43: "DS",
    48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 255: "ANY",
}  # fmt: skip
"""Types of DNS questions by number; others are written as RFC 3597 has them."""


def monotonic_offset_ns() -> int:
    """What to add to CLOCK_MONOTONIC to get the time since 1970."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def read_address(key: bytes) -> str:
    """An address of 16 bytes as text; IPv4-mapped ones as IPv4."""
    address = ipaddress.IPv6Address(key)
    return str(address.ipv4_mapped or address)


def _detail(proto: int, reason: int, number: int) -> str | None:
    if reason == UNREAD_VERSION:
        return f"version 0x{number:08x}"
    texts = {PROTO_HTTP: http_state.DETAIL_TEXT, PROTO_TLS: tls.DETAILS, PROTO_QUIC: tls.DETAILS}.get(proto)
    if not number or texts is None:
        return None
    return str(texts.get(number, number)) if isinstance(texts, dict) else str(number)


Hooks = Mapping[int, str]
"""Names of hooks by their tags."""


def decode_event(
    raw: bytes, snapshot: Snapshot, owners: Owners, offset_ns: int, hooks: Hooks | None = None
) -> dict[str, Any]:
    """One record of the ring as the fields of its line."""
    (time_ns, identity, proto, action, reason, category, service, would, subscriber, detail, flags, size) = (
        struct.unpack_from("<12q", raw)
    )
    key = raw[e.EVENT_KEY : e.EVENT_KEY + tables.KEY_BYTES]
    ports = struct.unpack_from("<I", key, tables.FLOW_PORTS)[0]
    host = raw[e.EVENT_HOST : e.EVENT_HOST + size].decode("ascii", "backslashreplace").lower()
    stamp = datetime.fromtimestamp((time_ns + offset_ns) / 1e9, UTC)
    is_unread_query = proto == PROTO_DNS and reason == AMBIGUOUS
    fields: dict[str, Any] = {
        "timestamp": stamp.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
        "id": f"{identity & (1 << 64) - 1:016x}",
        "proto": PROTO_NAMES[proto],
        "src_ip": read_address(key[:16]),
        "src_port": ports >> 16,
        "dest_ip": read_address(key[16:32]),
        "dest_port": ports & 0xFFFF,
        "host": host or None,
        "subscriber": owners.name_of(subscriber),
        "action": ACTION_NAMES[action],
        "reason": NAMES[reason],
        "category": snapshot.category_names[category] if 0 <= category < len(snapshot.category_names) else None,
        "service": snapshot.service_names.get(service),
    }
    if would > action == REPORT:
        fields["would"] = ACTION_NAMES[would]
    if flags & e.EVENT_IS_REQUEST and verdict_of(reason) in (Verdict.ANSWERED, Verdict.REFUSED):
        page = {"empty": "empty", "redirect": "redirect"}.get(fields["action"], "page")
        kind = {PROTO_HTTP: page, PROTO_TLS: "alert", PROTO_QUIC: "close", PROTO_DNS: "dns"}.get(proto, "reset")
        kind = "versions" if reason == UNREAD_VERSION else kind
        kind = "none" if is_unread_query else kind
        fields["answer"] = "reset" if flags & e.EVENT_RESET else kind
    if proto == PROTO_DNS:
        if not is_unread_query:
            fields["qtype"] = QTYPES.get(detail, f"TYPE{detail}")
        detail = 0
    text = _detail(proto, reason, detail)
    if text:
        fields["detail"] = text
    hook = struct.unpack_from("<q", raw, e.EVENT_HOOK)[0]
    if hook:
        fields["hook"] = (hooks or {}).get(hook, f"{hook & 0xFFFFFFFF:08x}")
    if flags & e.EVENT_HAS_ECH:
        fields["ech"] = True
    if flags & e.EVENT_OVERRIDDEN:
        fields["overridden"] = True
    if flags & e.EVENT_UNRESOLVED:
        fields["resolved"] = False
    return fields


def decode_foreign(
    raw: bytes, snapshot: Snapshot, owners: Owners, offset_ns: int, hooks: Hooks | None = None
) -> dict[str, Any] | None:
    """The same for bytes of a packet process that may have been taken over: None when they are no event."""
    try:
        return decode_event(raw, snapshot, owners, offset_ns, hooks)
    except (LookupError, ValueError, OverflowError, OSError, StopIteration):
        return None


class EventReader:
    """Takes events out of the rings of all workers."""

    def __init__(self, shared: SharedMemory) -> None:
        self.shared = shared

    def _words(self, worker: int) -> Any:
        return self.shared.words(worker, EVENTS_OFF, e.RING_HEAD_BYTES // 8)

    def read(self) -> Iterator[bytes]:
        """The records that are there now; each is taken when the next one is asked for."""
        for worker in range(self.shared.workers):
            head = self._words(worker)
            start = worker * BLOCK_BYTES + EVENTS_OFF + e.RING_HEAD_BYTES
            written, read = int(head[e.RING_WRITTEN // 8]), int(head[e.RING_READ // 8])
            for _ in range(min(max(written - read, 0), e.EVENT_COUNT)):  # the writer may have been taken over
                at = start + (read % e.EVENT_COUNT) * e.EVENT_BYTES
                yield self.shared.bytes[at : at + e.EVENT_BYTES].tobytes()
                read += 1
                head[e.RING_READ // 8] = read

    def lost(self) -> int:
        """Events that found their ring full."""
        return sum(int(self._words(worker)[e.RING_LOST // 8]) for worker in range(self.shared.workers))


class _WholeWrites(io.FileIO):
    """A file to which something is written whole or not at all: a disk that is almost full takes half a line."""

    def write(self, content: Any) -> int:
        size = super().write(content)
        if size < len(content):
            with contextlib.suppress(OSError):
                os.ftruncate(self.fileno(), os.fstat(self.fileno()).st_size - size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return size


class LogFile:
    """The file of events, opened for more lines. On a full disk a line is lost; the end of the file is no error.

    Nothing is kept for later: what a buffer could not write would be counted as lost, and written all the same.
    """

    def __init__(self, path: str) -> None:
        # Who asked for what: a new file is for root and its group. One that is there keeps its mode.
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._file = io.TextIOWrapper(_WholeWrites(number, "a"), encoding="utf-8", write_through=True)

    def __enter__(self) -> TextIO:
        return self._file

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def stamp_now() -> str:
    """The time of an event of the control side."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


class EventLog:
    """Writes events as lines. A sink that fails loses the line and counts it; it never stops the caller."""

    def __init__(self, sink: TextIO) -> None:
        self.sink = sink
        self.lost = 0

    def write(self, fields: dict[str, Any]) -> None:
        try:
            self.sink.write(json.dumps(fields) + "\n")
            self.sink.flush()
        except (OSError, ValueError):
            self.lost += 1
