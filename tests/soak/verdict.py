"""What a soak proves: which exchanges broke, which listed requests slipped through, what was held at the start and the end.

    broken      a request that is allowed, or of somebody without protection, did not come back byte for byte
    bypass      a listed name of a protected subscriber reached its server while somebody judged
    stuck       a listed request got neither answer nor end, with no fault near

Who fails closed may wait through many gaps, longer than his patience: that is what he chose, and is counted as `waited`.

Knows outcomes, faults, notes of servers and footprints. Refuses to know how they came about.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.soak.faults import Fault
from tests.soak.footprint import Footprint, Held
from tests.soak.mix import BAD, SHUT, Outcome
from tests.soak.session import SILENT

NOTED_S = 1.0  # how late a busy server may note what reached it in a gap
NEAR_S = 2.0  # how long a fault is felt: repetitions come some time later
GROWTH_BYTES = 48 << 20  # of one process between its first steady look and its last
HARMED = "harmed"
STEADY_S = 10.0  # after its start a process has touched what it needs


@dataclass(frozen=True)
class Note:
    """A line of a server's log. `until_s` is later where the log has whole seconds."""

    at_s: float
    until_s: float
    kind: str
    host: str
    what: str


def find_near(faults: Iterable[Fault], begin_s: float, end_s: float) -> list[Fault]:
    """The faults that somebody felt between these times."""
    return [fault for fault in faults if fault.begin_s < end_s and fault.end_s + NEAR_S > begin_s]


def word_outcome(one: Outcome, faults: list[Fault]) -> str:
    """An outcome in a word: ok, refused, passed, lost, waited; HARMED is what must not be."""
    is_silent = one.what.startswith(SILENT)
    if one.is_listed and one.is_protected:
        if is_silent:
            return "lost"
        return {"ok": "passed", "refused": "refused"}.get(one.what.partition(":")[0], HARMED)
    if is_silent and one.who == SHUT.name and any(fault.is_gap for fault in find_near(faults, one.begin_s, one.end_s)):
        return "waited"
    return "ok" if one.what == "ok" else HARMED


def find_bypasses(outcomes: list[Outcome], notes: list[Note], faults: list[Fault], begin_s: float) -> Iterator[str]:
    """Listed names that reached their server, or came back from it, outside of every gap."""
    gaps = [(fault.begin_s, fault.end_s) for fault in faults if fault.is_gap]

    def is_excused(from_s: float, to_s: float) -> bool:
        return any(begin < to_s and from_s < end + NOTED_S for begin, end in gaps)

    for note in notes:
        if note.host == BAD and note.kind != "cut" and not is_excused(note.at_s, note.until_s):
            yield f"{note.at_s - begin_s:.2f} s: {note.kind} for {note.host} reached the server {note.what}"
    for one in outcomes:
        if one.is_listed and one.is_protected and one.what == "ok" and not is_excused(one.begin_s, one.end_s):
            yield f"{one.begin_s - begin_s:.2f} s: {one.kind} of {one.who} was served, seed {one.seed}"


def find_broken(outcomes: list[Outcome], faults: list[Fault]) -> list[Outcome]:
    """Healthy connections that were harmed."""
    return [one for one in outcomes if word_outcome(one, faults) == HARMED]


def find_stuck(outcomes: list[Outcome], faults: list[Fault]) -> list[Outcome]:
    """Listed requests that nobody answered or ended though nothing happened to the box."""
    lost = [one for one in outcomes if word_outcome(one, faults) == "lost"]
    return [one for one in lost if not find_near(faults, one.begin_s, one.end_s)]


def find_cuts(notes: list[Note]) -> list[Note]:
    """Requests within which a server's connection ended, but for those that were to be refused."""
    return [note for note in notes if note.kind == "cut" and note.host != BAD]


def find_growth(footprints: list[Footprint]) -> Iterator[str]:
    """Processes that grew while they lived, and tables that changed their size."""
    sizes = {one.table_bytes for one in footprints if one.table_bytes}
    if len(sizes) > 1 and max(sizes) - min(sizes) > GROWTH_BYTES:
        yield f"kernel memory of the tables: {min(sizes):,} to {max(sizes):,} bytes"
    for name in ("control", "packets"):
        lives: dict[int, list[tuple[float, Held]]] = {}
        for one in footprints:
            held: Held | None = getattr(one, name)
            if held is not None:
                lives.setdefault(held.pid, []).append((one.at_s, held))
        for pid, looks in lives.items():
            steady = [held for at_s, held in looks if at_s > looks[0][0] + STEADY_S]
            if not steady:
                continue
            first, last = steady[0], steady[-1]
            if last.own_bytes - first.own_bytes > GROWTH_BYTES:
                yield f"{name} process {pid}: {first.own_bytes:,} to {last.own_bytes:,} bytes of its own"
            if last.descriptors > first.descriptors or last.threads > first.threads:
                yield (
                    f"{name} process {pid}: {first.descriptors} to {last.descriptors} descriptors, "
                    f"{first.threads} to {last.threads} threads"
                )


def count_kinds(outcomes: list[Outcome], faults: list[Fault]) -> dict[str, Counter[str]]:
    """For each kind of exchange how often which outcome."""
    found: dict[str, Counter[str]] = {}
    for one in outcomes:
        found.setdefault(one.kind, Counter())[word_outcome(one, faults)] += 1
    return found


def longest_delays(outcomes: list[Outcome], faults: list[Fault]) -> dict[tuple[str, str], float]:
    """By what was near and whose exchange: the longest wait for an answer, in seconds, of what was allowed over TCP. (Stubs
    of DNS over UDP ask again after a second, clients of QUIC by their own clocks.)"""
    found: dict[tuple[str, str], float] = {}
    for one in outcomes:
        if one.is_listed or one.what != "ok" or one.kind in ("idle", "quic", "dns", "dns text"):
            continue
        near = {fault.kind for fault in find_near(faults, one.begin_s, one.end_s)}
        words = near if len(near) == 1 else {"several faults"} if near else {"no fault"}
        for word in words:
            found[word, one.who] = max(found.get((word, one.who), 0.0), one.longest_s)
    return found
