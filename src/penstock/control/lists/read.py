"""Reading a list, whatever it is written in: the bulk of its names as hashes, and all other lines with what they say.

It knows which module reads which format, and no category.
"""

import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from penstock.control.lists import adguard, csv_feed, plain, rpz, squidguard
from penstock.control.lists.bulk import Bulk, Shape, read_bulk
from penstock.control.lists.entries import Line, NotTaken, Parse, Said, parse_said
from penstock.control.lists.files import Block, Digest, is_tree, open_list, read_blocks, read_members
from penstock.control.lists.names_file import NamesError, Reach
from penstock.control.lists.settings import Columns, Format, ListSource

SAMPLE_LINES = 200  # that are no comments, by which a format is told
LINES_AT_ONCE = 50_000  # of formats that are read as a whole
NO_BULK = Bulk(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty((0, 3), np.int64))


class Chunk(NamedTuple):
    """A part of a list."""

    member: str  # of a tree or archive; empty for a file
    block: Block | None  # from which the bulk comes
    bulk: Bulk
    reach: Reach  # of the bulk's names
    lines: Sequence[Line]

    def read_line(self, number: int) -> bytes:
        """The line of the bulk with this number, from 0 on in its block."""
        return self.block.lines[number] if self.block else b""


class Reading:
    """One list while it is read. `digest` says how far, and of which bytes."""

    def __init__(self, source: ListSource, key: bytes) -> None:
        self._source, self._key = source, key
        self.digest, self.format = Digest(), str(source.format)

    def __iter__(self) -> Iterator[Chunk]:
        """Its parts. Raises NamesError for a list that cannot be read, with its path and the reason."""
        path = self._source.path
        try:
            if self._source.format == "squidguard" or (self._source.format == "auto" and is_tree(path)):
                self.format = "squidguard"
                yield from self._read_tree()
            else:
                with path.open("rb") as file:
                    stream = open_list(file, self.digest)
                    yield from self._read_file(stream)
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise NamesError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        except NamesError as error:
            raise NamesError(f"{path}: {error}") from None

    def _read_tree(self) -> Iterator[Chunk]:
        found = False
        for name, file in read_members(self._source.path, self._source.member):
            parser = squidguard.find_parser(name)
            if parser:
                found = True
                yield from self._read_blocks(read_blocks(open_list(file, self.digest)), *parser, member=name)
        if not found:
            place = f" in a directory `{self._source.member}`" if self._source.member else ""
            raise NamesError(f"no `domains`, `urls` or `expressions`{place}")

    def _read_file(self, stream: BinaryIO) -> Iterator[Chunk]:
        if self._source.format in ("csv", "rpz"):
            yield from self._read_records(stream)
            return
        blocks = read_blocks(stream)
        first = next(blocks, None)
        if first is None:
            return
        if self._source.format == "auto":
            self.format = detect_format(first.lines)
        if self.format == "rpz":
            raise NamesError("a zone file: say `format: rpz`")
        parse, shapes = self._find_parser()
        yield from self._read_blocks(_chain(first, blocks), parse, shapes)

    def _find_parser(self) -> tuple[Parse, Sequence[Shape]]:
        match, urls = self._source.match, self._source.urls
        if self.format == "adguard":
            return adguard.read_ranking(self._find_ranking())
        if self.format == "hosts":
            return plain.make_parser("hosts", match), [(sink, b"") for sink in plain.SINKS]
        bare = [(b"", b"")] if match == "exact" else [(b"", b""), (b"*.", b"")]
        if self.format == "domains":
            return plain.make_parser("domains", match, urls), bare
        return plain.make_parser("auto", match, urls), [*bare, *((sink, b"") for sink in plain.SINKS)]

    def _find_ranking(self) -> Iterator[bytes]:
        """The rules that touch others may stand behind those: the file is read once for them alone."""
        with self._source.path.open("rb") as file:
            for block in read_blocks(open_list(file, Digest())):
                if any(word in block.text for word in adguard.RANKING):
                    for line in block.lines:
                        if any(word in line for word in adguard.RANKING):
                            yield line

    def _read_blocks(
        self, blocks: Iterable[Block], parse: Parse, shapes: Sequence[Shape], member: str = ""
    ) -> Iterator[Chunk]:
        reach = Reach.EXACT if self._source.match == "exact" else Reach.SUBTREE
        for block in blocks:
            of_the_machine = b"0.0.0.0 0.0.0.0" in block.text or b"localhost.localdomain" in block.text
            bulk = read_bulk(block.text, () if of_the_machine else shapes, self._key)
            odd = ((number, block.text[start:end]) for number, start, end in bulk.odd.tolist())
            lines = [Line(block.first_line + number, text, self._turn(parse_said(parse, text))) for number, text in odd]
            yield Chunk(member, block, bulk, reach, lines)

    def _read_records(self, stream: BinaryIO) -> Iterator[Chunk]:
        source = self._source
        records: Iterator[Line]
        if source.format == "rpz":
            records = rpz.read_zone(stream, source.local_data == "take")
        else:
            parse = plain.make_parser("domains", source.match, source.urls)
            records = csv_feed.read_feed(stream, source.csv or Columns(), parse)
        lines: list[Line] = []
        for number, text, said in records:
            lines.append(Line(number, text, self._turn(said)))
            if len(lines) == LINES_AT_ONCE:
                yield Chunk("", None, NO_BULK, Reach.EXACT, lines)
                lines = []
        yield Chunk("", None, NO_BULK, Reach.EXACT, lines)

    def _turn(self, said: Said) -> Said:
        """In a list that allows, what would be listed is an exception, and an exception says nothing."""
        if not self._source.allow or isinstance(said, Exception):
            return said
        if any(entry.is_allowed for entry in said):
            return NotTaken("an exception in a list that allows")
        return [entry._replace(is_allowed=True) for entry in said]


def detect_format(lines: Iterable[bytes]) -> Format:
    """The format of a list, by its first lines."""
    seen = 0
    for line in lines:
        bare = line.strip()
        if bare.startswith((b"|", b"@@", b"[Adblock", b"[uBlock")):
            return "adguard"
        if bare.startswith((b"$TTL", b"$ORIGIN")) or b" SOA " in bare or b"\tSOA\t" in bare:
            return "rpz"
        seen += bool(bare) and bare[:1] not in b"#!"
        if seen == SAMPLE_LINES:
            break
    return "auto"


def _chain(first: Block, rest: Iterator[Block]) -> Iterator[Block]:
    yield first
    yield from rest
