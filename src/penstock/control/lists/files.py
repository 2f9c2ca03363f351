"""The bytes of a list: a file, plain or gzip-compressed, or the members of a tree or archive, block by block.

It knows no formats. Nothing is unpacked to a disk, and no member's name is used as a path.
"""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, NamedTuple, cast

BLOCK_BYTES = 1 << 20  # read, parsed and hashed at one time
LINE_BYTES = 4096 + 2  # of a longer line no more is kept than shows that it is longer
GZIP = b"\x1f\x8b"


class Block(NamedTuple):
    """Some whole lines of a list, the last one perhaps without its line feed."""

    first_line: int
    text: bytes

    @property
    def lines(self) -> list[bytes]:
        """The lines without their line feeds."""
        lines = self.text.split(b"\n")
        return lines if lines[-1] else lines[:-1]


class Digest:
    """How many bytes of a list have been read, and their SHA-256."""

    def __init__(self) -> None:
        self._sha256, self.read_bytes = hashlib.sha256(), 0

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def add(self, block: bytes) -> None:
        self._sha256.update(block)
        self.read_bytes += len(block)


class _Digested(io.RawIOBase):
    """A file of which a digest remembers what was read."""

    def __init__(self, file: IO[bytes], digest: Digest) -> None:
        super().__init__()
        self._file, self._digest = file, digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        self._digest.add(block)
        buffer[: len(block)] = block
        return len(block)


def open_list(file: IO[bytes], digest: Digest) -> BinaryIO:
    """The bytes of a list, unpacked where its first bytes say gzip."""
    stream = io.BufferedReader(_Digested(file, digest), BLOCK_BYTES)
    if stream.peek(2)[:2] == GZIP:
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream, mode="rb"))
    return cast(BinaryIO, stream)


def read_blocks(stream: BinaryIO) -> Iterator[Block]:
    """The lines of a list, block by block. Raises OSError, EOFError or zlib.error for what is damaged."""
    rest, line = b"", 1
    while block := stream.read(BLOCK_BYTES):
        text = rest + block
        end = text.rfind(b"\n") + 1
        rest, text = text[end:][:LINE_BYTES], text[:end]
        if text:
            yield Block(line, text)
            line += text.count(b"\n")
    if rest:
        yield Block(line, rest)


class Member(NamedTuple):
    """One file of a tree or archive, open."""

    name: str
    file: IO[bytes]


def is_tree(path: Path) -> bool:
    """Is it a directory or a tar archive, compressed or not? Raises OSError."""
    return path.is_dir() or (path.suffix in {".tar", ".tgz"} or ".tar." in path.name)


def read_members(path: Path, directory: str | None) -> Iterator[Member]:
    """The files of a tree or archive, in the order of their names, or as they lie there: of all directories, or of one.

    A directory is named by its own name, wherever it lies, or by a link to it. Raises OSError, EOFError, zlib.error, or
    tarfile.TarError for what is damaged.
    """
    if path.is_dir():
        yield from _read_directory(path / directory if directory else path, path)
        return
    links: dict[str, str] = {}
    found = False
    for member in _read_archive(path, directory, links):
        found = True
        yield member
    if directory in links and not found:
        yield from _read_archive(path, PurePosixPath(links[directory]).name, {})


def _read_directory(place: Path, root: Path) -> Iterator[Member]:
    if not place.is_dir():
        raise NotADirectoryError(20, "is no directory of this tree", str(place))
    for path in sorted(place.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                yield Member(str(path.relative_to(root)), file)


def _read_archive(path: Path, directory: str | None, links: dict[str, str]) -> Iterator[Member]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            place = PurePosixPath(member.name)
            if member.issym():
                links[place.name] = member.linkname
            file = archive.extractfile(member) if member.isreg() else None
            if file and (directory is None or place.parent.name == directory):
                yield Member(str(place), file)
