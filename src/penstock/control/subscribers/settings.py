"""The parts `scopes` and `radius` of the configuration: which keys there are and what they hold.

`examples/inline.yaml` describes each. It opens no file: secrets and dictionaries are read where a server is built.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, SecretStr, Strict

from penstock.control.fields import Count, File, Label, Model, Switch
from penstock.control.problems import Location
from penstock.control.values import Network, parse_address, parse_listen, parse_prefix

VLANS = 4094  # 0 and 4095 are no VLANs: IEEE 802.1Q 9.6
DAY_S = 86_400
IDENTITY = ("Calling-Station-Id", "User-Name")

Ranges = tuple[tuple[int, int], ...]
Listen = tuple[str, int]


def parse_vlans(value: Any) -> Ranges:
    """Ranges, first and last, from a list of VLANs and ranges such as [100, "200-299"]."""
    items = value if isinstance(value, list) else [value]
    matches = [re.fullmatch(r"(\d{1,4})(?: *- *(\d{1,4}))?", str(item)) for item in items]
    ranges = [(int(match[1]), int(match[2] or match[1])) for match in matches if match]
    if len(ranges) < len(items) or not all(1 <= first <= last <= VLANS for first, last in ranges):
        raise ValueError(f'expected VLANs and ranges from 1 to {VLANS} such as [100, "200-299"]')
    return tuple(sorted(ranges))


def parse_nas(value: Any) -> str:
    """A NAS as it names itself: an address in its usual form, or an identifier."""
    try:
        return str(parse_address(value))
    except ValueError:
        pass
    if not isinstance(value, str) or not re.fullmatch(r"(?! )[^\x00-\x1f\x7f]{1,253}(?<! )", value):
        raise ValueError("expected an address or a NAS-Identifier: 1 to 253 characters, no space at either end")
    return value


def parse_server(value: Any) -> tuple[Listen, ...]:
    """Where to listen: one address and port, or a list of them; none from null."""
    found = []
    for item in value if isinstance(value, list) else [] if value is None else [value]:
        host, _, port = parse_listen(item).rpartition(":")
        try:
            address = parse_address(host.strip("[]"))
        except ValueError:
            raise ValueError(
                'expected an address and a port such as "192.0.2.5:1813" or "[2001:db8::5]:1813"'
            ) from None
        if address.is_unspecified:
            raise ValueError("expected an address of this machine: a client takes no reply from another than it asked")
        found.append((str(address), int(port)))
    return tuple(found)


class Scope(Model):
    """A network with addresses of its own, and what tells it apart: VLANs of packets, a NAS in RADIUS."""

    number: Annotated[Count, Field(ge=1, le=65_535)]
    vlans: Annotated[Ranges, PlainValidator(parse_vlans)] = Field(default=[], validate_default=True)
    nas: tuple[Annotated[str, PlainValidator(parse_nas)], ...] = ()


class RadiusClient(Model):
    """Who may send accounting, and the secret that proves it."""

    prefix: Annotated[Network, PlainValidator(parse_prefix)]
    secret: Annotated[SecretStr, Field(min_length=1), Strict()] | None = None
    secret_file: File | None = None
    require_message_authenticator: Switch = False


class Radius(Model):
    """RADIUS accounting: where it comes in, and what is read of it."""

    listen: Annotated[tuple[Listen, ...], PlainValidator(parse_server)] = Field(default=None, validate_default=True)
    clients: tuple[RadiusClient, ...] = ()
    identity: Annotated[tuple[Label, ...], Field(min_length=1)] = IDENTITY
    profile: Label | None = None
    nat: Literal["both", "inside", "outside"] = "both"
    lease_s: Annotated[Count, Field(ge=60, le=366 * DAY_S)] = DAY_S
    dictionaries: tuple[File, ...] = ()


Scopes = Mapping[str, Scope]


def check_radius(radius: Radius) -> Iterator[tuple[Location, str]]:
    """What its keys contradict, each with its place."""
    if radius.listen and not radius.clients:
        yield ("radius", "listen"), "expected `radius.clients` beside it: what others send is thrown away"
    owners: dict[Network, int] = {}
    for number, client in enumerate(radius.clients):
        place: Location = ("radius", "clients", number)
        if (client.secret is None) == (client.secret_file is None):
            yield place, "expected one of `secret` and `secret_file`"
        first = owners.setdefault(client.prefix, number)
        if first != number:
            yield (*place, "prefix"), f"expected each prefix once: {client.prefix} is radius.clients[{first}]"


def check_scopes(scopes: Scopes) -> Iterator[tuple[Location, str]]:
    """Numbers, VLANs and NAS that two scopes claim, each with its place."""
    numbers: dict[int, str] = {}
    nas: dict[str, str] = {}
    vlans: list[tuple[int, int, str]] = []
    for name, scope in scopes.items():
        if numbers.setdefault(scope.number, name) != name:
            yield (
                ("scopes", name, "number"),
                f"expected a number of its own: {scope.number} is `{numbers[scope.number]}`",
            )
        for at, one in enumerate(scope.nas):
            if nas.setdefault(one, name) != name:
                yield ("scopes", name, "nas", at), f"expected each NAS in one scope: `{one}` belongs to `{nas[one]}`"
        for first, last in scope.vlans:
            for other_first, other_last, owner in vlans:
                if owner != name and first <= other_last and other_first <= last:
                    taken = max(first, other_first)
                    yield ("scopes", name, "vlans"), f"expected each VLAN in one scope: {taken} belongs to `{owner}`"
            vlans.append((first, last, name))
