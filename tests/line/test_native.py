"""`NativePath`: one frame in, its reasons and what would be sent out; times are the caller's."""

import pytest

from penstock.kernel import reasons as r
from penstock.line.directory import Held, make_places, pack_place
from penstock.line.native import NativePath
from tests.path.boxes import Box, Conversation, owners, policy, request
from tests.vocabulary import FLOW4, TO_SERVER, WRONG, frame, read_frame

TRUST_CHECKSUMS = 2


def test_a_path_without_policy_forwards() -> None:
    outcome = NativePath(capacity=64).take(frame(FLOW4, TO_SERVER, seq=1, data=request("bad.test")), True, 1)
    assert (outcome.reason, outcome.path_reason, outcome.sent, outcome.is_forwarded) == (r.UNPROTECTED, None, [], True)


def test_what_goes_up_is_not_forwarded_but_sent() -> None:
    content = frame(FLOW4, TO_SERVER, seq=1, data=request("good.test"))
    outcome = Box(capacity=64).take(content, TO_SERVER)
    assert (outcome.reason, outcome.path_reason) == (r.UP_MIDSTREAM, r.ON_SIGHT)
    assert outcome.sent == [(True, content)]
    assert not outcome.is_forwarded


@pytest.mark.parametrize(("options", "reason"), [(0, r.BAD_CHECKSUM), (TRUST_CHECKSUMS, r.ALLOWED)])
def test_captures_may_have_wrong_checksums(options: int, reason: int) -> None:
    talk = Conversation(Box(capacity=64, options=options)).open()
    assert talk.client(request("good.test"), checksum=WRONG).path_reason == reason


def test_two_paths_share_nothing() -> None:
    first, second = Conversation(Box(capacity=64)).open(), Box(capacity=64)
    assert first.record() is not None
    assert not second.path.flows.any()


def test_the_frame_may_be_longer_than_a_small_record() -> None:
    content = frame(FLOW4, TO_SERVER, seq=1, data=request("good.test", "GET", "/" + "x" * 60_000))
    outcome = Box(capacity=64).take(content, TO_SERVER, gso_size=1448)
    assert [read_frame(sent) for _, sent in outcome.sent] == [read_frame(content)]


def test_protection_is_by_the_longest_prefix() -> None:
    path = NativePath(capacity=64)
    path.set_snapshot(policy().snapshot.address, policy().snapshot.names_address)
    owners().fill(path.directory)
    path.directory.set_line(9, None, Held())
    one = make_places([pack_place(0, bytes(10) + b"\xff\xff\x0a\x01\x00\x01", 128)])
    path.directory.put(one, [9])
    content = frame(FLOW4, TO_SERVER, seq=1, data=request("bad.test"))
    assert path.take(content, True, 1).reason == r.UNPROTECTED
    other = frame(FLOW4._replace(client="10.1.0.2"), TO_SERVER, seq=1, data=request("bad.test"))
    assert path.take(other, True, 1).path_reason == r.BLOCKED
