"""A reload that would refuse most of what was asked for is not taken, and says so; a small one is, and one on purpose."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from penstock.demo.box import GOOD, run_penstock, write_configuration
from penstock.demo.servers import Certificate
from penstock.demo.topology import HOME, OFFICE
from tests.live.line import BAD, Line, build_line, live
from tests.live.processes import hear_reload

pytestmark = live("curl")

RARE = "rare.example.test"
RELOAD_S = 30.0
SETTINGS = {
    "guard": {"share": 0.3, "requests": 40},
    "metrics": {"listen": "127.0.0.1:9464"},
}


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    """A line whose subscriber has asked for GOOD 43 times, for RARE and BAD a few times."""
    with build_line(here, pair, **SETTINGS) as found:
        for url in (f"http://{GOOD}/[1-40]", f"https://{GOOD}/", f"http://{RARE}/[1-4]", f"http://{BAD}/"):
            assert found.curl(url, HOME, 4, "-o", "/dev/null").returncode == 0
        found.curl(f"https://{GOOD}/", HOME, 6, "-o", "/dev/null")
        found.curl(f"http://{GOOD}/[1-100]", OFFICE, 4, "-o", "/dev/null")  # unprotected: nobody reads it
        yield found


@pytest.fixture(autouse=True)
def lists(line: Line) -> Iterator[Path]:
    """The list of phishing; afterwards what it was is in force again."""
    path = line.here / "phishing.txt"
    before = path.read_text()
    yield path
    path.write_text(before)
    write_configuration(line.here, **SETTINGS)
    assert "reloaded" in hear_reload(line, RELOAD_S)


def build(line: Line) -> None:
    assert run_penstock(line.topology, ["lists", "build", "--config", line.configuration]).returncode == 0


def status_of(line: Line, host: str) -> str:
    return str(line.curl(f"http://{host}/", HOME, 4, "-w", "%{http_code}", "-o", "/dev/null").stdout)


def read_metrics(line: Line) -> dict[str, float]:
    text = line.topology.run("box", ["curl", "-qsS", "http://127.0.0.1:9464/metrics"]).stdout
    rows = [row.split() for row in text.splitlines() if row.startswith("penstock_guard")]
    return {name: float(value) for name, value in rows}


def find_packet_process(line: Line) -> int:
    children = Path(f"/proc/{line.box.program.pid}/task/{line.box.program.pid}/children").read_text()
    (found,) = [int(pid) for pid in children.split() if b"penstock.engine" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found


def test_a_list_that_refuses_most_of_the_hour_is_not_taken(line: Line, lists: Path) -> None:
    lists.write_text(f"{BAD}\n\n{GOOD}\n")
    checked = run_penstock(line.topology, ["lists", "check", "--config", line.configuration])
    assert checked.returncode == 1, checked.stderr
    assert "would not be taken" in checked.stdout
    assert GOOD in checked.stdout
    before = read_metrics(line)
    said = hear_reload(line, RELOAD_S)
    assert "not reloaded" in said
    assert f"{GOOD} (42 requests of 1 subscriber; phishing, {lists}:3)" in said
    assert f"% of the last hour's {int(before['penstock_guard_requests'])} requests" in said
    after = read_metrics(line)
    assert after["penstock_guard_refusals_total"] == before["penstock_guard_refusals_total"] + 1
    assert after["penstock_guard_held"] == 1
    assert after["penstock_guard_share"] > 0.3
    assert "not taken, the last of them at" in " ".join(
        run_penstock(line.topology, ["status"]).stdout.replace("│", " ").split()
    )
    assert status_of(line, GOOD) == "200"
    assert status_of(line, BAD) == "403"


def test_what_was_not_taken_is_not_in_force_after_a_death_either(line: Line, lists: Path) -> None:
    lists.write_text(f"{BAD}\n{GOOD}\n")
    words = ["explain", GOOD, "--subscriber", "home", "--config", line.configuration]
    build(line)
    assert "block" in run_penstock(line.topology, words).stdout
    assert "not reloaded" in hear_reload(line, RELOAD_S)
    assert "forward" in run_penstock(line.topology, words).stdout  # a start would take what is in force
    build(line)
    said = line.box.output.read_text().count("judging again")
    os.kill(find_packet_process(line), signal.SIGKILL)
    end_s = time.monotonic() + RELOAD_S
    while line.box.output.read_text().count("judging again") == said:
        assert time.monotonic() < end_s
        time.sleep(0.05)
    assert (status_of(line, BAD), status_of(line, GOOD)) == ("403", "200")


def test_a_list_that_refuses_little_is_taken(line: Line, lists: Path) -> None:
    lists.write_text(f"{BAD}\n{RARE}\n")
    checked = run_penstock(line.topology, ["lists", "check", "--config", line.configuration])
    assert checked.returncode == 0, checked.stderr
    assert RARE in checked.stdout
    assert status_of(line, RARE) == "200"
    assert "not reloaded" not in hear_reload(line, RELOAD_S)
    assert status_of(line, RARE) == "403"
    assert read_metrics(line)["penstock_guard_held"] == 0


def test_on_purpose_it_is_taken(line: Line, lists: Path) -> None:
    lists.write_text(f"{BAD}\n{GOOD}\n")
    assert "not reloaded" in hear_reload(line, RELOAD_S)
    write_configuration(line.here, **{**SETTINGS, "guard": {"share": 0.97, "requests": 40}})
    lists.write_text(f"{BAD}\n{GOOD}\n")  # it was written too
    assert "not reloaded" not in hear_reload(line, RELOAD_S)
    assert status_of(line, GOOD) == "403"


def test_a_change_of_a_profile_is_a_change_too(line: Line, lists: Path) -> None:
    wanted = line.configuration.read_text()
    document = yaml.safe_load(wanted)
    document["profiles"]["everything"]["services"].remove("parental-control")
    lists.with_name("gambling.txt").write_text(f"{GOOD}\n")
    line.configuration.write_text(yaml.safe_dump(document, sort_keys=False))
    assert "not reloaded" not in hear_reload(line, RELOAD_S)
    line.configuration.write_text(wanted)
    said = hear_reload(line, RELOAD_S)
    assert "not reloaded" in said
    assert f"gambling, {line.here}/gambling.txt:1" in said
