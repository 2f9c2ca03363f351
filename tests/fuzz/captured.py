"""Inputs out of the corpus of captures and lists, where it is there.

It lends its bytes to a run. They are other people's and never come into the repository.
"""

from collections.abc import Iterator
from pathlib import Path

from penstock.line.pcap import CaptureError, read_frames, to_ethernet
from penstock.wire import headers
from tests.corpus import CORPUS
from tests.fuzz.machines import Native
from tests.fuzz.packets import see_headers
from tests.fuzz.streams import build_input

LIMIT_BYTES = 4096
CAPTURED_LIMIT = 400  # inputs of one reader, the shortest first


def find_captured(reader: str) -> list[bytes]:
    """Inputs for a reader out of the corpus; none where it is absent, or has nothing for it."""
    if CORPUS is None:
        return []
    if reader == "pcap":
        found = {path.read_bytes() for path in find_captures() if path.stat().st_size <= LIMIT_BYTES}
    elif reader == "lists":
        found = {path.read_bytes()[:LIMIT_BYTES] for path in sorted((CORPUS / "lists").rglob("*")) if path.is_file()}
    else:
        found = {taken for frame in read_captured() for taken in take_input(reader, frame) if len(taken) <= LIMIT_BYTES}
    return sorted(found, key=lambda one: (len(one), one))[:CAPTURED_LIMIT]


def find_captures() -> list[Path]:
    assert CORPUS is not None
    return sorted(path for path in CORPUS.rglob("*.pcap*") if path.is_file())


def read_captured() -> Iterator[bytes]:
    """The first 60 frames of each capture."""
    for path in find_captures():
        try:
            for _, frame in zip(range(60), read_frames(path), strict=False):
                if (content := to_ethernet(frame)) is not None:
                    yield content
        except CaptureError:
            continue


def take_input(reader: str, frame: bytes) -> Iterator[bytes]:
    """What a frame gives this reader."""
    if reader == "headers":
        yield b"\xff" + frame[:300]
        return
    machine = Native()
    kind, view, _ = see_headers(machine, frame, 1)
    machine.close()
    if kind not in (headers.IS_TCP, headers.IS_UDP):
        return
    start, size, port = (
        int.from_bytes(view[at : at + 8], "little")
        for at in (headers.VIEW_PAYLOAD, headers.VIEW_SIZE, headers.VIEW_SERVER_PORT)
    )
    payload = frame[start : start + size]
    l4 = int.from_bytes(view[headers.VIEW_L4 : headers.VIEW_L4 + 8], "little")
    is_tcp = kind == headers.IS_TCP
    if reader == "options" and is_tcp and frame[l4 + 13] & 2:
        yield frame[l4 + 20 : start]
    if not payload:
        return
    if reader in ("dns", "dns_answer") and not is_tcp and 53 in (port, int.from_bytes(frame[l4 : l4 + 2])):
        yield payload
    if reader == "quic" and not is_tcp and payload[0] & 0x80:
        yield payload
    if reader in ("http", "response", "tls") and is_tcp:
        looks = {
            "http": b"HTTP/1." in payload[:2000],
            "response": payload[:5] == b"HTTP/",
            "tls": payload[:1] in b"\x16\x15",
        }
        if looks[reader]:
            yield build_input(payload)
    if reader == "hello" and is_tcp and payload[:1] == b"\x16" and payload[5:6] == b"\1":
        yield payload[9:]
