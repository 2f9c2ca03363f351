"""Servers' applications in plain Python: which hosts does a server act for, given what it has of the stream so far?

Written from the RFCs and from what lenient servers do, not from the package under test. A reader says too much rather than
too little: what stands behind an error it cannot read.
"""

from collections.abc import Callable

Reader = Callable[[bytes, bool], list[bytes]]
TRUSTED = (b"POST", b"PUT", b"PATCH")


def read_hosts(head: bytes) -> list[bytes]:
    """The hosts of one head: of the target if it is absolute, and of every Host field."""
    lines = head.replace(b"\r\n", b"\n").split(b"\n")
    words = lines[0].split()
    found = []
    if len(words) > 1 and b"://" in words[1]:
        found.append(words[1].split(b"://", 1)[1].split(b"/")[0])
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"host":
            found.append(value.strip())
    return [host.split(b":")[0].lower().rstrip(b".") for host in found]


def read_field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        if line.lower().startswith(name + b":"):
            return line.split(b":", 1)[1].strip()
    return b""


def is_request(head: bytes) -> bool:
    """Does it begin with a request line?"""
    words = head.split(b"\r\n")[0].split(b" ")
    return len(words) > 2 and words[0].isalnum() and words[-1].startswith(b"HTTP/")


def read_chunks(stream: bytes, at: int) -> int:
    """Where a chunked body ends; -1 when it is not whole or wrong."""
    while True:
        end = stream.find(b"\r\n", at)
        try:
            size = int(stream[at:end].split(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            return -1
        if size < 0 or len(stream) < end + 2 + size + 2:
            return -1
        at = end + 2 + size + 2
        if size == 0:
            return at


def read_http(stream: bytes, is_closed: bool, *, takes_bodies: bool = True) -> list[bytes]:
    """The hosts of every request that a server has whole. `takes_bodies`: also of methods that have none (GET)."""
    at, hosts = 0, []
    for _ in range(100):
        while stream[at : at + 1] in (b"\r", b"\n"):
            at += 1
        end = stream.find(b"\r\n\r\n", at)
        if end < 0:
            if is_closed and is_request(stream[at:]):
                hosts += read_hosts(stream[at:])  # some read a head up to the end of the stream
            return hosts
        head, at = stream[at:end], end + 4
        if not is_request(head):
            return hosts
        hosts += read_hosts(head)
        if not takes_bodies and head.split(b" ")[0] not in TRUSTED:
            continue
        if read_field(head, b"transfer-encoding").lower() == b"chunked":
            at = read_chunks(stream, at)
            if at < 0:
                return hosts
        elif (length := read_field(head, b"content-length")).isdigit():
            at += int(length)
    return hosts


def read_hello_name(message: bytes) -> list[bytes]:
    """The server_name of a whole ClientHello message. Raises IndexError for a damaged one."""
    at = 4 + 2 + 32
    at += 1 + message[at]
    at += 2 + int.from_bytes(message[at : at + 2])
    at += 1 + message[at]
    end = at + 2 + int.from_bytes(message[at : at + 2])
    at += 2
    while at + 4 <= end:
        kind, size = int.from_bytes(message[at : at + 2]), int.from_bytes(message[at + 2 : at + 4])
        if kind == 0:
            return [message[at + 9 : at + 4 + size].lower()]
        at += 4 + size
    return []


def read_tls(stream: bytes, is_closed: bool, *, retries: bool = False, skips: tuple[int, ...] = (20,)) -> list[bytes]:
    """The names of the hellos that a server takes: the first, and a second one when it asks again (`retries`).

    `skips`: types of records that it ignores between the two.
    """
    at, message, names = 0, b"", []
    while at + 5 <= len(stream):
        kind, size = stream[at], int.from_bytes(stream[at + 3 : at + 5])
        content = stream[at + 5 : at + 5 + size]
        if stream[at + 1] != 3 or len(content) < size:
            return names
        at += 5 + size
        if kind in skips and not message and names:
            continue
        if kind != 22 or not size:
            return names
        message += content
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4]):
            if message[0] != 1:
                return names
            try:
                names += read_hello_name(message[: 4 + int.from_bytes(message[1:4])])
            except IndexError:
                return names
            message = b""
            if not retries or len(names) == 2:
                return names
    return names
