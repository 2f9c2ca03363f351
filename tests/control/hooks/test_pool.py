"""The pool: one answer for each ask, new code without a gap, what is told behind the requests."""

import time
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from penstock.control.hooks.lane import ENDS
from penstock.control.hooks.sources import Sources
from penstock.hooks import Outcome, Subscriber, Verdict
from tests.control.hooks.driving import Driver, drive, drive_code, make_request

BY_VERSION = """
from penstock.hooks import Verdict, on_request

@on_request(hosts="slow.example")
def wait(request):
    import time; time.sleep(0.3); return Verdict.block("v{0}")

@on_request(hosts="example")
def answer(request):
    return Verdict.block("v{0}")
"""


ANSWER = """
from penstock.hooks import Verdict, on_request
@on_request()
def f(request):
    {0}
    return Verdict.allow()
"""


def reload(driver: Driver, code: str) -> None:
    """Load other code, as the hook process does when a file changed."""
    path = driver.pool.settings.project
    assert path is not None
    path.write_text(code)
    driver.pool.take_sources(Sources.read(path))


def test_new_code_takes_over_without_a_gap(tmp_path: Path) -> None:
    with drive_code(tmp_path, BY_VERSION.format(1)) as driver:
        slow = driver.ask(make_request("slow.example", subscriber="patient"))
        reload(driver, BY_VERSION.format(2))
        seen: list[str | None] = []
        while seen[-1:] != ["v2"]:
            verdict = driver.answer(make_request("a.example"))
            assert verdict is not None
            seen.append(verdict.category)
        assert driver.pool.read_state()["workers"] == 3  # all of them had loaded it
        assert set(seen) == {"v1", "v2"}
        assert seen == sorted(seen, key=str)
        driver.wait(lambda: slow in driver.answers)
        assert driver.answers[slow] == Verdict.block("v1")  # it began with it
        assert driver.pool.generation == 2
        driver.wait(lambda: driver.pool.is_ready and len(driver.pool._crews()) == 1)
        assert driver.pool.counts.ends["late"] == driver.pool.counts.ends["died"] == 0


BROKEN = {
    "syntax": ("def f(:\n", "example_policy.py:1: SyntaxError"),
    "import": ("\n\nimport no_such_module\n", "example_policy.py:3: ModuleNotFoundError"),
    "filter": (
        "from penstock.hooks import on_request\n@on_request(ports=0)\ndef f(r): pass\n",
        "example_policy.py:2: FilterError: ports",
    ),
    "no hooks": ("x = 1\n", "expected a hook at least"),
    "exit": ("import os\nos._exit(3)\n", "it ended while it loaded"),
    "sys.exit": ("import sys\nsys.exit()\n", "example_policy.py:2: SystemExit"),
    "too much": (
        "from penstock.hooks import on_request\n"
        "@on_request(hosts=[f'{n}.example' for n in range(50_000)])\ndef f(r): pass\n",
        "too much is declared",
    ),
    "memory": ("x = [bytes(1 << 20) for _ in range(10_000)]\n", "example_policy.py:1: MemoryError"),
    "other hooks each time": (
        "import os\nfrom penstock.hooks import on_request\n@on_request(ports=os.getpid() % 60_000 + 1)\ndef f(r): pass\n",
        "it declares other hooks each time",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "error"), BROKEN.values(), ids=BROKEN)
def test_code_that_cannot_be_loaded_changes_nothing(tmp_path: Path, code: str, error: str) -> None:
    with drive_code(tmp_path, BY_VERSION.format(1)) as driver:
        reload(driver, code)
        kept = "the policy was not reloaded: what was in force stays"
        driver.wait(lambda: bool(driver.events(kept)))
        assert error in driver.events(kept)[0]["error"]
        assert driver.answer(make_request("a.example")) == Verdict.block("v1")
        assert driver.pool.generation == 1
        reload(driver, BY_VERSION.format(3))
        driver.wait(lambda: driver.pool.generation == 2)
        assert driver.answer(make_request("a.example")) == Verdict.block("v3")


def test_what_is_asked_before_it_is_loaded_waits_for_it(tmp_path: Path) -> None:
    project = tmp_path / "example_policy.py"
    project.write_text(BY_VERSION.format(1))
    with drive(project, budget_ms=1000, workers=1) as driver:
        asked = [driver.ask(make_request(host)) for host in ("a.example", "example.org")]
        driver.wait(lambda: not driver.pool.is_busy)
        ends = {driver.answers[identity] for identity in asked}
        assert ends <= {Verdict.block("v1"), None}
        assert driver.pool.counts.ends["late"] + driver.pool.counts.ends["answered"] >= 1


def test_a_project_that_never_loads_keeps_nobody_waiting(tmp_path: Path) -> None:
    project = tmp_path / "example_policy.py"
    project.write_text("raise ValueError('not today')\n")
    with drive(project, budget_ms=50) as driver:
        driver.wait(lambda: driver.pool.failure is not None)
        assert "example_policy.py:1: ValueError: not today" in str(driver.pool.failure)
        assert driver.answer(make_request("a.example")) is None
        starts = driver.said.count
        end_s = time.monotonic() + 1.0
        driver.wait(lambda: time.monotonic() > end_s)
        assert len(driver.events("the policy cannot be loaded")) < 20  # later and later
        assert starts


def test_the_first_hook_with_an_opinion_decides(tmp_path: Path) -> None:
    code = """
from penstock.hooks import Verdict, on_request
@on_request(ports=80)
def none(request): pass
@on_request(protocols="tls")
def other(request): return Verdict.report()
@on_request()
def failing(request): raise ValueError
@on_request(hosts="a.example")
def first(request): return Verdict.allow()
@on_request()
def second(request): return Verdict.block()
"""
    with drive_code(tmp_path, code) as driver:
        asked = [driver.ask(make_request("www.a.example")), driver.ask(make_request("b.example"))]
        asked.append(driver.ask(make_request("a.example", protocol="tls", port=443)))
        driver.wait(lambda: not driver.pool.is_busy)
        actions = [getattr(driver.answers[identity], "action", None) for identity in asked]
        assert actions == ["allow", "block", "report"]
        assert [driver.deciders[identity] for identity in asked] == [(3, "first"), (4, "second"), (1, "other")]
        assert driver.pool.counts.failed == {"failing": 2}


def test_what_no_hook_wants_costs_nothing(tmp_path: Path) -> None:
    with drive_code(tmp_path) as driver:
        identity = driver.ask(make_request("elsewhere.example"))
        assert driver.pool.answers(time.monotonic()) == [(identity, None)]
        assert driver.pool.counts.ends["unasked"] == 1


def test_a_backlog_ends_in_time(tmp_path: Path) -> None:
    """More than can be answered: each ends once, none waits for longer than the budget, and those that fit are answered."""
    code = ANSWER.format("__import__('time').sleep(0.02)")
    with drive_code(tmp_path, code, budget_ms=300) as driver:
        asked = [driver.ask(make_request("a.example", subscriber=f"{n % 7}")) for n in range(5000)]
        driver.wait(lambda: not driver.pool.is_busy)
        assert sorted(driver.answers) == asked
        assert max(driver.took_s.values()) < 1.0
        counts = driver.pool.counts
        assert counts.ends["answered"] >= 5
        assert counts.asked == 5000 == sum(counts.ends[end] for end in ENDS)
        assert counts.replaced.total() == 0


def test_outcomes_are_told_behind_the_requests(tmp_path: Path) -> None:
    with drive_code(tmp_path, workers=1) as driver:
        now_s = time.monotonic()
        code = "print(outcome.action, outcome.hook, outcome.request.host)"
        driver.pool.tell(Outcome(make_request("told.example", code), "block", "blocked", hook="behave"), now_s)
        driver.pool.tell(Outcome(make_request("elsewhere.example", "raise ValueError"), "block", "blocked"), now_s)
        driver.wait(lambda: not driver.pool.is_busy)
        assert [fields["text"] for fields in driver.events("printed by the policy")] == ["block behave told.example\n"]
        driver.pool.tell(Outcome(make_request("told.example", "time.sleep(60)"), "block", "blocked"), now_s)
        assert driver.answer(make_request("behaves.example")) == Verdict.block("good", "behaves.example")
        driver.pool.tell(
            Outcome(make_request("told.example", "raise ValueError('x')"), "block", "blocked"), time.monotonic()
        )
        driver.wait(lambda: not driver.pool.is_busy)
        assert driver.pool.counts.untold == 2  # the one that slept, and the one behind it, which waited too long
        assert driver.pool.counts.replaced["late"] == 1


def test_subscribers_get_the_profile_that_a_hook_chooses(tmp_path: Path) -> None:
    with drive_code(tmp_path) as driver:
        for name in ("pupil", "teacher", "wrong"):
            driver.pool.introduce(Subscriber(name, "guests", ("10.0.0.1",)), time.monotonic())
        driver.wait(lambda: not driver.pool.is_busy)
        assert driver.pool.profiles() == [("pupil", "pupils")]
        [told] = driver.events("a hook failed")
        assert told["error"] == "ValueError: expected the name of a profile, not 3"


def test_a_package_with_data_and_its_own_modules(tmp_path: Path) -> None:
    package = tmp_path / "school"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import hooks\n")
    (package / "hooks.py").write_text(
        "import pkgutil\nfrom penstock.hooks import Verdict, on_request\nfrom school.deep.words import word\n"
        "names = pkgutil.get_data(__package__, 'names.txt').decode().split()\n"
        "@on_request()\ndef f(request): return Verdict.block(word) if request.host in names else None\n"
    )
    (package / "deep" / "__init__.py").write_text("")
    (package / "deep" / "words.py").write_text("word = 'listed'\n")
    (package / "names.txt").write_text("a.example\n")
    package.chmod(0o700)  # nobody cannot open it
    with drive(package) as driver:
        driver.wait(lambda: driver.pool.is_ready)
        assert driver.answer(make_request("a.example")) == Verdict.block("listed")
        assert driver.answer(make_request("b.example")) is None
        assert driver.pool.declarations[0].place == f"{package}/hooks.py:5"


def test_everything_of_a_request_arrives(tmp_path: Path) -> None:
    code = """
from penstock.hooks import Verdict, on_request
@on_request()
def f(request):
    return Verdict.block(text=repr(request))
"""
    full: dict[str, Any] = {"protocol": "quic", "port": 8443, "client": ip_address("2001:db8::1"), "profile": "kids"}
    full |= {"categories": ("new", "games"), "default": "report", "time": datetime(2026, 3, 29, 1, 30, 0, 250_000, UTC)}
    with drive_code(tmp_path, code) as driver:
        for request in (make_request("ü\u2028.example", "/a b?\x7f", None, **full), make_request("")):
            verdict = driver.answer(request)
            assert verdict is not None
            assert verdict.text == repr(request)


NETWORK = """
import socket
from penstock.hooks import Verdict, on_request
@on_request()
def f(request):
    socket.create_connection(("127.0.0.1", request.port), 5).close()
    return Verdict.allow()
"""


@pytest.mark.parametrize("network", [False, True])
def test_the_network_is_there_for_who_may_have_it(tmp_path: Path, network: bool) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server, drive_code(tmp_path, NETWORK, network=network) as driver:
        verdict = driver.answer(make_request("a.example", port=server.getsockname()[1]))
        assert verdict == (Verdict.allow() if network else None)


def test_memory_is_what_the_settings_say(tmp_path: Path) -> None:
    code = ANSWER.format("bytes(150 << 20)")
    for memory_mb, verdict in ((128, None), (512, Verdict.allow())):
        with drive_code(tmp_path, code, memory_mb=memory_mb) as driver:
            assert driver.answer(make_request("a.example")) == verdict
