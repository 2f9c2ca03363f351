"""Hooks in line: a real project decides on real requests; what it does to itself, its asker and everybody else.

Hosts below `asked.test` are asked about, home's and office's alike. What a hook does stands in the host's first label.
"""

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.servers import Certificate
from penstock.demo.topology import HOME, OFFICE, Subscriber, server_address
from tests.live.clients import RESET, Response, ask
from tests.live.line import BAD, Line, build_line, live
from tests.live.metrics import LISTEN, read_metrics
from tests.live.processes import PATIENCE_S, find_children

pytestmark = live("openssl", "curl", alone=True)

BUDGET_MS = 60
CODE = """
import time
from penstock.hooks import Verdict, on_request, on_verdict

@on_request(hosts=["asked.test", "{bad}"])
def decide(request):
    what = request.host.split(".")[0]
    if what == "refuse":
        return Verdict.block("phishing", "Not <today>, it is {version}.")
    if what == "lead":
        return Verdict.redirect("http://elsewhere.test" + (request.path or ""))
    if what == "sleep":
        time.sleep(10)
    if what == "raise":
        raise ValueError(request.path)
    if what == "eat":
        kept = [bytearray(1 << 24) for _ in range(1 << 10)]
    if what == "report":
        return Verdict.report("gambling")
    if request.host == "{bad}":
        return Verdict.allow()
    return None

@on_verdict(hosts="asked.test")
def hear(outcome):
    if outcome.hook:
        print("heard", outcome.hook, outcome.action, outcome.request.host)
"""


def write_project(here: Path, version: str) -> Path:
    project = here / "a_policy.py"
    partial = here / "a_policy.partial"
    partial.write_text(CODE.replace("{bad}", BAD).replace("{version}", version))
    partial.replace(project)
    return project


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    policy = {"project": str(write_project(here, "first")), "budget_ms": BUDGET_MS, "memory_mb": 128}
    with build_line(here, pair, policy=policy, metrics={"listen": LISTEN}) as found:
        await_hooks(found)
        yield found


def wait_for(what: str, is_there: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
    end_s = time.monotonic() + patience_s
    while not is_there():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


def await_hooks(line: Line) -> None:
    wait_for("the hooks are asked", lambda: is_refused(line))


def request(line: Line, host: str, who: Subscriber = HOME, path: str = "/") -> Any:
    with line.connect(who) as conversation:
        conversation.send(ask(host).replace(b"GET / ", f"GET {path} ".encode()))
        return conversation.read()


def is_refused(line: Line, who: Subscriber = HOME) -> bool:
    answer = request(line, "refuse.asked.test", who)
    return isinstance(answer, Response) and answer.is_page


def is_served(answer: Any) -> bool:
    return isinstance(answer, Response) and answer.status == 200


def test_a_hook_refuses_with_its_text(line: Line) -> None:
    answer = request(line, "refuse.asked.test")
    assert answer.is_page
    assert b"Not &#60;today&#62;, it is first." in answer.body
    (event,) = line.events(id=answer.reference)
    assert (event["hook"], event["action"], event["reason"], event["category"]) == (
        "decide", "block", "blocked", "phishing",
    )  # fmt: skip


def test_hooks_are_asked_about_who_switched_nothing_on(line: Line) -> None:
    assert is_refused(line, OFFICE)
    assert is_served(request(line, BAD, OFFICE))


def test_a_hook_leads_elsewhere(line: Line) -> None:
    answer = request(line, "lead.asked.test", path="/a?b=c")
    assert (answer.status, answer.headers["location"]) == (302, "http://elsewhere.test/a?b=c")


def test_a_hook_allows_what_a_list_refuses(line: Line) -> None:
    assert is_served(request(line, BAD))
    (event, *_) = line.events(host=BAD, hook="decide")
    assert event["action"] == "forward"


def test_a_hook_reports(line: Line) -> None:
    assert is_served(request(line, "report.asked.test"))
    assert line.events(host="report.asked.test", action="report", category="gambling", hook="decide")


def test_tls(line: Line) -> None:
    done = line.curl("https://refuse.asked.test/", HOME, 4, "-k")
    assert done.returncode == 35, done
    assert line.events(host="refuse.asked.test", proto="tls", hook="decide", answer="alert")
    assert line.curl("https://other.asked.test/", HOME, 4, "-k").returncode == 0


def test_requests_of_one_connection(line: Line) -> None:
    with line.connect(HOME) as conversation:
        for host in ("other.asked.test", "good.example.test", "raise.asked.test"):
            conversation.send(ask(host))
            assert is_served(conversation.read())
        conversation.send(ask("refuse.asked.test"))
        answer = conversation.read()
        assert answer == RESET or answer.is_page


def test_outcomes_are_told(line: Line) -> None:
    assert is_refused(line)
    wait_for("heard", lambda: "heard decide block refuse.asked.test" in line.box.output.read_text())


def test_a_project_that_changes(line: Line) -> None:
    write_project(line.here, "second")
    wait_for("the second version", lambda: b"it is second" in request(line, "refuse.asked.test", OFFICE).body)


@pytest.mark.parametrize("what", ["sleep", "raise", "eat", "other"])
def test_the_tables_decide_where_a_hook_does_not(line: Line, what: str) -> None:
    begin_s = time.monotonic()
    assert is_served(request(line, f"{what}.asked.test"))
    took_s = time.monotonic() - begin_s
    assert took_s < 3.0
    assert what != "sleep" or took_s > BUDGET_MS / 1000
    assert line.events(host=f"{what}.asked.test", action="forward")[0].get("hook") is None
    wait_for("the hook is asked again", lambda: is_refused(line, OFFICE))


def test_who_asks_beside_a_hook_that_hangs_does_not_notice(line: Line) -> None:
    """The same requests of office, for a host of no filter, with and without home's that hang: p99, as a ratio."""

    def take_times() -> list[float]:
        times = []
        for _ in range(150):
            begin_s = time.perf_counter()
            assert is_served(request(line, "good.example.test", OFFICE))
            times.append(time.perf_counter() - begin_s)
        return times

    alone = take_times()
    words = (
        "for n in 1 2 3 4 5 6 7 8 9 10; do curl -q -s -o /dev/null --max-time 5 --interface {who} --resolve "
        "sleep.asked.test:80:{server} http://sleep.asked.test/ & sleep 0.1; done; wait"
    )
    script = words.format(who=HOME.address(4), server=server_address(4))
    hanging = line.topology.spawn("client", ["sh", "-c", script])
    beside = take_times()
    hanging.wait(PATIENCE_S)
    p99 = [statistics.quantiles(times, n=100)[98] for times in (alone, beside)]
    print(f"p99 alone {p99[0] * 1000:.1f} ms, beside {p99[1] * 1000:.1f} ms")
    assert p99[1] < max(10 * p99[0], BUDGET_MS / 1000), p99


def find_process(line: Line, name: bytes) -> int:
    """A process that `run` started."""
    for process in find_children(line.box.program.pid):
        with suppress(OSError):
            if name in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0"):
                return process
    raise AssertionError(f"no {name!r}")


def test_the_hook_process_is_killed(line: Line) -> None:
    await_hooks(line)
    os.kill(find_process(line, b"penstock.control.hooks.process"), signal.SIGKILL)
    assert is_served(request(line, "refuse.asked.test", OFFICE)), "the tables decide"
    await_hooks(line)


def test_the_packet_process_is_killed(line: Line) -> None:
    await_hooks(line)
    os.kill(find_process(line, b"penstock.engine"), signal.SIGKILL)
    await_hooks(line)


def test_what_is_counted(line: Line) -> None:
    found = read_metrics(line)
    assert found["penstock_hook_requests_total"] > 0
    assert found["penstock_hook_unasked_total"] == 0
    assert found["penstock_packets_difference"] == 0
    assert found["penstock_packets_waiting"] == 0
