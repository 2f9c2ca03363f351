"""A soak: one line, servers, the mix of clients, faults at random moments, a look at the memory now and then.

    with Soak(...) as soak: soak.run(); soak.verdict()

Knows how the parts are put together. Refuses to know what is right: `verdict.py` says that.
"""

import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from penstock.control.ledger import Ledger
from penstock.demo.box import BLOCKED, GOOD
from penstock.demo.namespaces import configure_links
from penstock.demo.servers import Certificate, Server, ServerError, start_program
from penstock.demo.topology import CLIENT_INTERFACE, HOME, OFFICE, server_address
from penstock.line.pins import Pins
from tests.live.dns import start_unbound, write_zone
from tests.live.line import Line, build_line
from tests.live.processes import ROOT
from tests.soak import exchanges, http3
from tests.soak.faults import LATE, Fault, Lost, Pace, deal, do_fault
from tests.soak.footprint import Footprint, find_line_pins, open_late_counter, read_footprint, read_line_ledger
from tests.soak.mix import SHUT, Outcome, Plan, read_outcome
from tests.soak.payload import TXT_NAMES, txt_name, txt_text
from tests.soak.verdict import Note

WEIGHTS = {HOME.name: 0.6, OFFICE.name: 0.25, SHUT.name: 0.15}
CALM_S = 3.0  # at the start and the end: nothing is done to the box
PACE = Pace((2.0, 9.0), 5.0, 2.0)
HASTE = Pace((0.2, 1.0), 1.5, 0.5)
SHORT_S = 120.0  # a run that is shorter is hasty
LOOK_S = 10.0  # between looks at the memory
LATE_LOOK_S = 0.05  # between looks whether the packet process is late
END_S = 90.0  # after the last arrival: everybody's patience


@dataclass
class Soak:
    """One soak. `told` is called with each line of progress."""

    line: Line
    plan: Plan
    pins: Pins
    logs: list[Path]
    told: Callable[[str], None]
    outcomes: list[Outcome] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    late: list[Fault] = field(default_factory=list)
    lost: str = ""
    begin_s: float = 0.0

    def run(self) -> None:
        """Let the traffic run and harm the box, to the end of the plan and of every exchange."""
        self.begin_s = time.monotonic()
        argv = [sys.executable, "-m", "tests.soak.mix"]
        complaints = self.line.here / "mix.errors"
        with complaints.open("w") as errors:
            mix = self.line.topology.spawn(
                "client", argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
            )
        assert mix.stdin is not None
        mix.stdin.write(json.dumps(asdict(self.plan)) + "\n")
        mix.stdin.close()
        over = threading.Event()
        jobs = (partial(self._read, mix), partial(self._watch, over), partial(self._watch_late, over))
        readers = [threading.Thread(target=job) for job in jobs]
        for reader in readers:
            reader.start()
        try:
            self._harm(mix)
            mix.wait(max(1.0, self._left_s()) + END_S)
        except Lost as lost:
            self.lost = str(lost)
        except subprocess.TimeoutExpired:
            self.lost = "the clients do not come to an end"
        finally:
            over.set()
            self.line.topology.end(mix) if mix.poll() is None else None
            for reader in readers:
                reader.join()
        if mix.returncode and not self.lost:
            self.lost = f"the clients ended with status {mix.returncode}: {complaints.read_text()[-800:]}"
        self.footprints.append(read_footprint(self.line, self.pins))

    def _left_s(self) -> float:
        return self.begin_s + self.plan.seconds - time.monotonic()

    def _harm(self, mix: subprocess.Popen[str]) -> None:
        chance, pace = random.Random(self.plan.seed), HASTE if self.plan.seconds < SHORT_S else PACE
        time.sleep(CALM_S)
        for kind in deal(chance):
            calm_s = chance.uniform(*pace.calm_s)
            if self._left_s() < calm_s + pace.stop_s + CALM_S or mix.poll() is not None:
                return
            time.sleep(calm_s)
            self.told(f"{time.monotonic() - self.begin_s:5.0f} s  {kind}")
            self.faults.append(do_fault(self.line, kind, pace, chance))

    def _read(self, mix: subprocess.Popen[str]) -> None:
        assert mix.stdout is not None
        for row in mix.stdout:
            self.outcomes.append(read_outcome(row))

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(LOOK_S if self.footprints else 2.0):
            self.footprints.append(read_footprint(self.line, self.pins))
            done = list(self.outcomes)
            bad = sum(one.what.startswith("broken") for one in done)
            refused = sum(one.what.startswith("refused") for one in done)
            moved = sum(one.sent_bytes + one.received_bytes for one in done)
            self.told(
                f"{time.monotonic() - self.begin_s:5.0f} s  {len(done):,} exchanges, {refused:,} refused, {bad} broken, "
                f"{moved / 1e6:,.0f} MB compared, {len(self.faults)} faults"
            )

    def _watch_late(self, over: threading.Event) -> None:
        """On a busy machine the packet process gets no processor for 100 ms now and then: a gap that nobody made."""
        read, at_s = open_late_counter(self.pins), time.monotonic()
        count = read()
        while not over.wait(LATE_LOOK_S):
            now_s, now = time.monotonic(), read()
            if now > count and self.late and self.late[-1].end_s >= at_s - LATE_LOOK_S:
                self.late[-1] = replace(self.late[-1], end_s=now_s)
            elif now > count:
                self.late.append(Fault(LATE, at_s, now_s, True))
            at_s, count = now_s, now

    @property
    def troubles(self) -> list[Fault]:
        """The faults, and the gaps that came by themselves."""
        gaps = [fault for fault in self.faults if fault.is_gap]
        return self.faults + [
            one for one in self.late if not any(gap.begin_s < one.end_s and one.begin_s < gap.end_s for gap in gaps)
        ]

    def read_notes(self) -> list[Note]:
        """What the servers noted, with times of the monotonic clock."""
        offset_s = time.time() - time.monotonic()
        notes = []
        for path in self.logs:
            for row in path.read_text(errors="replace").splitlines():
                if row.startswith("{"):
                    entry = json.loads(row)
                    notes.append(Note(entry["at_s"], entry["at_s"], entry["kind"], entry["host"], entry["what"]))
                elif found := re.match(r"\[(\d+)\] .*info: (\S+) (\S+)\. \S+ IN$", row):
                    at_s = int(found[1]) - offset_s
                    notes.append(Note(at_s, at_s + 1, "query", found[3].lower(), f"from {found[2]}"))
        return notes

    def read_ledger(self) -> Ledger:
        """The ledger of the line."""
        return read_line_ledger(self.pins)


@contextmanager
def build_soak(
    here: Path,
    pair: Certificate,
    seconds: float,
    rate: float,
    seed: int,
    told: Callable[[str], None],
    fresh_ports: bool = False,
) -> Iterator[Soak]:
    """A line with everything that a soak needs; it ends with the block."""
    profiles = {HOME: "everything", OFFICE: "nothing", SHUT: "everything"}
    subscribers = [
        {"id": one.name, "prefixes": [f"{one.ipv4}/32", f"{one.ipv6}/128"], "profile": profile}
        | ({"fail": "closed"} if one is SHUT else {})
        for one, profile in profiles.items()
    ]
    with build_line(here, pair, subscribers=subscribers) as line:
        more = [f"address add {SHUT.ipv4}/24 dev {CLIENT_INTERFACE}"]
        more.append(f"address add {SHUT.ipv6}/64 dev {CLIENT_INTERFACE} nodad")
        configure_links(line.topology.names["client"], more)
        logs = _start_servers(line, here, pair)
        plan = Plan(
            seconds,
            rate,
            seed,
            min(60.0, seconds / 5),
            {one.name: {"4": one.ipv4, "6": one.ipv6} for one in profiles},
            {"4": server_address(4), "6": server_address(6)},
            WEIGHTS,
            fresh_ports,
        )
        yield Soak(line, plan, find_line_pins(line), logs, told)


def _start_servers(line: Line, here: Path, pair: Certificate) -> list[Path]:
    site, quic = here / "soak-site.log", here / "soak-quic.log"
    words = [f"--certificate={pair.certificate}", f"--key={pair.key}"]
    ports = [f"--http={exchanges.HTTP_PORT}", f"--https={exchanges.HTTPS_PORT}"]
    argv = [sys.executable, "-m", "tests.soak.site", *words, *ports, f"--log={site}"]
    server = Server("soak", exchanges.HTTP_PORT, exchanges.HTTPS_PORT, site)
    start_program(line.topology, server, argv, cwd=ROOT)
    argv = [sys.executable, "-m", "tests.soak.http3", *words, f"--port={http3.PORT}", f"--log={quic}"]
    with quic.with_suffix(".errors").open("w") as errors:
        program = line.topology.spawn("server", argv, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT)
    if program.stdout is None or program.stdout.readline() != "ready\n":
        raise ServerError(f"the QUIC server did not start: {quic.with_suffix('.errors').read_text()[-400:]}")
    texts = [f"{txt_name(number)}. TXT {_quote(txt_text(number))}" for number in range(TXT_NAMES)]
    zone = write_zone(here / "soak.zone", dict.fromkeys((GOOD, *BLOCKED.values()), 10), *texts)
    addresses = [server_address(4), server_address(6)]
    return [site, quic, start_unbound(line.topology, "server", here, addresses, {".": zone}).log]


def _quote(text: str) -> str:
    return " ".join(f'"{text[start : start + 200]}"' for start in range(0, len(text), 200))
