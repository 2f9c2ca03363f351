"""Web addresses in lists, brought into the form in which `policy.urls` compares them, by its own code.

An entry has a scheme, a port, credentials and a fragment, or not; none of them takes part in a comparison.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np

from penstock.compile.memory import CHECKED, allow, forbid
from penstock.compile.native import kernel
from penstock.control.lists.entries import BadLine, Entry, encode_name, parse_name, quote
from penstock.control.lists.names_file import Hashes, Reach, run_hasher
from penstock.policy import urls
from penstock.policy.names import HOST_LIMIT

_split = re.compile(rb"(?:[a-z][a-z0-9+.-]*://)?(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^/?#:]*)(?::\d*)?([/?#].*)?", re.I | re.S)


@cache
def _kernels() -> tuple[Any, Any, Any, Any]:
    scratch = np.zeros(urls.SCRATCH_BYTES, np.uint8)
    return kernel(urls.write_host), kernel(urls.write_target), kernel(urls.hash_urls), scratch


def canonicalise(host: bytes, target: bytes) -> tuple[bytes, bytes, bytes]:
    """Host, path, and path with query in canonical form; all escaped, so that none has a space in it."""
    write_host, write_target, _, scratch = _kernels()
    at, texts = int(scratch.ctypes.data), [np.frombuffer(text or b"\0", np.uint8) for text in (host, target)]
    regions = [allow(a.ctypes.data, a.ctypes.data + a.nbytes) for a in (*texts, scratch)] if CHECKED else []
    length = write_host(texts[0].ctypes.data, len(host), at + urls.HOST_AT)
    write_target(texts[1].ctypes.data, len(target), at)
    for region in regions:
        forbid(region)
    path_bytes, whole_bytes = (int(size) for size in scratch[:16].view(np.int64))
    text = scratch[urls.TARGET_AT :][:whole_bytes].tobytes()
    return scratch[urls.HOST_AT :][:length].tobytes(), text[:path_bytes], text


def split_url(text: bytes) -> tuple[bytes, bytes]:
    """Host, and path with query, of a web address as it is written. Raises BadLine without a host."""
    parts = _split.fullmatch(text.strip())
    if parts is None or not parts[1]:
        raise BadLine(f"{quote(text)} is no web address")
    host = parts[1] if parts[1].isascii() else encode_name(parts[1])
    return host, parts[2] or b""


def parse_url(text: bytes, meant: Literal["path", "host"] = "path", reach: Reach = Reach.EXACT) -> Sequence[Entry]:
    """The entry of a web address: for itself, or (`host`) for its whole host. Raises BadLine."""
    host, target = split_url(text)
    if len(host) > HOST_LIMIT or len(target) > urls.TARGET_LIMIT:
        raise BadLine("a web address that is too long")
    canonical, _, whole = canonicalise(host, target)
    name = parse_name(canonical)
    if meant == "host":
        return (Entry(name, Reach.EXACT),)
    if whole.count(b"/") > urls.PART_LIMIT:
        raise BadLine(f"a path of more than {urls.PART_LIMIT} parts")
    return (Entry(name, reach, path=whole),)


def hash_urls(text: bytes, count: int, key: bytes) -> Hashes:
    """Hash `count` web addresses (name and path of an Entry), each ended by a line feed in `text`."""
    return run_hasher(_kernels()[2], text, count, key)
