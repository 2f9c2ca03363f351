"""A live line under mutated packets: stories told on both sides, while an honest client asks and is answered.

    python -m tests.fuzz wire --seconds 300

What is asked of the line afterwards: the same processes as before, every packet with a verdict, no memory that grows,
every honest request answered as it should be, what is blocked still blocked.
"""

import random
import re
import secrets
import socket
import struct
import tempfile
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from penstock.demo.box import BLOCKED, GOOD, run_penstock
from penstock.demo.resolver import start_resolver
from penstock.demo.servers import start_quic, write_certificate
from penstock.demo.topology import HOME, OFFICE, server_address
from tests.fuzz.campaign import WORK
from tests.fuzz.mutations import GUEST
from tests.fuzz.stories import ENDS, Story, ask_quic, record_stories, tell_story
from tests.live.line import BAD, Line, build_line
from tests.live.packets import ETH_P_ALL

CAPTURE = WORK / "wire" / "latest.pcap"
KEPT = 20_000  # frames, of which a capture is written
RATE = 1000  # frames a second
BURST = 50
SETTLE_S = 10.0  # for what is held to end
GROWTH_BYTES = 16 << 20  # pools of named capacity are touched as they are used
QUIC_ROUNDS = 4  # of honest requests to one with QUIC, whose client takes long to start
WARM_SHARE = 0.4  # of the time, after which memory is measured first
SUBSCRIBERS = [
    {"id": who.name, "prefixes": [f"{who.ipv4}/32", f"{who.ipv6}/128"], "profile": profile}
    for who, profile in ((HOME, "everything"), (OFFICE, "nothing"))
] + [{"id": "guest", "prefixes": [f"{GUEST[4]}/32", f"{GUEST[6]}/128"], "profile": "everything"}]


@dataclass
class Report:
    """What became of a line."""

    frames: int = 0
    stories: int = 0
    seconds: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    before: dict[int, int] = field(default_factory=dict)
    """Processes, and the memory of each in bytes, when the line was warm."""
    after: dict[int, int] = field(default_factory=dict)
    waiting: int = -1
    difference: int = -1
    reasons: str = ""

    def find_faults(self) -> list[str]:
        """What is not as it should be."""
        faults = [f"an honest request: {one}" for one in self.wrong]
        if self.before.keys() != self.after.keys():
            faults.append(f"processes were {sorted(self.before)}, are {sorted(self.after)}")
        for process, size in self.after.items():
            if size > self.before.get(process, size) + GROWTH_BYTES:
                faults.append(f"process {process} grew from {self.before[process]:,} to {size:,} bytes")
        for name in ("waiting", "difference"):
            if getattr(self, name) != 0:
                faults.append(f"{name} is {getattr(self, name)}")
        if not self.asked or not self.frames:
            faults.append("nothing was sent or asked")
        return faults


class Sender:
    """Tells stories on both sides until it is ended, at most RATE frames a second."""

    def __init__(self, line: Line, stories: list[Story], seed: int) -> None:
        self.stories, self.random, self.frames, self.told = stories, random.Random(seed), 0, 0
        self.sockets = []
        self.latest: deque[tuple[float, bytes]] = deque(maxlen=KEPT)
        for place, interface in ENDS:
            with line.topology.inside(place):
                one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                one.bind((interface, ETH_P_ALL))
                self.sockets.append(one)
        self.failure: Exception | None = None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._send)

    def __enter__(self) -> "Sender":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.thread.join()
        for one in self.sockets:
            one.close()
        if self.failure is not None:
            raise self.failure

    def write_capture(self, path: Path) -> None:
        """The latest frames, as pcap: what to look at when something died."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(struct.pack("<IHH4I", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
            for time_s, frame in self.latest:
                file.write(struct.pack("<4I", int(time_s), int(time_s % 1 * 1e6), len(frame), len(frame)) + frame)

    def _send(self) -> None:
        try:
            self._send_stories()
        except Exception as error:  # for the thread that waits
            self.failure = error

    def _send_stories(self) -> None:
        begin_s = time.monotonic()
        while not self.ending.is_set():
            for to_server, frame in tell_story(self.random.choice(self.stories), self.random, self.told):
                with suppress(OSError):  # a full queue, or a frame that the interface does not take
                    self.sockets[0 if to_server else 1].send(frame)
                self.latest.append((time.time(), frame))
                self.frames += 1
                ahead_s = begin_s + self.frames / RATE - time.monotonic()
                if self.frames % BURST == 0 and ahead_s > 0:
                    self.ending.wait(ahead_s)
            self.told += 1


# ---- the honest client -----------------------------------------------------------------------------------------------
def ask_honestly(line: Line, family: int) -> list[tuple[str, bool, str]]:
    """One round: what was asked, whether the answer was right, and the answer."""
    asked = []
    for name, url, who, wanted in (
        ("allowed http", f"http://{GOOD}/", HOME, f"200 This is {GOOD}."),
        ("blocked http", f"http://{BAD}/", HOME, "403 "),
        ("allowed https", f"https://{GOOD}/", HOME, f"200 This is {GOOD}."),
        ("blocked https", f"https://{BAD}/", HOME, "000 "),
        ("unprotected http", f"http://{BAD}/", OFFICE, f"200 This is {BAD}."),
    ):
        done = line.curl(url, who, family, "--write-out", "\\n%{http_code}")
        body, _, status = done.stdout.rpartition("\n")
        got = f"{status} {body}".strip("\n")
        is_alert = name != "blocked https" or "alert" in done.stderr or "unrecognized name" in done.stderr
        asked.append(
            (f"{name} {family}", got.startswith(wanted) and is_alert, f"{got[:80]} {done.stderr.strip()[:80]}")
        )
    server, source = server_address(family), HOME.address(family)
    for name, host, wanted in (("allowed dns", GOOD, "NOERROR"), ("blocked dns", BAD, "NXDOMAIN")):
        argv = ["dig", f"@{server}", "-b", source, "+tries=3", "+time=2", host]
        got = line.topology.run("client", argv).stdout
        status = re.search(r"status: (\w+)", got)
        asked.append((f"{name} {family}", status is not None and status[1] == wanted, got[:200]))
    argv = ["openssl", "s_client", "-connect", f"[{server}]:443" if family == 6 else f"{server}:443",
            "-bind", f"[{source}]" if family == 6 else source, "-servername", BAD]  # fmt: skip
    done = line.topology.run("client", argv, input="", stdin=None)
    asked.append((f"blocked s_client {family}", "unrecognized name" in done.stderr, done.stderr[-120:]))
    return asked


def ask_by_quic(line: Line, family: int) -> list[tuple[str, bool, str]]:
    """HTTP/3 to an allowed and to a blocked host: what was asked, whether the answer was right, and the answer."""
    wanted = {GOOD: "site", BAD: "refused"}
    told = ask_quic(line, HOME, family, list(wanted))
    return [(f"quic to {host} {family}", got == wanted[host], got) for host, got in told.items()]


# ---- the line afterwards ---------------------------------------------------------------------------------------------
def read_processes(first: int) -> dict[int, int]:
    """A process and all below it: the memory of each, in bytes."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may have ended since
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, grown = {first} & parents.keys(), True
    while grown:
        below = {process for process, parent in parents.items() if parent in found}
        grown = not below <= found
        found |= below
    sizes = {}
    for process in found:
        with suppress(OSError):
            size = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
            sizes[process] = 1024 * int(size[1]) if size else 0
    return sizes


def read_status(line: Line) -> tuple[int, int, str]:
    """Waiting and difference, as `penstock status` says them; and all of it."""
    done = run_penstock(line.topology, ["status"])
    waiting = re.search(r"^\W*waiting\W+?(-?[\d,]+)", done.stdout, re.MULTILINE)
    difference = re.search(r"^\W*difference\W+?(-?[\d,]+) of", done.stdout, re.MULTILINE)
    assert waiting, done.stdout + done.stderr
    assert difference, done.stdout
    return int(waiting[1].replace(",", "")), int(difference[1].replace(",", "")), done.stdout


def run_line(line: Line, seconds: float, seed: int, capture: Path) -> Report:
    """Mutated packets for so long, the latest of them written as a capture; what became of the line."""
    report, round_number = Report(), 0
    first = line.box.program.pid
    processes = read_processes(first).keys()
    stories = record_stories(line)
    assert len(stories) >= 20, f"only {len(stories)} conversations were recorded"
    begin_s = time.monotonic()
    with Sender(line, stories, seed) as sender:
        while time.monotonic() < begin_s + seconds:
            family = 6 if round_number & 1 else 4
            asked = ask_honestly(line, family)
            if round_number % QUIC_ROUNDS == QUIC_ROUNDS - 1 - (round_number // QUIC_ROUNDS & 1):
                asked += ask_by_quic(line, family)
            for name, is_right, got in asked:
                report.asked[name] += 1
                if not is_right:
                    report.wrong.append(f"{name}: {got}")
            round_number += 1
            if not report.before and time.monotonic() > begin_s + WARM_SHARE * seconds:
                report.before = read_processes(first)
    report.frames, report.stories = sender.frames, sender.told
    sender.write_capture(capture)
    report.seconds = time.monotonic() - begin_s
    end_s = time.monotonic() + SETTLE_S
    while True:
        report.waiting, report.difference, report.reasons = read_status(line)
        if (report.waiting, report.difference) == (0, 0) or time.monotonic() > end_s:
            break
        time.sleep(0.2)
    report.after = read_processes(first)
    report.before = report.before or report.after
    if report.before.keys() != processes:
        report.wrong.append(f"processes were {sorted(processes)} at the start")
    return report


def prepare_line(line: Line) -> None:
    """The site's QUIC side, and a resolver that knows the demo's names."""
    start_quic(line.topology, line.site, line.pair)
    addresses = [server_address(family) for family in (4, 6)]
    names = {host: addresses for host in (GOOD, *BLOCKED.values())}
    start_resolver(line.topology, "server", line.here, addresses, names)


def fuzz_wire(seconds: int) -> int:
    """Build a line, fuzz it, tell what became of it; 1 when something is not as it should be."""
    with tempfile.TemporaryDirectory(prefix="penstock-fuzz-") as name:
        here = Path(name)
        here.chmod(0o755)
        with build_line(here, write_certificate(here), subscribers=SUBSCRIBERS) as line:
            prepare_line(line)
            seed = secrets.randbelow(1 << 32)
            report = run_line(line, seconds, seed, CAPTURE)
    print(report.reasons)
    print(f"{report.frames:,} frames of {report.stories:,} stories in {report.seconds:.0f} s, seed {seed}")
    print(f"the latest frames: {CAPTURE}")
    print(
        f"{sum(report.asked.values()):,} honest requests: "
        + ", ".join(f"{n} {name}" for name, n in report.asked.items())
    )
    for process, size in report.after.items():
        print(f"process {process}: {report.before.get(process, 0) / 1e6:.1f} MB warm, {size / 1e6:.1f} MB at the end")
    faults = report.find_faults()
    print("\n".join(faults) if faults else "nothing is wrong")
    return 1 if faults else 0
