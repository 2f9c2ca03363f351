"""A process of the box stands still, crashes, or gets no memory: nothing breaks, and it judges again.

`kill -9`, an orderly end and the switch are in test_failure.py; a disk that is full in test_full_disk.py.
"""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from penstock.demo.box import GOOD
from penstock.demo.servers import Certificate, Server
from penstock.demo.topology import HOME
from penstock.path import layout
from penstock.path.events import EVENT_COUNT
from penstock.path.memory import SharedMemory
from tests.live.clients import Response, ask
from tests.live.line import BAD, Line, build_line, live
from tests.live.metrics import LISTEN, read_metrics, wait_for
from tests.live.processes import Asked, Loaded, broken, find_packet_processes, is_blocked, reload

pytestmark = live("openssl", "nginx", "curl", alone=True)

RATE = 1000
FAULT_S = 1.0  # into the load
STAND_S = 5.0
STALE_S = 0.1  # after which the kernel forwards what nobody judges
SETTLE_S = 0.15  # a retransmission of what waits in the ring, and a busy machine
LONGEST_S = 0.45  # one retransmission (200 ms at least) and what a busy machine adds
RECOVERY_S = 5.0
PIPELINED = 50  # requests in one piece
MEMORY_BYTES = 1 << 20  # that the packet process may still take
UNFINISHED = 120  # requests that take more than that
HEADER_BYTES = 14_000
WILD_ADDRESS = 16  # where no memory is


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(here, pair, metrics={"listen": LISTEN}) as found:
        yield found


def stop(process: int) -> float:
    """The process stands still; since when."""
    os.kill(process, signal.SIGSTOP)
    return time.monotonic()


def wait_until_blocked(line: Line, server: Server) -> None:
    """Wait until Penstock judges."""
    end_s = time.monotonic() + RECOVERY_S
    while not is_blocked(line, server):
        assert time.monotonic() < end_s, f"nobody judges: {line.box.output.read_text()[-600:]}"
        time.sleep(0.02)


def find_longest_s(asked: list[Asked], since_s: float = 0.0) -> float:
    """The longest delay of the requests begun since then."""
    return max(one.delay_s for one in asked if one.start_s >= since_s)


def check_ledger(line: Line) -> None:
    """Every packet has a verdict, and none waits for one."""
    found = wait_for(line, lambda found: found["penstock_packets_waiting"] == 0)
    assert found["penstock_packets_difference"] == 0
    assert found["penstock_packets_waiting"] == 0


def test_the_packet_process_stands_still(line: Line, nginx: Server) -> None:
    process, *_ = find_packet_processes(line.box.program.pid)
    before = read_metrics(line)
    load = Loaded(line, nginx, RATE, FAULT_S + STAND_S + 2)
    load.wait_until(FAULT_S)
    stopped_s = stop(process)
    try:
        time.sleep(STALE_S + SETTLE_S)
        assert not is_blocked(line, nginx), "fail open: nobody judges"
        time.sleep(max(0.0, stopped_s + STAND_S - time.monotonic()))
        assert not is_blocked(line, nginx)
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until_blocked(line, nginx)
    asked = load.collect()
    assert broken(asked) == []
    longest_s, later_s = find_longest_s(asked), find_longest_s(asked, stopped_s + STALE_S + SETTLE_S)
    print(f"longest delay {longest_s * 1000:.0f} ms, of connections begun after the limit {later_s * 1000:.0f} ms")
    assert longest_s < LONGEST_S
    assert later_s < STALE_S + SETTLE_S
    assert find_packet_processes(line.box.program.pid) == [process]
    after = read_metrics(line)
    assert after.reason("expired") > before.reason("expired"), "what waited in the ring was acted on"
    assert after.reason("stale_open") - before.reason("stale_open") > RATE * (STAND_S - 1)
    check_ledger(line)


def test_the_control_process_stands_still(line: Line, nginx: Server) -> None:
    """The packets do not notice. Events wait in their ring; what finds it full is counted as lost."""
    log, lost = line.box.events, read_metrics(line).lost
    wait_until_written(log)
    written = len(log.read_text().splitlines())
    load = Loaded(line, nginx, RATE, FAULT_S + STAND_S)
    load.wait_until(FAULT_S)
    stop(line.box.program.pid)
    try:
        asked_more = ask_in_a_row(line, nginx, EVENT_COUNT)
        pages = [is_blocked(line, nginx) for _ in range(20)]
        asked = load.collect()
    finally:
        os.kill(line.box.program.pid, signal.SIGCONT)
    assert all(pages)
    assert broken(asked) == []
    print(f"longest delay {find_longest_s(asked) * 1000:.0f} ms")
    assert find_longest_s(asked) < LONGEST_S
    wait_until_written(log)
    events = len(log.read_text().splitlines()) - written
    more_lost = read_metrics(line).lost - lost
    print(f"{events:,} events written, {more_lost:,} lost")
    assert more_lost > 0
    assert events >= EVENT_COUNT
    assert events + more_lost == len(asked) + len(pages) + asked_more
    assert line.events(host=BAD, action="block")
    check_ledger(line)


def ask_in_a_row(line: Line, server: Server, at_least: int) -> int:
    """Ask so many times for an allowed host on one connection; how often."""
    count = -(-at_least // PIPELINED) * PIPELINED
    with line.connect(HOME, server.http_port) as conversation:
        for _ in range(count // PIPELINED):
            conversation.send(ask(GOOD) * PIPELINED)
            for _ in range(PIPELINED):
                assert isinstance(answer := conversation.read(), Response)
                assert answer.status == 200
    return count


def wait_until_written(log: Path) -> None:
    """Wait until no more events are written."""
    size, end_s = -1, time.monotonic() + RECOVERY_S
    while size != log.stat().st_size and time.monotonic() < end_s:
        size = log.stat().st_size
        time.sleep(0.3)


def test_a_worker_loads_from_a_wild_address(line: Line, nginx: Server) -> None:
    process, *_ = find_packet_processes(line.box.program.pid)
    load = Loaded(line, nginx, RATE, FAULT_S + 3)
    load.wait_until(FAULT_S)
    crash_worker(line)
    wait_for_end(process)
    wait_until_blocked(line, nginx)
    asked = load.collect()
    assert broken(asked) == []
    print(f"longest delay {find_longest_s(asked) * 1000:.0f} ms")
    assert find_longest_s(asked) < LONGEST_S
    assert re.search(r"the packet process died.*status\S*=\S*-11", line.box.output.read_text())


def crash_worker(line: Line) -> None:
    """Have a worker take its snapshot from where no memory is: the next request makes it load from there."""
    for link in Path(f"/proc/{line.box.program.pid}/fd").iterdir():
        if os.readlink(link).startswith("/memfd:penstock"):
            orders = SharedMemory(1, os.open(link, os.O_RDWR | os.O_CLOEXEC)).orders(0)
            orders[layout.ORDER_SNAPSHOT // 8] = orders[layout.ORDER_NAMES // 8] = WILD_ADDRESS
            orders[layout.ORDER_GENERATION // 8] += 1
            return
    raise AssertionError("no memory that both processes share")


def wait_for_end(process: int) -> None:
    """Wait until a process is gone."""
    end_s = time.monotonic() + RECOVERY_S
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < end_s, f"process {process} lives"
        time.sleep(0.01)


def test_the_packet_process_dies_while_it_starts(line: Line, nginx: Server) -> None:
    """`run` goes on trying, and does not end."""
    load = Loaded(line, nginx, RATE, FAULT_S + 5)
    load.wait_until(FAULT_S)
    killed: set[int] = set()
    end_s = time.monotonic() + RECOVERY_S
    while len(killed) < 3:
        for process in set(find_packet_processes(line.box.program.pid)) - killed:
            os.kill(process, signal.SIGKILL)
            killed.add(process)
        assert time.monotonic() < end_s, line.box.output.read_text()[-600:]
        time.sleep(0.005)
    assert line.box.program.poll() is None, line.box.output.read_text()[-600:]
    wait_until_blocked(line, nginx)
    assert broken(load.collect()) == []


def test_a_start_sees_both_directions_at_once(line: Line, nginx: Server) -> None:
    """A connection of which only the SYN were seen, and not its answer, would be judged once and then be free."""
    before = read_metrics(line).reason("up_asymmetric")
    load = Loaded(line, nginx, RATE, 12.0)
    line.topology.end(line.box.program)
    line.restart()
    assert broken(load.collect()) == []
    assert read_metrics(line).reason("up_asymmetric") == before


def test_a_reload_does_not_wait_for_a_packet_process_that_stands_still(line: Line, nginx: Server) -> None:
    """It is ended, and another one takes the new snapshot."""
    (process,) = find_packet_processes(line.box.program.pid)
    stop(process)
    reload(line)
    wait_until_blocked(line, nginx)
    assert find_packet_processes(line.box.program.pid) != [process]


@contextmanager
def limited_memory(process: int) -> Iterator[Path]:
    """A memory cgroup, version 1 or 2, in which this process may take MEMORY_BYTES more; skips where none can be made."""
    root = Path("/sys/fs/cgroup")
    limits = {root / "memory": "memory.limit_in_bytes", root: "memory.max"}
    name = f"penstock-test-{os.getpid()}"
    for parent, limit in limits.items():
        try:
            (parent / name).mkdir()
        except OSError:
            continue
        if (parent / name / limit).exists():
            break
        (parent / name).rmdir()
    else:
        pytest.skip("no memory cgroup can be made here")
    here = parent / name
    (here / limit).write_text(str(MEMORY_BYTES))
    try:
        (here / "cgroup.procs").write_text(str(process))
        yield here
    finally:
        end_s = time.monotonic() + RECOVERY_S
        while (here / "cgroup.procs").read_text() and time.monotonic() < end_s:
            time.sleep(0.05)
        here.rmdir()


def count_oom_kills(group: Path) -> int:
    """How often the kernel has killed in this cgroup."""
    texts = [path.read_text() for name in ("memory.events", "memory.oom_control") if (path := group / name).exists()]
    return sum(int(count) for text in texts for count in re.findall(r"^oom_kill (\d+)", text, re.MULTILINE))


def test_the_packet_process_gets_no_memory(line: Line, nginx: Server) -> None:
    """Unfinished requests take memory until the kernel kills it; they are finished later, and get their answers."""
    process, *_ = find_packet_processes(line.box.program.pid)
    begin, rest = ask(GOOD, "/", f"X-Large: {'x' * HEADER_BYTES}")[:-2], b"\r\n"
    load = Loaded(line, nginx, RATE, FAULT_S + 4)
    with limited_memory(process) as group, ExitStack() as opened:
        load.wait_until(FAULT_S)
        conversations = [opened.enter_context(line.connect(HOME, nginx.http_port)) for _ in range(UNFINISHED)]
        for conversation in conversations:
            conversation.send(begin)
        wait_for_end(process)
        assert count_oom_kills(group) > 0
        wait_until_blocked(line, nginx)
        for conversation in conversations:
            conversation.send(rest)
        answers = [conversation.read() for conversation in conversations]
    assert [one for one in answers if not isinstance(one, Response) or one.status != 200] == []
    asked = load.collect()
    assert broken(asked) == []
    print(f"longest delay {find_longest_s(asked) * 1000:.0f} ms")
    assert find_longest_s(asked) < LONGEST_S
