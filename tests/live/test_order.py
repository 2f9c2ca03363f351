"""A packet never overtakes its predecessor: large first flights arrive in order, and nothing is sent twice."""

import socket
from pathlib import Path

import pytest

from penstock.demo.box import GOOD
from penstock.demo.topology import CLIENT_INTERFACE, HOME, Topology, server_address
from tests.live.line import Line, live
from tests.live.sink import Sink

pytestmark = live("openssl", "ethtool", alone=True)

PORT = 8091
FLIGHTS = 1000
FLIGHT_BYTES = 14_000  # ten segments: the initial window
HEAD = f"POST / HTTP/1.1\r\nHost: {GOOD}\r\nContent-Length: "


def send_flights(topology: Topology, family: int) -> dict[str, int]:
    """FLIGHTS connections, each with a first flight of ten segments sent at once; how the counters moved."""
    topology.set_offloads("client", CLIENT_INTERFACE, tso=False, gso=False)
    before = {place: topology.read_counters(place) for place in ("client", "server")}  # type: ignore[arg-type]
    body = FLIGHT_BYTES - len(HEAD) - len("00000\r\n\r\n")
    flight = f"{HEAD}{body:05d}\r\n\r\n".encode() + b"b" * body
    with Sink(topology, PORT, FLIGHT_BYTES) as sink:
        for _ in range(FLIGHTS):
            with topology.inside("client"):
                channel = socket.create_connection(
                    (server_address(family), PORT), timeout=10, source_address=(HOME.address(family), 0)
                )
            with channel:
                channel.sendall(flight)
                assert channel.recv(1) == b"."
    assert sink.received == [flight] * FLIGHTS
    after = {place: topology.read_counters(place) for place in ("client", "server")}  # type: ignore[arg-type]
    return {
        name: after[place][name] - before[place][name]
        for place, name in (("server", "TCPOFOQueue"), ("client", "TCPFastRetrans"), ("client", "RetransSegs"))
    }


@pytest.mark.parametrize("family", [4, 6])
def test_first_flights_stay_in_order(line: Line, here: Path, family: int) -> None:
    with Topology("bridge", prefix="penstock-live") as bridge:
        through_bridge = send_flights(bridge, family)
    through_penstock = send_flights(line.topology, family)
    print(f"{FLIGHTS} first flights over IPv{family}: Penstock {through_penstock}, bridge {through_bridge}")
    for name in ("TCPOFOQueue", "TCPFastRetrans"):
        assert through_penstock[name] <= through_bridge[name], name
