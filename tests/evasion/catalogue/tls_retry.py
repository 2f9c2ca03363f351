"""Second hellos: what a server that wished for another hello takes before it, around it and behind it."""

from tests.evasion.catalogue.tls import READINGS, C
from tests.evasion.recipe import AwaitAck, Segment, Step, Strategy, Stream, Tcp, Wait
from tests.hellos import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    extension,
    hello,
    key_share,
    record,
    records,
    server_name,
    supported_versions,
    vector8,
    vector16,
)


def _retry(name: bytes, has_share: bool = False, more: bytes = b"") -> bytes:
    """A hello whose share the server does not take, or the one that answers its wish for another."""
    groups = extension(10, vector16(b"\0\x1d")) + extension(13, vector16(b"\4\3\x08\4\4\1"))
    share = key_share() if has_share else extension(51, vector16(b""))
    return hello(server_name(name), supported_versions(0x0304), groups, share, more)


def between(other: bytes) -> Stream:
    """An allowed hello that the server answers by its wish for another, something else, and a hello with the real name."""
    return lambda host: record(_retry(C)) + other + record(_retry(host.encode(), True))


FIRST_BYTES = len(record(_retry(C)))
IN_TURN: tuple[Step, ...] = (Segment(0, FIRST_BYTES), AwaitAck(FIRST_BYTES), Wait(0.2), Segment(FIRST_BYTES))
EARLY = (
    extension(42)
    + extension(45, vector8(b"\1"))
    + extension(41, vector16(vector16(bytes(32)) + bytes(4)) + vector16(vector8(bytes(32))))
)
EARLY_BYTES = len(record(_retry(C, more=EARLY)))
EARLY_TURN: tuple[Step, ...] = (Segment(0, EARLY_BYTES), AwaitAck(EARLY_BYTES), Wait(0.2), Segment(EARLY_BYTES))


def behind_early_data(count: int) -> Stream:
    """The same with early data, in so many records of 900 bytes."""
    early = record(_retry(C, more=EARLY)) + record(bytes(900), APPLICATION_DATA) * count
    return lambda host: early + record(_retry(host.encode(), True))


RETRY: tuple[tuple[str, str, str, Stream, tuple[Step, ...], str], ...] = (
    ("second-name", "HelloRetryRequest; nginx completes the second name",
     "an allowed hello without a share that the server takes, then one with the real name",
     lambda host: record(_retry(C)) + record(_retry(host.encode(), True)),
     (Segment(0, FIRST_BYTES), AwaitAck(FIRST_BYTES), Wait(0.2), Segment(FIRST_BYTES)), READINGS),
    ("second-name-at-once", "HelloRetryRequest", "the same, both at once",
     lambda host: record(_retry(C)) + record(_retry(host.encode(), True)), (Segment(),), READINGS),
    ("second-name-cut", "HelloRetryRequest", "the same, the second hello in two records",
     lambda host: record(_retry(C)) + records(_retry(host.encode(), True), [90]),
     (Segment(0, "host-9"), Wait(0.2), Segment("host-9")), READINGS),
    ("same-name", "HelloRetryRequest", "both hellos with the real name",
     lambda host: record(_retry(host.encode())) + record(_retry(host.encode(), True)),
     (Segment(0, FIRST_BYTES), Wait(0.2), Segment(FIRST_BYTES)), ""),
    ("cipher-spec-between", "RFC 8446 appendix D.4", "change_cipher_spec before the second hello",
     between(record(b"\1", CHANGE_CIPHER_SPEC)), IN_TURN, READINGS),
    ("many-cipher-specs-between", "RFC 8446 appendix D.4", "thirty of them",
     between(record(b"\1", CHANGE_CIPHER_SPEC) * 30), IN_TURN, READINGS),
    ("alert-between", "RFC 8446 6.1", "a user_canceled alert before the second hello",
     between(record(b"\1\x5a", ALERT)), IN_TURN, READINGS),
    ("early-data-between", "RFC 8446 4.2.10", "early data offered, and three records of it before the second hello",
     behind_early_data(3), EARLY_TURN, READINGS),
    ("early-data-much", "RFC 8446 4.2.10", "the same with 14 KB of it",
     behind_early_data(16), EARLY_TURN, READINGS),
    ("second-bytes", "Geneva, record fragmentation", "the second hello in a record for each byte",
     lambda host: record(_retry(C)) + records(_retry(host.encode(), True), range(1, len(_retry(C, True)))),
     IN_TURN, READINGS),
)  # fmt: skip
STRATEGIES = [
    Strategy(f"tls-retry.{name}", "tls-retry", source, what, Tcp(steps, made), over=("tls",), ambiguous=doubt)
    for name, source, what, made, steps, doubt in RETRY
]
