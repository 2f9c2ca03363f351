"""What the DNS benchmarks send and configure is what they say."""

import random
from dataclasses import replace
from pathlib import Path

import dns.message
import pytest
from bench.dns import build_name, build_query
from bench.dns_live import SERVERS, Arm, measure
from bench.dns_step import MOST_QUERIES, build_frame

from penstock.demo.topology import Topology
from penstock.path.events import EVENT_COUNT
from tests.quic import read_datagram
from tests.vocabulary import RIGHT


def test_every_query_has_a_client_and_a_name_of_its_own() -> None:
    chance = random.Random(1)
    queries = [build_query(chance, build_name(chance), number) for number in range(20)]
    frames = [build_frame(chance, query) for query in queries]
    found = [read_datagram(frame) for frame in frames]
    assert {(one.target_port, one.checksum) for one in found} == {(53, RIGHT)}
    assert [one.data for one in found] == queries
    assert len({frame[26:30] for frame in frames}) == 20
    names = {dns.message.from_wire(one.data).question[0].name for one in found}
    assert len(names) == 20
    assert MOST_QUERIES < EVENT_COUNT


class Done:
    stderr = ""

    def __init__(self, code: str, lost: int = 0) -> None:
        self.stdout = (
            f"  Queries lost:         {lost} (0.00%)\n\n  Response codes:       {code}\n"
            "  Queries per second:   47670.117000\n"
        )


class Played(Topology):
    """A topology in which dnsperf says what it is told to say."""

    def __init__(self, done: Done) -> None:
        self.done = done

    def run(self, *words: object, **more: object) -> Done:  # type: ignore[override]
        return self.done


@pytest.mark.parametrize("server", SERVERS)
def test_a_sample_is_what_dnsperf_says(server: str) -> None:
    arm = Arm("Penstock", Played(Done("NXDOMAIN 95340 (100.00%)", 3)), dict.fromkeys(("allowed", "blocked"), Path("x")))
    assert measure(server, "blocked", arm) == {"rate": 47670.117, "lost": 3}
    for name, kind in (("Penstock", "allowed"), ("bridge", "blocked")):
        with pytest.raises(RuntimeError, match=name):
            measure(server, kind, replace(arm, name=name))
    mixed = Played(Done("NOERROR 10 (0.01%), NXDOMAIN 95330 (99.99%)"))
    with pytest.raises(RuntimeError):
        measure(server, "blocked", replace(arm, topology=mixed))
