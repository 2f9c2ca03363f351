"""Response policy zones: a DNS zone whose names are what to look for, and whose records say what to do.

    name CNAME .               NXDOMAIN       listed        name CNAME rpz-passthru.   an exception
    name CNAME *.              NODATA         listed        name CNAME rpz-tcp-only.   not taken
    name CNAME rpz-drop.       no answer      listed        other records              local data: a setting

A name stands for itself alone, `*.name` for what lies below it. Local data leads a name elsewhere, to a page of the list's
maker or to SafeSearch; what a box in line can do is refuse it, so its names are taken only where the configuration says
so. Triggers by address, client and name server are not taken. Source: draft-vixie-dnsop-dns-rpz-00, 3 and 4.
"""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import dns.exception
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.zonefile

from penstock.control.lists.entries import BadLine, Entry, Line, NotTaken, Said, parse_name
from penstock.control.lists.names_file import NamesError, Reach

ZONE_LIMIT_BYTES = 1 << 28  # unpacked; a zone of four million names, which is read whole, has about half of that
TRIGGERS = {b"rpz-ip", b"rpz-client-ip", b"rpz-nsdname", b"rpz-nsip"}
LISTED = {b".", b"*.", b"rpz-drop."}
NOT_HERE = {b"rpz-tcp-only.": "a name whose answers are to come over TCP"}


class _Records:
    """What dnspython's reader fills in the place of a zone. It is the reader's transaction, and that one's manager."""

    def __init__(self, take: Callable[[dns.name.Name, Any], None]) -> None:
        self._take, self.manager = take, self

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        return dns.name.root, False, dns.name.root

    def check_put_rdataset(self, _check: Any) -> None:
        """Other records beside a CNAME are for servers to complain of."""

    def add_unicode(self, _version: str) -> None:
        """How a zone is written does not matter once it is read."""

    def _set_origin(self, _origin: dns.name.Name) -> None:
        """The zone's own name is its SOA's."""

    def add(self, name: dns.name.Name, _ttl_s: int, record: Any) -> None:
        self._take(name, record)


def read_zone(stream: BinaryIO, takes_local_data: bool) -> Iterator[Line]:
    """The records of a zone file. Raises NamesError for a file that is none: nobody knows what a broken zone means."""
    content = stream.read(ZONE_LIMIT_BYTES + 1)
    if len(content) > ZONE_LIMIT_BYTES:
        raise NamesError(f"larger than {ZONE_LIMIT_BYTES:,} bytes")
    lines, found = content.split(b"\n"), []
    tokens = dns.tokenizer.Tokenizer(content.decode("latin-1") + "\n", "line ")
    zone: dns.name.Name | None = None

    def take(name: dns.name.Name, record: Any) -> None:
        nonlocal zone
        if record.rdtype == dns.rdatatype.SOA:
            zone = name
        number = tokens.where()[1] - 1
        found.append((number, _read_said(name, record, zone, takes_local_data)))

    reader = dns.zonefile.Reader(tokens, dns.rdataclass.IN, _Records(take), default_ttl=0)  # type: ignore[arg-type]
    try:
        reader.read()
    except (dns.exception.DNSException, ValueError) as error:
        place, _, reason = str(error).rpartition(": ")
        raise NamesError(f"not a zone file: near {place or 'its end'}: {reason}") from None
    if zone is None:
        raise NamesError("not a zone file: it has no SOA record")
    for number, said in found:
        yield Line(number, lines[number - 1], said)


def _read_said(name: dns.name.Name, record: Any, zone: dns.name.Name | None, takes_local_data: bool) -> Said:
    try:
        return read_record(name, record, zone, takes_local_data)
    except (BadLine, NotTaken) as reason:
        return reason


def read_record(
    name: dns.name.Name, record: Any, zone: dns.name.Name | None, takes_local_data: bool
) -> tuple[Entry, ...]:
    """What one record of a zone says. Raises BadLine or NotTaken."""
    if zone is None or not name.is_subdomain(zone):
        raise BadLine("a record outside of the zone, whose SOA comes first")
    labels = name.labels[: len(name.labels) - len(zone.labels)]
    if not labels:
        return ()
    if labels[-1].lower() in TRIGGERS:
        raise NotTaken(f"a trigger of the kind {labels[-1].lower().decode()}")
    reach = Reach.EXACT
    if labels[0] == b"*":
        labels, reach = labels[1:], Reach.BELOW
    if not labels:
        raise NotTaken("every name there is")
    target = record.target.to_text().lower().encode() if record.rdtype == dns.rdatatype.CNAME else b""
    is_allowed = target in (b"rpz-passthru.", name.to_text().lower().encode())
    if target in NOT_HERE:
        raise NotTaken(NOT_HERE[target])
    if target not in LISTED and not is_allowed and not takes_local_data:
        raise NotTaken("a name with local data, unless `local_data: take`")
    return (Entry(parse_name(b".".join(labels)), reach, is_allowed),)
