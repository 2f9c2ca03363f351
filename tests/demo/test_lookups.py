"""What the demo's DNS client makes of answers, and the resolver that it asks."""

import subprocess
import time
from pathlib import Path
from shutil import which
from socket import AF_INET, SOCK_DGRAM, socket

import dns.edns
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from penstock.demo.lookups import ask, read_answer
from penstock.demo.resolver import Resolver, build_configuration, copy_unbound


def answer(name: str, *records: str, code: int = 0, error: dns.edns.EDEOption | None = None) -> dns.message.Message:
    told = dns.message.make_response(dns.message.make_query(name, "A", use_edns=0))
    for record in records:
        owner, kind, text = record.split()
        told.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, text))
    told.set_rcode(code)  # type: ignore[arg-type]
    told.use_edns(0, options=[error] if error else [])
    return dns.message.from_wire(told.to_wire())


def test_answers_in_words() -> None:
    found = read_answer(answer("a.test", "a.test. A 192.0.2.1"))
    assert found == {"got": "192.0.2.1", "alias": "", "error": ""}
    found = read_answer(answer("a.test", "a.test. CNAME b.test.", "b.test. A 192.0.2.2"))
    assert found == {"got": "192.0.2.2", "alias": "b.test", "error": ""}
    assert read_answer(answer("a.test"))["got"] == "nothing"
    error = dns.edns.EDEOption(dns.edns.EDECode.BLOCKED, "because")
    found = read_answer(answer("a.test", code=dns.rcode.NXDOMAIN, error=error))
    assert found == {"got": "NXDOMAIN", "alias": "", "error": "Blocked (15): because"}


def test_silence_is_told() -> None:
    with socket(AF_INET, SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert ask("a.test", "A", "TCP", "127.0.0.2", "127.0.0.1")["got"]


@pytest.mark.skipif(which("unbound") is None, reason="not installed: unbound")
def test_the_resolver_knows_its_names_alone_and_logs_who_asked(tmp_path: Path) -> None:
    with socket(AF_INET, SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    content = build_configuration(tmp_path, [f"127.0.0.1@{port}"], {"a.test": ["192.0.2.1", "2001:db8::1"]})
    (tmp_path / "conf").write_text(content)
    log = tmp_path / "log"
    with log.open("w") as sink:
        program = subprocess.Popen([copy_unbound(tmp_path), "-d", "-c", tmp_path / "conf"], stdout=sink, stderr=sink)
    try:
        end_s = time.monotonic() + 10
        while "start of service" not in log.read_text():
            assert program.poll() is None, log.read_text()
            assert time.monotonic() < end_s
            time.sleep(0.02)
        told = {
            (name, kind): dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", 5, port)
            for name, kind in (("A.test", "A"), ("a.test", "AAAA"), ("b.test", "A"))
        }
    finally:
        program.terminate()
        program.wait()
    assert [read_answer(one)["got"] for one in told.values()] == ["192.0.2.1", "2001:db8::1", "NXDOMAIN"]
    assert Resolver(log).read_asked() == {("127.0.0.1", "a.test"), ("127.0.0.1", "b.test")}
