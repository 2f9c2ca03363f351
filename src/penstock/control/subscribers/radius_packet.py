"""A RADIUS packet as bytes: whether it is whole, whether it is genuine, its attributes, and the reply to it.

     0        1        2                 4                              20
    +--------+--------+-----------------+------------------------------+--------------------------------------
    |  code  |   id   |     length      |        authenticator         |  type, length, value;  type, length ..
    +--------+--------+-----------------+------------------------------+--------------------------------------

pyrad is not used for it: it takes an attribute that ends behind the packet, a second Message-Authenticator and one that is
not 16 bytes long, and it takes longer. Knows RFC 2865 3 and 5, RFC 2866 3 and 4, RFC 2869 5.14 and RFC 5997 3; it does
not know what attributes mean.
"""

import hmac
from collections.abc import Container
from hashlib import md5

from penstock.control.subscribers.radius_dictionary import Key

ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE, STATUS_SERVER = 4, 5, 12
HEADER_BYTES = 20
PACKET_LIMIT_BYTES = 4096  # RFC 2865 3, RFC 2866 3
VENDOR_SPECIFIC, PROXY_STATE, MESSAGE_AUTHENTICATOR = 26, 33, 80
EXTENDED = range(241, 245)  # one type more behind the length: RFC 6929 2.1; 245 and 246 come in pieces and are not read
ZERO = bytes(16)

Fields = dict[Key, list[bytes]]


class PacketError(Exception):
    """The packet is thrown away without a word; `name` says why."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def trim_packet(raw: bytes) -> bytes:
    """The packet without what stands behind its length: RFC 2865 3. Raises PacketError."""
    if len(raw) < HEADER_BYTES:
        raise PacketError("malformed")
    length = raw[2] << 8 | raw[3]
    if not HEADER_BYTES <= length <= min(len(raw), PACKET_LIMIT_BYTES):
        raise PacketError("malformed")
    return raw if length == len(raw) else raw[:length]


def split_attributes(packet: bytes, wanted: Container[Key]) -> tuple[Fields, int]:
    """The values of the attributes that are `wanted`, by key, and where the Message-Authenticator's value begins, or 0.

    A vendor's attribute that is not laid out as RFC 2865 5.26 proposes is left out. Raises PacketError for an attribute
    that ends behind the packet, and for a Message-Authenticator that is not what RFC 2869 5.14 says.
    """
    fields: Fields = {}
    signed_at = 0
    at, end = HEADER_BYTES, len(packet)
    while at < end:
        if at + 2 > end:
            raise PacketError("malformed")
        kind, length = packet[at], packet[at + 1]
        behind = at + length
        if length < 2 or behind > end:
            raise PacketError("malformed")
        if kind == VENDOR_SPECIFIC:
            _split_vendor(packet[at + 2 : behind], wanted, fields)
        elif kind == MESSAGE_AUTHENTICATOR:
            if length != 18 or signed_at:
                raise PacketError("malformed")
            signed_at = at + 2
        elif kind in EXTENDED:
            if length > 3 and (-kind, packet[at + 2]) in wanted:
                fields.setdefault((-kind, packet[at + 2]), []).append(packet[at + 3 : behind])
        elif kind in wanted:
            fields.setdefault(kind, []).append(packet[at + 2 : behind])
        at = behind
    return fields, signed_at


def _split_vendor(value: bytes, wanted: Container[Key], fields: Fields) -> None:
    vendor = int.from_bytes(value[:4], "big")
    at, end = 4, len(value)
    while at + 2 <= end:
        behind = at + value[at + 1]
        if behind < at + 2 or behind > end:
            return
        key = (vendor, value[at])
        if key in wanted:
            fields.setdefault(key, []).append(value[at + 2 : behind])
        at = behind


def check_authenticator(packet: bytes, secret: bytes) -> None:
    """Whether whoever sent the Accounting-Request knows `secret`: RFC 2866 3. Raises PacketError."""
    expected = md5(packet[:4] + ZERO + packet[HEADER_BYTES:] + secret, usedforsecurity=False).digest()
    if not hmac.compare_digest(expected, packet[4:HEADER_BYTES]):
        raise PacketError("wrong_secret")


def check_signature(packet: bytes, secret: bytes, signed_at: int) -> None:
    """Whether the Message-Authenticator, whose value begins at `signed_at`, is right. Raises PacketError."""
    # The authenticator of an Accounting-Request is made last, over the signature too: it is zero below the signature.
    above = packet[:HEADER_BYTES] if packet[0] == STATUS_SERVER else packet[:4] + ZERO
    expected = hmac.digest(secret, above + packet[HEADER_BYTES:signed_at] + ZERO + packet[signed_at + 16 :], "md5")
    if not hmac.compare_digest(expected, packet[signed_at : signed_at + 16]):
        raise PacketError("wrong_signature")


def build_reply(packet: bytes, secret: bytes, proxy_states: list[bytes], is_signed: bool) -> bytes:
    """The Accounting-Response to the request `packet`, with its Proxy-States in their order: RFC 2865 5.33.

    Signed, it begins with the Message-Authenticator. RFC 5997 3 says how that is made for a Status-Server; for an
    Accounting-Request no RFC does, and FreeRADIUS and pyrad put zeros in the authenticator's place.
    """
    states = b"".join([bytes((PROXY_STATE, len(state) + 2)) + state for state in proxy_states])
    length = HEADER_BYTES + len(states) + (18 if is_signed else 0)
    head = bytes((ACCOUNTING_RESPONSE, packet[1])) + length.to_bytes(2, "big")
    asked = packet[4:HEADER_BYTES]
    if is_signed:
        begin = bytes((MESSAGE_AUTHENTICATOR, 18))
        above = head + (asked if packet[0] == STATUS_SERVER else ZERO)
        states = begin + hmac.digest(secret, above + begin + ZERO + states, "md5") + states
    return head + md5(head + asked + states + secret, usedforsecurity=False).digest() + states
