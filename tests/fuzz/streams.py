"""Inputs for the readers of a client's stream: HTTP, chunk lines, responses, TLS records, hellos.

    flags │ cut │ the stream ...      `cut` says in 256ths after how much of the stream the reader is asked first

Each function reads one input on a machine, asserts what its reader promises, and returns all that it said, without
addresses, so that two machines can be compared.
"""

from typing import Any

from penstock.request import chunked, hello, http, tls
from penstock.request import response as answer
from penstock.request.status import BAD, COMPLETE, NEED_MORE, NOT_MINE
from tests.fuzz.machines import FILL, Machine

Said = tuple[Any, ...]
STRETCH_BYTES = 66_000  # more than any limit of a stream
STATUSES = (NEED_MORE, COMPLETE, NOT_MINE, BAD)


def split_input(content: bytes) -> tuple[int, int, bytes]:
    """The flags, how many bytes are shown first, and the stream."""
    head, stream = content[:2].ljust(2, b"\0"), content[2:]
    return head[0], head[1] * len(stream) >> 8, stream


def build_input(stream: bytes, flags: int = 0, cut: int = 128) -> bytes:
    """What `split_input` takes apart."""
    return bytes([flags, cut]) + stream


def see_http(machine: Machine, stream: bytes, eof: int, state: int) -> Said:
    """What the request's reader says of the stream so far."""
    start = machine.lend(stream)
    status = machine.run("request.http.read_request", start, start + len(stream), eof, state)
    detail, count = machine.word(state), machine.word(state + http.HOST_COUNT)
    assert status in STATUSES
    assert (detail in http.DETAIL_TEXT) == (status == BAD)
    assert 0 <= count <= http.HOST_LIMIT
    spans = [http.HOST_SPANS + http.SPAN_STRIDE * number for number in range(count)]
    assert machine.run("request.http.read_request", start, start + len(stream), eof, state) == status, "asked again"
    if status == COMPLETE:
        spans += [http.METHOD_SPAN, http.TARGET_SPAN, http.PATH_SPAN]
    places = []
    for at in spans:
        off, size = machine.word(state + at), machine.word(state + at + http.SPAN_BYTES)
        assert 0 <= off <= off + size <= len(stream)
        places.append((off, size))
    if status != COMPLETE:
        return status, detail, places
    numbers = [http.HEAD_END, http.BODY_KIND, http.BODY_LENGTH_BYTES, http.FLAGS, http.VERSION]
    words = [machine.word(state + at) for at in numbers]
    assert 0 < words[0] <= len(stream)
    assert words[2] >= 0
    return status, detail, places, words


def read_http(machine: Machine, content: bytes) -> Said:
    """A request: any cutting reads the same."""
    flags, cut, stream = split_input(content)
    whole = see_http(machine, stream, flags & 1, machine.room(http.STATE_BYTES))
    state = machine.room(http.STATE_BYTES)
    first = see_http(machine, stream[:cut], 0, state)
    assert (see_http(machine, stream, flags & 1, state) if first[0] == NEED_MORE else first) == whole
    return whole


def see_chunk(machine: Machine, stream: bytes, first: int, state: int) -> Said:
    start = machine.lend(stream)
    status = machine.run("request.chunked.read_chunk", start, start + len(stream), first, state)
    detail = machine.word(state)
    assert status in (NEED_MORE, COMPLETE, BAD)
    assert (detail in http.DETAIL_TEXT) == (status == BAD)
    assert machine.run("request.chunked.read_chunk", start, start + len(stream), first, state) == status, "asked again"
    if status != COMPLETE:
        return status, detail
    end, size = (machine.word(state + at) for at in (chunked.CHUNK_HEADER_END, chunked.CHUNK_BYTES))
    assert 0 < end <= len(stream)
    assert 0 <= size < 1 << 60
    return status, detail, end, size


def read_chunks(machine: Machine, content: bytes) -> Said:
    """The line before a chunk: any cutting reads the same."""
    flags, cut, stream = split_input(content)
    whole = see_chunk(machine, stream, flags & 1, machine.room(chunked.CHUNK_STATE_BYTES))
    state = machine.room(chunked.CHUNK_STATE_BYTES)
    first = see_chunk(machine, stream[:cut], flags & 1, state)
    assert (see_chunk(machine, stream, flags & 1, state) if first[0] == NEED_MORE else first) == whole
    return whole


def read_responses(machine: Machine, content: bytes) -> Said:
    """The head of a response: less of it gives the same, or nothing."""
    flags, cut, stream = split_input(content)
    found = []
    for shown in (stream[:cut], stream):
        start = machine.lend(shown)
        size = machine.run("request.response.read_response", start, start + len(shown), flags & 1)
        found.append(size)
        if size < 0:
            assert size >= answer.CONTINUES - len(shown)
        else:
            assert size >= 14
            assert flags & 1 == 0 or size <= len(shown), "what answers HEAD has no body"
    # The name of another protocol is seen with five bytes, the version of this one with twelve.
    assert found[0] in (answer.UNKNOWN, found[1])
    return (found[1],)


def see_hello(machine: Machine, stream: bytes, state: int, scratch: int) -> Said:
    """What the reader of TLS says of the stream so far."""
    start = machine.lend(stream)
    status = machine.run("request.tls.read_hello", start, start + len(stream), state, scratch)
    detail = machine.word(state)
    assert status in STATUSES
    assert (detail in tls.DETAILS) == (status == BAD)
    if status != COMPLETE:
        return status, detail
    areas = ((start, len(stream)), (scratch, tls.SCRATCH_BYTES))
    spans = [find_span(machine, state, at, areas) for at in (tls.HOST_AT, tls.ALPN_AT)]
    words = [machine.word(state + at) for at in (tls.VERSIONS, tls.FLAGS, tls.RECORD_VERSION, tls.HELLO_END)]
    assert 0 < words[3] <= len(stream)
    check_host(spans[0])
    again = machine.run("request.tls.read_hello", start, start + len(stream), state, scratch)
    assert (again, find_span(machine, state, tls.HOST_AT, areas)) == (COMPLETE, spans[0]), "asked again"
    return status, detail, spans, words


def find_span(machine: Machine, state: int, slot: int, areas: tuple[tuple[int, int], ...]) -> bytes:
    """The bytes that a pair of slots names, which lie in one of the areas."""
    at, size = machine.word(state + slot), machine.word(state + slot + 8)
    if (at, size) == (0, 0):
        return b""
    assert size > 0
    assert any(start <= at and at + size <= start + length for start, length in areas)
    return machine.view(at, size)


def check_host(host: bytes) -> None:
    """A host is no longer than a name, and ends with no dot."""
    assert len(host) <= hello.NAME_LIMIT
    assert not host.endswith(b".")
    assert not any(byte <= 0x20 or byte == 0x7F for byte in host)


def read_tls(machine: Machine, content: bytes) -> Said:
    """The first flight of a client, and the same bytes as a later one: any cutting reads the same."""
    _, cut, stream = split_input(content)
    scratch = machine.room(tls.SCRATCH_BYTES, FILL)
    whole = see_hello(machine, stream, machine.room(tls.STATE_BYTES), scratch)
    state = machine.room(tls.STATE_BYTES)
    first = see_hello(machine, stream[:cut], state, scratch)
    assert (see_hello(machine, stream, state, scratch) if first[0] == NEED_MORE else first) == whole
    flights = [see_flight(machine, shown) for shown in (stream[:cut], stream)]
    assert flights[0][0] == NEED_MORE or flights[0] == flights[1]
    return whole, flights[1]


def see_flight(machine: Machine, stream: bytes) -> Said:
    start, state = machine.lend(stream), machine.room(tls.STATE_BYTES)
    status = machine.run("request.tls.read_flight", start, start + len(stream), state)
    words = [machine.word(state + at) for at in (tls.STATUS_DETAIL, tls.FLAGS, tls.RECORD_TYPE, tls.RECORD_END)]
    assert status in (NEED_MORE, COMPLETE, BAD)
    assert (words[0] in tls.DETAILS) == (status == BAD)
    assert status != COMPLETE or words[3] >= tls.RECORD_HEADER_BYTES
    return status, words


def read_hellos(machine: Machine, content: bytes) -> Said:
    """The body of a ClientHello, as it stands in a record or in QUIC's CRYPTO frames."""
    message = b"\1" + len(content).to_bytes(3) + content
    start = machine.lend(message)
    state = machine.lend(bytes(8) + bytes([FILL]) * (tls.STATE_BYTES - 8), is_written=True)
    status = machine.run("request.hello.parse_hello", start, start + len(message), state)
    detail = machine.word(state)
    assert status in (COMPLETE, BAD)
    assert (detail in hello.DETAILS) == (status == BAD)
    if status == BAD:
        return status, detail
    areas = ((start, len(message)),)
    host, protocols = (find_span(machine, state, at, areas) for at in (hello.HOST_AT, hello.ALPN_AT))
    check_host(host)
    flags = machine.word(state + hello.FLAGS)
    assert bool(host) == bool(flags & hello.HAS_SNI)
    return status, detail, host, protocols, machine.word(state + hello.VERSIONS), flags


def read_limits(machine: Machine, content: bytes) -> Said:
    """A stream in which the byte at the cut stands STRETCH_BYTES times, so that limits are met; shown in two parts."""
    flags, cut, stream = split_input(content)
    stream = stream[:cut] + stream[cut : cut + 1] * STRETCH_BYTES + stream[cut + 1 :]
    seen, first = (stream[: cut + STRETCH_BYTES // 2], stream), flags >> 1 & 1
    scratch = machine.room(tls.SCRATCH_BYTES, FILL)
    said = []
    for shown in ((stream,), seen):
        state = machine.room(http.STATE_BYTES)
        found: Said = (NEED_MORE,)
        for part in shown:
            eof = flags & int(part is stream)
            if flags & 0xC0 == 0:
                found = see_hello(machine, part, state, scratch)
            elif flags & 0x80 == 0:
                found = see_chunk(machine, part, first, state)
            else:
                found = see_http(machine, part, eof, state)
            if found[0] != NEED_MORE:
                break
        said.append(found)
    assert said[0] == said[1]
    return said[0]
