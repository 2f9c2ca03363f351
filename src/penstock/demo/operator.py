"""The operator's configuration of the demonstration: examples/operator.yaml, put where it can run.

    /etc, /var/lib, /var/log/penstock   directories of the demonstration's own, with the files that the configuration names
    https://HOST/PATH of a list         http://127.0.0.1:8000/HOST/PATH, a server in the box's namespace
    192.0.2.5, 192.0.2.53, 192.0.2.1    as they are: addresses of the box's loopback
    203.0.113.80                        as it is: another address of the server
    api.tls                             null: a browser would warn of a certificate that nobody signed

Knows which names the lists have. Refuses to know who asks for them.
"""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from penstock.errors import PenstockError

HERE = Path(__file__).parent
EXAMPLES = (HERE / "operator.yaml", HERE.parents[2] / "examples" / "operator.yaml")  # of a wheel, of the sources
DIRECTORIES = {"/etc/penstock/": "etc", "/var/lib/penstock/": "lib", "/var/log/penstock/": "log"}
SMALLER = {"flows": {"capacity": 65536}}  # a table for the demonstration's few flows is made at once
MANAGEMENT = {"box": "192.0.2.5", "resolver": "192.0.2.53", "bng": "192.0.2.1"}
PAGE_ADDRESS = "203.0.113.80"
SCOPE, NAS, VLAN = "north", "bng-north", 100
LISTS_PORT = 8000
API_PORT = 8443
SECRET = "a secret of the demonstration"

LISTED = {
    "phishing": "login-bank.example.test",
    "malware": "update-cdn.example.test",
    "scam": "cheap-shoes.example.test",
    "adult": "adult.example.test",
    "gambling": "casino.example.test",
    "advertising": "ads.example.test",
    "young": "fresh.example.test",
    "ordered": "pirate.example.test",
}
"""A site of each category."""
MISTAKEN = "bank.example.test"
"""The phishing feed has it, and the operator's own list of exceptions."""


class ExampleError(PenstockError):
    """The configuration is not there."""


def find_example() -> Path:
    """The operator's configuration. Raises ExampleError."""
    for path in EXAMPLES:
        if path.exists():
            return path
    raise ExampleError(f"the example configuration is missing: {EXAMPLES[-1]}")


def write_operator(directory: Path) -> Path:
    """Put the configuration and the files that it names below `directory`; the configuration. Raises ExampleError."""
    for name in (*DIRECTORIES.values(), "lib/portal"):
        (directory / name).mkdir(mode=0o700)
    secrets = {"radius.secret": SECRET, "feed.auth": "Authorization: Bearer of-the-demonstration"}
    for name, text in secrets.items():
        path = directory / "etc" / name
        path.touch(mode=0o600)
        path.write_text(f"{text}\n")
    (directory / "etc" / "allow.txt").write_text(f"{MISTAKEN}\n")
    (directory / "etc" / "court-orders.txt").write_text(f"{LISTED['ordered']}\n")
    document = adapt(yaml.safe_load(find_example().read_text("utf-8")), directory)
    path = directory / "etc" / "penstock.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def adapt(document: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """The configuration with its paths and addresses of lists put into the demonstration."""
    adapted: dict[str, Any] = _move(dict(document), directory)
    adapted["api"]["tls"] = None
    return adapted | SMALLER


def _move(value: Any, directory: Path, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _move(one, directory, str(name)) for name, one in value.items()}
    if isinstance(value, list):
        return [_move(one, directory, key) for one in value]
    if not isinstance(value, str):
        return value
    if key in ("url", "checksum_url"):
        return value.replace("https://", f"http://127.0.0.1:{LISTS_PORT}/")
    for prefix, name in DIRECTORIES.items():
        if value.startswith(prefix):
            return str(directory / name / value.removeprefix(prefix))
    return value


def write_lists(directory: Path) -> None:
    """What the lists' servers serve, by host and path."""
    vendor = directory / "lists.example.net"
    adguard = directory / "adguardteam.github.io" / "HostlistsRegistry" / "assets"
    university = directory / "dsi.ut-capitole.fr" / "blacklists" / "download"
    for place in (vendor, adguard, university):
        place.mkdir(parents=True)
    files = {
        "phishing.txt": f"# phishing\n{LISTED['phishing']}\n{MISTAKEN}\n" + _fill("phish", 400),
        "malware.csv": f"id,url\n1,http://{LISTED['malware']}/setup.exe\n" + _fill_columns(400),
        "scam.txt": f"{LISTED['scam']}\n" + _fill("scam", 40),
        "young.txt": f"{LISTED['young']}\n" + _fill("young", 400),
    }
    for name, text in files.items():
        (vendor / name).write_text(text)
    sums = [f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in files.items()]
    (vendor / "SHA256SUMS").write_text("".join(sums))
    (adguard / "filter_1.txt").write_text(
        f"! Title: advertisements\n||{LISTED['advertising']}^\n||tracker.test^$third-party\n"
    )
    with tarfile.open(university / "blacklists.tar.gz", "w:gz") as archive:
        for category in ("adult", "gambling"):
            _add_file(archive, f"blacklists/{category}/domains", f"{LISTED[category]}\n" + _fill(category, 400))


def _fill(stem: str, count: int) -> str:
    """Names beside the one that is asked for: a list of one entry would look like a broken one."""
    return "".join(f"{stem}-{number}.test\n" for number in range(count))


def _fill_columns(count: int) -> str:
    return "".join(f"{number + 2},http://malware-{number}.test/setup.exe\n" for number in range(count))


def _add_file(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    archive.addfile(member, io.BytesIO(text.encode()))
