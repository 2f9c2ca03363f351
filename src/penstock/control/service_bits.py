"""Which bit stands for which service: the same in every snapshot and every line, whatever the configuration says later.

    service_bits.json beside the register's database:  {"web protection": 0, "parental control": 1, ...}

A service keeps its bit when it leaves the configuration, until no other is left for a new one: a line that still has it set
would switch on what somebody else chose. One process writes: that of `penstock run`.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from penstock.control.configuration import Configuration
from penstock.control.whole_file import write_whole
from penstock.errors import PenstockError
from penstock.policy.judge import SERVICE_LIMIT


class ServiceBitsError(PenstockError):
    """The file of bits cannot be used; the text says why, and the cure."""


def find_file(configuration: Configuration) -> Path:
    """Where the bits of a box are kept."""
    return configuration.subscriber_register.database.with_name("service_bits.json")


def place_services(configuration: Configuration) -> Configuration:
    """The configuration with the bits that its services have here. Raises ServiceBitsError, OSError."""
    path = find_file(configuration)
    known = _read(path)
    bits = assign_bits(known, configuration.services)
    if bits != known:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, [json.dumps(bits, indent=1).encode()], 0o640)
    return configuration.with_service_bits(bits)


def read_services(configuration: Configuration) -> Configuration:
    """The same for who only reads: without a file, as the configuration says. Raises ServiceBitsError."""
    return configuration.with_service_bits(assign_bits(_read(find_file(configuration)), configuration.services))


def assign_bits(known: dict[str, int], services: Iterable[str]) -> dict[str, int]:
    """The bits of all services: those that are known, and the lowest free ones for new services, in their order. Those that
    are not among `services` any more give theirs up when no other is left."""
    wanted = list(services)
    bits = dict(known)
    for name in wanted:
        if name in bits:
            continue
        free = [bit for bit in range(SERVICE_LIMIT) if bit not in bits.values()]
        if not free:
            gone = next(other for other in bits if other not in wanted)
            free = [bits.pop(gone)]
        bits[name] = free[0]
    return bits


def _read(path: Path) -> dict[str, int]:
    try:
        bits = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ServiceBitsError(f"{path}: {error}: {_CURE}") from None
    numbers = list(bits.values()) if isinstance(bits, dict) else [-1]
    whole = all(type(bit) is int and 0 <= bit < SERVICE_LIMIT for bit in numbers)
    if not whole or len(set(numbers)) != len(numbers):
        raise ServiceBitsError(f"{path}: expected a bit from 0 to {SERVICE_LIMIT - 1} for each service: {_CURE}")
    return bits


_CURE = "move it aside while nothing runs: services get new bits at the next start"
