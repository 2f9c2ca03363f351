"""Hooks that do what they must not, in real worker processes: nothing happens to anybody else."""

import os
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.control.hooks.lane import ENDS
from penstock.hooks import Verdict
from penstock.line.privileges import find_user
from tests.control.hooks.driving import Driver, drive_code, make_request

GOOD = Verdict.block("good", "behaves.example")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with drive_code(tmp_path_factory.mktemp("policy")) as driver:
        yield driver


@pytest.fixture(autouse=True)
def _forgives(driver: Driver) -> None:
    driver.pool.conduct.clear()
    driver.pool.reports._said.clear()
    driver.said.clear()


REFUSED = {
    "fork": "os.fork()",
    "start a program": "subprocess.run(['/bin/true'])",
    "replace itself": "os.execv('/bin/true', ['true'])",
    "write a file": "open('/tmp/penstock-hook', 'w')",
    "make a directory": "os.mkdir('/tmp/penstock-hook')",
    "delete a file": "os.unlink('/etc/hostname')",
    "open a socket": "socket.socket()",
    "open a socket of this machine": "socket.socket(socket.AF_UNIX)",
    "read what is root's": "open('/etc/shadow').read()",
    "signal its parent": "os.kill(os.getppid(), 9)",
    "become root": "os.setuid(0)",
    "take back its limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "trace": "libc = ctypes.CDLL(None, use_errno=True)\n"
    "if libc.ptrace(16, os.getppid(), 0, 0) < 0: raise PermissionError(ctypes.get_errno())",
}


@pytest.mark.parametrize("code", REFUSED.values(), ids=REFUSED)
def test_what_it_may_not_do_raises_in_it(driver: Driver, code: str) -> None:
    failed, replaced = driver.pool.counts.failed["misbehave"], driver.pool.counts.replaced.total()
    assert driver.misbehave(code) is None
    assert driver.pool.counts.failed["misbehave"] == failed + 1
    assert driver.pool.counts.replaced.total() == replaced
    [told] = driver.events("a hook failed")
    assert told["error"].startswith(("PermissionError", "ValueError: not allowed to raise maximum limit"))
    assert told["place"].endswith("example_policy.py:8")
    assert "line 11, in misbehave" in told["traceback"]


RAISED = {
    "raise": ("raise ValueError('no\\nway')", "ValueError: no\nway"),
    "exit": ("sys.exit(3)", "SystemExit: 3"),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
    "recurse": ("f = lambda: f()\nf()", "RecursionError"),
    "return nonsense": ("verdict = 'block'", "TypeError: "),
    "make a verdict that is none": ("verdict = Verdict.redirect('x')", "ValueError: url"),
    "raise what cannot be told": (
        "class Odd(Exception):\n def __str__(self): raise RuntimeError\nraise Odd", "Odd"
    ),
    "raise something long": ("raise ValueError('x' * 10_000_000)", "ValueError: xxx"),
    "raise half a character": ("raise ValueError('\\ud800')", "ValueError: "),
}  # fmt: skip


@pytest.mark.parametrize(("code", "error"), RAISED.values(), ids=RAISED)
def test_what_it_raises_is_told_and_stays_in_it(driver: Driver, code: str, error: str) -> None:
    replaced = driver.pool.counts.replaced.total()
    assert driver.misbehave(code) is None
    [told] = driver.events("a hook failed")
    assert told["error"].startswith(error)
    assert len(str(told)) < 10_000
    assert driver.pool.counts.replaced.total() == replaced


LOST = {
    "sleep": ("time.sleep(60)", "late"),
    "spin": ("while True: pass", "late"),
    "hold the interpreter": ("sum(range(10**12))", "late"),
    "wait for a lock": ("lock = threading.Lock(); lock.acquire(); lock.acquire()", "late"),
    "catch everything": ("while True:\n try: time.sleep(1)\n except BaseException: pass", "late"),
    "exit at once": ("os._exit(0)", "ended"),
    "crash": ("ctypes.string_at(0)", "ended"),
    "abort": ("os.abort()", "ended"),
    "take all memory": ("kept.append([bytes(1 << 20) for _ in range(100_000)])", "memory"),
    "take it in one piece": ("kept.append(bytes(1 << 40))", "memory"),
    "answer in its own words": (
        "for fd in range(3, 1024):\n try: os.write(fd, b'nonsense')\n except OSError: pass", "nonsense"
    ),
    "close everything": ("os.closerange(0, 4096); time.sleep(60)", "ended"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "cause"), LOST.values(), ids=LOST)
def test_a_process_that_is_of_no_use_is_replaced(driver: Driver, code: str, cause: str) -> None:
    replaced = driver.pool.counts.replaced[cause]
    # Another subscriber each time: what the one before cost may be seen, and held against him, only now.
    assert driver.misbehave(code, f"who does {code[:20]!r}") is None
    driver.wait(lambda: driver.pool.counts.replaced[cause] > replaced)  # its end may be seen behind its silence
    assert driver.pool.counts.replaced[cause] == replaced + 1
    told = driver.events("a worker process of the policy is replaced")
    assert [(fields["cause"], fields["hook"]) for fields in told] == [(cause, "misbehave")]
    driver.wait(lambda: driver.pool.is_ready)
    assert driver.answer(make_request("behaves.example")) == GOOD


def test_a_crash_says_where(driver: Driver) -> None:
    driver.misbehave("ctypes.string_at(0)")
    [told] = driver.events("a worker process of the policy is replaced")
    assert "Segmentation fault" in told["last_words"]
    assert "in misbehave" in told["last_words"]


def test_what_it_prints_is_kept_up_to_a_bound(driver: Driver) -> None:
    assert driver.misbehave("for _ in range(10_000): print('much ' * 10)\nverdict = Verdict.allow()") == Verdict.allow()
    [told] = driver.events("printed by the policy")
    assert 3_000 < len(told["text"]) <= 4_000
    code = "for _ in range(100): os.write(2, b'x' * 10_000)"
    assert driver.misbehave(code) is None
    assert "BlockingIOError" in driver.events("a hook failed")[0]["error"]


def test_threads_may_run_and_die_with_their_process(driver: Driver) -> None:
    code = "t = threading.Thread(target=time.sleep, args=(0.01,)); t.start(); t.join(); verdict = Verdict.allow()"
    assert driver.misbehave(code) == Verdict.allow()


def test_it_runs_as_nobody_without_rights(driver: Driver) -> None:
    driver.wait(lambda: driver.pool.is_ready)
    for crew in driver.pool._crews():
        for worker in crew.workers:
            lines = Path(f"/proc/{worker.program.pid}/status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            user, _ = find_user()
            assert status["Uid"].split() == [str(user)] * 4
            assert {name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
                "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0
            }  # fmt: skip
            assert (status["Groups"].strip(), status["NoNewPrivs"], status["Seccomp"]) == ("", "1", "2")


def ask_meanwhile(driver: Driver, bad: int) -> list[int]:
    """Well-behaved requests, one after the other, until a misbehaving one has its answer."""
    good = []
    while bad not in driver.answers:
        good.append(driver.ask(make_request("behaves.example")))
        driver.wait(lambda: good[-1] in driver.answers)
    return good


def test_others_do_not_notice(driver: Driver) -> None:
    """Well-behaved requests beside every kind of misbehaviour, of a new subscriber each: all have their verdicts, soon."""
    codes = [code for code, _ in (*RAISED.values(), *LOST.values())] + list(REFUSED.values())
    before, good, bad = driver.pool.counts.to_data(), [], []
    for number, code in enumerate(codes):
        driver.wait(lambda: driver.pool.is_ready)
        driver.pool.conduct.clear()  # else the hook would be left out by now
        bad.append(driver.ask(make_request("misbehaves.example", code, f"subscriber {number}")))
        good += ask_meanwhile(driver, bad[-1])
    assert {driver.answers[identity] for identity in good} == {GOOD}
    assert {driver.answers[identity] for identity in bad} == {None}
    times = statistics.quantiles((driver.took_s[identity] for identity in good), n=100)
    print(f"p50 {times[49] * 1000:.2f} ms, p99 {times[98] * 1000:.2f} ms of {len(good)}, beside {len(bad)} misbehaving")
    assert times[98] < 0.2 * driver.pool.settings.budget_ms / 1000
    after = driver.pool.counts.to_data()
    assert after["asked"] - before["asked"] == len(good) + len(bad)
    assert after["asked"] == sum(after["ends"][end] for end in ENDS)


def test_one_subscriber_holds_no_more_than_his_share(driver: Driver) -> None:
    """Fifty requests that hang, of one subscriber at once: nobody else waits, and after two he is not asked about."""
    driver.wait(lambda: driver.pool.is_ready)
    late = driver.pool.counts.ends["late"]
    bad = [driver.ask(make_request("misbehaves.example", "time.sleep(60)", "hostile")) for _ in range(50)]
    good = ask_meanwhile(driver, bad[-1])
    driver.wait(lambda: not driver.pool.is_busy)
    assert {driver.answers[identity] for identity in good} == {GOOD}
    assert statistics.quantiles((driver.took_s[identity] for identity in good), n=100)[98] < 0.2
    assert {driver.answers[identity] for identity in bad} == {None}
    assert driver.pool.counts.ends["late"] - late == 50
    driver.misbehave("time.sleep(60)", "hostile")
    assert [fields["subscriber"] for fields in driver.events("a hook is left out for 30 s")] == ["hostile"]
    unasked = driver.pool.counts.ends["unasked"]
    assert driver.misbehave("verdict = Verdict.allow()", "hostile") is None
    assert driver.pool.counts.ends["unasked"] == unasked + 1
    assert driver.misbehave("verdict = Verdict.allow()", "honest") == Verdict.allow()


def test_no_process_and_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with drive_code(tmp_path) as driver:
        driver.misbehave("time.sleep(60)")
        driver.misbehave("os._exit(0)")
        driver.wait(lambda: driver.pool.is_ready)
        numbers = [worker.program.pid for crew in driver.pool._crews() for worker in crew.workers]
        assert len(numbers) == 4  # two, a spare one, one behind
        while_open = len(os.listdir("/proc/self/fd"))
        driver.misbehave("os._exit(0)", "another")
        driver.wait(lambda: driver.pool.is_ready)
        assert len(os.listdir("/proc/self/fd")) == while_open
    assert [number for number in numbers if os.path.exists(f"/proc/{number}")] == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
