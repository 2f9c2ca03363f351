"""A flood from one subscriber, at a fixed rate, while another one asks: every kind of flood, for a moment each."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bench.flood_scene import (
    ASKED,
    Sender,
    Watched,
    ask_all,
    build_subscribers,
    find_processes,
    prepare_services,
    prepare_victim,
    read_rss_kb,
)

from penstock.control.exceptions import QUIET_S
from penstock.demo.box import GOOD
from penstock.demo.servers import Certificate
from penstock.demo.topology import OFFICE
from penstock.flow import connection, stream
from penstock.path.fragments import FRAGMENTS_BYTES
from penstock.path.holds import HOLDS_BYTES
from tests.live.clients import Response, ask
from tests.live.line import BAD, Line, build_line, live

pytestmark = [*live("openssl", "curl", "unbound", alone=True), pytest.mark.timeout(120)]

FLOODS = ("syn", "hello", "dns", "initial", "ids", "byte")
RATE = 10_000
CONNECTIONS = 60
LARGE_HEADER = "X-Large: " + "a" * 6_000  # more than a page of a stream holds
POOLS_BYTES = (
    stream.STREAM_COUNT * stream.STREAM_BYTES
    + stream.LARGE_COUNT * stream.LARGE_BYTES
    + connection.CONNECTION_COUNT * connection.ENTRY_BYTES
    + connection.STORE_COUNT * connection.STORE_BYTES
    + connection.LARGE_COUNT * connection.LARGE_STRIDE
    + HOLDS_BYTES
    + FRAGMENTS_BYTES
)
SLACK_KB = 24 * 1024  # rings and tables that are touched on the way, the interpreter


@pytest.fixture(scope="module")
def flooded(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(
        here, pair, subscribers=build_subscribers(), log={"all_requests": False, "path": "events.json"}
    ) as line:
        prepare_victim(line.topology)
        prepare_services(line.topology, here, line.site, pair)
        yield line


@pytest.fixture(scope="module", autouse=True)
def rss_kb(flooded: Line) -> dict[int, int]:
    """What each process had in memory before the first flood."""
    return {pid: read_rss_kb([pid]) for pid in find_processes(flooded.box.program)}


@pytest.fixture(scope="module")
def watched(flooded: Line) -> Watched:
    return Watched(flooded.topology)


@contextmanager
def open_sender(line: Line, kind: str) -> Iterator[Sender]:
    """A sender, ended with the block."""
    sender = Sender(line.topology, kind, RATE)
    try:
        yield sender
    finally:
        sender.close()


def wait_for(condition: Any, patience_s: float) -> bool:
    """Whether the condition came true in time."""
    end_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.05)
    return True


def connect_many(line: Line) -> list[str]:
    """CONNECTIONS new connections of the bystander, one after the other: what is not as it should be."""
    wrong = []
    for number in range(CONNECTIONS):
        host, headers = (BAD, ()) if number % 6 == 5 else (GOOD, (LARGE_HEADER,) if number % 6 == 4 else ())
        with line.connect(OFFICE) as conversation:
            conversation.send(ask(host, "/", *headers))
            answer = conversation.read()
            if not isinstance(answer, Response) or answer.is_page != (host == BAD) or answer.status not in (200, 403):
                wrong.append(f"{number}, {host}: {answer}")
    return wrong


@pytest.mark.parametrize("kind", FLOODS)
def test_who_floods_takes_nothing_from_others(flooded: Line, watched: Watched, kind: str) -> None:
    with open_sender(flooded, kind) as sender:
        before = watched.settle().reasons
        with sender.flooding() as told:
            assert wait_for(lambda: watched.read().reasons["over_budget"] > before["over_budget"], 20)
            wrong = connect_many(flooded)
            asked = ask_all(flooded.topology, flooded.site, flooded.pair)
        ledger = watched.settle()
    moved = {name: count - before[name] for name, count in ledger.reasons.items() if count != before[name]}
    print(f"{kind}: {told[0].rate:,.0f} packets/s, {told[0].missed} missed; {moved}")
    assert wrong == []
    assert asked == ASKED
    assert ledger.difference == 0
    assert ledger.waiting == 0
    assert moved["over_budget"] > 0


def test_memory_stays_below_what_is_named(flooded: Line, rss_kb: dict[int, int]) -> None:
    """Behind all floods: the packet process's pools, of which each flood touches another one, and nothing else."""
    run, engine, *_ = find_processes(flooded.box.program)
    for kind in FLOODS:
        with open_sender(flooded, kind) as sender, sender.flooding():
            time.sleep(1.0)
    grown_kb = {pid: read_rss_kb([pid]) - before for pid, before in rss_kb.items()}
    print(f"run {grown_kb[run]:,} kB more, packet process {grown_kb[engine]:,} kB")
    assert grown_kb[run] < SLACK_KB
    assert grown_kb[engine] < POOLS_BYTES // 1024 + SLACK_KB


def test_over_budget_begins_and_ends(flooded: Line, watched: Watched) -> None:
    wanted = {"event": "exception", "cause": "over_budget"}
    before, ended = watched.read().reasons["over_budget"], len(flooded.events(**wanted, state="end"))
    with open_sender(flooded, "dns") as sender, sender.flooding():
        assert wait_for(lambda: watched.read().reasons["over_budget"] > before, 20)
        assert wait_for(lambda: len(flooded.events(**wanted, state="begin")) > ended, 20)
    assert wait_for(lambda: len(flooded.events(**wanted, state="end")) > ended, QUIET_S + 10)
    assert flooded.events(**wanted, state="end")[-1]["packets"] > 0
