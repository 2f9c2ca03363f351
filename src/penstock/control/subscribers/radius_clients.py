"""Who may send RADIUS, and the secret that each of them has.

Reads secret files. It does not know what a secret proves (`radius_packet`).
"""

import os
import stat
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from penstock.control.subscribers.settings import RadiusClient
from penstock.control.values import Network
from penstock.errors import PenstockError

SECRET_LIMIT_BYTES = 4096
REMEMBERED = 4096  # addresses whose client is known without a search


class SecretError(PenstockError):
    """A secret cannot be read, or others can read it."""


@dataclass(frozen=True, slots=True)
class Client:
    """Whoever has this secret."""

    secret: bytes = field(repr=False)
    must_be_signed: bool


class Clients:
    """Every client that `radius.clients` names."""

    def __init__(self, settings: tuple[RadiusClient, ...]) -> None:
        """Reads the secrets. Raises SecretError."""
        self._clients: list[tuple[Network, Client]] = []
        for number, one in enumerate(settings):
            if one.secret_file is not None:
                secret = _read_secret(one.secret_file, f"radius.clients[{number}].secret_file")
            else:
                secret = one.secret.get_secret_value().encode() if one.secret else b""
            self._clients.append((one.prefix, Client(secret, one.require_message_authenticator)))
        self._clients.sort(key=lambda pair: -pair[0].prefixlen)
        self._known: dict[str, Client | None] = {}

    def find(self, address: str) -> Client | None:
        """The client at `address`, as a socket writes it; None: nobody's."""
        try:
            return self._known[address]
        except KeyError:
            pass
        source = ip_address(address.partition("%")[0])
        mapped = getattr(source, "ipv4_mapped", None)
        found = next((client for prefix, client in self._clients if (mapped or source) in prefix), None)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[address] = found
        return found


def _read_secret(path: Path, key: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would keep us waiting
        with open(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SecretError(f"{key}: expected a file: {path}")
            if status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                mode = stat.S_IMODE(status.st_mode)
                raise SecretError(f"{key}: expected a file that others cannot read (chmod 600), not {mode:04o}: {path}")
            secret = file.read(SECRET_LIMIT_BYTES + 1).rstrip(b"\r\n")
    except OSError as error:
        raise SecretError(f"{key}: expected a readable file: {error.strerror}: {path}") from None
    if not secret or len(secret) > SECRET_LIMIT_BYTES or b"\n" in secret:
        raise SecretError(f"{key}: expected one line, the secret alone: {path}")
    return secret
