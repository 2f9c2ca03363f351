"""Where an installation keeps its tables, programs and links: a directory on bpffs.

    /sys/fs/bpf/penstock-<network namespace>-<ingress>-<egress>/
        layout-1/       tables of this layout version
        cable_ingress, cable_egress, steer_ingress, steer_egress        links

Pins outlive every process. bpffs is mounted where it is not yet. Inside `ip netns exec` /sys is another one that dies with
the command, so then the bpffs of the process that called it is used: pins must not die with us.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from penstock.errors import PenstockError
from penstock.kernel import bpf
from penstock.kernel.tables import LAYOUT_VERSION

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


class Pins:
    """The pin directory of one interface pair."""

    def __init__(self, ingress: str, egress: str, root: Path) -> None:
        # bpffs refuses names with a dot, which interface names may have (eth0.100).
        names = f"{ingress}-{egress}".replace(".", "~")
        self.directory = root / f"penstock-{network_namespace()}-{names}"
        self.tables = self.directory / f"layout-{LAYOUT_VERSION}"

    def make(self) -> None:
        """Make the directories, for root alone."""
        for directory in (self.directory, self.tables):
            directory.mkdir(mode=0o700, exist_ok=True)
            directory.chmod(0o700)

    def open(self, name: str) -> int | None:
        """The descriptor of a pinned link, or None."""
        try:
            return bpf.open_pin(str(self.directory / name))
        except FileNotFoundError:
            return None

    def open_table(self, name: str) -> int | None:
        """The descriptor of a pinned table of this layout, or None."""
        try:
            return bpf.open_pin(str(self.tables / name))
        except FileNotFoundError:
            return None

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
