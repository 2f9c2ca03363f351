"""The parts `scopes` and `radius`: what is read, and that every error names its line and key."""

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from penstock.control.configuration import ConfigurationError, load_configuration

GOOD = """\
scopes:
  north:
    number: 1
    vlans: [100, "200-299"]
    nas: [192.0.2.1, "2001:DB8:0::1", bng-north]
  south:
    number: 2
    vlans: [300]
radius:
  listen: ["192.0.2.5:1813", "[2001:db8::5]:1813"]
  clients:
    - prefix: 192.0.2.0/24
      secret_file: radius.secret
    - prefix: 198.51.100.7
      secret: "not a good one"
      require_message_authenticator: true
  identity: [3GPP-IMSI, User-Name]
  profile: Filter-Id
  nat: outside
  lease_s: 7200
  dictionaries: [dictionary.ours]
"""


def refuse(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).split("\n")]


def test_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(GOOD)
    configuration = load_configuration(path)
    north, radius = configuration.scopes["north"], configuration.radius
    assert north.vlans == ((100, 100), (200, 299))
    assert north.nas == ("192.0.2.1", "2001:db8::1", "bng-north")
    assert radius.listen == (("192.0.2.5", 1813), ("2001:db8::5", 1813))
    assert radius.clients[0].prefix == IPv4Network("192.0.2.0/24")
    assert radius.clients[0].secret_file == tmp_path / "radius.secret"
    assert radius.dictionaries == (tmp_path / "dictionary.ours",)
    assert radius.identity == ("3GPP-IMSI", "User-Name")


def test_nothing_is_read_by_default(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("# nothing\n")
    configuration = load_configuration(path)
    assert (configuration.scopes, configuration.radius.listen) == ({}, ())


def test_a_secret_is_in_no_text_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(GOOD)
    configuration = load_configuration(path)
    assert "not a good one" not in f"{configuration!r} {configuration} {configuration.model_dump()}"


MISTAKES = [
    ("number: 2", "number: 1", "7:13", "scopes.south.number: expected a number of its own: 1 is `north`"),
    ("number: 2", "number: 0", "7:13", "scopes.south.number: expected at least 1"),
    ("[300]", "[250]", "8:5", "scopes.south.vlans: expected each VLAN in one scope: 250 belongs to `north`"),
    ("[300]", "[4095]", "8:5", "scopes.south.vlans: expected VLANs and ranges from 1 to 4094"),
    (
        "vlans: [300]",
        "nas: [bng-north]",
        "8:11",
        "scopes.south.nas[0]: expected each NAS in one scope: `bng-north` bel",
    ),
    ('"192.0.2.5:1813"', '"0.0.0.0:1813"', "10:3", "radius.listen: expected an address of this machine"),
    ('"192.0.2.5:1813"', "192.0.2.5", "10:3", "radius.listen: expected an address and a port such as"),
    ("      secret_file: radius.secret\n", "", "12:7", "radius.clients[0]: expected one of `secret` and `secret_file`"),
    (
        "198.51.100.7",
        "192.0.2.0/24",
        "14:15",
        "radius.clients[1].prefix: expected each prefix once: 192.0.2.0/24 is rad",
    ),
    ('"not a good one"', "12345678", "15:15", "radius.clients[1].secret: expected "),
    ('"not a good one"', '""', "15:15", "radius.clients[1].secret: expected "),
    ("[3GPP-IMSI, User-Name]", "[]", "17:3", "radius.identity: expected at least one entry"),
    ("nat: outside", "nat: out", "19:8", "radius.nat: expected `both`, `inside` or `outside`"),
    ("lease_s: 7200", "lease_s: 7", "20:12", "radius.lease_s: expected at least 60"),
    ("profile: Filter-Id", "profil: Filter-Id", "18:3", "radius.profil: expected a known key: did you mean `profile`?"),
]


@pytest.mark.parametrize(("old", "new", "place", "said"), MISTAKES, ids=[f"{row[2]} {row[1]}" for row in MISTAKES])
def test_a_mistake_is_named_with_its_place(tmp_path: Path, old: str, new: str, place: str, said: str) -> None:
    assert GOOD.count(old) == 1
    (problem,) = refuse(tmp_path / "penstock.yaml", GOOD.replace(old, new))
    assert problem.startswith(f"{place}: {said}"), problem
    assert "12345678" not in problem


def test_listening_needs_a_client(tmp_path: Path) -> None:
    (problem,) = refuse(tmp_path / "penstock.yaml", 'radius: {listen: "192.0.2.5:1813"}\n')
    assert problem.startswith("1:18: radius.listen: expected `radius.clients` beside it")
