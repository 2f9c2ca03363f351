"""The register in line: sources say who is where, and the next request is judged by it, whatever becomes of the processes.

RADIUS is FreeRADIUS's radclient's, from the box; carol is where no subscriber of the configuration is.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from penstock.control.subscribers.calls import CallError
from penstock.control.subscribers.radius_server import BUFFER_BYTES
from penstock.demo.box import BoxError, run_penstock, start_box
from penstock.demo.servers import Certificate
from penstock.demo.topology import EGRESS, HOME, INGRESS, OFFICE, Subscriber
from tests.live.clients import Response, ask
from tests.live.line import BAD, Line, build_line, live
from tests.live.metrics import LISTEN, read_metrics, wait_for
from tests.live.processes import kill, reload, sees_page, wait_for_word
from tests.live.register import find_register, tell

pytestmark = live("openssl", "curl", "radclient")

CAROL = OFFICE  # the address; her id is RADIUS's
PATIENCE_S = 40.0  # the register waits up to 30 s between starts that fail
EFFECT_S = 1.0  # from a change to the next request
SECRET, PORT = "a secret", 1813
LATER = "192.0.2.55"  # an address that the box gets later
RADIUS = {
    "listen": f"127.0.0.1:{PORT}",
    "profile": "Filter-Id",
    "clients": [{"prefix": prefix, "secret": SECRET} for prefix in ("127.0.0.1/32", f"{LATER}/32")],
}
SETTINGS = {
    "subscribers": [{"id": "home", "prefixes": [f"{HOME.ipv4}/32"], "profile": "everything"}],
    "register": {"database": "subscribers.db", "file": "assignments.csv"},
    "radius": RADIUS,
    "metrics": {"listen": LISTEN},
}


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(here, pair, **SETTINGS) as found:
        yield found


@pytest.fixture(autouse=True)
def nobody(line: Line) -> Iterator[None]:
    """Penstock lives, and carol's address is nobody's, before and behind each test."""
    if line.box.program.poll() is not None:
        line.restart()
    yield
    (line.here / "assignments.csv").unlink(missing_ok=True)
    if line.box.program.poll() is None:
        with suppress(CallError):
            tell(line, "set", subscriber="carol", addresses=[])
        assert account(line, "Accounting-Off")


def slips_through(line: Line, who: Subscriber) -> bool:
    """Whether a request for the blocked host gets the server's answer."""
    with line.connect(who) as conversation:
        conversation.send(ask(BAD))
        answer = conversation.read()
    return isinstance(answer, Response) and not answer.is_page


def await_page(line: Line, who: Subscriber, wanted: bool, patience_s: float = EFFECT_S) -> None:
    """Wait until requests get the page, or no page."""
    end_s = time.monotonic() + patience_s
    while sees_page(line, who) != wanted:
        assert time.monotonic() < end_s, line.box.output.read_text()[-800:]
        time.sleep(0.02)


def account(line: Line, status: str, session: str = "1", to: str = "127.0.0.1", **attributes: str) -> bool:
    """An accounting request from the box; whether it was answered."""
    words = {"Acct-Status-Type": status, "NAS-IP-Address": "192.0.2.1"}
    if not status.startswith("Accounting"):
        words |= {"Acct-Session-Id": session, "Calling-Station-Id": "carol", "Framed-IP-Address": CAROL.ipv4}
    words |= {name.replace("_", "-"): value for name, value in attributes.items()}
    text = "".join(f'{name} = "{value}"\n' for name, value in words.items())
    argv = ["radclient", "-r", "1", "-t", "2", f"{to}:{PORT}", "acct", SECRET]
    return line.topology.run("box", argv, stdin=None, input=text).returncode == 0


def account_until_answered(line: Line, status: str, **attributes: str) -> None:
    """As a NAS does: again and again."""
    end_s = time.monotonic() + PATIENCE_S
    while not account(line, status, **attributes):
        assert time.monotonic() < end_s, line.box.output.read_text()[-800:]


def penstock(line: Line, *words: str) -> str:
    """A `penstock subscribers` command in the box; what it printed."""
    done = run_penstock(line.topology, ["subscribers", *words])
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def end(line: Line) -> None:
    """Penstock ends in order; its tables stay."""
    line.box.program.terminate()
    assert line.box.program.wait(PATIENCE_S) == 0


def take_cable_down(line: Line) -> None:
    """The tables go."""
    done = run_penstock(line.topology, ["cable", "down", "--ingress", INGRESS, "--egress", EGRESS])
    assert done.returncode == 0, done.stderr


# ---- sources ----------------------------------------------------------------------------------------------------------
def test_radius_says_who_is_there(line: Line) -> None:
    assert sees_page(line, HOME)
    assert not sees_page(line, CAROL)
    assert account(line, "Start", Filter_Id="everything")
    await_page(line, CAROL, True)
    assert line.events(subscriber="carol", host=BAD)
    assert "profile everything (by a source)" in (
        shown := penstock(line, "show", "carol").replace("│", "").replace("  ", " ")
    )
    assert f"{CAROL.ipv4} radius from 192.0.2.1" in shown
    assert account(line, "Interim-Update", Filter_Id="nothing")
    await_page(line, CAROL, False)
    assert account(line, "Interim-Update", Filter_Id="everything")
    await_page(line, CAROL, True)
    assert account(line, "Stop")
    await_page(line, CAROL, False)
    assert sees_page(line, HOME), "nobody else is touched"


def test_a_restart_in_the_middle_of_a_session(line: Line) -> None:
    """Penstock is killed and started again, tables and all are gone: it knows carol, and hears of her end."""
    assert account(line, "Start", Filter_Id="everything")
    await_page(line, CAROL, True)
    kill(line)
    take_cable_down(line)
    line.restart()
    assert sees_page(line, CAROL), "from the first request on"
    assert account(line, "Stop")
    await_page(line, CAROL, False)


def test_the_secret_is_wrong(line: Line) -> None:
    """Thrown away, counted, and nobody is anywhere by it."""
    argv = ["radclient", "-r", "1", "-t", "0.3", f"127.0.0.1:{PORT}", "acct", "another"]
    text = f'Acct-Status-Type = Start\nAcct-Session-Id = "9"\nUser-Name = "carol"\nFramed-IP-Address = {CAROL.ipv4}\n'
    before = read_metrics(line)
    assert line.topology.run("box", argv, stdin=None, input=text).returncode != 0
    found = wait_for(line, lambda now: now != before)
    name = 'penstock_radius_packets_total{outcome="wrong_secret"}'
    assert found[name] == before.get(name, 0) + 1
    assert not sees_page(line, CAROL)


def test_a_call_and_what_is_known(line: Line) -> None:
    penstock(
        line, "set", "carol", "--address", CAROL.ipv4, "--address", "203.0.113.1:1024-2047", "--profile", "everything"
    )
    assert sees_page(line, CAROL), "a call is answered when it is in force"
    assert "carol" in penstock(line, "find", CAROL.ipv4)
    assert "carol" in penstock(line, "find", "203.0.113.1:1500")
    assert "carol" in penstock(line, "list", "ca")
    assert "home" in penstock(line, "list")
    assert "home" not in penstock(line, "list", "ca")
    words = ["explain", BAD, "--subscriber", "carol", "--config", str(line.configuration)]
    assert "web-protection" in run_penstock(line.topology, words).stdout
    penstock(line, "set", "carol", "--profile", "nothing")
    assert not sees_page(line, CAROL)
    assert "by a call" in penstock(line, "show", "carol")
    penstock(line, "set", "carol", "--address", "none", "--profile", "everything")
    assert not sees_page(line, CAROL)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "caro", "--profile", "everything"], "there is no subscriber `caro`"),
        (["set", "home", "--profile", "everythin"], "did you mean `everything`?"),
        (["set", "home", "--address", "10.0.0.300"], "expected an address, a prefix or"),
        (["set", "home", "--pause", "soon"], "expected a duration"),
        (["set", "home"], "nothing was said that could hold"),
        (["show", "hom"], "did you mean `home`?"),
        (["find", "192.0.2.77"], "nobody is at 192.0.2.77"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(line: Line, words: list[str], said: str) -> None:
    done = run_penstock(line.topology, ["subscribers", *words])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert said in done.stderr
    assert sees_page(line, HOME)


def test_the_watched_file(line: Line) -> None:
    file = line.here / "assignments.csv"
    file.write_text(f"subscriber,address,profile\ncarol,{CAROL.ipv4},everything\n")
    await_page(line, CAROL, True, PATIENCE_S)
    file.write_text(f"subscriber,address,profile\ncarol,{CAROL.ipv4},everything\ncarol,nowhere,everything\n")
    wait_for_word(line, "assignments.csv:3:")
    assert sees_page(line, CAROL), "what it said before holds"
    file.write_text("subscriber,address,profile\n")
    await_page(line, CAROL, False, PATIENCE_S)


def test_a_conflict_is_told_with_both_names(line: Line) -> None:
    tell(line, "set", subscriber="dave", addresses=[CAROL.ipv4], profile="nothing")
    assert account(line, "Start", Filter_Id="everything")
    await_page(line, CAROL, True)
    told = wait_for_word(line, "an address is another subscriber's from now on").splitlines()[-1]
    assert "carol" in told
    assert "dave" in told
    assert read_metrics(line)['penstock_subscriber_changes_total{kind="conflict"}'] >= 1


# ---- the process ------------------------------------------------------------------------------------------------------
def test_it_has_no_rights_but_roots_files(line: Line) -> None:
    status = dict(row.split(":\t", 1) for row in Path(f"/proc/{find_register(line)}/status").read_text().splitlines())
    sets = {status[name].strip() for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")}
    assert sets == {f"{0:016x}"}
    assert status["NoNewPrivs"].strip() == "1"


def test_its_socket_has_room_for_a_second(line: Line) -> None:
    """Made while it still had the right to: a second's packets wait while a batch is written down."""
    find_register(line)
    told = line.topology.run("box", ["ss", "-lunm", f"sport = :{PORT}"]).stdout
    assert f"rb{2 * BUFFER_BYTES}" in told  # the kernel counts twice: socket(7)


def test_it_is_killed(line: Line) -> None:
    """What was said holds meanwhile, and what is said after it counts."""
    assert account(line, "Start", Filter_Id="everything")
    await_page(line, CAROL, True)
    register = find_register(line)
    os.kill(register, signal.SIGKILL)
    assert sees_page(line, CAROL)
    assert sees_page(line, HOME)
    account_until_answered(line, "Stop")
    assert find_register(line) != register
    await_page(line, CAROL, False)
    assert "the register died" in line.box.output.read_text()


def test_it_stands_still(line: Line) -> None:
    """Requests are judged as before, a reload does not wait for long, and an end does not either."""
    register = find_register(line)
    os.kill(register, signal.SIGSTOP)
    try:
        assert sees_page(line, HOME)
        begin_s = time.monotonic()
        times = line.box.output.read_text().count("reloaded  ")
        os.kill(line.box.program.pid, signal.SIGHUP)
        said = wait_for_word(line, "reloaded  ", times + 1)
        assert time.monotonic() - begin_s < PATIENCE_S
        assert "the register does not follow yet" in said
        assert sees_page(line, HOME)
        assert read_metrics(line)["penstock_register_up"] == 0
    finally:
        os.kill(register, signal.SIGCONT)
    account_until_answered(line, "Start", Filter_Id="everything")
    await_page(line, CAROL, True)
    assert find_register(line) == register


def test_an_address_comes_later(line: Line) -> None:
    """Where it can it listens, and tries on elsewhere, secrets that cannot be read included."""
    text = line.configuration.read_text()
    listen = f"listen: 127.0.0.1:{PORT}"
    assert listen in text
    try:
        line.configuration.write_text(text.replace(listen, f"listen: ['127.0.0.1:{PORT}', '{LATER}:{PORT}']"))
        reload(line)
        wait_for_word(line, f"cannot listen on {LATER}:{PORT}: Cannot assign requested address")
        assert account(line, "Start", Filter_Id="everything")
        await_page(line, CAROL, True)
        assert read_metrics(line)["penstock_radius_listening"] == 0
        assert line.topology.run("box", ["ip", "address", "add", f"{LATER}/32", "dev", "lo"]).returncode == 0
        assert wait_for(line, lambda found: found["penstock_radius_listening"] == 1)["penstock_radius_listening"] == 1
        assert account(line, "Stop", to=LATER)
        await_page(line, CAROL, False)
        secret = f"secret: {SECRET}"
        assert secret in text
        line.configuration.write_text(text.replace(secret, "secret_file: absent", 1))
        reload(line)
        wait_for_word(line, "clients[0].secret_file: expected a readable file")
        assert account(line, "Start", Filter_Id="everything"), "the secrets before are in force"
        assert read_metrics(line)["penstock_radius_listening"] == 0
    finally:
        line.configuration.write_text(text)
        reload(line)
    assert read_metrics(line)["penstock_radius_listening"] == 1
    assert not account(line, "Stop", to=LATER), "nobody listens there any more"
    assert account(line, "Stop")


def test_a_reload_moves_subscribers(line: Line) -> None:
    text = line.configuration.read_text()
    try:
        line.configuration.write_text(text.replace(f"- {HOME.ipv4}/32", f"- {OFFICE.ipv4}/32"))
        times = line.box.output.read_text().count("reloaded  ")
        os.kill(line.box.program.pid, signal.SIGHUP)
        wait_for_word(line, "reloaded  ", times + 1)
        assert not sees_page(line, HOME)
        assert sees_page(line, OFFICE)
    finally:
        line.configuration.write_text(text)
        os.kill(line.box.program.pid, signal.SIGHUP)
        wait_for_word(line, "reloaded  ", times + 2)
    assert sees_page(line, HOME)
    assert not sees_page(line, OFFICE)


@pytest.mark.parametrize("tables", ["the same", "others"])
def test_another_run_takes_over(line: Line, tables: str) -> None:
    """Its register knows what the one before was told, and is told from then on."""
    assert account(line, "Start", Filter_Id="everything")
    await_page(line, CAROL, True)
    old, text = line.box, line.configuration.read_text()
    if tables == "others":
        capacity = 65536 if "capacity: 32768" in text else 32768
        line.configuration.write_text(text.replace(f"capacity: {65536 + 32768 - capacity}", f"capacity: {capacity}"))
    slipped: list[bool] = []

    def look() -> None:
        slipped.append(slips_through(line, CAROL))

    line.box = start_box(line.topology, line.configuration, look, more=["--take-over"])
    assert old.program.wait(PATIENCE_S) == 0
    assert not any(slipped), f"{slipped}: she is known at every moment"
    assert tables in line.box.output.read_text().split("took over from another run")[-1].split("\n")[0]
    assert sees_page(line, CAROL)
    account_until_answered(line, "Stop")
    await_page(line, CAROL, False)
    assert sees_page(line, HOME)


def test_a_run_that_cannot_take_over_leaves_the_register(line: Line) -> None:
    """The heir's register cannot write: the one before is the writer again."""
    assert account(line, "Start", Filter_Id="everything")
    await_page(line, CAROL, True)
    text, other = line.configuration.read_text(), line.here / "other.yaml"
    (line.here / "damaged.db").write_bytes(b"no database at all" * 100)
    other.write_text(text.replace("subscribers.db", "damaged.db"))
    with pytest.raises(BoxError, match="ended with status 1"):
        start_box(line.topology, other, more=["--take-over"])
    assert "penstock: the register: " in (said := line.box.output.read_text())
    assert "damaged.db: this file is damaged" in said
    assert sees_page(line, CAROL)
    account_until_answered(line, "Stop")
    await_page(line, CAROL, False)


@contextmanager
def damaged_store(line: Line) -> Iterator[None]:
    """The store is no store."""
    store, aside = line.here / "subscribers.db", line.here / "aside"
    aside.mkdir()
    for part in line.here.glob("subscribers.db*"):
        part.rename(aside / part.name)
    store.write_bytes(b"no database at all" * 100)
    try:
        yield
    finally:
        for part in aside.iterdir():
            part.rename(line.here / part.name)
        aside.rmdir()


def test_a_start_with_a_damaged_store(line: Line) -> None:
    """Tables that say nothing: it says what is wrong, and does not claim to judge; nor does it the next time."""
    end(line)
    take_cable_down(line)
    with damaged_store(line):
        for _ in range(2):
            with pytest.raises(BoxError, match=r"the register: .*subscribers.db: this file is damaged"):
                start_box(line.topology, line.configuration)
    line.restart()
    assert sees_page(line, HOME)


def test_a_start_with_a_damaged_store_and_tables_that_say_who_is_where(line: Line) -> None:
    """It judges by them, says so, and the register begins when it can."""
    assert account(line, "Start", Filter_Id="everything")
    await_page(line, CAROL, True)
    end(line)
    with damaged_store(line):
        line.restart()
        assert sees_page(line, HOME)
        assert sees_page(line, CAROL)
        said = line.box.output.read_text()
        assert "going on with the subscribers that the kernel knows" in said.split("the cable carries on")[-1]
        assert read_metrics(line)["penstock_register_up"] == 0
    account_until_answered(line, "Stop")
    await_page(line, CAROL, False)


def test_two_runs_want_one_store(line: Line) -> None:
    """Another process has the lock of the store: it says so."""
    end(line)
    take_cable_down(line)
    holder = line.topology.spawn("box", ["flock", "-o", line.here / "subscribers.db.lock", "sleep", "60"])
    try:
        with pytest.raises(BoxError, match=r"the register: .*another `penstock run` writes it"):
            start_box(line.topology, line.configuration)
    finally:
        line.topology.end(holder)
    line.restart()
    assert sees_page(line, HOME)
