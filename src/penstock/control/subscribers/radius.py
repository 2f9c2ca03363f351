"""RADIUS accounting: a packet and where it came from in, what it says and the reply out.

    bytes, address, time ──► whose? ──► whole? ──► genuine? ──► which session, when ──► who ──► where ──► events, reply
                               │          │           │             │                    │        │
                               └─ thrown away ────────┘             └─ answered, and counted ─────┘

What is not genuine is thrown away without a word (RFC 2866 3). What is genuine is answered, also when nothing can be made
of it: it would be no better the next time. A reply says that what was said is written down; its sender does that first.

Knows RFC 2866, 2869, 5997 and how NAS use them. It does not know sockets (`radius_server`), the store, or who is who.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.control.subscribers.model import Assign, Event, Release, Restart
from penstock.control.subscribers.radius_clients import Clients
from penstock.control.subscribers.radius_dictionary import Attribute, Key, load_attributes, read_text
from penstock.control.subscribers.radius_packet import (
    ACCOUNTING_REQUEST,
    PROXY_STATE,
    STATUS_SERVER,
    Fields,
    PacketError,
    build_reply,
    check_authenticator,
    check_signature,
    split_attributes,
    trim_packet,
)
from penstock.control.subscribers.radius_places import PlaceReader
from penstock.control.subscribers.settings import Radius, Scope

START, STOP, INTERIM, ON, OFF = 1, 2, 3, 7, 8  # Acct-Status-Type, RFC 2866 5.1
CLOCK_S = 3600.0  # how far a NAS's clock may be off before it says nothing of the time
DELAY_LIMIT_S = 86_400.0  # how long a packet may have been on its way

DISCARDED = ("unknown_client", "malformed", "unread_code", "wrong_secret", "unsigned", "wrong_signature")
ANSWERED = (
    "start",
    "interim",
    "stop",
    "nas_on",
    "nas_off",
    "status_server",
    "unread_status",
    "no_session",
    "no_identity",
    "no_place",
)
NOTES = (
    "wild_clock",
    "bad_address",
    "bad_prefix",
    "wide_prefix",
    "bad_port_range",
    "too_many_blocks",
    "too_many_places",
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a packet came to."""

    outcome: str
    """One of DISCARDED or ANSWERED."""
    events: tuple[Event, ...] = ()
    reply: bytes | None = None
    """To be sent behind the commit of `events`; None: nothing is."""
    notes: tuple[str, ...] = ()
    """Of NOTES: what of it was not taken as it was said."""


class Decoder:
    """Makes events of packets."""

    def __init__(self, settings: Radius, scopes: Mapping[str, Scope]) -> None:
        """Reads secrets and dictionaries. Raises SecretError and DictionaryError."""
        attributes = load_attributes(settings.dictionaries)
        self._clients = Clients(settings.clients)
        self._lease_s = settings.lease_s
        self._scopes = {nas: scope.number for scope in scopes.values() for nas in scope.nas}
        self._identity = tuple(attributes.find(name) for name in settings.identity)
        self._profile = attributes.find(settings.profile) if settings.profile else None
        self._places = PlaceReader(attributes, settings.nat)
        find = attributes.find
        self._status, self._session = find("Acct-Status-Type").key, find("Acct-Session-Id").key
        self._stamp, self._delay = find("Event-Timestamp").key, find("Acct-Delay-Time").key
        self._nas4, self._nas6 = find("NAS-IP-Address"), find("NAS-IPv6-Address")
        self._nas_name = find("NAS-Identifier")
        own = {self._status, self._session, self._stamp, self._delay, PROXY_STATE}
        named = {each.key for each in (*self._identity, self._nas4, self._nas6, self._nas_name)}
        self._wanted = own | named | self._places.keys | ({self._profile.key} if self._profile else set())

    def decode(self, raw: bytes, address: str, arrival_s: float) -> Decoded:
        """What `raw`, which came from `address`, says. Never raises."""
        client = self._clients.find(address)
        if client is None:
            return Decoded("unknown_client")
        try:
            packet = trim_packet(raw)
            is_status = packet[0] == STATUS_SERVER
            if is_status:
                must_be_signed = True  # its authenticator proves nothing: RFC 5997 3
            elif packet[0] == ACCOUNTING_REQUEST:
                must_be_signed = client.must_be_signed
                check_authenticator(packet, client.secret)
            else:
                return Decoded("unread_code")
            fields, signed_at = split_attributes(packet, self._wanted)
            if signed_at:
                check_signature(packet, client.secret, signed_at)
            elif must_be_signed:
                return Decoded("unsigned")
        except PacketError as error:
            return Decoded(error.name)
        reply = build_reply(packet, client.secret, fields.get(PROXY_STATE, []), bool(signed_at))
        if is_status:
            return Decoded("status_server", (), reply)
        outcome, events, notes = self._read(fields, address, arrival_s)
        return Decoded(outcome, events, reply, notes)

    def _read(self, fields: Fields, address: str, arrival_s: float) -> tuple[str, tuple[Event, ...], tuple[str, ...]]:
        """What a genuine Accounting-Request says: outcome, events, notes."""
        status = _read_number(fields, self._status)
        names = self._name_nas(fields, address)
        at_s, notes = self._find_time(fields, arrival_s)
        if status in (ON, OFF):
            return ("nas_on" if status == ON else "nas_off"), (Restart("radius", names[0], at_s),), notes
        if status not in (START, STOP, INTERIM):
            return "unread_status", (), notes
        number = read_text(fields.get(self._session, [b""])[0])
        if not number:
            return "no_session", (), notes
        session = f"{names[0]} {number}"
        if status == STOP:
            return "stop", (Release("radius", session, at_s),), notes
        subscriber = next(filter(None, (_read_first(fields, attribute) for attribute in self._identity)), "")
        if not subscriber:
            return "no_identity", (), notes
        scope = next((self._scopes[name] for name in names if name in self._scopes), 0)
        found = self._places.read(fields, scope)
        notes += found.notes
        # An Interim-Update that names no place says that all goes on as it was: many NAS name them in the Start alone.
        adds = found.adds or (status == INTERIM and not found.places)
        if not (found.places or adds):
            return "no_place", (), notes
        profile = _read_first(fields, self._profile) if self._profile else ""
        assign = Assign(
            "radius",
            session,
            subscriber,
            found.places,
            at_s,
            profile or None,
            arrival_s + self._lease_s,
            names[0],
            adds,
        )
        freed = (Release("radius", session, at_s, found.freed),) if found.freed else ()
        return ("start" if status == START else "interim"), (*freed, assign), notes

    def _name_nas(self, fields: Fields, address: str) -> list[str]:
        """The names of the NAS, first the one that tells its sessions from others': many a NAS calls itself 127.0.0.1."""
        names = [text for each in (self._nas4, self._nas6, self._nas_name) if (text := _read_first(fields, each))]
        names = [name for name in names if not name.startswith(("127.", "0.0.0.0")) and name not in ("::", "::1")]
        return [*names, address.partition("%")[0]]

    def _find_time(self, fields: Fields, arrival_s: float) -> tuple[float, tuple[str, ...]]:
        """When it happened: Event-Timestamp (RFC 2869 5.3) where it is believable, else arrival less Acct-Delay-Time."""
        sent_s = arrival_s - min(_read_number(fields, self._delay), DELAY_LIMIT_S)
        stamp_s = _read_number(fields, self._stamp)
        if not stamp_s:
            return sent_s, ()
        if abs(stamp_s - sent_s) > CLOCK_S:
            return sent_s, ("wild_clock",)
        return float(stamp_s), ()


def _read_number(fields: Fields, key: Key) -> int:
    """The first value as a number; 0 where there is none of four bytes."""
    values = fields.get(key)
    return int.from_bytes(values[0], "big") if values and len(values[0]) == 4 else 0


def _read_first(fields: Fields, attribute: Attribute) -> str:
    """What the first value of `attribute` says; "" where there is none."""
    values = fields.get(attribute.key)
    return attribute.read(values[0]) if values else ""
