"""The guard: a change that would refuse more than a set share of the last hour's requests is not taken.

    workers ──samples──► rings ──drain──► last hour ──find_refusals (compiled: the judge of the path)──► Finding
                                                       ▲ snapshot in force, snapshot to be

A request counts as newly refused when the snapshot to be refuses it and the one in force does not; whose address is no
subscriber's any more is not refused. It judges hosts, as lists have them: what `ech: refuse`, `unresolved: block` or
`dns.dot` refuse beyond that, it does not foresee, nor the requests of who was not protected, which nobody read.

It does not know who builds snapshots, and what becomes of one that it finds fault with.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from penstock.compile.memory import CHECKED, allow, forbid
from penstock.compile.native import kernel
from penstock.control.configuration import Configuration
from penstock.control.last_hour import KEPT_LIMIT, LastHour
from penstock.control.lists.builder import find_entries
from penstock.errors import PenstockError
from penstock.path import sample as s
from penstock.path.memory import SAMPLES_OFF, SharedMemory
from penstock.policy.judge import OUT_BYTES
from penstock.policy.layout import profile_tag
from penstock.policy.snapshot import Snapshot

MINUTE_S = 60
SEEN_LIMIT = 1 << 32  # requests between two looks
RUSH_COUNT, MASK_LIMIT = 64, (1 << 20) - 1  # samples at one look, of which there are 20 a second; the least of them all
NONE_WRITTEN = (1 << 62) - 1  # a mask: of so many requests one is written
WORST_LIMIT = 3  # names of an error line; each may cost a walk through the lists


class GuardError(PenstockError):
    """A change is not taken; `finding` says what it would refuse, and `word_finding` puts it into words."""

    def __init__(self, finding: "Finding") -> None:
        super().__init__(word_share(finding))
        self.finding = finding


@dataclass(frozen=True)
class WorstName:
    """A host that would be refused: its requests in the last hour, of how many subscribers, by which category and line."""

    host: str
    requests: int
    subscribers: int
    category: str
    entry: str

    def __str__(self) -> str:
        of = "1 subscriber" if self.subscribers == 1 else f"{self.subscribers:,} subscribers"
        return f"{self.host} ({self.requests:,} requests of {of}; {self.category}, {self.entry})"


@dataclass(frozen=True)
class Finding:
    """What a change would do to the last hour's requests."""

    requests: int
    refused: int
    """Newly refused ones, an estimate where not every request was kept."""
    categories: dict[str, int]
    names: list[tuple[str, int, int, str]]
    """Host, requests, subscribers, category; the most frequent first."""

    @property
    def share(self) -> float:
        """The newly refused share of the requests."""
        return self.refused / self.requests if self.requests else 0.0

    def is_too_much(self, configuration: Configuration) -> bool:
        """Is it over what the configuration to be allows? Too few requests say nothing."""
        return self.requests >= configuration.guard.requests and self.share > configuration.guard.share

    def worst(self, configuration: Configuration, limit: int = WORST_LIMIT) -> Iterator[WorstName]:
        """The names with the most newly refused requests, each with the first line of the lists that covers it."""
        names = self.names[:limit]
        entries = find_entries(configuration, [(category, host) for host, _, _, category in names])
        for (host, requests, subscribers, category), found in zip(names, entries, strict=True):
            entry = "no line of the lists as they are now"
            if found:
                place, name = found
                entry = place + (f" `{name}`" if name != host else "")
            yield WorstName(host, requests, subscribers, category, entry)


def word_share(finding: Finding) -> str:
    """How much it is."""
    return f"it would refuse {finding.share:.2%} of the last hour's {finding.requests:,} requests in addition"


def word_finding(finding: Finding, configuration: Configuration) -> str:
    """A change that is too much, in one line. It reads the lists again, so it takes as long as they are large."""
    worst = "; ".join(map(str, finding.worst(configuration)))
    return f"{word_share(finding)}, and guard.share allows {configuration.guard.share:.2%}: above all {worst}"


@cache
def _find_kernel() -> Any:
    return kernel(s.find_refusals)


def find_change(last_hour: LastHour, old: Snapshot, new: Snapshot, moves: Mapping[int, int]) -> Finding:
    """Judge the last hour's requests by both snapshots. `moves`: the tags of the profiles that subscribers (by number) will
    have who get another one."""
    requests = 0
    weights: defaultdict[tuple[str, str], float] = defaultdict(float)
    subscribers: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for seen, samples in last_hour.minutes():
        requests += seen
        for sample, category in _find_refused(samples, old, new, moves):
            key = _read_host(sample), new.category_names[category]
            weights[key] += seen / len(samples)
            subscribers[key].add(int(sample[: s.SAMPLE_PROFILE].view(np.uint32)[0]))
    ordered = sorted(weights, key=lambda key: -weights[key])
    categories = {category: 0.0 for _, category in ordered}
    for key in ordered:
        categories[key[1]] += weights[key]
    return Finding(
        requests,
        round(sum(weights.values())),
        {category: round(weight) for category, weight in categories.items()},
        [(key[0], round(weights[key]), len(subscribers[key]), key[1]) for key in ordered],
    )


def _read_size(sample: Any) -> int:
    return int(sample[s.SAMPLE_HOST_BYTES : s.SAMPLE_HOST].view(np.int64)[0])


def _read_host(sample: Any) -> str:
    host = sample[s.SAMPLE_HOST : s.SAMPLE_HOST + _read_size(sample)].tobytes()
    return str(host.decode("ascii", "backslashreplace").lower().rstrip("."))


def _services(samples: Any) -> Any:
    """The word of services of each sample, to be changed in place."""
    return samples[:, s.SAMPLE_SERVICES : s.SAMPLE_HOST_BYTES].view(np.uint64)[:, 0]


def _dress(samples: Any, profiles: Mapping[int, int], moves: Mapping[int, int]) -> Any:
    """The samples with the services that are on by these profiles, and by what each subscriber chose beside his, which is
    what is kept of him (`Guard.drain`)."""
    dressed = samples.copy()
    words, services = dressed[:, : s.SAMPLE_SERVICES].view(np.uint32), _services(dressed)
    for number, tag in {(int(row[0]), int(row[1])) for row in words}:
        bits = np.uint64(profiles.get(moves.get(number, tag), 0))
        services[(words[:, 0] == number) & (words[:, 1] == tag)] ^= bits
    return dressed


def _find_refused(samples: Any, old: Snapshot, new: Snapshot, moves: Mapping[int, int]) -> Iterator[tuple[Any, int]]:
    """The samples that are newly refused, each with the category's number."""
    samples = np.ascontiguousarray(samples)
    before, behind = _dress(samples, old.profiles, {}), _dress(samples, new.profiles, moves)
    out, room = np.zeros(len(samples), np.int64), np.zeros(OUT_BYTES, np.uint8)
    buffers = [int(buffer.ctypes.data) for buffer in (before, behind, out, room)]
    sizes = (before.nbytes, behind.nbytes, out.nbytes, room.nbytes)
    regions = [allow(at, at + size) for at, size in zip(buffers, sizes, strict=True)] if CHECKED else []
    policies = old.address, old.names_address, new.address, new.names_address
    _find_kernel()(*policies, *buffers[:2], len(samples), *buffers[2:])
    for region in regions:
        forbid(region)
    for number in np.flatnonzero(out != s.NOT_NEW):
        yield samples[number], int(out[number])


class Guard:
    """Takes the samples of all workers, and says what a change would refuse."""

    def __init__(self, shared: SharedMemory) -> None:
        self._shared = shared
        self.last_hour = LastHour()
        self.refusals, self.is_held, self.share = 0, False, 0.0
        """Changes that were not taken; was the last one of them; what it would have refused."""
        self._seen = [0] * shared.workers
        self._keeps = True
        self._profiles: dict[int, int] = {}

    def _words(self, worker: int) -> Any:
        return self._shared.words(worker, SAMPLES_OFF, s.SAMPLES_HEAD_BYTES // 8)

    def follow(self, configuration: Configuration) -> None:
        """Keep samples for these settings, or none, where no change could be too much."""
        self._keeps = configuration.guard.share < 1
        self._profiles = {profile_tag(name): configuration.resolve_profile(name)[0] for name in configuration.profiles}
        if not self._keeps:
            self.last_hour.forget()
        self._set_mask(0 if self._keeps else NONE_WRITTEN)

    def drain(self, now_s: float) -> None:
        """Take the samples that are there now. `now_s`: of a clock that only goes forward.

        Whatever stands in the rings: a packet process that was taken over writes what it likes.
        """
        minute = int(now_s) // MINUTE_S
        if self.last_hour.begin_minute(minute) and self._keeps:
            self._thin_out(self.last_hour.seen_in(minute - 1))
        for worker in range(self._shared.workers):
            head = self._words(worker)
            written, read = int(head[s.SAMPLES_WRITTEN // 8]), int(head[s.SAMPLES_READ // 8])
            seen = int(head[s.SAMPLES_SEEN // 8])
            taken = list(self._take(worker, read, written)) if 0 <= written - read <= s.SAMPLE_COUNT else []
            if self._keeps:
                for sample in taken:
                    self.last_hour.add(sample)
                self.last_hour.count(min(max(seen - self._seen[worker], len(taken)), SEEN_LIMIT))
            if (
                written - read > RUSH_COUNT
            ):  # more than the last minute made expect: copying them would take from others
                self._set_mask(min(max(int(head[s.SAMPLES_MASK // 8]), 0) * 2 + 1, MASK_LIMIT))
            head[s.SAMPLES_READ // 8] = written
            self._seen[worker] = seen

    def _take(self, worker: int, read: int, written: int) -> Iterator[Any]:
        start = self._shared.block(worker) - self._shared.address + SAMPLES_OFF + s.SAMPLES_HEAD_BYTES
        for number in range(read, written):
            at = start + number % s.SAMPLE_COUNT * s.SAMPLE_BYTES
            sample = self._shared.bytes[at : at + s.SAMPLE_BYTES].copy()
            tag = int(sample[s.SAMPLE_PROFILE : s.SAMPLE_SERVICES].view(np.uint32)[0])
            _services(sample.reshape(1, -1))[:] ^= np.uint64(self._profiles.get(tag, 0))  # what he chose beside it
            self._shared.bytes[at : at + s.SAMPLE_BYTES] = 0  # an hour is all that anything is kept
            if 0 < _read_size(sample) <= s.HOST_LIMIT:
                yield sample

    def _thin_out(self, seen: int) -> None:
        """Have the workers write about as many samples as are kept of a minute with so many requests."""
        mask = 0
        while seen > KEPT_LIMIT * (mask + 1):
            mask = mask * 2 + 1
        self._set_mask(mask)

    def _set_mask(self, mask: int) -> None:
        for worker in range(self._shared.workers):
            self._words(worker)[s.SAMPLES_MASK // 8] = mask

    def check(
        self, old: Snapshot, new: Snapshot, configuration: Configuration, moves: Mapping[int, int] | None = None
    ) -> None:
        """Raise GuardError when the change from `old` to `new` would refuse more than the configuration to be allows."""
        finding = find_change(self.last_hour, old, new, moves or {})
        self.share, self.is_held = finding.share, finding.is_too_much(configuration)
        self.refusals += int(self.is_held)
        self.last_hour.set_note(refusals=self.refusals, held_s=time.time() if self.is_held else None)
        if self.is_held:
            raise GuardError(finding)

    def lost(self) -> int:
        """Samples that found their ring full."""
        return sum(int(self._words(worker)[s.SAMPLES_LOST // 8]) for worker in range(self._shared.workers))
