"""Every reader that is fuzzed: its name, what reads one input, and what it may cost."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.fuzz import files, messages, names, packets, streams
from tests.fuzz.machines import Machine, Pure


class Reader(NamedTuple):
    """One reader. `turns` bounds the loads and stores of an input of n bytes (and more_bytes): turns * n + TURNS."""

    read: Callable[[Machine, bytes], Any]
    is_compiled: bool = True
    turns: int = 0
    longest_bytes: int = 2048
    more_bytes: int = 0


TURNS = 4096
READERS = {
    "http": Reader(streams.read_http, turns=60),
    "chunked": Reader(streams.read_chunks, turns=60),
    "response": Reader(streams.read_responses, turns=60),
    "tls": Reader(streams.read_tls, turns=60),
    "hello": Reader(streams.read_hellos, turns=60),
    "limits": Reader(streams.read_limits, turns=60, longest_bytes=128, more_bytes=streams.STRETCH_BYTES),
    "dns": Reader(messages.read_queries, turns=60),
    "dns_answer": Reader(messages.read_answers, turns=60),
    "quic": Reader(packets.read_datagrams, turns=60),
    "frames": Reader(packets.read_frames, turns=60),
    "crypto": Reader(packets.read_crypto, turns=2048, longest_bytes=160),
    "initial": Reader(packets.read_initials, turns=60, longest_bytes=400),
    "headers": Reader(packets.read_headers, turns=60),
    "options": Reader(packets.read_options, turns=60, longest_bytes=40),
    "names": Reader(names.read_names, turns=60, longest_bytes=300),
    "urls": Reader(names.read_urls, turns=120, longest_bytes=300),
    "pcap": Reader(files.read_captures, is_compiled=False),
    "configuration": Reader(files.read_configurations, is_compiled=False),
    "lists": Reader(files.read_lists, is_compiled=False),
}


def read_purely(name: str, machine: Pure, content: bytes) -> Any:
    """Read one input as plain Python; its promises hold, and it costs no more than it may."""
    reader = READERS[name]
    try:
        said = reader.read(machine, content)
        if reader.is_compiled:
            limit = reader.turns * (len(content) + reader.more_bytes) + TURNS
            assert machine.turns <= limit, f"{machine.turns} loads and stores for {len(content)} bytes"
        return said
    finally:
        machine.close()
