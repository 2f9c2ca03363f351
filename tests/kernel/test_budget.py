"""A subscriber's budget, as packets through `steer` meet it, against a token bucket in plain Python."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.kernel import budget
from tests.path.boxes import Box, Conversation, name_of, owners, request
from tests.vocabulary import FLOW4, SYN, TO_SERVER, Flow, frame

RATE = 100  # packets a second
OWNER = owners().number_of("home")
OTHER = Flow("10.2.0.9")
BURST = RATE * budget.BURST_NS // 1_000_000_000


@dataclass
class Bucket:
    """Tokens as people think of them: earned steadily, spent by packets; the last packet may overdraw the bucket."""

    tokens: float = BURST
    last_s: float = 0.0

    def earn(self, now_s: float) -> float:
        self.tokens = min(BURST, self.tokens + (now_s - self.last_s) * RATE)
        self.last_s = now_s
        return self.tokens


def limited(rate: int | None = RATE) -> Box:
    box = Box()
    box.path.directory.lines["interval_ns"][:] = 1_000_000_000 // rate if rate else 0
    return box


def syn(box: Box, number: int, client: str = FLOW4.client) -> str:
    """A SYN from another port each time; its reason."""
    flow = FLOW4._replace(client=client, client_port=1024 + number)
    return name_of(box.take(frame(flow, TO_SERVER, seq=7, flags=SYN), TO_SERVER))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 120)), min_size=1, max_size=8))
def test_it_is_a_token_bucket(bursts: list[tuple[int, int]]) -> None:
    box, bucket, number = limited(), Bucket(), 0
    start_ns = box.now_ns
    for pause_ms, count in bursts:
        box.now_ns += pause_ms * 1_000_000
        for _ in range(count):
            passed, number = syn(box, number) == "handshake", number + 1
            tokens = bucket.earn((box.now_ns - start_ns) / 1e9)
            if abs(tokens) > 1e-3:  # at the very edge the last digit of a time decides
                assert passed == (tokens > 0), (number, tokens)
            bucket.tokens -= budget.OPEN_COST if passed else 0


def test_what_is_over_is_dropped_and_counted_for_its_owner() -> None:
    box = limited()
    reasons = [syn(box, number) for number in range(400)]
    passed = reasons.count("handshake")
    assert BURST // budget.OPEN_COST <= passed <= BURST // budget.OPEN_COST + 12
    assert set(reasons) == {"handshake", "over_budget"}
    assert box.path.directory.lines["refused"][OWNER] == 400 - passed
    box.now_ns += 2_000_000_000
    assert syn(box, 500) == "handshake"


def test_another_subscriber_does_not_notice() -> None:
    box = limited()
    assert "over_budget" in [syn(box, number) for number in range(400)]
    talk = Conversation(box, OTHER)
    talk.open()
    assert name_of(talk.client(request("good.test"))) == "allowed"


def test_without_a_limit_nothing_is_counted() -> None:
    box = limited(None)
    assert {syn(box, number) for number in range(400)} == {"handshake"}
    assert not np.any(box.path.directory.lines["client_ns"])


def test_requests_on_one_connection_are_paid_for_too() -> None:
    box = limited()
    talk = Conversation(box, FLOW4)
    talk.open()
    reasons = [name_of(talk.client(b"x", at)) for at in range(BURST + 40)]
    assert "over_budget" in reasons
    assert reasons.index("over_budget") >= BURST - budget.OPEN_COST


def test_what_servers_send_is_not_paid_by_what_the_subscriber_sends() -> None:
    box = limited()
    assert "over_budget" in [syn(box, number) for number in range(400)]
    assert box.path.directory.lines["server_ns"][OWNER] == 0
