"""Web addresses in plain Python, step by step as the Safe Browsing documentation words them."""

import re

from tests.policy.databases import Said, choose

SAFE = {byte for byte in range(33, 127)} - set(b"#%")


def unescape(text: bytes) -> bytes:
    """Undo percent-escapes until there are none."""
    while (once := re.sub(rb"%([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), text)) != text:
        text = once
    return text


def escape(text: bytes) -> bytes:
    """Escape what does not stand for itself."""
    return b"".join(bytes([byte]) if byte in SAFE else b"%%%02x" % byte for byte in text)


def read_number(text: bytes) -> int | None:
    """A number as C has it."""
    if re.fullmatch(rb"0[xX][0-9a-fA-F]+", text):
        return int(text, 16)
    if re.fullmatch(rb"0[0-7]*", text):
        return int(text, 8)
    return int(text) if re.fullmatch(rb"[1-9][0-9]*", text) else None


def read_ipv4(host: bytes) -> bytes | None:
    """The address of one to four numbers."""
    numbers = [read_number(part) for part in host.split(b".")]
    known = [number for number in numbers if number is not None]
    if len(numbers) > 4 or len(known) < len(numbers):
        return None
    sizes = [1] * (len(numbers) - 1) + [5 - len(numbers)]
    value = b"".join(
        (number % 2 ** (8 * size)).to_bytes(size, "big")
        for number, size in zip(numbers, sizes, strict=True)
        if number is not None
    )
    return b".".join(b"%d" % byte for byte in value)


def canonical_host(host: bytes) -> bytes:
    """A host in canonical form."""
    text = re.sub(rb"\.+", b".", unescape(host)).strip(b".").lower()
    first = re.match(rb"[^ ]+(?= )", text)
    bare = first[0] if first and len(text) <= 15 else text
    return read_ipv4(bare) or escape(text)


def canonical_target(target: bytes) -> tuple[bytes, bytes]:
    """Path, and path with query, of a request target in canonical form."""
    target = target.partition(b"#")[0]
    if not target.startswith(b"/"):
        absolute = re.fullmatch(rb"[^/?]+://[^/?]*(.*)", target, re.S)
        target = absolute[1] if absolute else b""
    path, mark, query = re.sub(rb"[\t\r\n]", b"", target).partition(b"?")
    parts: list[bytes] = []
    pieces = unescape(path).split(b"/")
    for piece in pieces:
        if piece == b"..":
            parts = parts[:-1]
        elif piece not in (b"", b"."):
            parts.append(piece)
    resolved = b"/" + b"/".join(parts)
    if parts and pieces[-1] in (b"", b".", b".."):
        resolved += b"/"
    has_query = mark and target.partition(b"?")[2] != b""
    return escape(resolved), escape(resolved) + (b"?" + escape(unescape(query)) if has_query else b"")


def find_prefixes(path: bytes, whole: bytes) -> set[bytes]:
    """The beginnings of a request at which an entry may end."""
    slashes = [at for at, byte in enumerate(path) if byte == 0x2F]
    return {path, whole} | {path[: at + 1] for at in slashes} | {path[:at] for at in slashes if at}


def find_covering(said: list[Said], host: bytes, target: bytes) -> int:
    """The categories of a request."""
    name = canonical_host(host)
    labels = name.split(b".")
    above = {b".".join(labels[at:]) for at in range(1, len(labels))}
    prefixes = {b"", *find_prefixes(*canonical_target(target))}
    return choose(
        (category, entry)
        for category, entry in said
        if entry.path in prefixes
        and ((entry.name == name and entry.reach != 2) or (entry.name in above and entry.reach != 0))
    )
