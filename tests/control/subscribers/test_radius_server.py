"""The RADIUS server on a real socket, asked by FreeRADIUS's own client."""

import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.control.subscribers.model import Assign, Event, Release, Restart
from penstock.control.subscribers.radius import Decoder
from penstock.control.subscribers.radius_server import ListenError, RadiusServer
from tests.control.subscribers.radius import SECRET, Clock, address, build_decoder, build_request, prefix

WAIT_S = 20.0
radclient = pytest.mark.skipif(shutil.which("radclient") is None, reason="needs radclient of freeradius-utils")


@dataclass
class Asked:
    """What came of one call of radclient: its exit status and words, and the events that reached the register."""

    status: int
    said: str
    events: list[Event]


class Ground:
    """A server on loopback, and clients of it."""

    def __init__(self, server: RadiusServer, clock: Clock) -> None:
        self.server, self.clock = server, clock
        self.port = server.addresses[0][1]

    def serve(self, writes_down: bool = True) -> list[Event]:
        """Take what is there; answer it, or say that it could not be written down."""
        events: list[Event] = []
        for received in self.server.read(1000):
            events += received.events
            (self.server.answer if writes_down else self.server.give_up)(received)
        return events

    def serve_until(self, counter: str, count: int) -> list[Event]:
        """Serve until the counter has that value."""
        events: list[Event] = []
        end_s = time.monotonic() + WAIT_S
        while self.server.counters[counter] < count:
            assert time.monotonic() < end_s, self.server.counters
            select.select(self.server.fds, [], [], 0.1)
            events += self.serve()
        return events

    def ask(
        self,
        attributes: str,
        secret: str = SECRET.decode(),
        kind: str = "acct",
        host: str = "127.0.0.1",
        patience_s: int = 10,
    ) -> Asked:
        """Run radclient, which tries once, while the server serves."""
        argv = ["radclient", "-x", "-r", "1", "-t", str(patience_s), f"{host}:{self.port}", kind, secret]
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(attributes + "\n")
            process.stdin.close()
            events: list[Event] = []
            end_s = time.monotonic() + WAIT_S
            while process.poll() is None:
                assert time.monotonic() < end_s
                select.select(self.server.fds, [], [], 0.05)
                events += self.serve()
            return Asked(process.returncode, process.stdout.read(), events)

    def count(self) -> dict[str, int]:
        """The counters that are not 0."""
        return {name: count for name, count in self.server.counters.items() if count}


@contextmanager
def listen(decoder: Decoder, host: str = "127.0.0.1") -> Iterator[Ground]:
    clock = Clock()
    server = RadiusServer(decoder, [(host, 0)], clock)
    try:
        yield Ground(server, clock)
    finally:
        server.close()


@pytest.fixture
def ground() -> Iterator[Ground]:
    with listen(build_decoder()) as found:
        yield found


BASE = "Acct-Session-Id=0001\nNAS-IP-Address=192.0.2.1\nCalling-Station-Id=34600111222\nUser-Name=alice\n"
START = BASE + "Acct-Status-Type=Start\nFramed-IP-Address=10.1.2.3\n"


@radclient
def test_start_interim_and_stop(ground: Ground) -> None:
    start = ground.ask(START)
    assert start.status == 0, start.said
    assert "Received Accounting-Response" in start.said
    (assign,) = start.events
    assert isinstance(assign, Assign)
    assert (assign.session, assign.subscriber, assign.nas) == ("192.0.2.1 0001", "34600111222", "192.0.2.1")
    assert assign.places == (address("10.1.2.3"),)
    interim = ground.ask(BASE + "Acct-Status-Type=Interim-Update\n")
    (again,) = interim.events
    assert isinstance(again, Assign)
    assert (again.places, again.adds) == ((), True)
    stop = ground.ask(BASE + "Acct-Status-Type=Stop\n")
    (release,) = stop.events
    assert isinstance(release, Release)
    assert (release.session, release.places) == (assign.session, ())
    assert ground.count() == {"start": 1, "interim": 1, "stop": 1}


@radclient
def test_ipv6_and_attributes_of_vendors(ground: Ground) -> None:
    asked = ground.ask(
        START
        + "Framed-IPv6-Prefix=2001:db8:1::/64\n"
        + "Delegated-IPv6-Prefix=2001:db8:2::/56\nDelegated-IPv6-Prefix=2001:db8:3::/48\n"
        + 'Alc-Nat-Port-Range="203.0.113.1 1024-2047 router base"\n'
        + "Huawei-NAT-Public-Address=203.0.113.2\nHuawei-NAT-Start-Port=2048\nHuawei-NAT-End-Port=2559\n"
    )
    assert asked.status == 0, asked.said
    (assign,) = asked.events
    assert isinstance(assign, Assign)
    assert set(assign.places) == {
        address("10.1.2.3"),
        prefix("2001:db8:1::/64"),
        prefix("2001:db8:2::/56"),
        prefix("2001:db8:3::/48"),
        address("203.0.113.1", 1024, 6),
        address("203.0.113.2", 2048, 7),
    }


@radclient
def test_a_nas_that_begins_anew(ground: Ground) -> None:
    for status in ("Accounting-On", "Accounting-Off"):
        asked = ground.ask(f"Acct-Status-Type={status}\nNAS-IP-Address=192.0.2.1\n")
        assert asked.status == 0, asked.said
        assert [type(event) for event in asked.events] == [Restart]
    assert ground.count() == {"nas_on": 1, "nas_off": 1}


@radclient
def test_a_wrong_secret_is_thrown_away(ground: Ground) -> None:
    asked = ground.ask(START, secret="another one", patience_s=1)
    assert asked.status == 1
    assert "No reply from server" in asked.said
    assert asked.events == []
    assert ground.count() == {"wrong_secret": 1}


@radclient
def test_another_address_is_thrown_away() -> None:
    with listen(build_decoder(clients=[{"prefix": "127.0.0.9", "secret": SECRET.decode()}])) as ground:
        assert ground.ask(START, patience_s=1).status == 1
        assert ground.count() == {"unknown_client": 1}


@radclient
def test_a_status_server_is_answered_with_a_signature_that_freeradius_takes(ground: Ground) -> None:
    asked = ground.ask("Message-Authenticator=0x00\n", kind="status")
    assert asked.status == 0, asked.said
    assert "Message-Authenticator" in asked.said.partition("Received")[2]
    assert ground.count() == {"status_server": 1}


@radclient
def test_a_signed_request_gets_a_signed_reply_with_its_proxy_states(ground: Ground) -> None:
    asked = ground.ask(START + "Message-Authenticator=0x00\nProxy-State=0x0102\nProxy-State=0x03\n")
    assert asked.status == 0, asked.said
    reply = asked.said.partition("Received")[2]
    assert [line.strip() for line in reply.splitlines() if "Proxy-State" in line] == [
        "Proxy-State = 0x0102",
        "Proxy-State = 0x03",
    ]
    assert "Message-Authenticator" in reply


@radclient
def test_unsigned_requests_where_a_signature_is_wanted() -> None:
    client = {"prefix": "127.0.0.1", "secret": SECRET.decode(), "require_message_authenticator": True}
    with listen(build_decoder(clients=[client])) as ground:
        assert ground.ask(START, patience_s=1).status == 1
        assert ground.ask(START + "Message-Authenticator=0x00\n").status == 0
        assert ground.count() == {"unsigned": 1, "start": 1}


@radclient
def test_over_ipv6() -> None:
    with listen(build_decoder(clients=[{"prefix": "::1", "secret": SECRET.decode()}]), "::1") as ground:
        asked = ground.ask(START, host="[::1]")
        assert asked.status == 0, asked.said


def talk(ground: Ground) -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(WAIT_S)
    client.bind(("127.0.0.1", 0))
    client.connect(("127.0.0.1", ground.port))
    return client


def test_a_repeated_request_is_applied_once_and_gets_the_same_reply(ground: Ground) -> None:
    request = build_request({"Acct-Status-Type": 1, "Framed-IP-Address": "10.1.2.3"})
    with talk(ground) as client, talk(ground) as other:
        client.send(request)
        events = ground.serve_until("start", 1)
        reply = client.recv(4096)
        client.send(request)
        events += ground.serve_until("duplicate", 1)
        assert client.recv(4096) == reply
        assert len(events) == 1
        other.send(request)  # another port: another request
        assert len(ground.serve_until("start", 2)) == 1


def test_what_says_nothing_is_answered_at_once(ground: Ground) -> None:
    with talk(ground) as client:
        client.send(build_request({"Acct-Status-Type": 1}))
        select.select(ground.server.fds, [], [], WAIT_S)
        assert ground.server.read(10) == []
        assert client.recv(4096)[0] == 5
    assert ground.count() == {"no_place": 1}


def test_a_repetition_waits_for_the_commit(ground: Ground) -> None:
    request = build_request({"Acct-Status-Type": 1, "Framed-IP-Address": "10.1.2.3"})
    with talk(ground) as client:
        client.send(request)
        client.send(request)
        end_s = time.monotonic() + WAIT_S
        received = []
        while ground.server.counters["duplicate"] < 1:
            assert time.monotonic() < end_s
            received += ground.server.read(10)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(4096)
        client.settimeout(WAIT_S)
        assert len(received) == 1
        ground.server.answer(received[0])
        assert client.recv(4096)[0] == 5


def test_what_could_not_be_written_down_is_taken_again(ground: Ground) -> None:
    request = build_request({"Acct-Status-Type": 1, "Framed-IP-Address": "10.1.2.3"})
    with talk(ground) as client:
        client.send(request)
        select.select(ground.server.fds, [], [], WAIT_S)
        assert len(ground.serve(writes_down=False)) == 1
        client.send(request)
        assert len(ground.serve_until("start", 2)) == 1
        assert client.recv(4096)[0] == 5


def test_a_request_is_forgotten_after_a_while(ground: Ground) -> None:
    request = build_request({"Acct-Status-Type": 1, "Framed-IP-Address": "10.1.2.3"})
    with talk(ground) as client:
        client.send(request)
        ground.serve_until("start", 1)
        ground.clock.now_s += 31
        client.send(request)
        ground.serve_until("start", 2)
        ground.clock.now_s -= 1000  # set back
        client.send(request)
        ground.serve_until("start", 3)


def test_damaged_packets_are_counted_and_get_no_reply(ground: Ground) -> None:
    request = build_request({"Acct-Status-Type": 1, "Framed-IP-Address": "10.1.2.3"})
    with talk(ground) as client:
        for raw in (b"", request[:19], request[:30], request[:2] + b"\xff\xff" + request[4:], bytes(5000)):
            client.send(raw)
        ground.serve_until("malformed", 5)
        client.send(b"\x01" + request[1:])
        ground.serve_until("unread_code", 1)
        client.send(request)
        ground.serve_until("start", 1)
        assert client.recv(4096)[1] == request[1]


def test_packets_that_the_kernel_had_no_room_for_are_counted(ground: Ground) -> None:
    for fd in ground.server.fds:
        with socket.socket(fileno=fd) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            same.detach()
    with talk(ground) as client:
        for _ in range(200):
            client.send(bytes(1000))
        ground.serve()
        ground.serve()
    assert 0 < ground.server.counters["lost"] < 200
    assert (
        ground.server.counters["lost"] + ground.server.counters["malformed"] + ground.server.counters["unread_code"]
        == 200
    )


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(ListenError, match=r"radius\.listen: cannot listen on 192\.0\.2\.77:1813: Cannot assign"):
        RadiusServer(build_decoder(), [("192.0.2.77", 1813)], Clock())


def test_memory_for_repetitions_is_bounded(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.control.subscribers.radius_server.REMEMBERED", 4)
    with talk(ground) as client:
        requests = [build_request({"Acct-Status-Type": 1, "Framed-IP-Address": f"10.1.2.{n}"}) for n in range(5)]
        for number, request in enumerate(requests):
            client.send(request)
            ground.serve_until("start", number + 1)
        client.send(requests[4])
        ground.serve_until("duplicate", 1)
        client.send(requests[0])
        ground.serve_until("start", 6)


def test_a_secret_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o600)
    with (
        listen(build_decoder(clients=[{"prefix": "127.0.0.1", "secret_file": str(path)}])) as ground,
        talk(ground) as client,
    ):
        client.send(build_request({"Acct-Status-Type": 1, "Framed-IP-Address": "10.1.2.3"}))
        ground.serve_until("start", 1)
