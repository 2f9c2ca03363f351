"""Every QUIC capture of the corpus through the path: the names that `docs/quic-captures.md` says, and those of two
independent readers, TShark and aioquic."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from shutil import which

import pytest
from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether

from penstock.control.configuration import Configuration
from penstock.control.lists.build import build_names
from penstock.control.snapshot import build_snapshot
from penstock.control.subscribers.fixed import FixedOwners
from penstock.kernel.reasons import PATH_FIRST, REASONS
from penstock.line.pcap import read_frames, to_ethernet
from penstock.policy.snapshot import Snapshot
from penstock.replay import Replay
from tests.corpus import CORPUS
from tests.live.quic import read_names

PAGE = Path(__file__).parents[1] / "docs" / "quic-captures.md"
NAMELESS, NOTHING = "no name", "–"
STEERED = {reason.name for reason in REASONS if reason.number < PATH_FIRST}
HELLO = "quic && tls.handshake.type == 1"
NAME = "tls.handshake.extensions_server_name"

pytestmark = pytest.mark.skipif(CORPUS is None, reason="the corpus of captures is not there")


@cache
def read_page() -> dict[str, tuple[set[str], set[str], set[str]]]:
    """The table of the page: capture → names by Penstock, by TShark, by aioquic."""
    rows = re.findall(r"^\| `(\S+)` \|([^|]*)\|([^|]*)\|([^|]*)\|", PAGE.read_text("utf-8"), re.MULTILINE)
    found = {}
    for capture, *cells in rows:
        names = [set(cell.replace("`", "").replace(NOTHING, "").strip().split(", ")) - {""} for cell in cells]
        for number, cell in enumerate(names):
            if cell == {"same"}:
                names[number] = names[0]
        found[capture] = (names[0], names[1], names[2])
    return found


def find_captures() -> list[str]:
    """The QUIC captures that are there."""
    if CORPUS is None:
        return []
    places = [*(CORPUS / "zeek" / "quic").rglob("*.pcap*"), *(CORPUS / "tcpdump").glob("*quic*.pcap")]
    return sorted(str(place.relative_to(CORPUS)) for place in places)


CAPTURES = pytest.mark.parametrize("capture", find_captures())


@pytest.fixture(scope="module")
def snapshot() -> Iterator[Snapshot]:
    with tempfile.TemporaryDirectory() as name:
        configuration = Configuration(database=Path(name) / "names.db")
        build_names(configuration)
        found = Snapshot.open(build_snapshot(configuration, configuration.database, 1, Path(name)))
        yield found
        found.close()


def test_the_page_has_every_capture() -> None:
    assert sorted(read_page()) == find_captures()


@CAPTURES
def test_replay_finds_the_names_of_the_page(snapshot: Snapshot, capture: str) -> None:
    assert CORPUS is not None
    replay, names, count = Replay(snapshot, FixedOwners(Configuration()), verify_checksums=False), set(), 0
    for frame in read_frames(CORPUS / capture):
        count += 1
        for event in replay.take(frame):
            if event["proto"] == "quic" and event["reason"] == "allowed":
                names.add(event.get("host") or NAMELESS)
    assert names == read_page()[capture][0]
    assert sum(number for reason, number in replay.reasons.items() if reason in STEERED) == count


@CAPTURES
@pytest.mark.skipif(which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_the_names_of_the_page(capture: str) -> None:
    assert CORPUS is not None
    argv = ["tshark", "-n", "-r", CORPUS / capture, "-Y", HELLO, "-T", "fields", "-e", NAME]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert {line or NAMELESS for line in done.stdout.split("\n")[:-1]} == read_page()[capture][1]


@CAPTURES
def test_aioquic_finds_the_names_of_the_page(capture: str) -> None:
    assert CORPUS is not None
    frames = [to_ethernet(frame) for frame in read_frames(CORPUS / capture)]
    packets = [Ether(frame) for frame in frames if frame is not None]
    names = read_names(bytes(packet[UDP].payload) for packet in packets if UDP in packet)
    assert {name or NAMELESS for name in names} == read_page()[capture][2]
