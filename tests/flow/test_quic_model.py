"""The model in small: no server acts for a refused name, healthy clients get through; and the server reads rightly."""

from random import Random

import pytest

from penstock.compile.memory import CHECKED
from tests.flow.quic_model import Model
from tests.flow.quic_server import QuicServer
from tests.quic import CLOSE, PING, V1, V2, crypto, hello, initial

RUNS = 40 if CHECKED else 300
FIRST, SECOND = hello("a.test"), hello("b.test")
DCID = b"client-1"


@pytest.mark.parametrize("seed", [1, 2])
def test_no_bypass_and_no_stall(seed: int) -> None:
    model = Model(seed)
    assert model.run(0, RUNS) == []
    assert model.tally["blocked"] > RUNS // 4
    assert model.tally["evaders whose server acted for others"] > RUNS // 4
    assert model.tally["healthy clients"] >= RUNS // 4


def server(**habits: object) -> QuicServer:
    made = QuicServer(Random(1), is_plain=True)
    made.retries, made.asks_again, made.upgrades, made.keeps_last = False, False, False, False
    for name, value in habits.items():
        setattr(made, name, value)
    return made


def names(made: QuicServer, *packets: bytes) -> list[bytes]:
    for packet in packets:
        made.receive(packet, 0)
    return made.names


@pytest.mark.parametrize("version", [V1, V2])
def test_the_server_acts_for_a_whole_hello(version: int) -> None:
    parts = [
        initial(DCID, crypto(at, FIRST[at : at + 90]), number=at, version=version) for at in range(0, len(FIRST), 90)
    ]
    assert names(server(), *reversed(parts)) == [b"a.test"]
    assert names(server(), *parts[1:]) == []
    assert names(server(), parts[0] + b"".join(parts[1:])) == [b"a.test"]


def test_the_server_keeps_one_copy() -> None:
    front = initial(DCID, crypto(9, FIRST[9:]))
    other = initial(DCID, crypto(9, SECOND[9:]), number=1)
    rest = initial(DCID, crypto(0, FIRST[:9]), number=2)
    assert names(server(), front, other, rest) == [b"a.test"]
    assert names(server(keeps_last=True), front, other, rest) == [b"b.test"]


def test_the_server_asks_again() -> None:
    packets = [initial(DCID, crypto(0, FIRST)), initial(DCID, crypto(len(FIRST), SECOND), number=1)]
    assert names(server(), *packets) == [b"a.test"]
    assert names(server(asks_again=True), *packets) == [b"a.test", b"b.test"]


def test_the_server_knows_its_own_connection_id() -> None:
    made = server(asks_again=True)
    assert names(made, initial(DCID, crypto(0, FIRST), number=1 << 20, number_bytes=4)) == [b"a.test"]
    chosen = made.connections[DCID].scid
    again = initial(chosen, crypto(len(FIRST), SECOND), number=(1 << 20) + 1, number_bytes=1, key_cid=DCID)
    assert names(made, again) == [b"a.test", b"b.test"]


def test_the_server_retries() -> None:
    made = server(retries=True)
    assert names(made, initial(DCID, crypto(0, FIRST))) == []
    chosen = made.retry_cids[DCID]
    assert names(made, initial(chosen, crypto(0, SECOND), token=b"token")) == [b"b.test"]


def test_the_server_reads_frames_by_its_habits() -> None:
    closed, odd = CLOSE + PING + crypto(0, FIRST), b"\x1f" + crypto(0, FIRST)
    long_type = b"\x40\x06" + crypto(0, FIRST)[1:]
    for frames, habit in ((closed, "reads_on"), (odd, "skips_unknown"), (long_type, "reads_long_types")):
        assert names(server(), initial(DCID, frames)) == []
        assert names(server(**{habit: True}), initial(DCID, frames)) == [b"a.test"]
    assert names(server(), initial(DCID, crypto(0, FIRST), key_cid=b"another1")) == []
