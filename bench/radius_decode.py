"""What an accounting packet costs: decoded, checked and answered, on one core, beside pyrad's own decoding.

    python -m bench.radius_decode [--rounds 15] [--packets 5000]

`plain` is a start as a BNG sends it, with an address and two prefixes; `nat` has a block of ports too; `signed` a
Message-Authenticator; `update` names no place; `wrong` has another secret. `pyrad` decodes `plain`, checks its
authenticator, reads eight of its values and makes the reply.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Any

from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket
from rich.console import Console
from rich.table import Table

from penstock.control.subscribers.radius import Decoder
from penstock.control.subscribers.settings import Radius

SECRET, HOST, NOW_S = b"a secret of the bench", "127.0.0.1", 1_764_115_200.0
PLAIN: dict[str, Any] = {
    "User-Name": "alice@example.test",
    "NAS-IP-Address": "192.0.2.1",
    "NAS-Identifier": "bng-north-1",
    "Framed-IP-Address": "10.1.2.3",
    "Framed-IPv6-Prefix": "2001:db8:1::/64",
    "Delegated-IPv6-Prefix": "2001:db8:2::/56",
    "Class": b"0123456789abcdef",
    "Called-Station-Id": "internet",
    "Calling-Station-Id": "34600111222",
    "NAS-Port-Id": "1/1/4:100.200",
    "Acct-Status-Type": 1,
    "Acct-Session-Id": "0123456789abcdef",
    "Event-Timestamp": int(NOW_S),
}
NAT = PLAIN | {"Alc-Nat-Port-Range": "203.0.113.1 1024-2047 router base"}
PLACES = ("Framed-IP-Address", "Framed-IPv6-Prefix", "Delegated-IPv6-Prefix")
READ = ("Acct-Status-Type", "Acct-Session-Id", "Event-Timestamp", "NAS-IP-Address", "Calling-Station-Id", *PLACES)
UPDATE = {name: value for name, value in PLAIN.items() if name not in PLACES} | {"Acct-Status-Type": 3}


def build_packet(
    dictionary: Dictionary, attributes: dict[str, Any], is_signed: bool = False, secret: bytes = SECRET
) -> bytes:
    """An Accounting-Request, by pyrad."""
    packet = AcctPacket(secret=secret, dict=dictionary)
    for name, value in attributes.items():
        packet.AddAttribute(name, value)
    if is_signed:
        packet.add_message_authenticator()
    return bytes(packet.RequestPacket())


def decode_by_pyrad(raw: bytes, dictionary: Dictionary) -> bytes:
    """The reply, as a program over pyrad makes it."""
    packet = AcctPacket(packet=raw, secret=SECRET, dict=dictionary)
    assert packet.VerifyAcctRequest()
    for name in READ:
        packet.get(name)
    return bytes(packet.CreateReply().ReplyPacket())


def measure(work: Callable[[], object], packets: int) -> float:
    """Microseconds of this core for each."""
    begin_s = time.process_time()
    for _ in range(packets):
        work()
    return (time.process_time() - begin_s) / packets * 1e6


def main() -> None:
    """Measure in turns and print."""
    words = argparse.ArgumentParser(prog="python -m bench.radius_decode", description=(__doc__ or "").splitlines()[0])
    words.add_argument("--rounds", type=int, default=15)
    words.add_argument("--packets", type=int, default=5000, help="in a round, of each kind (default 5,000)")
    given = words.parse_args()
    files = resources.files("penstock.control.subscribers") / "dictionaries"
    dictionary = Dictionary(*(str(files / name) for name in ("dictionary.rfc", "dictionary.vendors")))
    settings = {"listen": f"{HOST}:1813", "clients": [{"prefix": HOST, "secret": SECRET.decode()}]}
    decoder = Decoder(Radius.model_validate(settings), {})
    packets = {
        "plain": build_packet(dictionary, PLAIN),
        "nat": build_packet(dictionary, NAT),
        "signed": build_packet(dictionary, PLAIN, is_signed=True),
        "update": build_packet(dictionary, UPDATE),
        "wrong": build_packet(dictionary, PLAIN, secret=b"another"),
    }
    works: dict[str, Callable[[], object]] = {
        name: partial(decoder.decode, raw, HOST, NOW_S) for name, raw in packets.items()
    }
    works["pyrad"] = partial(decode_by_pyrad, packets["plain"], dictionary)
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(given.rounds):
        for name, work in works.items():
            times[name].append(measure(work, given.packets))
    table = Table("packet", "µs", "from", "to", "packets/s")
    for name, found in times.items():
        middle = statistics.median(found)
        table.add_row(name, f"{middle:.1f}", f"{min(found):.1f}", f"{max(found):.1f}", f"{1e6 / middle:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
