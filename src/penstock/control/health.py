"""Is it us? The kernel's counters of connections, read for protected and for unprotected subscribers.

Repetitions and resets are as seen from the box: a segment counts as repeated when all of its bytes came by before.
Latencies are counted by powers of two of (about) a microsecond.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.kernel import tables as t

CLASSES = ("unprotected", "protected")
BUCKET_BOUNDS_S = tuple((1 << bucket + 1) * 1024 / 1e9 for bucket in range(t.HEALTH_LATENCY_BUCKETS))


@dataclass(frozen=True)
class Health:
    """The counters of one class."""

    handshakes: int
    completed: int
    segments: tuple[int, int]
    """With payload: the clients', the servers'."""
    repeated: tuple[int, int]
    resets: tuple[int, int]
    server_latency: Any
    """SYN to SYN-ACK: a count for each of BUCKET_BOUNDS_S."""
    client_latency: Any
    """SYN-ACK to the client's first packet."""


def read_health(memory: Any) -> dict[str, Health]:
    """The counters of a mapped table, summed over CPUs, by class."""
    lines = np.frombuffer(memory, np.uint64).reshape(t.COUNTER_CPUS, len(CLASSES), t.HEALTH_BYTES // 8).sum(axis=0)
    return {name: _read_line(lines[number]) for number, name in enumerate(CLASSES)}


def _read_line(line: Any) -> Health:
    def word(offset: int) -> int:
        return int(line[offset // 8])

    def latency(offset: int) -> Any:
        return line[offset // 8 : offset // 8 + t.HEALTH_LATENCY_BUCKETS]

    return Health(
        word(t.HEALTH_HANDSHAKES),
        word(t.HEALTH_COMPLETED),
        (word(t.HEALTH_CLIENT_SEGMENTS), word(t.HEALTH_SERVER_SEGMENTS)),
        (word(t.HEALTH_CLIENT_REPEATED), word(t.HEALTH_SERVER_REPEATED)),
        (word(t.HEALTH_CLIENT_RESETS), word(t.HEALTH_SERVER_RESETS)),
        latency(t.HEALTH_SERVER_LATENCY),
        latency(t.HEALTH_CLIENT_LATENCY),
    )


def find_median_ms(latency: Any) -> float:
    """The upper bound, in milliseconds, of the bucket that holds the median; 0 without any."""
    total = int(latency.sum())
    if total == 0:
        return 0.0
    return 1000 * BUCKET_BOUNDS_S[int(np.searchsorted(np.cumsum(latency), total / 2))]


def describe_health(health: Health) -> str:
    """One line for people."""
    if not health.handshakes and not any(health.segments):
        return "no connection yet"
    shares = [100 * repeated / max(all_, 1) for repeated, all_ in zip(health.repeated, health.segments, strict=True)]
    return (
        f"{health.handshakes:,} handshakes, {health.completed:,} completed; median to the server "
        f"{find_median_ms(health.server_latency):.1f} ms, to the client {find_median_ms(health.client_latency):.1f} ms; "
        f"repeated by clients {shares[0]:.2f} %, by servers {shares[1]:.2f} %; "
        f"resets {health.resets[0]:,} and {health.resets[1]:,}"
    )
