"""Where an installation keeps its tables, programs and links: a directory on bpffs.

    /sys/fs/bpf/penstock-<network namespace>-<ingress>-<egress>/
        layout-5-65536-1-65536-262144-65536/      tables: layout version, flows, workers, subscribers, addresses, their own
                                                  names; and the program
        cable_ingress, cable_egress, steer_ingress, steer_egress        links

Tables of another version or size lie beside and are never opened, but for the switch. Which ones are in use the number of
the attached program tells. Pins outlive every process. bpffs is mounted where it is not yet. Inside `ip netns exec` /sys
is another one that dies with the command, so then the bpffs of the process that called it is used: pins must not die
with us.
"""

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import PenstockError
from penstock.kernel import bpf, tables
from penstock.kernel.tables import CONTROL_EPOCH, LAYOUT_VERSION, VERSION_WORD

BPFFS_MAGIC = 0xCAFE4A11
BPFFS = Path("/sys/fs/bpf")
CLONE_NEWNS = 0x20000

_libc = ctypes.CDLL(None, use_errno=True)


class PinError(PenstockError):
    """There is no place for pins; the text names the cure."""


def _is_bpffs(path: Path) -> bool:
    room = ctypes.create_string_buffer(256)
    if _libc.statfs(str(path).encode(), room) != 0:
        return False
    return int.from_bytes(room.raw[:8], "little") & 0xFFFFFFFF == BPFFS_MAGIC


def _mount(path: Path) -> bool:
    return bool(_libc.mount(b"bpf", str(path).encode(), b"bpf", 0, None) == 0)


def _mount_in(pid: int) -> bool:
    """Mount bpffs in another process's mount namespace, from a child that enters it."""
    child = os.fork()
    if child == 0:
        fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
        entered = _libc.setns(fd, CLONE_NEWNS) == 0
        os._exit(0 if entered and (_is_bpffs(BPFFS) or _mount(BPFFS)) else 1)
    return os.waitpid(child, 0)[1] == 0


def _is_private_sys() -> bool:
    """Is /sys the one that `ip netns exec` mounts for its command alone? It names the namespace as its source."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    sources = [fields[fields.index("-") + 2] for fields in mounts if fields[4] == "/sys"]
    return bool(sources) and sources[-1] != "sysfs"


def _outside() -> Iterator[int]:
    """Processes whose mount namespace may be the machine's: process 1, then our ancestors."""
    own = os.readlink("/proc/self/ns/mnt")
    pid = os.getpid()
    candidates = [1]
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        candidates.append(pid)
    for pid in candidates:
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/mnt") != own:
                yield pid


def find_root(mount: bool = True) -> Path:
    """The bpffs to pin on; mounted if need be (and `mount`). Raises PinError."""
    if not _is_private_sys():
        if _is_bpffs(BPFFS) or (mount and _mount(BPFFS)):
            return BPFFS
    else:
        for pid in _outside():
            root = Path(f"/proc/{pid}/root") / BPFFS.relative_to("/")
            if _is_bpffs(root) or (mount and _mount_in(pid) and _is_bpffs(root)):
                return root
    raise PinError(f"no bpffs: run `mount -t bpf bpf {BPFFS}` as root, outside of `ip netns exec`")


def network_namespace() -> int:
    """The number of this process's network namespace."""
    return os.stat("/proc/self/ns/net").st_ino


def open_table(path: Path) -> int:
    """The descriptor of a pinned table. Raises FileNotFoundError; PinError when it was made by another layout version."""
    fd = bpf.open_pin(str(path))
    name = bpf.map_name(fd)
    if not name.startswith(VERSION_WORD):
        os.close(fd)
        raise PinError(
            f"{path} is no table of layout {LAYOUT_VERSION}, but {name}: `penstock cable down` takes it away"
        )
    return fd


@dataclass(frozen=True)
class Size:
    """How large the tables are: powers of two, `addresses` counting places that can be held in two slots each."""

    flows: int
    workers: int
    subscribers: int = 1 << 16
    addresses: int = 1 << 18
    own_names: int = 1 << 16

    def declare(self) -> None:
        """Have tables that are made or mapped from now on be so large."""
        tables.flows.entries = self.flows // tables.WAYS
        tables.subscribers.entries = self.subscribers
        tables.addresses.entries = max(2 * self.addresses // tables.ADDRESS_SLOTS, 2)
        tables.own_names.entries = 2 * self.own_names  # at most half full

    def __str__(self) -> str:
        return f"{self.flows}-{self.workers}-{self.subscribers}-{self.addresses}-{self.own_names}"


class Pins:
    """The pin directory of one interface pair. `tables` is where this version's are, once `choose` said which size."""

    def __init__(self, ingress: str, egress: str, root: Path) -> None:
        # bpffs refuses names with a dot, which interface names may have (eth0.100).
        names = f"{ingress}-{egress}".replace(".", "~")
        self.directory = root / f"penstock-{network_namespace()}-{names}"
        self.tables = self.directory / f"layout-{LAYOUT_VERSION}"

    def choose(self, size: Size) -> None:
        """Use the tables of this size."""
        self.tables = self.directory / f"layout-{LAYOUT_VERSION}-{size}"

    def make(self) -> None:
        """Make the directory of the pair, for root alone."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.directory.chmod(0o700)

    def open(self, name: str) -> int | None:
        """The descriptor of a pinned link, or None."""
        try:
            return bpf.open_pin(str(self.directory / name))
        except FileNotFoundError:
            return None

    def open_table(self, name: str) -> int | None:
        """The descriptor of a pinned table of this layout, or None."""
        try:
            return open_table(self.tables / name)
        except FileNotFoundError:
            return None

    def others(self) -> list[Path]:
        """The directories of tables that are not the chosen ones."""
        return [path for path in find_tables(self.directory) if path != self.tables]

    def in_use(self) -> Path | None:
        """The directory of the tables that the attached `steer` works on, of whatever version; None without one."""
        link = self.open("steer_ingress")
        if link is None:
            return None
        name = f"program_{bpf.link_program(link)}"
        os.close(link)
        return next((path for path in find_tables(self.directory) if (path / name).exists()), None)

    def mark_program(self, program: int) -> None:
        """Pin a program beside the tables it works on, by its number, which is no other's as long as it is pinned."""
        with suppress(FileExistsError):
            bpf.pin(program, str(self.tables / f"program_{bpf.program_id(program)}"))

    def unmark_others(self, program: int) -> None:
        """Take the marks of the programs away that were attached before this one."""
        for path in self.tables.glob("program_*"):
            if path.name != f"program_{bpf.program_id(program)}":
                path.unlink()

    def remove_tables(self, directory: Path) -> None:
        """Take the pins of one set of tables away: they live on for whoever has them open."""
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()

    def remove(self, name: str) -> bool:
        """Take a pin away. Returns whether it was there."""
        try:
            os.unlink(self.directory / name)
        except FileNotFoundError:
            return False
        return True

    def remove_all(self) -> None:
        """Take everything of this pair away."""
        for directory, _, files in os.walk(self.directory, topdown=False):
            for name in files:
                os.unlink(os.path.join(directory, name))
            os.rmdir(directory)


def find_pairs(root: Path) -> list[Path]:
    """The pin directories of this network namespace."""
    return sorted(root.glob(f"penstock-{network_namespace()}-*"))


def find_tables(pair: Path) -> list[Path]:
    """The directories of tables of a pair, of whatever version, the youngest last."""
    return sorted(pair.glob("layout-*"), key=lambda path: path.stat().st_mtime_ns)


def find_own_tables(pair: Path) -> Path | None:
    """The youngest directory of a pair's tables that this version can read."""
    own = [path for path in find_tables(pair) if path.name.split("-")[1] == str(LAYOUT_VERSION)]
    return own[-1] if own else None


def open_own_table(pair: Path, name: str) -> int:
    """The descriptor of a table of the youngest set of a pair's that this version can read. Raises FileNotFoundError."""
    directory = find_own_tables(pair)
    if directory is None:
        raise FileNotFoundError(f"no tables of layout {LAYOUT_VERSION} below {pair}")
    return open_table(directory / name)


def open_switches(directories: list[Path]) -> list["Switch"]:
    """The switches of those sets of tables that have one: a start may have been killed before it made them."""
    return [Switch(path) for path in directories if (path / "control").exists()]


class Switch:
    """The emergency switch of a set of tables of any version: the first word of `control`, odd while it is on."""

    def __init__(self, directory: Path) -> None:
        fd = bpf.open_pin(str(directory / "control"))
        self._memory = mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        os.close(fd)
        self._word = memoryview(self._memory)[CONTROL_EPOCH : CONTROL_EPOCH + 8].cast("Q")

    @property
    def is_on(self) -> bool:
        """Is `steer` asked at all?"""
        return self._word[0] & 1 == 1

    @property
    def was_turned_off(self) -> bool:
        """Did somebody turn it off? (Tables that were just made say 0.)"""
        return self._word[0] != 0 and not self.is_on

    def turn(self, on: bool) -> bool:
        """Turn it. Bytes that pass while it is off are unread: the epoch tells flows so. Returns whether it changed."""
        if self.is_on == on:
            return False
        self._word[0] += 1
        return True
