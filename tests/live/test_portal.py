"""The API of a running box: what it changes holds for the next request, and what becomes of it is nobody else's concern."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.demo.box import GOOD, run_penstock, start_box
from penstock.demo.servers import Certificate
from penstock.demo.topology import HOME
from penstock.line.pcap import read_frames
from tests.live.line import BAD, Line, build_line, live
from tests.live.portal import LISTEN, PATIENCE_S, SETTINGS, await_portal, call, find_portal, make_token
from tests.live.processes import Loaded, sees_page

pytestmark = live("openssl", "curl")

EFFECT_S = 1.0  # from the answer of a change to the next request
HOME_PATH = "/api/v1/subscribers/home"


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(here, pair, api=SETTINGS) as found:
        yield found


@pytest.fixture(scope="module")
def operator(line: Line) -> str:
    token = make_token(line, "operator", "--name", "tests")
    await_portal(line, token)
    return token


def await_page(line: Line, wanted: bool) -> None:
    end_s = time.monotonic() + EFFECT_S
    while sees_page(line, HOME) != wanted:
        assert time.monotonic() < end_s, line.box.output.read_text()[-800:]


def count_events(line: Line, token: str) -> int:
    status, told = call(line, token, "GET", f"{HOME_PATH}/events?limit=500&action=block")
    assert status == 200, told
    return len(told["events"])


def await_events(line: Line, token: str, wanted: int) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while count_events(line, token) < wanted:
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_what_a_subscriber_chooses_holds_for_his_next_request(line: Line, operator: str) -> None:
    own = make_token(line, "selfcare", "--subscriber", "home")
    await_page(line, True)
    for body, is_page in (
        ({"services": {"web-protection": False}}, False),
        ({"services": {}}, True),
        ({"allow": [BAD]}, False),
        ({"allow": []}, True),
    ):
        status, told = call(line, own, "PATCH", f"{HOME_PATH}/choices", body)
        assert status == 200, told
        await_page(line, is_page)
    assert line.curl(f"http://{GOOD}/").returncode == 0
    status, told = call(line, own, "PATCH", f"{HOME_PATH}/choices", {"deny": [GOOD]})
    assert status == 200, told
    assert "own list" in call(line, own, "GET", f"/api/v1/explain?host={GOOD}&subscriber=home")[1]["reason"]
    assert b"web site" not in line.curl(f"http://{GOOD}/").stdout.encode()
    call(line, own, "PATCH", f"{HOME_PATH}/choices", {"deny": []})
    assert call(line, own, "GET", "/api/v1/subscribers/office/choices")[0] == 403


def test_a_pause_and_its_end(line: Line, operator: str) -> None:
    assert call(line, operator, "POST", f"{HOME_PATH}/pause", {"minutes": 5})[0] == 200
    assert line.curl(f"http://{GOOD}/", HOME, 4, "--max-time", "1").returncode != 0
    status, told = call(line, operator, "DELETE", f"{HOME_PATH}/pause")
    assert (status, told["effective"]["paused"]) == (200, False)
    assert line.curl(f"http://{GOOD}/").returncode == 0


def test_the_journal_has_what_was_refused_and_nothing_else(line: Line, operator: str) -> None:
    before = count_events(line, operator)
    assert sees_page(line, HOME)
    assert line.curl(f"http://{GOOD}/").returncode == 0
    assert line.events(host=GOOD), "the log has all requests"
    await_events(line, operator, before + 1)
    events = call(line, operator, "GET", "/api/v1/events?limit=500")[1]["events"]
    assert GOOD not in {one["host"] for one in events if one["reason"] == "allowed"}
    assert {one["subscriber"] for one in events} == {"home"}
    week = call(line, operator, "GET", f"{HOME_PATH}/week")[1]
    assert week["categories"][0] == "phishing"
    exported = run_penstock(line.topology, ["events", "export", "--config", str(line.configuration)]).stdout
    assert BAD in exported
    assert HOME.ipv4 not in exported
    assert '"home"' not in exported


def test_the_switch_and_a_reload(line: Line, operator: str) -> None:
    assert call(line, operator, "PUT", "/api/v1/switch", {"on": False})[1] == {"is_on": False, "changed": True}
    try:
        await_page(line, False)
        assert call(line, operator, "GET", "/api/v1/status")[1]["is_healthy"] is False
    finally:
        assert call(line, operator, "PUT", "/api/v1/switch", {"on": True})[0] == 200
    await_page(line, True)
    before = call(line, operator, "GET", "/api/v1/status")[1]["lists"]["generation"]
    assert call(line, operator, "POST", "/api/v1/reload")[0] == 202
    end_s = time.monotonic() + PATIENCE_S
    while call(line, operator, "GET", "/api/v1/status")[1]["lists"]["generation"] == before:
        assert time.monotonic() < end_s
        time.sleep(0.1)
    found = call(line, operator, "GET", f"/api/v1/explain?host={BAD}&subscriber=home")[1]
    assert found["action"] == "block", "it explains by what is in force now"


def test_a_recording_has_his_refused_flows_alone(line: Line, operator: str) -> None:
    status, told = call(line, operator, "POST", f"{HOME_PATH}/captures", {"seconds": 3, "megabytes": 1})
    assert status == 201, told
    assert sees_page(line, HOME)
    assert line.curl(f"http://{GOOD}/").returncode == 0
    end_s = time.monotonic() + PATIENCE_S
    while (found := call(line, operator, "GET", f"{HOME_PATH}/captures")[1]["captures"][0])["state"] == "running":
        assert time.monotonic() < end_s
        time.sleep(0.1)
    assert (found["state"], found["flows"]) == ("done", 1), found
    path = line.here / "got.pcap"
    words = ["curl", "-q", "-sS", "-H", f"Authorization: Bearer {operator}", "-o", str(path)]
    line.topology.run("box", [*words, f"http://{LISTEN}{HOME_PATH}/captures/{found['id']}"])
    contents = b"".join(frame.bytes for frame in read_frames(path))
    assert f"Host: {BAD}".encode() in contents, "what he asked for"
    assert b"HTTP/1.1 403" in contents or b"HTTP/1.1 451" in contents, "what he was answered"
    assert f"Host: {GOOD}".encode() not in contents


def test_it_has_no_rights_and_gives_way(line: Line, operator: str) -> None:
    process = Path(f"/proc/{find_portal(line)}")
    words = dict(row.split(":\t", 1) for row in (process / "status").read_text().splitlines() if ":\t" in row)
    assert int(words["CapEff"], 16) == int(words["CapPrm"], 16) == int(words["CapBnd"], 16) == 0
    assert words["NoNewPrivs"] == "1"
    nice = [os.getpriority(os.PRIO_PROCESS, number) for number in (int(process.name), line.box.program.pid)]
    assert nice[0] == nice[1] + 5
    threads = [int(thread.name) for thread in (process / "task").iterdir()]
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}


def test_nobody_notices_its_death(line: Line, operator: str) -> None:
    loaded = Loaded(line, line.site, 50, 6.0)
    loaded.wait_until(1.0)
    killed = find_portal(line)
    os.kill(killed, signal.SIGKILL)
    asked = loaded.collect()
    assert {one.what for one in asked} == {"HTTP/1.1 200 OK"}, asked[:5]
    end_s = time.monotonic() + PATIENCE_S
    while find_portal(line) == killed:
        assert time.monotonic() < end_s
        time.sleep(0.05)
    await_portal(line, operator)
    before = count_events(line, operator)
    assert sees_page(line, HOME)
    await_events(line, operator, before + 1)


def test_nobody_waits_for_it(line: Line, operator: str) -> None:
    """While it stands still events are kept as far as its socket holds them, and requests are judged as ever."""
    portal = find_portal(line)
    before = count_events(line, operator)
    os.kill(portal, signal.SIGSTOP)
    try:
        for _ in range(20):
            begin_s = time.monotonic()
            assert sees_page(line, HOME)
            assert time.monotonic() - begin_s < EFFECT_S
    finally:
        os.kill(portal, signal.SIGCONT)
    await_events(line, operator, before + 20)


def test_an_heir_of_the_place_serves_in_its_turn(line: Line, operator: str) -> None:
    old, before = find_portal(line), line.box.program
    line.box = start_box(line.topology, line.configuration, more=["--take-over"])
    assert before.wait(PATIENCE_S) == 0
    assert not Path(f"/proc/{old}").exists()
    await_portal(line, operator)
    count = count_events(line, operator)
    assert sees_page(line, HOME)
    await_events(line, operator, count + 1)
    status, told = call(line, operator, "PATCH", f"{HOME_PATH}/choices", {"allow": [BAD]})
    assert status == 200, told
    await_page(line, False)
    call(line, operator, "PATCH", f"{HOME_PATH}/choices", {"allow": []})
