"""Recordings: which packets a tap lets through, which of them are kept, and what becomes of a recording."""

import io
import socket
import time
import tracemalloc
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, Dot1Q, Ether

from penstock.control.portal.tap import TapError, build_filter, lock_filter, open_tap
from penstock.line.pcap import read_frames
from penstock.portal.journal import now_s
from penstock.portal.recording import FLOW_LIMIT, PCAP_HEAD, RECORD_BYTES, WAIT_S, Recording, build_flow, find_flow
from penstock.portal.routing import PREFIX
from tests.portal.scene import Scene
from tests.portal.test_journal import write_event

SERVER = "192.0.2.1"


def tcp(source: str, port: int, destination: str = SERVER, payload: bytes = b"x") -> bytes:
    kind = IPv6 if ":" in source else IP
    return bytes(Ether() / kind(src=source, dst=destination) / TCP(sport=port, dport=443) / payload)


# ---- what a tap lets through: the kernel's own interpreter, on a socket that needs no rights ---------------------------
def passes(networks: list[str], frame: bytes) -> bool:
    wire, tap = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with wire, tap:
        lock_filter(tap, build_filter(ip_network(network) for network in networks))
        wire.send(frame)
        try:
            return tap.recv(4096, socket.MSG_DONTWAIT) == frame
        except BlockingIOError:
            return False


MANY = [f"10.{number}.0.0/16" for number in range(1, 8)] + [f"fd00:{number}::/32" for number in range(1, 8)]


@pytest.mark.parametrize(
    ("networks", "source", "destination", "wanted"),
    [
        (["10.0.0.1/32"], "10.0.0.1", SERVER, True),
        (["10.0.0.1/32"], SERVER, "10.0.0.1", True),
        (["10.0.0.1/32"], "10.0.0.2", SERVER, False),
        (["10.0.0.0/30"], "10.0.0.3", SERVER, True),
        (["10.0.0.0/30"], "10.0.0.4", SERVER, False),
        (["0.0.0.0/0"], "10.0.0.4", SERVER, True),
        (["fd00:1:0:100::/56"], "fd00:1:0:1ff::1", "fd09::1", True),
        (["fd00:1:0:100::/56"], "fd00:1:0:200::1", "fd09::1", False),
        (["fd00:1::1/128"], "fd09::1", "fd00:1::1", True),
        (["fd00:1::1/128"], "fd09::1", "fd00:1::2", False),
        (["10.0.0.1/32"], "fd00:1::1", "fd09::1", False),
        (MANY, "10.7.1.1", SERVER, True),
        (MANY, "10.8.1.1", SERVER, False),
        (MANY, "fd09::1", "fd00:7::1", True),
        (MANY, "fd09::1", "fd00:8::1", False),
    ],
)
def test_a_tap_sees_its_prefixes_alone(networks: list[str], source: str, destination: str, wanted: bool) -> None:
    assert passes(networks, tcp(source, 1000, destination)) is wanted


def test_a_tap_sees_no_other_protocol() -> None:
    assert not passes(["10.0.0.1/32"], bytes(Ether() / ARP(psrc="10.0.0.1", pdst="10.0.0.1")))
    assert not passes(["10.0.0.1/32"], tcp("10.0.0.1", 1)[:20])


def test_nobody_widens_a_filter() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tap:
        lock_filter(tap, build_filter([ip_network("10.0.0.1/32")]))
        with pytest.raises(PermissionError):
            lock_filter(tap, build_filter([ip_network("0.0.0.0/0")]))


@pytest.mark.parametrize("prefixes", [[], ["ten"], ["10.0.0.1"] * 17])
def test_prefixes_that_make_no_sense(prefixes: list[str]) -> None:
    with pytest.raises(TapError):
        open_tap("lo", prefixes)


# ---- which flow, and what is kept -------------------------------------------------------------------------------------
def test_both_directions_are_one_flow_as_events_name_it() -> None:
    for source, destination in (("10.0.0.1", SERVER), ("fd00::1", "fd09::1")):
        wanted = build_flow(source, 1000, destination, 443)
        there = tcp(source, 1000, destination)
        kind = IPv6 if ":" in source else IP
        back = bytes(Ether() / kind(src=destination, dst=source) / TCP(sport=443, dport=1000))
        tagged = bytes(Ether() / Dot1Q(vlan=7) / kind(src=source, dst=destination) / UDP(sport=1000, dport=443))
        assert find_flow(there) == find_flow(back) == find_flow(tagged) == wanted
    options = bytes(Ether() / IPv6(src="fd00::1", dst="fd09::1") / IPv6ExtHdrDestOpt() / TCP(sport=1000, dport=443))
    assert find_flow(options) == build_flow("fd00::1", 1000, "fd09::1", 443)


def test_what_has_no_ports_is_no_flows() -> None:
    piece = bytes(Ether() / IP(src="10.0.0.1", dst=SERVER, frag=1) / (b"x" * 8))
    whole = tcp("10.0.0.1", 1000)
    for frame in (piece, bytes(Ether() / ARP()), b"", whole[:14], whole[:33], whole[:36]):
        assert find_flow(frame) is None


def test_refused_flows_are_kept_from_their_first_packet_on() -> None:
    recording = Recording(100_000)
    refused, other = build_flow("10.0.0.1", 1, SERVER, 443), tcp("10.0.0.1", 2)
    recording.take(1, tcp("10.0.0.1", 1, payload=b"first"))
    recording.take(2, other)
    recording.mark([refused])
    recording.take(3, tcp("10.0.0.1", 1, payload=b"second"))
    recording.take(4, other)
    assert [at_ns for at_ns, _ in recording.kept] == [1, 3]


def test_what_waits_is_forgotten_in_time_and_bounded() -> None:
    recording = Recording(10_000)
    recording.take(0, tcp("10.0.0.1", 1))
    recording.take(int(WAIT_S * 1e9) + 1, tcp("10.0.0.1", 2))
    recording.mark([build_flow("10.0.0.1", 1, SERVER, 443)])
    assert recording.kept == []
    big = Recording(10_000)
    for number in range(20):
        big.take(number, tcp("10.0.0.1", 1, payload=b"x" * 1000))
    big.mark([build_flow("10.0.0.1", 1, SERVER, 443)])
    assert 0 < len(big.kept) < 10
    big.take(21, b"x" * 20_000)
    for number in range(20):
        big.take(number, tcp("10.0.0.1", 1, payload=b"x" * 1000))
    assert big.is_full
    written = io.BytesIO()
    big.write(written)
    assert len(written.getvalue()) == big.size_bytes <= 10_000
    assert len(written.getvalue()) == len(PCAP_HEAD) + sum(RECORD_BYTES + len(frame) for _, frame in big.kept)


def test_a_flood_of_small_packets_and_flows_takes_no_more_memory_than_was_asked_for() -> None:
    recording = Recording(1_000_000)
    tracemalloc.start()
    try:
        for number in range(20_000):
            recording.take(number, tcp_of_port(number))
        assert tracemalloc.get_traced_memory()[0] < 1_200_000
    finally:
        tracemalloc.stop()
    recording.mark(build_flow("10.0.0.1", number, SERVER, 443) for number in range(FLOW_LIMIT + 1))
    assert recording.is_full
    assert len(recording.refused) <= FLOW_LIMIT


FRAME = tcp("10.0.0.1", 0)


def tcp_of_port(number: int) -> bytes:
    """The same as `tcp`, made quickly."""
    return FRAME[:34] + number.to_bytes(2) + FRAME[36:]


# ---- over HTTP --------------------------------------------------------------------------------------------------------
def begin(scene: Scene, subscriber: str = "office", **body: int) -> Any:
    said = {"seconds": 1, "megabytes": 1} | body
    return scene.call("POST", f"{PREFIX}/subscribers/{subscriber}/captures", "support", json=said)


def await_end(scene: Scene, subscriber: str, number: int) -> dict[str, Any]:
    end_s = time.monotonic() + 30
    while True:
        found = scene.call("GET", f"{PREFIX}/subscribers/{subscriber}/captures", "support").json()["captures"]
        (one,) = [one for one in found if one["id"] == number]
        if one["state"] != "running":
            return dict(one)
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_a_recording_from_its_begin_to_its_end(scene: Scene, tmp_path: Path) -> None:
    answer = begin(scene)
    assert answer.status_code == 201, answer.text
    number, asked = answer.json()["id"], scene.said[-1]
    assert asked["prefixes"] == ["192.0.2.0/24"]
    assert begin(scene).status_code == 409
    path = f"{PREFIX}/subscribers/office/captures/{number}"
    assert scene.call("GET", path, "support").status_code == 409
    frames = [tcp("192.0.2.9", port, "198.51.100.1") for port in (1000, 1001, 1000)]
    for frame in frames:
        asked["wire"].send(frame)
    flow = {"src_ip": "192.0.2.9", "dest_ip": "198.51.100.1", "dest_port": 443}
    scene.portal.journal.write_lines(
        [
            write_event(now_s(), subscriber="office", src_port=1000, **flow),
            write_event(now_s(), subscriber="home", src_port=1001, **flow),
            write_event(now_s(), subscriber="office", src_port=1001, answer=None, **flow),
        ]
    )
    told = await_end(scene, "office", number)
    assert (told["state"], told["packets"], told["flows"], told["by"]) == ("done", 2, 1, "support")
    answer = scene.call("GET", path, "support")
    assert answer.headers["content-type"] == "application/vnd.tcpdump.pcap"
    (tmp_path / "got.pcap").write_bytes(answer.content)
    assert [frame.bytes for frame in read_frames(tmp_path / "got.pcap")] == [frames[0], frames[2]]
    assert scene.call("GET", f"{PREFIX}/subscribers/home/captures/{number}", "support").status_code == 404
    assert scene.call("DELETE", path, "support").status_code == 204
    assert scene.call("GET", path, "support").status_code == 404
    operations = [one["operation"] for one in scene.call("GET", f"{PREFIX}/audit?subscriber=office").json()["entries"]]
    assert {"start_capture", "get_capture", "delete_capture"} <= set(operations)


def test_a_recording_that_is_deleted_leaves_nothing(scene: Scene) -> None:
    number = begin(scene, "homer", seconds=600).json()["id"]
    assert scene.call("DELETE", f"{PREFIX}/subscribers/homer/captures/{number}", "support").status_code == 204
    assert scene.call("GET", f"{PREFIX}/subscribers/homer/captures", "support").json()["captures"] == []
    assert not scene.portal.captures.find_path(number).exists()


def test_a_recording_that_is_deleted_is_overwritten(scene: Scene, tmp_path: Path) -> None:
    for name in ("deleted", "forgotten"):
        path = scene.portal.captures.find_path(77_000 if name == "deleted" else 77_001)
        path.write_bytes(b"GET /secret" * 200_000)
        other = tmp_path / name
        other.hardlink_to(path)
        if name == "deleted":
            scene.portal.captures.delete(77_000)
        else:
            scene.portal.captures.forget(now_s(), 7)
        assert not path.exists()
        assert b"secret" not in other.read_bytes()


def test_old_recordings_go_and_so_do_strays(scene: Scene) -> None:
    number = begin(scene, "homer").json()["id"]
    await_end(scene, "homer", number)
    path = scene.portal.captures.find_path(number)
    stray = path.with_name("99999.pcap")
    stray.write_bytes(b"x")
    assert path.exists()
    scene.portal.captures.forget(now_s(), 7)
    assert path.exists()
    assert not stray.exists()
    scene.portal.captures.forget(now_s() + 8 * 86_400, 7)
    assert not path.exists()
    assert scene.call("GET", f"{PREFIX}/subscribers/homer/captures", "support").json()["captures"] == []
