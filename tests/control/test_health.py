"""The health counters, fed by connections through `steer`."""

from penstock.control.health import describe_health, find_median_ms, read_health
from penstock.kernel import tables as t
from tests.path.boxes import Box, Conversation, request
from tests.vocabulary import ACK, FLOW4, RST, Flow

BARE_FLOW = Flow("10.9.0.1")  # a subscriber without services


def talk_with(box: Box, flow: Flow) -> Conversation:
    """One connection: a request, its repetition, an answer, its repetition, and the client's reset."""
    talk = Conversation(box, flow).open()
    talk.client(request("good.test"))
    talk.client(request("good.test"), 0)
    talk.server(b"answer")
    talk.server(b"answer", 0)
    talk.client(flags=RST | ACK)
    return talk


def test_each_class_has_its_own_counters() -> None:
    box = Box()
    talk_with(box, FLOW4)
    for port in (1, 2):
        talk_with(box, BARE_FLOW._replace(client_port=port))
    health = read_health(box.path.health)
    for name, count in (("protected", 1), ("unprotected", 2)):
        one = health[name]
        assert (one.handshakes, one.completed) == (count, count)
        assert one.segments == (2 * count, 2 * count)
        assert one.repeated == (count, count)
        assert one.resets == (count, 0)
        assert int(one.server_latency.sum()) == int(one.client_latency.sum()) == count


def test_latencies_are_those_of_the_handshake() -> None:
    box = Box()
    talk = Conversation(box, FLOW4)
    talk.syn()
    box.now_ns += 80_000_000
    talk.syn_ack()
    box.now_ns += 9_000_000
    talk.client(flags=ACK)
    one = read_health(box.path.health)["protected"]
    assert 80 <= find_median_ms(one.server_latency) <= 2 * 82
    assert 9 <= find_median_ms(one.client_latency) <= 2 * 11
    assert "1 handshakes, 1 completed" in describe_health(one)


def test_a_repeated_syn_keeps_the_first_time() -> None:
    box = Box()
    talk = Conversation(box, FLOW4)
    talk.syn()
    box.now_ns += 1_000_000_000
    talk.syn()
    talk.syn_ack()
    one = read_health(box.path.health)["protected"]
    assert one.handshakes == 1
    assert find_median_ms(one.server_latency) > 1000


def test_without_connections_nothing_is_said() -> None:
    box = Box()
    assert describe_health(read_health(box.path.health)["protected"]) == "no connection yet"
    assert len(box.path.health) == t.HEALTH_BYTES * 2 * t.COUNTER_CPUS
