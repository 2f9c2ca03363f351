"""What a subscriber chooses is in force for his next request: services, names, schedules, devices; and open TLS follows."""

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.control.subscribers.choices import DAYS
from penstock.demo.box import GOOD, run_penstock
from penstock.demo.servers import Certificate
from penstock.demo.topology import HOME, OFFICE, SERVER_IPV4, Subscriber
from tests.live.clients import connect
from tests.live.line import Line, build_line, live
from tests.live.register import tell
from tests.live.servers import start_nginx

pytestmark = live("curl", "openssl", "nginx")

HTTP, HTTPS = 81, 444
FORCE_S = 1.0  # what is asked: in force for the next request within a second
CASINO, OTHER, BAD = "casino.example.test", "other.example.test", "bad.example.test"
DEVICE = Subscriber("home/tablet", OFFICE.ipv4, OFFICE.ipv6)


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    subscribers = [
        {"id": one.name, "prefixes": [f"{one.ipv4}/32"], "profile": "protected"} for one in (HOME,)
    ]  # the tablet is known by a call
    profiles = {"protected": {"services": ["web-protection"]}, "everything": {"services": ["web-protection"]}}
    with build_line(here, pair, subscribers=subscribers, profiles=profiles) as found:
        found.servers["nginx"] = start_nginx(found.topology, here, pair, http=HTTP, https=HTTPS)
        told = tell(found, "set", subscriber=DEVICE.name, addresses=[DEVICE.ipv4])
        assert told["say"] == "done"
        yield found


@pytest.fixture(autouse=True)
def nothing_is_chosen(line: Line) -> None:
    for one in (HOME, DEVICE):
        command(line, "choices", one.name, "--file", "-", typed="{}")


def command(line: Line, *words: str, typed: str | None = None) -> str:
    """`penstock subscribers`, as an operator types it."""
    file = line.here / "typed.json"
    if typed is not None:
        file.write_text(typed)
        words = tuple(str(file) if word == "-" else word for word in words)
    done = run_penstock(line.topology, ["subscribers", *words])
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def ask(line: Line, host: str, who: Subscriber = HOME, scheme: str = "http") -> str:
    """The HTTP status of nginx, or of Penstock's page; 000 without one."""
    port = HTTP if scheme == "http" else HTTPS
    words = ("-k", "-o", "/dev/null", "-w", "%{http_code}")
    return str(line.curl(f"{scheme}://{host}:{port}/", who, 4, *words).stdout)


def wait_until(holds: Callable[[], bool], patience_s: float) -> float:
    """The seconds until it holds."""
    begin_s = time.monotonic()
    while not holds():
        assert time.monotonic() - begin_s < patience_s
        time.sleep(0.02)
    return time.monotonic() - begin_s


def test_a_service_off_and_on(line: Line) -> None:
    assert (ask(line, CASINO), ask(line, BAD)) == ("200", "403")
    command(line, "set", "home", "--service", "parental-control=on", "--service", "web-protection=off")
    assert (ask(line, CASINO), ask(line, BAD)) == ("403", "200")
    assert ask(line, CASINO, HOME, "https") == "000"
    (event,) = line.events(host=CASINO, subscriber="home", action="block", proto="http")[:1]
    assert event["service"] == "parental-control"
    command(line, "set", "home", "--service", "parental-control=off", "--service", "web-protection=profile")
    assert (ask(line, CASINO), ask(line, BAD)) == ("200", "403")


def test_names_of_his_own(line: Line) -> None:
    command(line, "set", "home", "--allow", BAD, "--deny", "example.test", "--deny", "Büro.test")
    assert [ask(line, host) for host in (f"www.{BAD}", BAD, GOOD, "xn--bro-hoa.test", "free.test")] == [
        "200",
        "200",
        "403",
        "403",
        "200",
    ]
    assert ask(line, GOOD, HOME, "https") == "000"
    (event,) = line.events(host=GOOD, subscriber="home", action="block", proto="http")[:1]
    assert (event["reason"], event.get("category")) == ("own_list", None)
    done = run_penstock(line.topology, ["explain", GOOD, "--subscriber", "home", "--config", line.configuration])
    assert "example.test is on the subscriber's own list: it is denied" in " ".join(done.stdout.split())
    chosen = json.loads(command(line, "choices", "home"))
    assert chosen == {"allow": [BAD], "deny": ["example.test", "xn--bro-hoa.test"]}
    command(line, "set", "home", "--no-allow", BAD, "--no-deny", "example.test")
    assert (ask(line, BAD), ask(line, GOOD)) == ("403", "200")


def is_ended(talk: ssl.SSLSocket, request: bytes) -> bool:
    try:
        talk.sendall(request)
        return not talk.recv(4096)
    except (ConnectionResetError, ssl.SSLEOFError):
        return True


def test_an_open_tls_connection_of_a_denied_name_ends(line: Line) -> None:
    context = ssl.create_default_context(cafile=str(line.pair.certificate))
    with ExitStack() as stack:
        talks = []
        for who in (HOME, DEVICE):
            channel = stack.enter_context(connect(line.topology, who, HTTPS)).channel
            talks.append(stack.enter_context(context.wrap_socket(channel, server_hostname=OTHER)))
        request = f"GET / HTTP/1.1\r\nHost: {OTHER}\r\n\r\n".encode()
        for talk in talks * 2:
            talk.sendall(request)
            assert b"200 OK" in talk.recv(4096)
        tell(line, "set", subscriber="home/tablet", choices={"allow": [OTHER]})
        command(line, "set", "home", "--deny", OTHER)
        time.sleep(FORCE_S)
        assert is_ended(talks[0], request)
        assert ask(line, OTHER, HOME, "https") == "000"
        assert ask(line, OTHER, DEVICE, "https") == "200", "his device has a word of its own"
        talks[1].sendall(request)
        assert b"200 OK" in talks[1].recv(4096), "and its connection goes on"


def test_a_schedule_begins_and_ends(line: Line) -> None:
    """Its minute is the present one: it ends with it, and begins with the next."""
    if datetime.now(UTC).second > 45:
        time.sleep(60 - time.time() % 60)
    now = datetime.now(UTC)
    begin, end = f"{now + timedelta(minutes=1):%H:%M}", f"{now + timedelta(minutes=2):%H:%M}"
    # The same moments, as clocks in Kathmandu show them (5:45 ahead of UTC).
    ahead = timedelta(hours=5, minutes=45)
    homework = {"name": "homework", "days": list(DAYS), "begin": begin, "end": end, "services": ["parental-control"]}
    evening = homework | {"name": "evening", "pause": True, "services": []}
    evening |= {
        "begin": f"{now + ahead - timedelta(minutes=9):%H:%M}",
        "end": f"{now + ahead + timedelta(minutes=1):%H:%M}",
    }
    command(line, "choices", "home", "--file", "-", typed=json.dumps({"schedules": [homework]}))
    typed = json.dumps({"schedules": [evening], "zone": "Asia/Kathmandu"})
    command(line, "choices", "home/tablet", "--file", "-", typed=typed)
    assert (ask(line, CASINO), ask(line, GOOD, DEVICE)) == ("200", "000")
    shown = " ".join(command(line, "show", "home/tablet").split())
    assert "evening (now)" in shown
    assert "by a schedule" in shown
    assert "device of" in shown
    turn_s = 60 - time.time() % 60
    time.sleep(max(turn_s - 0.5, 0))
    late = wait_until(lambda: ask(line, CASINO) == "403" and ask(line, GOOD, DEVICE) == "200", 10)
    print(f"both turned {late - 0.5:.2f} s behind the minute")
    assert ask(line, CASINO, DEVICE) == "403", "what holds for him holds for his device"
    told: dict[str, Any] = tell(line, "choices", subscriber="home")["effective"]
    assert told["schedules"] == ["homework"]
    assert told["services"] == ["parental-control", "web-protection"]
    assert 0 < told["next_change_s"] - time.time() < 60


def test_a_device_of_his(line: Line) -> None:
    assert ask(line, BAD, DEVICE) == "403", "by his profile"
    command(line, "set", "home", "--deny", CASINO, "--service", "ad-blocking=on")
    command(line, "set", "home/tablet", "--service", "web-protection=off", "--allow", CASINO)
    assert (ask(line, CASINO), ask(line, CASINO, DEVICE)) == ("403", "200")
    assert (ask(line, BAD), ask(line, BAD, DEVICE)) == ("403", "200")
    command(line, "set", "home", "--pause", "10m")
    wait_until(lambda: ask(line, GOOD, DEVICE) == "000", 2 * FORCE_S)
    command(line, "set", "home", "--pause", "off")
    wait_until(lambda: ask(line, GOOD, DEVICE) == "200", 2 * FORCE_S)


def test_they_outlive_a_restart(line: Line) -> None:
    command(line, "set", "home", "--deny", GOOD, "--service", "parental-control=on")
    line.box.program.terminate()
    line.box.program.wait(60)
    line.restart()
    assert (ask(line, GOOD), ask(line, CASINO), ask(line, GOOD, DEVICE)) == ("403", "403", "403")


def test_what_cannot_be_is_said(line: Line) -> None:
    done = run_penstock(line.topology, ["subscribers", "set", "home", "--service", "parental-controll=on"])
    assert done.returncode != 0
    assert "did you mean `parental-control`?" in " ".join(done.stderr.split())
    done = run_penstock(line.topology, ["subscribers", "set", "home", "--deny", "http://x.test/"])
    assert "expected a name" in " ".join(done.stderr.split())
    assert SERVER_IPV4 not in done.stderr
