"""A feed is fetched on schedule and swapped in under load, and no packet is lost; a broken one changes nothing."""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.demo.box import BLOCKED, GOOD, run_penstock
from penstock.demo.servers import Certificate, Server
from penstock.demo.topology import HOME
from penstock.line.privileges import find_user
from tests.live.line import BAD, Line, build_line, live
from tests.live.metrics import LISTEN, Metrics, read_metrics
from tests.live.processes import Loaded, broken, find_children
from tests.live.servers import start_nginx

pytestmark = live("curl", "nginx", "openssl")

PORT = 8099  # of the feed's server, in the box
URL = f"http://127.0.0.1:{PORT}/phishing.txt"
ENTRIES = 300_000
ENTRIES_NAME = f'penstock_feed_entries{{feed="{URL}"}}'
REFUSED_NAME = f'penstock_feed_refused{{feed="{URL}"}}'
RATE, LOAD_S = 100, 60.0
SWAPS = 3
TAKEN_S = 40.0  # fetched, looked at, built and swapped, on a busy machine
LONGEST_S = 0.9  # a lost SYN is repeated after a second
LOST = ("ring_full", "expired", "stale_open", "stale_closed", "table_full", "stream_full")


@pytest.fixture(scope="module")
def feed(here: Path) -> Path:
    """The feed's file, as its server has it."""
    directory = here / "server"
    directory.mkdir()
    path = directory / "phishing.txt"
    write(path, BAD)
    return path


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate, feed: Path) -> Iterator[Line]:
    """A line whose phishing list is a feed; its server starts with the topology, so after Penstock's first start."""
    lists = [{"category": category, "path": f"{category}.txt"} for category in BLOCKED]
    lists.append({"category": "phishing", "url": URL, "every_s": 1})
    feeds = {"directory": "feeds", "timeout_s": 30}
    settings = {"lists": lists, "feeds": feeds, "metrics": {"listen": LISTEN}}
    with build_line(here, pair, **settings) as found:
        words = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", str(feed.parent), str(PORT)]
        with (here / "feed.log").open("w") as sink:
            found.topology.spawn("box", [sys.executable, *words], stdout=sink, stderr=sink)
            wait_until(found, ENTRIES + 1)
            yield found


@pytest.fixture(scope="module")
def nginx(line: Line) -> Server:
    return start_nginx(line.topology, line.here, line.pair)


def write(path: Path, *hosts: str, entries: int = ENTRIES) -> None:
    """A new version, whole at once."""
    content = "".join(f"n{number}.feed.example.test\n" for number in range(entries)) + "".join(
        f"{host}\n" for host in hosts
    )
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(content)
    unfinished.replace(path)


def wait_until(line: Line, entries: int) -> Metrics:
    """Wait until the version with so many entries is in force."""
    return wait_for(line, ENTRIES_NAME, entries)


def wait_for(line: Line, name: str, value: float) -> Metrics:
    end_s = time.monotonic() + TAKEN_S
    while (found := read_metrics(line)).get(name) != value:
        assert time.monotonic() < end_s, line.box.output.read_text()[-2000:]
        time.sleep(0.2)
    return found


def status_of(line: Line, host: str) -> str:
    return str(line.curl(f"http://{host}/", HOME, 4, "-w", "%{http_code}", "-o", "/dev/null").stdout)


def test_swaps_under_load_lose_no_packet(line: Line, nginx: Server, feed: Path) -> None:
    before = read_metrics(line)
    assert status_of(line, BAD) == "403"
    late = [f"late{number}.example.test" for number in range(SWAPS)]
    load = Loaded(line, nginx, RATE, LOAD_S)
    for number, host in enumerate(late):
        assert status_of(line, host) == "200"
        write(feed, BAD, *late[: number + 1])
        after = wait_until(line, ENTRIES + 2 + number)
        assert status_of(line, host) == "403"
    load.program.terminate()
    asked = load.collect()
    longest_s = max(one.delay_s for one in asked)
    print(f"{len(asked)} requests during {SWAPS} swaps of {ENTRIES:,} names, the longest {longest_s * 1000:.0f} ms")
    assert len(asked) > RATE
    assert broken(asked) == []
    assert longest_s < LONGEST_S
    assert {name: after.reason(name) - before.reason(name) for name in LOST} == dict.fromkeys(LOST, 0)
    assert (after["penstock_packets_difference"], after.lost) == (0, before.lost)


def test_a_broken_version_changes_nothing_and_is_told(line: Line, feed: Path) -> None:
    held = read_metrics(line)[ENTRIES_NAME]
    write(feed, GOOD, entries=1000)
    found = wait_for(line, REFUSED_NAME, 1)
    assert found[ENTRIES_NAME] == held
    assert status_of(line, GOOD) == "200"
    assert status_of(line, BAD) == "403"
    done = run_penstock(line.topology, ["lists", "status", "--config", line.configuration])
    words = " ".join(done.stdout.replace("│", " ").split())
    assert done.returncode == 1
    assert "refused" in words
    assert "100% of its entries" in words, words
    write(feed, BAD)
    wait_for(line, REFUSED_NAME, 0)


def test_explain_knows_where_it_comes_from(line: Line) -> None:
    words = ["explain", "n7.feed.example.test", "--subscriber", "home", "--config", line.configuration]
    done = run_penstock(line.topology, words)
    text = " ".join(done.stdout.split())
    assert f"{URL}, fetched 2" in text, done
    assert "SHA-256" in text


def test_the_processes_that_read_it_have_no_rights(line: Line, feed: Path) -> None:
    """Caught in the act, the one that speaks with the server and the one that reads lists: user and capabilities."""
    seen: dict[str, str] = {}
    end_s, version = time.monotonic() + TAKEN_S, 0
    while len(seen) < 2:
        assert time.monotonic() < end_s, seen
        if "workshop" not in seen and read_metrics(line)[ENTRIES_NAME] == ENTRIES + 1 + (version > 0):
            version += 1
            write(feed, BAD, f"again{version}.example.test")
        pause_s = time.monotonic() + 0.5
        while time.monotonic() < pause_s:
            seen |= look(line)
    assert seen == {"fetching": str(find_user()[0]), "workshop": "0"}


def look(line: Line) -> dict[str, str]:
    """The users of those that have no capability now."""
    found = {}
    for child in find_children(line.box.program.pid):
        try:
            module = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[2].decode().rpartition(".")[2]
            fields = dict(re.findall(r"(\w+):\s+(\S+)", Path(f"/proc/{child}/status").read_text()))
        except (OSError, IndexError):
            continue  # it has ended
        if module in ("fetching", "workshop") and int(fields["CapPrm"], 16) == 0:
            found[module] = fields["Uid"]
    return found
