"""What Penstock tells Prometheus, read as Prometheus reads it: over HTTP, from the box.

Knows the exposition format. Refuses to know what the numbers should be.
"""

import re
import time
from collections.abc import Callable

from tests.live.line import Line

LISTEN = "127.0.0.1:9464"
PATIENCE_S = 5.0
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Metrics(dict[str, float]):
    """Every sample by its name and labels, as in `penstock_packets_total{reason="expired",verdict="expired"}`."""

    def reason(self, name: str) -> int:
        """How many packets ended with a reason."""
        found = [value for key, value in self.items() if f'reason="{name}"' in key and "packets_total" in key]
        assert found, f"no series for the reason {name}"
        return int(found[0])

    @property
    def lost(self) -> int:
        """Events that nobody could write."""
        return int(self["penstock_events_lost_total"])


def read_metrics(line: Line) -> Metrics:
    """All of them now. The line's configuration has `metrics={"listen": LISTEN}`."""
    done = line.topology.run("box", ["curl", "-q", "-sS", "--max-time", "5", f"http://{LISTEN}/metrics"])
    assert done.returncode == 0, done.stderr
    return Metrics(
        {f"{name}{{{labels}}}" if labels else name: float(value) for name, labels, value in SAMPLE.findall(done.stdout)}
    )


def wait_for(line: Line, holds: Callable[[Metrics], bool], patience_s: float = PATIENCE_S) -> Metrics:
    """The first metrics of which this holds, or the last before patience ends."""
    end_s = time.monotonic() + patience_s
    while True:
        found = read_metrics(line)
        if holds(found) or time.monotonic() > end_s:
            return found
        time.sleep(0.05)
