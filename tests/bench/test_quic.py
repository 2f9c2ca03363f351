"""What the QUIC benchmark sends through the path is what it says."""

import random

import pytest
from bench.quic import KINDS, build_initials

from tests.quic import read_datagram
from tests.vocabulary import RIGHT

COUNT = 6


@pytest.mark.parametrize("kind", KINDS)
def test_every_connection_has_an_id_and_a_client_of_its_own(kind: str) -> None:
    frames = list(build_initials(random.Random(1), kind, COUNT))
    found = [read_datagram(frame) for frame in frames]
    connections = COUNT // (2 if kind == "hello in two" else 1)
    assert len(found) == COUNT
    assert {(datagram.target_port, datagram.checksum) for datagram in found} == {(443, RIGHT)}
    assert len({datagram.data[6:14] for datagram in found}) == connections
    assert len({frame[26:30] for frame in frames}) == connections
    assert all(len(datagram.data) == 1200 for datagram in found)
