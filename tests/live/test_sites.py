"""Allowed works, blocked is blocked for the one who switched it on, untouched for the one who did not."""

import pytest

from penstock.demo.box import BLOCKED, GOOD
from penstock.demo.demo import Ask, send_request
from penstock.demo.servers import Server, hosts_seen, read_log
from penstock.demo.topology import HOME, OFFICE, SERVER_IPV4, Subscriber
from penstock.demo.visits import ALERT
from tests.live.clients import Response, ask
from tests.live.line import BAD, Line, live

pytestmark = live("curl", "openssl", "nginx", "apache2", "node")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("who", [HOME, OFFICE], ids=lambda who: who.name)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", [GOOD, *BLOCKED.values()])
def test_each_site_for_each_subscriber(line: Line, host: str, scheme: str, who: Subscriber, family: int) -> None:
    wanted = Ask(host, scheme, who, family)
    assert send_request(line.topology, wanted, line.pair) == wanted.expected
    entry = {"kind": "request", "host": host, "scheme": scheme, "client": who.address(family)}
    reached = any(entry.items() <= found.items() for found in read_log(line.site))
    assert reached == (wanted.expected == "site")


def test_the_page_explains_and_its_reference_is_in_the_log(line: Line) -> None:
    with line.connect(HOME) as conversation:
        conversation.send(ask(BAD))
        page = conversation.read()
        assert isinstance(page, Response)
        assert page.is_page
        assert page.status == 403
        assert b"phishing" in page.body
        assert b"web-protection" in page.body
        assert "no-store" in page.headers["cache-control"]
    events = line.events(id=page.reference)
    assert len(events) == 1, line.box.events.read_text()
    told = {"host": BAD, "proto": "http", "action": "block", "subscriber": "home", "category": "phishing"}
    assert told.items() <= events[0].items()
    assert events[0]["src_ip"] == HOME.ipv4


def test_a_blocked_hello_gets_a_fatal_alert(line: Line) -> None:
    words = ["s_client", "-connect", f"{SERVER_IPV4}:443", "-servername", BAD, "-bind", HOME.ipv4]
    done = line.topology.run("client", ["openssl", *words])
    assert done.returncode != 0
    assert ALERT.search(done.stderr), done.stderr
    assert line.events(host=BAD, proto="tls", action="block", subscriber="home")


def test_an_allowed_handshake_completes_with_openssl(line: Line) -> None:
    words = ["s_client", "-connect", f"{SERVER_IPV4}:443", "-servername", GOOD, "-bind", HOME.ipv4, "-brief"]
    done = line.topology.run("client", ["openssl", *words, "-CAfile", str(line.pair.certificate)])
    assert done.returncode == 0, done.stderr
    assert "Verification: OK" in done.stderr


@pytest.mark.parametrize("name", ["CPython", "nginx", "Apache", "Node"])
def test_every_server_serves_the_allowed_and_never_the_blocked(
    line: Line, servers: dict[str, Server], name: str
) -> None:
    server = servers[name]
    for port, scheme in ((server.http_port, "http"), (server.https_port, "https")):
        allowed = line.curl(f"{scheme}://{GOOD}:{port}/", HOME, 4, "-w", "%{http_code}", "-o", "/dev/null")
        assert allowed.stdout == "200", allowed.stderr
        blocked = line.curl(f"{scheme}://{BAD}:{port}/", HOME, 4, "-w", "%{http_code}", "-o", "/dev/null")
        assert blocked.stdout == ("403" if scheme == "http" else "000")
    own = {entry["host"] for entry in read_log(server) if entry.get("client") != OFFICE.ipv4}
    assert GOOD in {host.partition(":")[0] for host in own if host}
    if name != "CPython":  # office has asked CPython's site for every name above
        assert BAD not in hosts_seen(server)
