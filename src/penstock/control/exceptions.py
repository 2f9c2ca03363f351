"""The exception table: each cause, its policy, its counters, and events at its begin and end.

It reads counters and writes one word for the kernel and the workers; what a policy does to a packet, `kernel.steer` and
`path.segments` know.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from penstock.control.configuration import Configuration
from penstock.kernel import exceptions as e

POLICIES = {"drop": e.DEFAULT, "judge": e.DEFAULT, "forward": e.FORWARD, "refuse": e.REFUSE}
QUIET_S = 10.0  # without another packet, after which a cause has ended


@dataclass(frozen=True)
class Cause:
    """One row of the table. `reasons`: whose counters say how many packets met it."""

    name: str
    reasons: tuple[str, ...]
    place: int | None = None
    """Its bits in the word of policies; None: the subscriber's `fail` decides, or nothing can be chosen."""


CAUSES = (  # a row's place is its bit in `Watch.active`, which outlives a kill: new ones go to the end
    Cause("process_late", ("stale_open", "stale_closed", "expired")),
    Cause("ring_full", ("ring_full", "ring_full_open"), e.RING_FULL),
    Cause("table_full", ("table_full", "table_full_passed"), e.TABLE_FULL),
    Cause(
        "reassembly_full",
        ("stream_full", "stream_full_open", "stream_full_refused", "connection_full"),
        e.REASSEMBLY_FULL,
    ),
    Cause("fragment_full", ("fragment_full", "fragment_full_open"), e.FRAGMENT_FULL),
    Cause("malformed", ("malformed", "malformed_open"), e.MALFORMED),
    Cause("gap", ("up_gap", "gap_open"), e.GAP),
    Cause("midstream", ("up_midstream", "midstream_open"), e.MIDSTREAM),
    Cause("asymmetric", ("up_asymmetric", "asymmetric_open"), e.ASYMMETRIC),
    Cause("over_budget", ("over_budget",)),
)


def pack_policies(configuration: Configuration) -> int:
    """The word of all policies."""
    chosen = configuration.exceptions.model_dump()
    return sum(POLICIES[chosen[cause.name]] << cause.place for cause in CAUSES if cause.place is not None)


@dataclass
class Episode:
    """A cause that goes on: how many packets met it so far, and when the last one did."""

    begin_s: float
    last_s: float
    packets: int


@dataclass
class Watch:
    """Turns counters that move into begin and end of a cause."""

    totals: dict[str, int] = field(default_factory=dict)
    episodes: dict[str, Episode] = field(default_factory=dict)

    def resume(self, active: int, now_s: float) -> None:
        """Go on with the causes that a run which was killed left active: their end has still to be told, with what is
        counted from now on."""
        for place, cause in enumerate(CAUSES):
            if active >> place & 1:
                self.episodes[cause.name] = Episode(now_s, now_s, 0)

    @property
    def active(self) -> int:
        """A bit for each cause that goes on."""
        return sum(1 << place for place, cause in enumerate(CAUSES) if cause.name in self.episodes)

    def close(self) -> Iterator[dict[str, Any]]:
        """End what goes on: nobody looks any more, or somebody else does."""
        for name, episode in self.episodes.items():
            yield _tell(name, "end", episode.packets, episode.last_s - episode.begin_s)
        self.episodes.clear()

    def look(self, reasons: dict[str, int], now_s: float) -> Iterator[dict[str, Any]]:
        """Compare the counters with those of the look before; an event's fields for each cause that began or ended. The
        first look only remembers."""
        for cause in CAUSES:
            total = sum(reasons[name] for name in cause.reasons)
            moved = total - self.totals.get(cause.name, total)
            self.totals[cause.name] = total
            episode = self.episodes.get(cause.name)
            if moved > 0 and episode is None:
                self.episodes[cause.name] = Episode(now_s, now_s, moved)
                yield _tell(cause.name, "begin", moved, 0.0)
            elif moved > 0 and episode is not None:
                episode.last_s, episode.packets = now_s, episode.packets + moved
            elif episode is not None and now_s - episode.last_s >= QUIET_S:
                del self.episodes[cause.name]
                yield _tell(cause.name, "end", episode.packets, episode.last_s - episode.begin_s)


def _tell(cause: str, state: str, packets: int, lasted_s: float) -> dict[str, Any]:
    fields: dict[str, Any] = {"event": "exception", "cause": cause, "state": state, "packets": packets}
    if state == "end":
        fields["lasted_s"] = round(lasted_s, 1)
    return fields


def tell_gone(packets: int) -> list[dict[str, Any]]:
    """The events of a time in which nobody read, told by who comes after it."""
    return [_tell("process_gone", "begin", 0, 0.0), _tell("process_gone", "end", packets, 0.0)]
