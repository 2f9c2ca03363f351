"""The exception table, row by row, over the wire: each cause provoked for real, under each policy.

Each is seen in its counter, its metric and its events. The flow table that is full is in test_table_full.py.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from penstock.demo.box import GOOD, run_penstock, start_box
from penstock.demo.namespaces import configure_links
from penstock.demo.servers import Certificate, Server
from penstock.demo.topology import CLIENT_INTERFACE, HOME, OFFICE, SERVER_INTERFACE, SERVER_IPV4, Subscriber
from tests.live.clients import CLOSED, RESET, Conversation, Response, ask
from tests.live.exceptions import (
    by_policy,
    count_packets,
    find_events,
    is_active,
    provoked,
    start_connecting,
    wait_until_connected,
)
from tests.live.line import BAD, Line, build_line, live
from tests.live.metrics import LISTEN, read_metrics, wait_for
from tests.live.packets import Tap
from tests.live.processes import find_packet_processes, is_blocked, kill, wait_for_word
from tests.live.quic import UDP_SEGMENT

pytestmark = live("openssl", "nginx", "curl")

SHUT = Subscriber("shut", "10.77.0.4", "fd77::4")  # fails closed
METERED = Subscriber("metered", "10.77.0.5", "fd77::5")  # with a budget of METERED_PACKETS_PER_S
METERED_PACKETS_PER_S = 20
METERED_REQUESTS = 12  # each costs five packets; twice as many as a second's are there at once
UNFINISHED, LARGE_BLOCKS = 160, 128  # requests of over 2 KB; how many of them one subscriber alone may have
HEADER_BYTES = 5_000
SLOTS = 40  # packets in pieces; one subscriber alone gets 32
SUPER_PACKETS = 300  # of which 127 fill the ring
SUPER_BYTES, DATAGRAM_BYTES = 60_000, 1_200
QUIET_S = 10.0  # after which a cause has ended
PATIENCE_S = 20.0
PORT = 7_007


PEOPLE: dict[Subscriber, dict[str, Any]] = {
    HOME: {"profile": "everything"},
    OFFICE: {"profile": "nothing"},
    SHUT: {"profile": "everything", "fail": "closed"},
    METERED: {"profile": "everything", "packets_per_s": METERED_PACKETS_PER_S},
}
SETTINGS: dict[str, Any] = {
    "subscribers": [
        {"id": one.name, "prefixes": [f"{one.ipv4}/32", f"{one.ipv6}/128"]} | more for one, more in PEOPLE.items()
    ],
    "metrics": {"listen": LISTEN},
}


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(here, pair, **SETTINGS) as found:
        addresses = [f"address add {one.ipv4}/24 dev {CLIENT_INTERFACE}" for one in (SHUT, METERED)]
        configure_links(found.topology.names["client"], addresses)
        yield found


def tell(conversation: Conversation, host: str) -> int | str:
    """Ask for a host on this connection; the status, or how it ended."""
    conversation.send(ask(host))
    answer = conversation.read()
    return answer.status if isinstance(answer, Response) else answer


def switch(line: Line, word: str) -> None:
    done = run_penstock(line.topology, [word])
    assert done.returncode == 0, done.stderr


# ---- malformed --------------------------------------------------------------------------------------------------------
@by_policy(("malformed",), "drop", "forward")
def test_malformed(line: Line, policy: str) -> None:
    """A TCP header that is shorter than any."""
    segment = IP(src=HOME.ipv4, dst=SERVER_IPV4) / TCP(sport=PORT, dport=80, flags="PA", dataofs=4) / Raw(b"x" * 40)
    with Tap(line.topology, "server", SERVER_INTERFACE) as tap:
        with provoked(line, "malformed", "malformed" if policy == "drop" else "malformed_open"):
            send_raw(line, [bytes(segment)])
        assert has_arrived(tap, PORT) == (policy == "forward")


def send_raw(line: Line, packets: list[bytes]) -> None:
    """Send IPv4 packets from the client namespace as they are."""
    with line.topology.inside("client"):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with raw:
        for packet in packets:
            raw.sendto(packet, (SERVER_IPV4, 0))


def has_arrived(tap: Tap, port: int) -> bool:
    """Is there an IPv4 packet from this port among the frames that were seen?"""
    tap.channel.settimeout(0.3)
    try:
        while True:
            frame = tap.channel.recv(1 << 16)
            if frame[12:14] == b"\x08\0" and frame[34:36] == port.to_bytes(2):
                return True
    except TimeoutError:
        return False


# ---- fragment_full ----------------------------------------------------------------------------------------------------
@by_policy(("fragment_full",), "drop", "forward")
def test_fragment_full(line: Line, policy: str) -> None:
    """More packets in pieces than one subscriber may leave unfinished; behind them one that is whole."""
    whole = bytes(UDP(sport=PORT, dport=PORT) / Raw(b"w" * 92))
    head = IP(src=HOME.ipv4, dst=SERVER_IPV4, proto=17)
    first = [
        bytes(head.__class__(**head.fields | {"id": 1 + n, "flags": "MF"}) / Raw(whole[:64])) for n in range(SLOTS)
    ]
    pieces = [
        bytes(head.__class__(**head.fields | {"id": 999, "flags": "MF"}) / Raw(whole[:64])),
        bytes(head.__class__(**head.fields | {"id": 999, "frag": 8}) / Raw(whole[64:])),
    ]
    with line.topology.inside("server"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((SERVER_IPV4, PORT))
        server.settimeout(1)
        with provoked(line, "fragment_full", "fragment_full" if policy == "drop" else "fragment_full_open"):
            send_raw(line, first + pieces)
        if policy == "drop":
            time.sleep(0.2)  # what is held expires
            send_raw(line, pieces)
        assert server.recv(1 << 16) == b"w" * 92


# ---- ring_full --------------------------------------------------------------------------------------------------------
@by_policy(("ring_full",), "drop", "forward")
def test_ring_full(line: Line, policy: str) -> None:
    """More than the ring takes, while the packet process stands still but is not late yet."""
    process, *_ = find_packet_processes(line.box.program.pid)
    with line.topology.inside("client"):
        channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with line.topology.inside("server"):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    size = DATAGRAM_BYTES.to_bytes(2, "little")
    with channel, server, provoked(line, "ring_full", "ring_full" if policy == "drop" else "ring_full_open"):
        server.bind((SERVER_IPV4, PORT))
        channel.bind((HOME.ipv4, 0))
        channel.connect((SERVER_IPV4, PORT))
        os.kill(process, signal.SIGSTOP)
        try:
            for _ in range(SUPER_PACKETS):
                channel.sendmsg([bytes(SUPER_BYTES)], [(socket.IPPROTO_UDP, UDP_SEGMENT, size)])
        finally:
            os.kill(process, signal.SIGCONT)
    wait_until_blocked(line)


def wait_until_blocked(line: Line) -> None:
    """Wait until Penstock judges."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_blocked(line, line.site):
        assert time.monotonic() < end_s, "nobody judges"
        time.sleep(0.05)


# ---- process_late -----------------------------------------------------------------------------------------------------
def test_process_late(line: Line) -> None:
    """The packet process stands still: who fails open passes unread, who fails closed waits."""
    process, *_ = find_packet_processes(line.box.program.pid)
    with provoked(line, "process_late", "stale_open", "stale_closed"):
        os.kill(process, signal.SIGSTOP)
        try:
            time.sleep(0.3)
            assert not is_blocked(line, line.site)
            with line.connect(SHUT) as waits:
                waits.send(ask(GOOD))
                waits.channel.settimeout(1)
                with pytest.raises(TimeoutError):
                    waits.read()
                os.kill(process, signal.SIGCONT)
                waits.channel.settimeout(PATIENCE_S)
                assert isinstance(answer := waits.read(), Response)
                assert answer.status == 200
        finally:
            os.kill(process, signal.SIGCONT)
    wait_until_blocked(line)


# ---- gap and midstream ------------------------------------------------------------------------------------------------
@by_policy(("gap", "midstream"), "judge", "forward", "refuse")
def test_gap_and_midstream(line: Line, policy: str) -> None:
    """Connections that were open while the switch was off, and such as were opened then."""
    with ExitStack() as opened:
        older = [opened.enter_context(line.connect(HOME)) for _ in range(2)]
        assert [tell(one, GOOD) for one in older] == [200, 200]
        switch(line, "off")
        newer = [opened.enter_context(line.connect(HOME)) for _ in range(2)]
        assert [tell(one, GOOD) for one in newer] == [200, 200]
        switch(line, "on")
        for cause, (first, second) in (("gap", older), ("midstream", newer)):
            reason = {"judge": f"up_{cause}", "forward": f"{cause}_open", "refuse": f"{cause}_refused"}[policy]
            with provoked(line, cause, reason):
                good, bad = tell(first, GOOD), tell(second, BAD)
            assert good == (RESET if policy == "refuse" else 200), cause
            assert bad == (200 if policy == "forward" else RESET), cause


# ---- asymmetric -------------------------------------------------------------------------------------------------------
@pytest.fixture
def other_way(line: Line) -> Iterator[None]:
    """What the server sends to home takes another way, beside the box."""
    client, server = line.topology.names["client"], line.topology.names["server"]
    configure_links(None, [f"link add back0 netns {server} type veth peer name back1 netns {client}"])
    filters = {f"ipv4/conf/{name}/rp_filter": 0 for name in ("all", "back1")}
    line.topology.write_settings("client", filters)
    configure_links(client, ["link set back1 up"])
    configure_links(server, ["link set back0 up", f"route add {HOME.ipv4}/32 dev back0"])
    yield
    configure_links(server, ["link del back0"])


@by_policy(("asymmetric",), "judge", "forward", "refuse")
def test_asymmetric(line: Line, other_way: None, policy: str) -> None:
    """Only the client's direction comes by: judged once, then free."""
    reason = {"judge": "up_asymmetric", "forward": "asymmetric_open", "refuse": "asymmetric_refused"}[policy]
    with line.connect(HOME) as first, line.connect(HOME) as second:
        with provoked(line, "asymmetric", reason):
            good, bad = tell(first, GOOD), tell(second, BAD)
        assert good == (RESET if policy == "refuse" else 200)
        assert bad == {"judge": 403, "forward": 200, "refuse": RESET}[policy]
        if policy == "judge":
            before = read_metrics(line).reason("asymmetric")
            assert tell(first, GOOD) == 200
            assert read_metrics(line).reason("asymmetric") > before


# ---- reassembly_full --------------------------------------------------------------------------------------------------
@by_policy(("reassembly_full",), "drop", "forward", "refuse")
def test_reassembly_full(line: Line, nginx: Server, policy: str) -> None:
    """More unfinished requests than one subscriber may have."""
    begin, rest = ask(GOOD, "/", f"X-Large: {'x' * HEADER_BYTES}")[:-2], b"\r\n"
    reason = {"drop": "stream_full", "forward": "stream_full_open", "refuse": "stream_full_refused"}[policy]
    with ExitStack() as opened:
        talks = [opened.enter_context(line.connect(HOME, nginx.http_port)) for _ in range(UNFINISHED)]
        with provoked(line, "reassembly_full", reason):
            for talk in talks:
                talk.send(begin)
        for talk in talks:
            talk.send(rest)
            talk.channel.settimeout(PATIENCE_S)
        answers = [talk.read() for talk in talks]
    statuses = [one.status if isinstance(one, Response) else one for one in answers]
    if policy == "refuse":
        assert statuses.count(200) == LARGE_BLOCKS
        assert set(statuses) <= {200, RESET, CLOSED}  # closed: its reset was heard while the rest was sent
    else:
        assert set(statuses) == {200}, "nothing breaks"


# ---- over_budget ------------------------------------------------------------------------------------------------------
def test_over_budget(line: Line, nginx: Server) -> None:
    """More than a subscriber's budget: he waits, the others do not, and nothing breaks."""
    with ExitStack() as opened, provoked(line, "over_budget", "over_budget"):
        channels = [opened.enter_context(start_connecting(line, METERED, nginx)) for _ in range(METERED_REQUESTS)]
        begin_s = time.monotonic()
        with line.connect(HOME, nginx.http_port) as other:
            assert tell(other, GOOD) == 200
        assert time.monotonic() - begin_s < 0.9, "a SYN that was dropped is repeated after a second"
        assert not wait_until_connected(channels, PATIENCE_S)
        for channel in channels:
            channel.settimeout(PATIENCE_S)
            assert tell(Conversation(channel), GOOD) == 200


# ---- begin and end ----------------------------------------------------------------------------------------------------
def test_what_began_ends(line: Line) -> None:
    """When nothing more came for a while, the end is told, with all packets since the begin."""
    with provoked(line, "malformed", "malformed"):
        segment = IP(src=HOME.ipv4, dst=SERVER_IPV4) / TCP(sport=PORT, dport=80, dataofs=4)
        send_raw(line, [bytes(segment)])
    begun = [event["cause"] for event in line.events(event="exception", state="begin")]
    end_s = time.monotonic() + QUIET_S + PATIENCE_S
    while len(ended := line.events(event="exception", state="end")) < len(begun) and time.monotonic() < end_s:
        time.sleep(0.2)
    assert sorted(event["cause"] for event in ended) == sorted(begun)
    found = read_metrics(line)
    for cause in set(begun):
        assert not is_active(found, cause)
        assert sum(event["packets"] for event in ended if event["cause"] == cause) == count_packets(found, cause)


@pytest.mark.parametrize("how", ["kill", "stop", "take over"])
def test_what_began_ends_though_run_does_not_live_to_see_it(line: Line, how: str) -> None:
    def count(state: str) -> int:
        return sum(event["state"] == state for event in line.events(event="exception", cause="malformed"))

    wait_for(line, lambda found: not is_active(found, "malformed"), QUIET_S + PATIENCE_S)
    begun, segment = count("begin"), IP(src=HOME.ipv4, dst=SERVER_IPV4) / TCP(sport=PORT, dport=80, dataofs=4)
    assert count("end") == begun
    with provoked(line, "malformed", "malformed"):
        send_raw(line, [bytes(segment)])
    if how == "kill":
        kill(line)
        assert count("end") == begun, "nobody was there to tell it"
        line.restart()
        assert is_active(read_metrics(line), "malformed")
    elif how == "stop":
        line.topology.end(line.box.program)
        assert count("end") == begun + 1
        line.restart()
    else:
        line.box = start_box(line.topology, line.configuration, more=["--take-over"])
    end_s = time.monotonic() + QUIET_S + PATIENCE_S
    while count("end") == begun and time.monotonic() < end_s:
        time.sleep(0.2)
    assert (count("begin"), count("end")) == (begun + 1, begun + 1)
    assert not is_active(read_metrics(line), "malformed")


# ---- process_gone -----------------------------------------------------------------------------------------------------
def test_process_gone(line: Line) -> None:
    """Everything is killed; what passed unread is told by the one who comes next."""
    kill(line)
    time.sleep(0.3)
    assert not is_blocked(line, line.site)
    with line.connect(SHUT) as waits:
        waits.send(ask(GOOD))
        line.restart()
        waits.channel.settimeout(PATIENCE_S)
        assert isinstance(answer := waits.read(), Response)
        assert answer.status == 200
    wait_for_word(line, "process_gone")
    assert find_events(line, "process_gone", "begin")
    (end,) = find_events(line, "process_gone", "end")
    assert end["packets"] >= 2
    found = read_metrics(line)
    assert found.reason("stale_open") > 0
    assert found.reason("stale_closed") > 0
