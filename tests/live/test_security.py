"""What the processes of a running box may do, what they leave behind, and what the box itself says in line: nothing."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import ARP, Ether

from penstock.compile.native import cache_directory
from penstock.demo.box import GOOD, SERVICES, Box, start_box, stop_box, write_configuration
from penstock.demo.names import SAFE, SAFE_ENGINE
from penstock.demo.namespaces import configure_links
from penstock.demo.resolver import start_resolver
from penstock.demo.servers import Certificate, start_site
from penstock.demo.topology import CLIENT_INTERFACE, EGRESS, HOME, INGRESS, SERVER_INTERFACE, Place, Topology
from penstock.line.handover import DOORS
from penstock.line.privileges import CAPABILITIES, RUNNING, find_user
from tests.live.line import BAD, Line, live
from tests.live.processes import find_packet_processes

pytestmark = live("openssl", "curl", "setpriv", "unshare", "unbound")

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
PACKET_OUTGOING = 4
UNIT = ROOT / "contrib/penstock.service"


def wait_for(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds. Raises AssertionError after PATIENCE_S."""
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, f"not after {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.05)


def read_statuses(pid: int) -> list[dict[str, list[str]]]:
    """/proc/PID/task/*/status: every thread's."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        rows = [row.split(":") for row in path.read_text().splitlines()]
        found.append({row[0]: row[1].split() for row in rows if len(row) == 2})
    return found


def is_blocked(line: Line) -> bool:
    return "Reference" in line.curl(f"http://{BAD}/").stdout


def packet_process(box: Box) -> int:
    (child,) = find_packet_processes(box.program.pid)
    return child


def make_place(here: Path, name: str) -> Path:
    """A directory for another box: it has files of its own."""
    place = here / name
    place.mkdir(mode=0o755)
    return place


def reload(box: Box) -> None:
    """SIGHUP, and wait until it is taken."""
    before = box.output.read_text().count("reloaded")
    os.kill(box.program.pid, signal.SIGHUP)
    wait_for(lambda: box.output.read_text().count("reloaded") > before, "reloaded")


def kill_packet_process(box: Box) -> None:
    """SIGKILL to the packet process, and wait for the next one."""
    before = box.output.read_text().count("judging again")
    os.kill(packet_process(box), signal.SIGKILL)
    wait_for(lambda: box.output.read_text().count("judging again") > before, "judging again")


# ---- rights -------------------------------------------------------------------------------------------------------
def test_no_thread_that_reads_packets_has_a_right(line: Line) -> None:
    for again in (False, True):
        if again:
            kill_packet_process(line.box)
        statuses = read_statuses(packet_process(line.box))
        assert len(statuses) >= 2, "the main thread and a worker"
        for status in statuses:
            assert {int(status[name][0], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")} == {0}
            assert set(status["Uid"]) == {str(find_user()[0])}
            assert (status["NoNewPrivs"], status["Seccomp"], status["Groups"]) == (["1"], ["2"], [])
        assert is_blocked(line)


def test_run_keeps_only_what_it_names(line: Line) -> None:
    kept = sum(1 << CAPABILITIES[name] for name in RUNNING)
    spare = 1 << CAPABILITIES["dac_override"]  # where the program is in somebody's home directory
    for status in read_statuses(line.box.program.pid):
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status[name][0], 16) & ~spare == kept, name
        assert status["NoNewPrivs"] == ["1"]


def test_the_packet_process_is_not_for_others_to_look_into(line: Line) -> None:
    target = packet_process(line.box)
    user, group = find_user()
    for name in ("maps", "mem", "fd", "environ"):
        argv = [
            "setpriv",
            f"--reuid={user}",
            f"--regid={group}",
            "--clear-groups",
            "/bin/ls",
            "-l",
            f"/proc/{target}/fd",
        ]
        if name != "fd":
            argv[-3:] = ["/bin/cat", f"/proc/{target}/{name}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
        assert "Permission denied" in done.stderr, name


def test_a_hung_packet_process_ends_with_run(line: Line) -> None:
    hung = packet_process(line.box)
    os.kill(hung, signal.SIGSTOP)
    line.box.program.terminate()
    assert line.box.program.wait(PATIENCE_S) == 0
    wait_for(lambda: not Path(f"/proc/{hung}").exists(), "the packet process is gone")
    line.restart()


# ---- files --------------------------------------------------------------------------------------------------------
def test_what_it_makes_is_for_root_alone(line: Line) -> None:
    assert line.box.events.stat().st_mode & 0o777 == 0o640
    with line.topology.inside("box"):
        number = os.stat("/proc/thread-self/ns/net").st_ino
    (pins,) = Path("/sys/fs/bpf").glob(f"penstock-{number}-*")
    for path in [pins, *pins.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_kill_leaves_no_snapshot_behind(line: Line) -> None:
    """They have no name, and nobody can write to them, root included."""
    reload(line.box)
    links = [os.readlink(path) for path in Path(f"/proc/{line.box.program.pid}/fd").iterdir()]
    (snapshot,) = {link for link in links if re.match(r"/memfd:penstock-\d+ ", link)}
    assert snapshot.endswith("(deleted)")
    path = next(path for path in Path(f"/proc/{line.box.program.pid}/fd").iterdir() if os.readlink(path) == snapshot)
    number = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            os.write(number, b"x")
        with pytest.raises(PermissionError):
            os.truncate(number, 0)
    finally:
        os.close(number)


# ---- the unit -----------------------------------------------------------------------------------------------------
def read_unit(key: str) -> list[str]:
    """The words of a setting of the unit."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.M)[-1].split()


def build_sandbox(*writable: Path) -> list[str]:
    """A command before another one: the rights and the files that the unit leaves, as far as no systemd is needed."""
    rights = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in read_unit("CapabilityBoundingSet"))
    mounts = [f"mount --bind {path} {path}" for path in writable]
    commands = [*mounts, "mount -o remount,bind,ro /"]
    confined = f'exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,{rights} "$@"'
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", "; ".join([*commands, confined]), "sh"]


def test_the_rights_of_the_unit_are_enough(here: Path, pair: Certificate) -> None:
    assert read_unit("CapabilityBoundingSet") == [f"CAP_{name.upper()}" for name in RUNNING]
    here = make_place(here, "unit")
    with Topology("penstock", prefix="penstock-live") as topology:
        site = start_site(topology, here, pair)
        configuration = write_configuration(here)
        cache = cache_directory()
        assert cache is not None
        DOORS.mkdir(mode=0o700, exist_ok=True)  # RuntimeDirectory
        box = start_box(topology, configuration, before=build_sandbox(here, cache, DOORS))
        line = Line(topology, here, pair, site, configuration, box)
        try:
            rows = [row.split() for row in Path(f"/proc/{box.program.pid}/mounts").read_text().splitlines()]
            assert any(row[1] == "/" and "ro" in row[3].split(",") for row in rows)
            assert is_blocked(line)
            reload(box)
            assert is_blocked(line)
            kill_packet_process(box)
            assert is_blocked(line)
            assert topology.end(box.program) == 0
            assert not is_blocked(line)
        finally:
            stop_box(topology, box)


# ---- in line ------------------------------------------------------------------------------------------------------
MANAGEMENT = "192.0.2.1"
METRICS_PORT = 9464


class Sniffer:
    """Every frame that comes in at one end of the line."""

    def __init__(self, topology: Topology, place: Place) -> None:
        with topology.inside(place):
            self.channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
            self.channel.bind((CLIENT_INTERFACE if place == "client" else SERVER_INTERFACE, 0))
        self.channel.setblocking(False)

    def read(self) -> list[Ether]:
        """What came since the last time, the end's own frames left out."""
        found = []
        while True:
            try:
                content, where = self.channel.recvfrom(1 << 17)
            except BlockingIOError:
                return found
            if where[2] != PACKET_OUTGOING:
                found.append(Ether(content))


@dataclass(frozen=True)
class Quiet:
    """A line whose box has a management interface beside the two, and IPv6 as a fresh Debian has it."""

    topology: Topology
    macs: set[str]
    client_mac: str
    sniffers: list[Sniffer]

    def own_frames(self) -> list[str]:
        """What the box itself has said in line."""
        frames = [frame for sniffer in self.sniffers for frame in sniffer.read()]
        return [frame.summary() for frame in frames if frame.src in self.macs]

    def knock(self) -> None:
        """A subscriber asks who has the management address, and for its metrics at the box's own MAC addresses."""
        with self.topology.inside("client"), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as channel:
            channel.bind((CLIENT_INTERFACE, 0))
            asked = ARP(hwsrc=self.client_mac, psrc=HOME.ipv4, pdst=MANAGEMENT)
            channel.send(bytes(Ether(src=self.client_mac, dst="ff:ff:ff:ff:ff:ff") / asked))
            for mac in self.macs:
                syn = IP(src=HOME.ipv4, dst=MANAGEMENT) / TCP(dport=METRICS_PORT)
                channel.send(bytes(Ether(src=self.client_mac, dst=mac) / syn))


def find_mac(topology: Topology, place: Place, interface: str) -> str:
    """The hardware address of an interface."""
    rows = [row.split() for row in topology.run(place, ["ip", "-brief", "link"]).stdout.splitlines()]
    (found,) = [row[2] for row in rows if row[0].split("@")[0] == interface]
    return found


@contextmanager
def build_quiet() -> Iterator[Quiet]:
    with Topology("penstock", prefix="penstock-live") as topology, ExitStack() as stack:
        box = topology.names["box"]
        configure_links(box, [f"link set {name} down" for name in (INGRESS, EGRESS)])
        topology.write_settings(
            "box", {f"ipv6/conf/{name}/disable_ipv6": 0 for name in ("all", "default", INGRESS, EGRESS)}
        )
        lines = [
            "link add management type veth peer name cabinet",
            "link set cabinet up",
            f"address add {MANAGEMENT}/24 dev management",
        ]
        configure_links(box, [*lines, "link set management up", f"route add {HOME.ipv4}/32 dev management"])
        macs = {find_mac(topology, "box", interface) for interface in (INGRESS, EGRESS)}
        sniffers = [Sniffer(topology, "client"), Sniffer(topology, "server")]
        for sniffer in sniffers:
            stack.callback(sniffer.channel.close)
        yield Quiet(topology, macs, find_mac(topology, "client", CLIENT_INTERFACE), sniffers)


def test_the_box_says_nothing_in_line(here: Path, pair: Certificate) -> None:
    """From before the start until the end: no neighbour discovery, no ARP, no answer of its own, no look-up."""
    here = make_place(here, "quiet")
    with build_quiet() as quiet:
        topology = quiet.topology
        site = start_site(topology, here, pair)
        resolver = start_resolver(topology, "box", here, ["127.0.0.1"], {SAFE: tuple(SAFE_ENGINE.values())})
        profiles = {"everything": {"services": list(SERVICES), "safe_search": "strict"}, "nothing": {"services": []}}
        settings = {"profiles": profiles, "dns": {"resolvers": ["127.0.0.1"]}}
        configuration = write_configuration(here, **settings, metrics={"listen": f"{MANAGEMENT}:{METRICS_PORT}"})
        box = start_box(topology, configuration)
        line = Line(topology, here, pair, site, configuration, box)
        try:
            for _ in range(2):
                quiet.knock()
                assert is_blocked(line)
                assert line.curl(f"http://{GOOD}/").returncode == 0
                told = topology.run("box", ["curl", "-qsS", f"http://{MANAGEMENT}:{METRICS_PORT}/metrics"]).stdout
                assert "penstock_packets_seen_total" in told
                reload(box)
                kill_packet_process(box)
            assert topology.end(box.program) == 0
            quiet.knock()
            assert line.curl(f"http://{BAD}/").returncode == 0
            assert ("127.0.0.1", SAFE) in resolver.read_asked(), "it was asked, and not in line"
            assert quiet.own_frames() == []
        finally:
            stop_box(topology, box)


def test_the_sniffers_hear_a_box_that_speaks() -> None:
    """The same without Penstock: what the test above must not hear is there to be heard."""
    with build_quiet() as quiet:
        configure_links(quiet.topology.names["box"], [f"link set {name} up" for name in (INGRESS, EGRESS)])
        heard: list[str] = []

        def hears(*words: str) -> bool:
            quiet.knock()
            heard.extend(quiet.own_frames())
            return all(any(word in row for row in heard) for word in words)

        wait_for(lambda: hears("ICMPv6", "ARP is at"), "neighbour discovery and an ARP answer")
