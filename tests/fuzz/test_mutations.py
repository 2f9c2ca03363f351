"""What is sent on the wire: whole packets where nothing was changed, and any bytes where something was."""

from random import Random

import pytest

from tests.fuzz.mutations import CHANGES, FRAME_LIMIT, GUEST, NOBODY, TCP, UDP, Packet, is_harmless, mutate
from tests.fuzz.stories import FIRST_PORT, MUTATED, take_packet, tell_story
from tests.fuzz.wire import Report
from tests.vocabulary import FLOW4, FLOW6, RIGHT, frame, read_frame

DATA = b"GET / HTTP/1.1\r\nHost: www.example.test\r\n\r\n" * 20


def recorded(family: int = 4) -> list[Packet]:
    """A conversation as it would be recorded: forty requests, all to the server."""
    taken = [
        take_packet(frame(FLOW6 if family == 6 else FLOW4, True, seq=number, data=DATA), True) for number in range(40)
    ]
    return [found[1] for found in taken if found]


@pytest.mark.parametrize("family", [4, 6])
def test_an_unchanged_packet_is_right_and_between_ends_that_nobody_owns(family: int) -> None:
    packet = recorded(family)[0]
    packet.client_port = 4711
    segment = read_frame(packet.build())
    assert (segment.source, segment.target) == (GUEST[family], NOBODY[family])
    assert (segment.source_port, segment.data, segment.checksum) == (4711, DATA, RIGHT)


@pytest.mark.parametrize("family", [4, 6])
def test_every_change_can_be_built(family: int) -> None:
    random = Random(1)
    whole = recorded(family)[0].build()
    for change in CHANGES:
        built = []
        for _ in range(20):
            packet = recorded(family)[0]
            change(packet, random)
            built.append(packet.build())
        assert any(one != whole for one in built), change.__name__


@pytest.mark.parametrize("family", [4, 6])
def test_a_packet_that_was_cut_can_be_changed_again(family: int) -> None:
    random = Random(3)
    for protocol in (TCP, UDP):
        for size in range(24):
            for change in CHANGES:
                packet = Packet(True, family, protocol, bytes(range(size)))
                change(packet, random)
                assert packet.build()
            assert mutate(Packet(True, family, protocol, bytes(size)), random) is not None


def test_mutations_are_many_and_bounded() -> None:
    random, seen = Random(2), set()
    for number in range(1000):
        for built in mutate(recorded(4 + 2 * (number & 1))[0], random):
            seen.add(built)
    assert len(seen) > 900
    assert sum(is_harmless(one) for one in seen) > 800


def test_frames_of_honest_clients_and_too_large_ones_are_not_sent() -> None:
    honest = frame(FLOW4._replace(client="10.77.0.2"), True, seq=1, data=DATA)
    assert not is_harmless(honest)
    assert is_harmless(frame(FLOW4, True, seq=1))
    assert not is_harmless(frame(FLOW4, True, seq=1, data=bytes(FRAME_LIMIT)))
    assert not is_harmless(frame(FLOW4, True, seq=1)[:12] + b"\x08\x06" + bytes(40))


def test_a_story_is_told_mostly_as_it_was() -> None:
    story, same, told = recorded(), 0, 0
    for number in range(50):
        plain = {Packet(True, 4, TCP, one.content, FIRST_PORT + number).build()[34:] for one in story}
        frames = [one for _, one in tell_story(story, Random(number), number)]
        told += len(frames)
        same += sum(any(one.endswith(end) for end in plain) for one in frames)
    assert (1 - MUTATED) / 2 < same / told < 1


def test_a_report_tells_what_is_wrong() -> None:
    fine = Report(frames=1, before={1: 10, 2: 10}, after={1: 10, 2: 10}, waiting=0, difference=0)
    fine.asked["allowed http 4"] += 1
    assert fine.find_faults() == []
    for change in (
        {"after": {1: 10, 3: 10}}, {"after": {1: 10, 2: 1 << 30}}, {"waiting": 1}, {"difference": -1}, {"frames": 0},
        {"wrong": ["blocked http 4: 200"]},
    ):  # fmt: skip
        assert Report(**(vars(fine) | change)).find_faults(), change
