"""Words for RADIUS tests: a decoder, requests built by pyrad and by hand, places."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from importlib import resources
from ipaddress import ip_address, ip_network
from typing import Any

from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket

from penstock.control.subscribers.model import Place
from penstock.control.subscribers.places import MAPPED
from penstock.control.subscribers.radius import Decoder
from penstock.control.subscribers.settings import Radius, Scope

SECRET = b"a secret of the tests"
NOW_S = 1_764_115_200.0
BASE: dict[str, Any] = {"Acct-Session-Id": "0001", "NAS-IP-Address": "192.0.2.1", "Calling-Station-Id": "34600111222"}
DICTIONARY = Dictionary(
    *(
        str(resources.files("penstock.control.subscribers") / "dictionaries" / name)
        for name in ("dictionary.rfc", "dictionary.vendors")
    )
)


@dataclass
class Clock:
    """A clock that stands still."""

    now_s: float = NOW_S

    def __call__(self) -> float:
        return self.now_s


def build_decoder(scopes: Mapping[str, Any] | None = None, **settings: Any) -> Decoder:
    """A decoder that knows the client 127.0.0.1, unless `clients` says otherwise."""
    settings.setdefault("clients", [{"prefix": "127.0.0.1", "secret": SECRET.decode()}])
    wanted = {name: Scope.model_validate(scope) for name, scope in (scopes or {}).items()}
    return Decoder(Radius.model_validate(settings), wanted)


def build_request(attributes: Mapping[str, Any], is_signed: bool = False, secret: bytes = SECRET, **base: Any) -> bytes:
    """An Accounting-Request by pyrad: BASE with `attributes`; a list stands for several of a name, None for none."""
    packet = AcctPacket(secret=secret, dict=DICTIONARY)
    for name, value in {**BASE, **attributes}.items():
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            packet.AddAttribute(name, one)
    if is_signed:
        packet.add_message_authenticator()
    return bytes(packet.RequestPacket())


def build_by_hand(
    attributes: list[tuple[int, bytes]],
    code: int = 4,
    number: int = 7,
    secret: bytes = SECRET,
    signs: bool = False,
    tail: bytes = b"",
) -> bytes:
    """An Accounting-Request or Status-Server of bytes, without pyrad; `tail` ends the attributes as it is."""
    body = b"".join(bytes((kind, len(value) + 2)) + value for kind, value in attributes) + tail
    if signs:
        body += b"\x50\x12" + bytes(16)
    head = bytes((code, number)) + (20 + len(body)).to_bytes(2, "big")
    asked = bytes(range(16)) if code == 12 else bytes(16)
    if signs:
        body = body[:-16] + hmac.digest(secret, head + asked + body, "md5")
    return head + (asked if code == 12 else md5(head + asked + body + secret).digest()) + body


def vendor(number: int, kind: int, value: bytes) -> tuple[int, bytes]:
    """A Vendor-Specific attribute for `build_by_hand`."""
    return 26, number.to_bytes(4, "big") + bytes((kind, len(value) + 2)) + value


def address(text: str, port: int = 0, port_bits: int = 0, scope: int = 0) -> Place:
    """The place of an address, or of a block of its ports."""
    packed = ip_address(text).packed
    return Place(scope, packed if len(packed) == 16 else MAPPED + packed, 128, port, port_bits)


def prefix(text: str, scope: int = 0) -> Place:
    """The place of a prefix."""
    network = ip_network(text)
    packed = network.network_address.packed
    return Place(
        scope,
        packed if network.version == 6 else MAPPED + packed,
        network.prefixlen + (0 if network.version == 6 else 96),
    )
