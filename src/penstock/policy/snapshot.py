"""A snapshot: everything that judging and answering read, one immutable file, mapped beside its names database.

Compiled code gets two addresses, the snapshot's and the names database's; a file holds offsets only. This module maps and
reads; `control.snapshot` writes. It does not know the configuration from which a snapshot was made.

A template is a whole HTTP response in which some places wait for what only the request can tell:

    | TEMPLATE_BYTES | PLACES: 8 words, kind << 32 | offset; 0: none | the response's bytes at TEMPLATE_START ...
"""

import json
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from penstock.compile.memory import CHECKED, allow, forbid, shared, u64
from penstock.errors import PenstockError
from penstock.policy import layout, names
from penstock.policy.actions import ACTION_COUNT
from penstock.policy.layout import HOOK_PAGES_OFF, TEMPLATES_OFF
from penstock.policy.names import CATEGORY_LIMIT

TEMPLATE_BYTES = 0  # size of the response
PLACES = 8  # PLACE_LIMIT words: what goes where, as an offset from the response's first byte
PLACE_LIMIT = 8
TEMPLATE_START = PLACES + 8 * PLACE_LIMIT  # the response itself

RESPONSE_LIMIT_BYTES = 4096  # so that an answer is a handful of segments and its buffer has a fixed size
HOOK_RESPONSE_LIMIT_BYTES = 8192 - 64  # what `path.layout.ANSWER_BYTES` has room for
TEXT_ROOM, URL_ROOM = 2048, 1040  # of what a hook says: a text with its entities, cut if need be; a web address
TEXT_PLACE, URL_PLACE = b"TEXT-OF-A-HOOK".ljust(TEXT_ROOM, b"-"), b"URL-OF-A-HOOK".ljust(URL_ROOM, b"-")
REFERENCE = b"REFERENCE-NUMBER"  # stands where 16 lower-case hex digits go
TOKEN = b"TOKEN-BY-WHICH-WARNED-CLIENTS-CAN-GO-ON-"  # where path.overrides has its token
PLACE_REFERENCE, PLACE_TOKEN, PLACE_TEXT, PLACE_URL = 0, 1, 2, 3
PLACE_TEXTS = (REFERENCE, TOKEN, TEXT_PLACE, URL_PLACE)
"""By kind: what stands in a template where it goes, as long as that."""

# A row for each category, and one for what no category explains; a column for each action, and for what is none.
NAMELESS = CATEGORY_LIMIT
COLUMN_COURT, COLUMN_OWN_LIST, COLUMN_CONTINUED = ACTION_COUNT, ACTION_COUNT + 1, ACTION_COUNT + 2
COLUMN_COUNT = ACTION_COUNT + 3


class SnapshotError(PenstockError):
    """A snapshot or its names database cannot be used; the text says which file, why, and the cure."""


@shared
def find_template(snapshot, category, column):  # type: ignore[no-untyped-def]
    """Find the response that carries out an action because of a category, or that stands in another column.

    Reads: snapshot. Writes: nothing.
    Returns: the template's offset from the start of the snapshot; 0 when there is none. Category -1 has one template, for
        BLOCK: a request that nobody can read in one way only.
    Bounds: constant.
    """
    if column < 0 or column >= COLUMN_COUNT or category >= CATEGORY_LIMIT:
        return 0
    row = category
    if category < 0:
        row = NAMELESS
    return u64(snapshot + u64(snapshot + TEMPLATES_OFF) + (row * COLUMN_COUNT + column) * 8)


@shared
def find_hook_page(snapshot, category, is_redirect):  # type: ignore[no-untyped-def]
    """Find the response by which a hook's refusal is carried out.

    Returns: the template's offset from the start of the snapshot; 0 when there is none. A category without a page of its
        own has that of none. Bounds: constant.
    """
    pages = u64(snapshot + HOOK_PAGES_OFF)
    if pages == 0:
        return 0
    if is_redirect:
        return u64(snapshot + pages + (NAMELESS + 1) * 8)
    found = u64(snapshot + pages + category * 8) if category >= 0 and category < CATEGORY_LIMIT else 0
    return found if found else u64(snapshot + pages + NAMELESS * 8)


@dataclass
class MappedFile:
    """A whole file, mapped read-only and already in memory, at an address that compiled code can read."""

    path: Path
    array: np.ndarray[Any, np.dtype[np.uint8]]
    address: int
    descriptor: int
    """Of the file itself, whatever stands under its name meanwhile; for another process to map."""
    _map: mmap.mmap
    _region: int | None

    @classmethod
    def open(
        cls, path: Path, magic: int, version: int, size_at: int, cure: str, descriptor: int | None = None
    ) -> "MappedFile":
        """Map `path`, or the file that was opened as `descriptor`, which is this object's from here on.

        Raises SnapshotError when it is absent, damaged or of another version.
        """
        try:
            if descriptor is None:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            mapped = mmap.mmap(descriptor, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            if descriptor is not None:
                os.close(descriptor)
            raise SnapshotError(
                f"{path}: {error.strerror if isinstance(error, OSError) else 'is empty'}: {cure}"
            ) from None
        array = np.frombuffer(mapped, np.uint8)
        words = array[: size_at + 8].view(np.int64) if len(array) >= size_at + 8 else None
        if words is None or words[0] != magic or words[1] != version or words[size_at // 8] != len(array):
            del array, words
            mapped.close()
            os.close(descriptor)
            raise SnapshotError(f"{path}: damaged or of another version: {cure}")
        address = int(array.ctypes.data)
        return cls(path, array, address, descriptor, mapped, allow(address, address + len(array)) if CHECKED else None)

    def word(self, offset: int) -> int:
        """The int64 at an offset."""
        return int(self.array[offset : offset + 8].view(np.int64)[0])

    def read_metadata(self, off_at: int, bytes_at: int) -> Any:
        """The JSON part of the file."""
        start = self.word(off_at)
        return json.loads(self.array[start : start + self.word(bytes_at)].tobytes())

    def close(self) -> None:
        """Unmap. The address is invalid from here on."""
        if self._region is not None:
            forbid(self._region)
        self.array = np.empty(0, np.uint8)
        self._map.close()
        os.close(self.descriptor)


class Snapshot:
    """A snapshot and its names database, mapped. `address` and `names_address` are what compiled code gets."""

    def __init__(self, policy: MappedFile, database: MappedFile) -> None:
        self._policy, self._database = policy, database
        metadata = policy.read_metadata(layout.METADATA_OFF, layout.METADATA_BYTES)
        self.address = policy.address
        self.names_address = database.address
        self.path = policy.path
        self.names_path = database.path
        self.generation = policy.word(layout.SNAPSHOT_GENERATION)
        self.report_only = policy.word(layout.REPORT_ONLY) != 0
        self.profiles: dict[int, int] = {layout.profile_tag(name): bits for name, bits in metadata["profiles"].items()}
        """What each profile, by its tag, meant when this was made: a bit for each service."""
        self.profile_names: list[str] = list(metadata["profiles"])
        self.category_names: list[str] = metadata["categories"]
        self.service_names: dict[int, str] = {int(bit): name for bit, name in metadata["services"].items()}
        """By bit."""

    @classmethod
    def open(cls, path: Path, descriptors: tuple[int | None, int | None] = (None, None)) -> "Snapshot":
        """Map a snapshot and the names database it was made for; or what was opened before, which is then this object's.

        Raises SnapshotError when either cannot be used.
        """
        policy = MappedFile.open(
            path, layout.MAGIC, layout.VERSION, layout.SNAPSHOT_BYTES, "build the snapshot again", descriptors[0]
        )
        metadata = policy.read_metadata(layout.METADATA_OFF, layout.METADATA_BYTES)
        try:
            database = open_names(Path(metadata["names"]), descriptors[1])
        except SnapshotError:
            policy.close()
            raise
        if any(policy.word(layout.NAMES_KEY_COPY + at) != database.word(names.NAMES_KEY + at) for at in (0, 8)):
            policy.close()
            database.close()
            raise SnapshotError(f"{path}: {metadata['names']} was built again since: build the snapshot again")
        return cls(policy, database)

    @property
    def descriptors(self) -> tuple[int, int]:
        """Of the snapshot and of its names database: all that another process needs to map the same."""
        return self._policy.descriptor, self._database.descriptor

    @property
    def names_metadata(self) -> Any:
        """What the names database says of itself: categories, sources with digests, time of the build."""
        return self._database.read_metadata(names.METADATA_OFF, names.METADATA_BYTES)

    @property
    def built_ns(self) -> int:
        """When the names database was built, in nanoseconds since 1970."""
        return self._database.word(names.BUILT_NS)

    @property
    def name_count(self) -> int:
        """How many names the database holds."""
        return self._database.word(names.NAME_COUNT)

    def close(self) -> None:
        """Unmap both files; whoever still reads them reads nothing that exists."""
        self._policy.close()
        self._database.close()


def open_names(path: Path, descriptor: int | None = None) -> MappedFile:
    """Map a names database. Raises SnapshotError."""
    return MappedFile.open(path, names.MAGIC, names.VERSION, names.FILE_BYTES, "run `penstock lists build`", descriptor)
