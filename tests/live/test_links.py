"""Interfaces in line that go down, lose their carrier, change or are deleted: it is told, and judging goes on by itself."""

import os
import re
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.demo.box import GOOD, PENSTOCK, lay_cable, run_penstock
from penstock.demo.namespaces import configure_links
from penstock.demo.servers import Certificate
from penstock.demo.topology import (
    CLIENT_INTERFACE,
    EGRESS,
    HOME,
    INGRESS,
    OFFICE,
    SERVER_INTERFACE,
    SERVER_IPV4,
    SERVER_IPV6,
    Place,
    Subscriber,
)
from penstock.kernel import tables
from penstock.line.inline import Control
from penstock.line.pins import Pins, find_root, open_own_table
from tests.live.clients import Conversation, Response, ask
from tests.live.line import BAD, Line, build_line, live
from tests.live.processes import find_packet_processes, kill

pytestmark = live("openssl", "curl")

UNIT = Path(__file__).parents[2] / "contrib" / "penstock.service"
INSTALLED = "/opt/penstock/current/bin/penstock"
METRICS = "127.0.0.1:9464"
TOLD_S = 20.0  # the kernel tells of a carrier once a second at most, of a size not at all, and the machine may be busy
HOLD_DOWN_S = 2
ENDS: dict[str, tuple[Place, str, str, list[str], list[str]]] = {
    "ingress": (
        "client", CLIENT_INTERFACE, INGRESS,
        [word for one in (HOME, OFFICE) for word in (f"{one.ipv4}/24", f"{one.ipv6}/64")],
        ["198.51.100.0/24", "2001:db8:77::/64"],
    ),
    "egress": (
        "server", SERVER_INTERFACE, EGRESS,
        [f"{SERVER_IPV4}/24", f"{SERVER_IPV6}/64"], ["10.77.0.0/24", "fd77::/64"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(here, pair, metrics={"listen": METRICS}) as found:
        yield found


def wait_for(what: str, holds: Callable[[], bool], bound_s: float = TOLD_S) -> float:
    """Wait until something holds; the seconds that it took. Fails behind the bound."""
    begin_s = time.monotonic()
    while not holds():
        assert time.monotonic() - begin_s < bound_s, what
        time.sleep(0.05)
    return time.monotonic() - begin_s


class Log:
    """What `penstock run` says from now on."""

    def __init__(self, line: Line) -> None:
        self.path, self.start = line.box.output, line.box.output.stat().st_size

    def read(self) -> str:
        text = self.path.read_bytes()[self.start :].decode()
        return re.sub(r"\x1b\[[0-9;]*m", "", text)

    def wait(self, text: str, **fields: str) -> None:
        """Wait until a line has this text and these fields."""
        wanted = [text, *(f"{name}={value}" for name, value in fields.items())]
        wait_for(
            f"the log does not say {wanted}",
            lambda: any(all(word in one for word in wanted) for one in self.read().split("\n")),
        )


def read_metrics(line: Line) -> dict[str, float]:
    """The series about interfaces, without their common prefix."""
    text = line.topology.run("box", ["curl", "-sS", f"http://{METRICS}/metrics"]).stdout
    found = re.findall(r"^penstock_link_(\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def set_end(line: Line, side: str, up: bool) -> None:
    """The neighbour of a side goes down or comes up: the box sees its carrier go or come."""
    place, interface, _, _, _ = ENDS[side]
    lines = [f"link set {interface} {'up' if up else 'down'}"]
    configure_links(line.topology.names[place], lines + (_configuration_of(side) if up else []))


def _configuration_of(side: str) -> list[str]:
    """Going down, or away, takes addresses and routes along."""
    _, interface, _, addresses, routes = ENDS[side]
    lines = [f"address replace {address} dev {interface}{' nodad' * (':' in address)}" for address in addresses]
    return lines + [f"route replace {route} dev {interface}" for route in routes]


def set_box(line: Line, words: str) -> None:
    """`ip link set ...` in the box."""
    configure_links(line.topology.names["box"], [f"link set {words}"])


def delete_side(line: Line, side: str) -> str:
    """`ip link del` in the box. The Ethernet address of the neighbour's end, which goes too."""
    place, end, interface, _, _ = ENDS[side]
    shown = line.topology.run(place, ["ip", "link", "show", end]).stdout
    configure_links(line.topology.names["box"], [f"link del {interface}"])
    return re.findall(r"link/ether (\S+)", shown)[0]


def make_side(line: Line, side: str, address: str, number: int | None = None) -> None:
    """The interface anew, with a neighbour that has the address it had: the other one remembers it. Nobody brings the
    box's side up. `number`: the interface's own."""
    place, end, interface, _, _ = ENDS[side]
    names = line.topology.names
    peer = f"name {end} address {address} netns {names[place]}"
    own = f"index {number} {interface}" if number else interface
    configure_links(None, [f"link add {own} netns {names['box']} type veth peer {peer}"])
    configure_links(names[place], [f"link set {end} up", *_configuration_of(side)])


def has_carrier(line: Line, place: Place, interface: str) -> bool:
    return "LOWER_UP" in line.topology.run(place, ["ip", "link", "show", interface]).stdout


def is_up(line: Line, interface: str) -> bool:
    """Administratively, in the box."""
    shown = line.topology.run("box", ["ip", "link", "show", "dev", interface]).stdout
    return "UP" in re.findall(r"<(.*?)>", shown)[0].split(",")


def read_number(line: Line, interface: str) -> int:
    return int(line.topology.run("box", ["ip", "link", "show", interface]).stdout.split(":")[0])


def read_epoch(line: Line) -> int:
    """The epoch in the control table: it changes when bytes may have passed unread."""
    with line.topology.inside("box"):
        tables.control.fd = open_own_table(Pins(INGRESS, EGRESS, find_root()).directory, "control")
    return Control().word(tables.CONTROL_EPOCH)


def status(line: Line) -> tuple[int, str]:
    done = run_penstock(line.topology, ["status"])
    return done.returncode, " ".join(done.stdout.replace("│", " ").split())


def count_failed(line: Line) -> int:
    """How many packets no wire took."""
    return int((re.findall(r"([\d,]+) answer_failed", status(line)[1]) or ["0"])[0].replace(",", ""))


def is_answered(conversation: Conversation) -> bool:
    conversation.send(ask(GOOD))
    answer = conversation.read()
    return isinstance(answer, Response) and answer.status == 200


def is_page(line: Line, who: Subscriber = HOME, family: int = 4) -> bool:
    """Whether the blocked host's page comes, on a new connection."""
    try:
        with line.connect(who, family=family) as conversation:
            conversation.send(ask(BAD))
            answer = conversation.read()
    except OSError:
        return False
    return isinstance(answer, Response) and answer.is_page


def test_the_carrier_goes_and_comes(line: Line) -> None:
    log, before = Log(line), read_metrics(line)
    assert before['up{side="ingress"}'] == 1
    with line.connect(HOME) as protected, line.connect(OFFICE) as free:
        assert is_answered(protected)
        assert is_answered(free)
        set_end(line, "ingress", False)
        log.wait("the carrier is lost", side="ingress", interface=INGRESS)
        code, text = status(line)
        assert code == 1
        assert f"{INGRESS} has no carrier: nothing crosses" in text
        assert read_metrics(line)['up{side="ingress"}'] == 0
        assert is_up(line, EGRESS), "loss is not passed on unless it is asked for"
        set_end(line, "ingress", True)
        log.wait("the carrier is back", side="ingress")
        assert is_answered(protected)
        assert is_answered(free)
    wait_for("nobody is refused", lambda: is_page(line))
    code, text = status(line)
    assert code == 0
    assert f"ingress {INGRESS} up, MTU 1,500" in text
    after = read_metrics(line)
    for change in ("carrier_lost", "carrier_back"):
        name = f'changes_total{{change="{change}",side="ingress"}}'
        assert after[name] == before[name] + 1


def test_a_side_is_taken_down_while_a_request_waits(line: Line) -> None:
    """What the workers send meanwhile is lost, the sender repeats it, and the same workers send it."""
    log, workers = Log(line), find_packet_processes(line.box.program.pid)
    with line.connect(HOME) as conversation:
        assert is_answered(conversation)
        set_box(line, f"{EGRESS} down")
        log.wait("the interface was taken down", side="egress")
        assert f"{EGRESS} is down" in status(line)[1]
        failed = count_failed(line)
        conversation.send(ask(GOOD))
        wait_for("no send failed", lambda: count_failed(line) > failed)
        set_box(line, f"{EGRESS} up")
        log.wait("the interface is up", side="egress")
        answer = conversation.read()
        assert isinstance(answer, Response)
        assert answer.status == 200
    wait_for("nobody is refused", lambda: is_page(line))
    assert find_packet_processes(line.box.program.pid) == workers


def test_unequal_mtus_are_told_with_the_cure(line: Line) -> None:
    log = Log(line)
    set_box(line, f"{EGRESS} mtu 1400")
    log.wait("the MTU changed", side="egress", old="1500", new="1400")
    log.wait("not as it must be: equal MTUs", cure="'ip link set IF mtu N on both sides'")
    found = read_metrics(line)
    assert (found['mtu{side="egress"}'], found["faults"]) == (1400, 1)
    set_box(line, f"{EGRESS} mtu 1500")
    log.wait("as it must be again: equal MTUs")
    assert read_metrics(line)["faults"] == 0


def test_big_tcp_is_told_and_promiscuous_mode_is_set_again(line: Line) -> None:
    log = Log(line)
    set_box(line, f"{INGRESS} gso_max_size 100000")
    log.wait(f"not as it must be: {INGRESS} without BIG TCP")
    set_box(line, f"{INGRESS} gso_max_size 65536")
    log.wait(f"as it must be again: {INGRESS} without BIG TCP")
    set_box(line, f"{INGRESS} promisc off")
    log.wait(f"as it must be again: {INGRESS} promiscuous")
    assert "PROMISC" in line.topology.run("box", ["ip", "link", "show", INGRESS]).stdout


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_an_interface_is_deleted_and_made_again(line: Line, side: str) -> None:
    log, workers, interface = Log(line), find_packet_processes(line.box.program.pid), ENDS[side][2]
    epoch = read_epoch(line)
    with line.connect(HOME) as protected, line.connect(OFFICE) as free:
        assert is_answered(protected)
        assert is_answered(free)
        address = delete_side(line, side)
        log.wait("the interface is gone", side=side, interface=interface)
        code, text = status(line)
        assert code == 1
        assert f"{interface} is gone" in text
        found = read_metrics(line)
        assert (found[f'up{{side="{side}"}}'], found[f'mtu{{side="{side}"}}']) == (0, 0)
        make_side(line, side, address)
        took_s = wait_for("nobody is refused", lambda: is_page(line))
        print(f"from the interface's return to a block page: {took_s:.2f} s")
        wait_for("nobody is refused over IPv6", lambda: is_page(line, family=6))
        log.wait("the line is laid again: judging")
        assert is_answered(protected)
        assert is_answered(free)
    assert find_packet_processes(line.box.program.pid) == workers, "the packet process went on"
    assert read_epoch(line) == epoch, "nothing passed unread"
    code, text = status(line)
    assert code == 0, text
    assert "steer both sides" in text
    assert "difference 0 of" in text


def test_an_interface_is_made_again_unseen_and_somebody_lays_the_cable(line: Line) -> None:
    """With the number that it had, while `run` stands still: only what hangs on it tells that it is another one."""
    log, epoch, number = Log(line), read_epoch(line), read_number(line, INGRESS)
    line.box.program.send_signal(signal.SIGSTOP)
    make_side(line, "ingress", delete_side(line, "ingress"), number)
    assert read_number(line, INGRESS) == number
    lay_cable(line.topology)
    line.box.program.send_signal(signal.SIGCONT)
    log.wait("the line is laid again: judging")
    wait_for("nobody is refused", lambda: is_page(line))
    assert read_epoch(line) == epoch + 2, "what passed by the cable alone was unread"


def test_an_interface_is_moved_away_and_brought_back(line: Line) -> None:
    """Its programs and its number come along, but not the sockets that were bound to it."""
    log, names = Log(line), line.topology.names
    with line.connect(HOME) as conversation:
        assert is_answered(conversation)
        configure_links(names["box"], [f"link set {INGRESS} netns {names['server']}"])
        log.wait("the interface is gone", side="ingress")
        configure_links(names["server"], [f"link set {INGRESS} netns {names['box']}"])
        log.wait("the line is laid again: judging")
        wait_for("nobody is refused", lambda: is_page(line))
        assert is_answered(conversation)


def test_a_renamed_interface_is_missed_and_carries_on(line: Line) -> None:
    log = Log(line)
    set_box(line, f"{EGRESS} name other")
    log.wait("the interface is gone", side="egress")
    wait_for("nobody is refused", lambda: is_page(line))
    set_box(line, f"other name {EGRESS}")
    log.wait("the interface is there again", side="egress")
    wait_for("nobody is refused", lambda: is_page(line))
    assert "laid again" not in log.read()


def test_the_packet_process_dies_while_an_interface_is_gone(line: Line) -> None:
    log = Log(line)
    address = delete_side(line, "egress")
    log.wait("the interface is gone", side="egress")
    for worker in find_packet_processes(line.box.program.pid):
        os.kill(worker, signal.SIGKILL)
    log.wait("judging again")
    make_side(line, "egress", address)
    wait_for("nobody is refused", lambda: is_page(line))
    with line.connect(HOME) as conversation:
        assert is_answered(conversation)


def test_a_loss_is_passed_on_and_taken_back(passing: Line) -> None:
    line, log = passing, Log(passing)
    with line.connect(HOME) as conversation:
        assert is_answered(conversation)
        set_end(line, "ingress", False)
        wait_for("the server's side is still up", lambda: not has_carrier(line, "server", SERVER_INTERFACE))
        log.wait("taken down, because the other side is lost", side="egress", other="'no carrier'")
        code, text = status(line)
        assert code == 1
        assert f"{EGRESS} was taken down, because the other side is lost" in text
        assert read_metrics(line)['held{side="egress"}'] == 1
        set_end(line, "ingress", True)
        back_s = time.monotonic()
        wait_for("the server's side stays down", lambda: has_carrier(line, "server", SERVER_INTERFACE))
        assert time.monotonic() - back_s > HOLD_DOWN_S - 1
        log.wait("brought up again", side="egress")
        set_end(line, "egress", True)  # its routes are gone
        assert is_answered(conversation)
    wait_for("nobody is refused", lambda: is_page(line))
    assert read_metrics(line)['held{side="egress"}'] == 0
    assert status(line)[0] == 0


def test_an_interface_that_is_gone_is_a_loss(passing: Line) -> None:
    line, log = passing, Log(passing)
    address = delete_side(line, "egress")
    wait_for("the subscribers' side is still up", lambda: not has_carrier(line, "client", CLIENT_INTERFACE))
    make_side(line, "egress", address)
    log.wait("the line is laid again: judging")
    assert not is_up(line, INGRESS), "it comes up behind the hold-down alone"
    wait_for("the subscribers' side stays down", lambda: has_carrier(line, "client", CLIENT_INTERFACE))
    set_end(line, "ingress", True)
    wait_for("nobody is refused", lambda: is_page(line))


def test_a_held_side_comes_up_when_the_setting_goes_and_by_hand(passing: Line) -> None:
    line = passing
    set_end(line, "egress", False)
    wait_for("loss is not passed on", lambda: not is_up(line, INGRESS))
    log = Log(line)
    set_box(line, f"{INGRESS} up")
    log.wait("brought up by somebody else", side="ingress")
    assert is_up(line, INGRESS)
    set_end(line, "egress", True)
    log.wait("the carrier is back", side="egress")
    set_end(line, "egress", False)
    wait_for("loss is passed on no more", lambda: not is_up(line, INGRESS))
    text = line.configuration.read_text()
    line.configuration.write_text(text.replace("link_loss: pass", "link_loss: ignore"))
    line.box.program.send_signal(signal.SIGHUP)
    wait_for("it stays down", lambda: is_up(line, INGRESS))
    line.configuration.write_text(text)
    line.box.program.send_signal(signal.SIGHUP)
    set_end(line, "egress", True)


def run_stop_post(line: Line) -> None:
    """What systemd runs when the unit's main process is gone, with this pair's interfaces and these sources."""
    (command,) = re.findall(r"^ExecStopPost=-(.*)$", UNIT.read_text(), re.M)
    for word, value in (("${INGRESS}", INGRESS), ("${EGRESS}", EGRESS), (INSTALLED, " ".join(PENSTOCK))):
        assert word in command
        command = command.replace(word, value)
    done = line.topology.run("box", shlex.split(command))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_the_unit_frees_a_side_that_a_killed_run_held(passing: Line, side: str) -> None:
    """And brings nothing up that somebody took down, nor what a run holds that lives."""
    line, held = passing, {"ingress": EGRESS, "egress": INGRESS}[side]
    set_end(line, side, False)
    wait_for("loss is not passed on", lambda: not is_up(line, held))
    run_stop_post(line)
    assert not is_up(line, held), "a run holds it that lives"
    kill(line)
    run_stop_post(line)
    assert is_up(line, held)
    assert "was taken down" not in status(line)[1]
    set_box(line, f"{held} down")
    run_stop_post(line)
    assert run_penstock(line.topology, ["cable", "free", "--ingress", INGRESS, "--egress", EGRESS]).stdout == ""
    assert not is_up(line, held)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_no_side_stays_down_when_penstock_ends(passing: Line, how: str) -> None:
    line = passing
    set_end(line, "ingress", False)
    wait_for("loss is not passed on", lambda: not is_up(line, EGRESS))
    if how == "stop":
        assert line.topology.end(line.box.program) == 0
        assert is_up(line, EGRESS)
        assert "was taken down" not in status(line)[1]
    else:
        kill(line)
        assert not is_up(line, EGRESS)
    line.restart()
    assert is_up(line, EGRESS)
    for side in ENDS:
        set_end(line, side, True)
    wait_for("nobody is refused", lambda: is_page(line))


@pytest.fixture
def passing(passing_line: Line) -> Line:
    """The line that passes a loss on, with both sides up and judging, whatever the test before left."""
    if passing_line.box.program.poll() is not None:
        passing_line.restart()
    for side in ENDS:
        set_end(passing_line, side, True)
    wait_for("nobody is refused", lambda: is_page(passing_line), 30)
    return passing_line


@pytest.fixture(scope="module")
def passing_line(tmp_path_factory: pytest.TempPathFactory, pair: Certificate) -> Iterator[Line]:
    here = tmp_path_factory.mktemp("passing")
    settings = {"link_loss": "pass", "hold_down_s": HOLD_DOWN_S, "carrier_wait_s": 3}
    with build_line(here, pair, metrics={"listen": METRICS}, line=settings) as found:
        yield found
