"""What an operator fears: the process is killed, ended, switched off. Nothing breaks, and the delay is known."""

import os
import signal
import subprocess
import time

from penstock.demo.box import GOOD, run_penstock, start_box
from penstock.demo.servers import Server
from penstock.demo.topology import HOME, SERVER_IPV4
from tests.live.clients import Response, ask
from tests.live.line import BAD, Line, live
from tests.live.processes import Loaded, broken, find_packet_processes, is_blocked, kill

pytestmark = live("openssl", "nginx", "curl", alone=True)

RATE = 1000
LIGHT_RATE = 100  # where a start is timed, which is not to compete with the load
LOAD_S = 3.0
KILL_S = 1.0  # into the load
STALE_S = 0.1  # after which the kernel forwards what nobody judges
SETTLE_S = 0.15  # a retransmission of what the dead process held, and a busy machine
LONGEST_S = 0.45  # one retransmission (200 ms at least) and what a busy machine adds
RESTART_S = 2.0


def test_kill_during_a_transfer(judging: Line) -> None:
    words = [
        "--interface",
        HOME.ipv4,
        "--connect-to",
        f"::{SERVER_IPV4}:",
        "--write-out",
        "%{http_code} %{size_download}",
    ]
    argv = ["curl", "-q", "-sS", *words, "-o", "/dev/null", f"http://{GOOD}/bulk?s=3"]
    transfer = judging.topology.spawn("client", argv, stdout=subprocess.PIPE, text=True)
    with judging.connect(HOME) as conversation:
        conversation.send(ask(GOOD))
        assert isinstance(conversation.read(), Response)
        time.sleep(KILL_S)
        kill(judging)
        begin_s = time.monotonic()
        conversation.send(ask(GOOD))  # on a connection that was open: it goes up, to nobody
        answer = conversation.read()
        delay_s = time.monotonic() - begin_s
        assert isinstance(answer, Response)
        assert answer.status == 200
    print(f"request on an open connection right after the kill: {delay_s * 1000:.0f} ms")
    assert delay_s < LONGEST_S
    told = transfer.communicate(timeout=20)[0]
    assert transfer.returncode == 0
    assert told.startswith("200 ")
    assert int(told.split()[1]) > 10**8


def test_kill_during_1000_connections_a_second(judging: Line, nginx: Server) -> None:
    load = Loaded(judging, nginx, RATE, LOAD_S)
    load.wait_until(KILL_S)
    killed_s = kill(judging)
    time.sleep(STALE_S + SETTLE_S)
    with judging.connect(HOME, nginx.http_port) as conversation:
        conversation.send(ask(BAD))
        answer = conversation.read()
        assert isinstance(answer, Response)
        assert answer.status == 200, "fail open: nobody judges"
    asked = load.collect()
    assert len(asked) == RATE * LOAD_S
    assert broken(asked) == []
    before = [one.delay_s for one in asked if one.start_s < killed_s - LONGEST_S]
    after = [one.delay_s for one in asked if one.start_s > killed_s + STALE_S + SETTLE_S]
    longest_s = max(one.delay_s for one in asked)
    print(
        f"longest delay before the kill {max(before) * 1000:.1f} ms, through it {longest_s * 1000:.1f} ms, "
        f"of connections begun later {max(after) * 1000:.1f} ms"
    )
    assert longest_s < LONGEST_S
    assert max(after) < STALE_S


def test_the_packet_process_alone_is_killed(judging: Line, nginx: Server) -> None:
    load = Loaded(judging, nginx, LIGHT_RATE, 4.0)
    load.wait_until(KILL_S)
    workers = find_packet_processes(judging.box.program.pid)
    assert workers, "penstock run has no packet process"
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    killed_s = time.monotonic()
    time.sleep(STALE_S)
    while not is_blocked(judging, nginx):
        assert time.monotonic() - killed_s < 2 * RESTART_S, "nobody judges again"
        time.sleep(0.02)
    print(f"from the packet process's death to judging: {time.monotonic() - killed_s:.2f} s")
    assert time.monotonic() - killed_s < RESTART_S
    asked = load.collect()
    assert broken(asked) == []
    assert max(one.delay_s for one in asked) < LONGEST_S


def restart_until_judged(line: Line, server: Server) -> float:
    """Start Penstock again; the seconds until a blocked request was refused, which it is before all is said to be ready."""
    begin_s, judged_s = time.monotonic(), []

    def look() -> None:
        if not judged_s and is_blocked(line, server):
            judged_s.append(time.monotonic() - begin_s)

    line.box = start_box(line.topology, line.configuration, look)
    return judged_s[0] if judged_s else time.monotonic() - begin_s


def test_a_restart_judges_again(judging: Line, nginx: Server) -> None:
    """The best of three: what else the machine does only adds to it."""
    load, times_s = Loaded(judging, nginx, LIGHT_RATE, 9.0), []
    for _ in range(3):
        kill(judging)
        times_s.append(restart_until_judged(judging, nginx))
        assert is_blocked(judging, nginx)
    print("from start to judging: " + ", ".join(f"{one:.2f}" for one in times_s) + " s")
    assert broken(load.collect()) == []
    assert min(times_s) < RESTART_S


def test_the_cable_carries_on_without_penstock(judging: Line, nginx: Server) -> None:
    load = Loaded(judging, nginx, RATE, LOAD_S)
    load.wait_until(KILL_S)
    assert judging.topology.end(judging.box.program) == 0
    assert not is_blocked(judging, nginx)
    asked = load.collect()
    assert broken(asked) == []
    print(f"longest delay through an orderly end: {max(one.delay_s for one in asked) * 1000:.1f} ms")
    assert max(one.delay_s for one in asked) < LONGEST_S


def test_off_and_on_under_load(judging: Line, nginx: Server) -> None:
    load = Loaded(judging, nginx, RATE, 5.0)
    for word, blocked in (("off", False), ("on", True), ("off", False), ("on", True)):
        done = run_penstock(judging.topology, [word])
        assert done.returncode == 0, done.stderr
        assert is_blocked(judging, nginx) == blocked
    asked = load.collect()
    assert broken(asked) == []
    print(f"longest delay through off and on: {max(one.delay_s for one in asked) * 1000:.1f} ms")
    assert max(one.delay_s for one in asked) < LONGEST_S
