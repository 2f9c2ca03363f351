"""Attributes of RADIUS by name: where they stand in a packet, and what their bytes mean.

Knows the dictionaries that come with Penstock and the operator's own, in FreeRADIUS's format, which pyrad reads. It does
not know what an attribute is good for.
"""

import difflib
import logging
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from importlib import resources
from ipaddress import IPv6Address
from pathlib import Path

from pyrad.dictionary import Dictionary, ParseError

from penstock.errors import PenstockError

OURS = ("dictionary.rfc", "dictionary.vendors")
NUMBERS = ("integer", "date", "short", "byte", "integer64")
TYPES = frozenset(("string", "octets", "ipaddr", "ipv6addr", "ipv6prefix", "ether", *NUMBERS))

BINARY_LIMIT_BYTES = 125  # whose hexadecimal form is as long as the longest value of an attribute, 253 bytes

Key = int | tuple[int, int]
"""A type, or a vendor and a type of its own."""


class DictionaryError(PenstockError):
    """A dictionary cannot be read, or an attribute is not in it."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute: its name, its place in a packet, and its type as dictionaries write it."""

    name: str
    key: Key
    type: str

    def read(self, value: bytes) -> str:
        """What `value` says, for people and as an id: "" if it says nothing. Bytes that are no text are in hexadecimal."""
        length = len(value)
        if self.type in NUMBERS:
            return str(int.from_bytes(value, "big")) if 0 < length <= 8 else ""
        if self.type == "ipaddr" and length == 4:
            return socket.inet_ntop(socket.AF_INET, value)
        if self.type == "ipv6addr" and length == 16:
            return str(IPv6Address(value))
        if self.type == "ipv6prefix" and 2 <= length <= 18:
            return f"{IPv6Address(value[2:].ljust(16, bytes(1)))}/{value[1]}"
        if self.type == "ether" and length == 6:
            return value.hex(":")
        return read_text(value)


class Attributes:
    """Every attribute that has a name here."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary

    def find(self, name: str) -> Attribute:
        """The attribute of that name. Raises DictionaryError for one that is unknown or of a type that is not read."""
        found = self._dictionary.attributes.get(name)
        if found is None:
            if name in self._dictionary.skipped_attributes:
                raise DictionaryError(f"expected an attribute of a type that is read, not `{name}`")
            known = difflib.get_close_matches(name, self._dictionary.attributes, 1)
            hint = f": did you mean `{known[0]}`?" if known else ""
            raise DictionaryError(f"expected an attribute that a dictionary names, not `{name}`{hint}")
        key = self._dictionary.attrindex.GetForward(name)
        is_plain = isinstance(key, int) or (isinstance(key, tuple) and len(key) == 2 and found.vendor)
        if found.type not in TYPES or not is_plain or found.is_sub_attribute or found.encrypt or found.has_tag:
            raise DictionaryError(f"expected an attribute of a type that is read, not `{name}` ({found.type})")
        return Attribute(name, key, found.type)


def read_text(value: bytes) -> str:
    """Text without the white space and zeros around it; what is not printable UTF-8 as 0x and its hexadecimal form.

    Of bytes whose form would be longer than any text, a digest stands for what does not fit.
    """
    try:
        text = value.decode().strip(" \t\r\n\x00")
        if text.isprintable():
            return text
    except UnicodeDecodeError:
        pass
    if len(value) > BINARY_LIMIT_BYTES:
        return f"0x{value[:16].hex()}~{blake2b(value, digest_size=16).hexdigest()}"
    return "0x" + value.hex()


def load_attributes(own: Iterable[Path] = ()) -> Attributes:
    """The attributes of Penstock's dictionaries and of the operator's `own`, which win. Raises DictionaryError."""
    dictionary = Dictionary()
    with _without_warnings():
        for name in OURS:
            with resources.as_file(resources.files(__package__) / "dictionaries" / name) as path:
                dictionary.ReadDictionary(str(path))
        for path in own:
            _read_own(dictionary, path)
    return Attributes(dictionary)


def _read_own(dictionary: Dictionary, path: Path) -> None:
    try:
        dictionary.ReadDictionary(str(path))
    except ParseError as error:
        inner = "" if error.file in ("", path.name) else f": {error.file}"  # of one that it includes
        where = f"{path}{inner}:{max(error.line, 1)}"
        raise DictionaryError(f"{where}: expected a dictionary in FreeRADIUS's format: {error.msg}") from None
    except OSError as error:
        raise DictionaryError(f"{error.filename or path}: expected a readable file: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, IndexError):  # of pyrad, for lines that it does not foresee; and not UTF-8
        raise DictionaryError(f"{path}: expected a dictionary in FreeRADIUS's format, in UTF-8") from None


@contextmanager
def _without_warnings() -> Iterator[None]:
    """pyrad warns of every attribute whose type it skips; only those that somebody names matter, and `find` says so."""
    logger = logging.getLogger("pyrad")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
