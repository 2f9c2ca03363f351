"""How often one may ask: buckets of tokens that fill with time, so many at most."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from ipaddress import ip_address

BUCKET_LIMIT = 4096  # who asked last has one; who is forgotten begins with a full one
FAILURES_PER_S, FAILURES_BURST = 1 / 6, 10.0  # of one address: wrong tokens
COSTLY_PER_S, COSTLY_BURST = 1.0, 40.0  # of one subscriber, by tokens of his own: what keeps others busy


class Limits:
    """Buckets by key. `burst`: how much a full one holds."""

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_s, self.burst, self._clock = per_s, burst, clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, key: Hashable, cost: float = 1.0) -> float:
        """0, and the cost is taken; or how long until there is enough, and nothing is."""
        with self._lock:
            now_s = self._clock()
            level, at_s = self._buckets.pop(key, (self.burst, now_s))
            level = min(self.burst, level + (now_s - at_s) * self.per_s)
            missing = (cost or 1.0) - level
            self._buckets[key] = level - cost if missing <= 0 else level, now_s
            if len(self._buckets) > BUCKET_LIMIT:
                self._buckets.popitem(last=False)
            return max(missing, 0.0) / self.per_s


def find_network(address: str) -> str:
    """Whose tries count together: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else found.packed[:8].hex()
