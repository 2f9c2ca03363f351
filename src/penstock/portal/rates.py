"""What interfaces count (/proc/net/dev of this network namespace), and how fast counters move, over some seconds.

Whoever asks first makes the samples; it does not know what they are of.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

INTERFACES = Path("/proc/net/dev")
SPAN_S, APART_S = 5.0, 0.5


@dataclass(frozen=True, slots=True)
class Traffic:
    """What an interface counted since it is there."""

    received_bytes: int = 0
    received_packets: int = 0
    sent_bytes: int = 0
    sent_packets: int = 0


def read_traffic() -> dict[str, Traffic]:
    """The counters of all interfaces here, by name."""
    found = {}
    for line in INTERFACES.read_text().splitlines()[2:]:
        name, _, rest = line.partition(":")
        words = [int(word) for word in rest.split()]
        found[name.strip()] = Traffic(words[0], words[1], words[8], words[9])
    return found


class Rates:
    """How fast counters move, by name."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[str, float]]] = deque()
        self._lock = threading.Lock()

    def find(self, counters: Mapping[str, float], at_s: float | None = None) -> dict[str, float]:
        """Each counter's rate a second since the oldest sample that is kept; 0 for the first."""
        now_s = time.monotonic() if at_s is None else at_s
        with self._lock:
            if not self._samples or now_s - self._samples[-1][0] >= APART_S:
                self._samples.append((now_s, dict(counters)))
            while len(self._samples) > 2 and now_s - self._samples[1][0] > SPAN_S:
                self._samples.popleft()
            then_s, then = self._samples[0]
        if now_s - then_s < APART_S:
            return dict.fromkeys(counters, 0.0)
        return {name: max(value - then.get(name, value), 0) / (now_s - then_s) for name, value in counters.items()}
