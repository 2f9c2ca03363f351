"""The report of a soak: tables of exchanges, faults and memory, and one line for each thing that is wrong.

Knows words and columns. Refuses to know the rules: they are in `verdict.py`.
"""

from collections import Counter

from rich.console import Console
from rich.table import Table

from tests.soak.faults import KINDS, LATE
from tests.soak.footprint import Held
from tests.soak.mix import Outcome
from tests.soak.soak import Soak
from tests.soak.verdict import (
    HARMED,
    count_kinds,
    find_broken,
    find_bypasses,
    find_cuts,
    find_growth,
    find_near,
    find_stuck,
    longest_delays,
)

MIB = 1 << 20
ROWS = 24  # of the memory table


def find_wrong(soak: Soak) -> list[str]:
    """What must not be, a line each."""
    notes = soak.read_notes()
    wrong = [f"the soak ended early: {soak.lost}"] if soak.lost else []
    wrong += [f"broken: {_word(soak, one)}" for one in find_broken(soak.outcomes, soak.troubles)]
    wrong += [f"bypass: {one}" for one in find_bypasses(soak.outcomes, notes, soak.troubles, soak.begin_s)]
    wrong += [f"stuck: {_word(soak, one)}" for one in find_stuck(soak.outcomes, soak.troubles)]
    wrong += [f"cut at the server: {note.at_s - soak.begin_s:.2f} s: {note.what}" for note in find_cuts(notes)]
    wrong += [f"memory: {one}" for one in find_growth(soak.footprints)]
    ledger = soak.read_ledger()
    if ledger.difference:
        wrong.append(f"the ledger: {ledger.difference} of {ledger.seen:,} packets have no verdict")
    return wrong


def _word(soak: Soak, one: Outcome) -> str:
    def span(begin_s: float, end_s: float) -> str:
        return f"{begin_s - soak.begin_s:.2f}-{end_s - soak.begin_s:.2f} s"

    near = find_near(soak.troubles, one.begin_s, one.end_s)
    faults = ", ".join(f"{fault.kind} at {span(fault.begin_s, fault.end_s)}" for fault in near) or "no fault near"
    who = f"{one.kind} of {one.who}, IPv{one.family}, ports {one.ports}, seed {one.seed}"
    return f"{span(one.begin_s, one.end_s)}: {who}: {one.what} [{faults}]"


def print_report(console: Console, soak: Soak) -> None:
    """The tables."""
    _print_kinds(console, soak)
    _print_faults(console, soak)
    _print_memory(console, soak)
    ledger = soak.read_ledger()
    console.print(f"ledger: {ledger.difference} of {ledger.seen:,} packets without a verdict, {ledger.waiting} waiting")


def _print_kinds(console: Console, soak: Soak) -> None:
    table = Table(title="Exchanges (in gaps: listed names passed or lost, those who fail closed waited)")
    words = ("ok", "refused", "passed", "lost", "waited", HARMED)
    for name in ("kind", *words, "MB compared"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    moved: Counter[str] = Counter()
    for one in soak.outcomes:
        moved[one.kind] += one.sent_bytes + one.received_bytes
    for kind, counts in sorted(count_kinds(soak.outcomes, soak.troubles).items()):
        table.add_row(
            kind, *(f"{counts[word]:,}" if counts[word] else "" for word in words), f"{moved[kind] / 1e6:,.1f}"
        )
    console.print(table)


def _print_faults(console: Console, soak: Soak) -> None:
    table = Table(title="Faults, and the longest wait for an answer over TCP near them")
    delays = longest_delays(soak.outcomes, soak.troubles)
    people = list(soak.plan.subscribers)
    for name in ("fault", "times", "longest", *people):
        table.add_column(name, justify="left" if name == "fault" else "right")
    for kind in (*KINDS, LATE, "several faults", "no fault"):
        times = [fault.end_s - fault.begin_s for fault in soak.troubles if fault.kind == kind]
        waits = [f"{delays[kind, who] * 1000:,.0f} ms" if (kind, who) in delays else "" for who in people]
        table.add_row(kind, str(len(times) or ""), f"{max(times):.1f} s" if times else "", *waits)
    console.print(table)


def _print_memory(console: Console, soak: Soak) -> None:
    table = Table(title="Memory in MiB (resident, of its own), descriptors, threads")
    for name in ("at", "control", "packets", "tables"):
        table.add_column(name, justify="right")
    step = max(1, len(soak.footprints) // ROWS)
    for number, one in enumerate(soak.footprints):
        if number % step == 0 or number == len(soak.footprints) - 1:
            cells = [_word_held(one.control), _word_held(one.packets), f"{one.table_bytes / MIB:.1f}"]
            table.add_row(f"{one.at_s - soak.begin_s:.0f} s", *cells)
    console.print(table)


def _word_held(held: Held | None) -> str:
    if held is None:
        return "none"
    return (
        f"{held.pid}: {held.resident_bytes / MIB:.0f}, {held.own_bytes / MIB:.0f}, {held.descriptors}, {held.threads}"
    )
