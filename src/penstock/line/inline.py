"""In line between two interfaces: the tables, the cable, `steer`, and what the packet process needs of them.

The control process attaches; the packet process maps (`RingMemory`). Links and tables are pinned, so that both may die at
any moment without the packets noticing.
"""

import contextlib
import ctypes
import mmap
import os
import secrets
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from penstock.compile.program import Program
from penstock.errors import PenstockError
from penstock.kernel import bpf, tables
from penstock.kernel.cable import cable_instructions
from penstock.kernel.declared import Map
from penstock.line.links import PROMISCUOUS
from penstock.line.pins import Pins, Size, Switch, open_switches

SIDES = ("ingress", "egress")
TABLES = (
    tables.flows,
    tables.control,
    tables.pulse,
    tables.counters,
    tables.path_counters,
    tables.verdict_times,
    tables.scratch,
    tables.addresses,
    tables.subscribers,
    tables.own_names,
    tables.handshakes,
    tables.health,
)


class LineError(PenstockError):
    """The interfaces cannot be used; the text names the cure."""


@dataclass(frozen=True)
class Pair:
    """The two interfaces in line."""

    ingress: str
    egress: str

    def name(self, side: str) -> str:
        """The name of one side's interface."""
        return self.ingress if side == "ingress" else self.egress

    def ifindex(self, side: str) -> int:
        """The number of one side's interface. Raises LineError."""
        name = self.name(side)
        try:
            return socket.if_nametoindex(name)
        except OSError:
            known = ", ".join(name for _, name in socket.if_nameindex())
            raise LineError(f"no interface {name} here; there are: {known}") from None

    def peer(self, side: str) -> int:
        """The number of the other side's interface."""
        return self.ifindex("egress" if side == "ingress" else "ingress")


def check_kernel() -> None:
    """Raise LineError on a kernel without tcx."""
    version = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if version < (6, 6):
        raise LineError(f"Linux {os.uname().release} is too old: tcx needs 6.6 (Debian 12: linux-image from backports)")


# ---- cable ------------------------------------------------------------------------------------------------------------
def _is_live(link: int, ifindex: int) -> bool:
    """Does the pinned link still hang on this interface? (It survives its interface, without effect.)"""
    return bpf.link_ifindex(link) == ifindex


def is_attached(pair: Pair, pins: Pins, kind: str, side: str) -> bool:
    """Does this side's `cable` or `steer` hang on the interface that has the name now?"""
    link = pins.open(f"{kind}_{side}")
    if link is None:
        return False
    try:
        return _is_live(link, pair.ifindex(side))
    finally:
        os.close(link)


def _attach(pins: Pins, name: str, program: int, ifindex: int, first: bool) -> None:
    """Attach a program under a pinned link, or put it behind the link that is there."""
    link = pins.open(name)
    if link is not None:
        if _is_live(link, ifindex):
            bpf.update_link(link, program)
            os.close(link)
            return
        os.close(link)
        pins.remove(name)
    link = bpf.attach_tcx(program, ifindex, first)
    bpf.pin(link, str(pins.directory / name))
    os.close(link)


def set_up(ifindex: int, up: bool) -> None:
    """Bring an interface up or take it down."""
    with IPRoute() as route:
        route.link("set", index=ifindex, state="up" if up else "down")


def set_promiscuous(ifindex: int, on: bool) -> None:
    """An interface in line takes frames for everybody."""
    with IPRoute() as route:
        link = route.get_links(ifindex)[0]
        flags = link["flags"]
        wanted = flags | PROMISCUOUS if on else flags & ~PROMISCUOUS
        route.link("set", index=ifindex, flags=wanted, change=PROMISCUOUS)


def _silence(name: str, silent: bool) -> None:
    """The box says nothing of its own in line: no IPv6 address, no neighbour or router discovery. Afterwards the
    namespace's default holds again."""
    settings = Path("/proc/sys/net/ipv6/conf")
    with contextlib.suppress(OSError):
        value = "1" if silent else (settings / "default/disable_ipv6").read_text()
        (settings / name / "disable_ipv6").write_text(value)


def raise_cable(pair: Pair, pins: Pins, held: str | None = None) -> None:
    """Lay the cable: whatever comes in on one side leaves on the other. Both sides come up, but for one that is held down
    because the other has no carrier."""
    check_kernel()
    pins.make()
    for side in SIDES:
        program = bpf.load_instructions("cable", cable_instructions(pair.peer(side)))
        _silence(pair.name(side), True)
        set_promiscuous(pair.ifindex(side), True)
        if side != held:
            set_up(pair.ifindex(side), True)
            mark_held(pins, side, False)
        _attach(pins, f"cable_{side}", program, pair.ifindex(side), False)
        os.close(program)


def lower_cable(pair: Pair, pins: Pins) -> bool:
    """Take everything away: nothing crosses any more. Returns whether there was something."""
    if not pins.directory.exists():
        return False
    for side in SIDES:
        for kind in ("steer", "cable"):
            pins.remove(f"{kind}_{side}")
        with contextlib.suppress(LineError, IndexError):
            set_promiscuous(pair.ifindex(side), False)
            _silence(pair.name(side), False)
    pins.remove_all()
    return True


def free_held(pair: Pair, pins: Pins) -> list[str]:
    """Bring up the side that a run which was killed had taken down for the other's lost carrier, and nothing else: its
    interface, or none."""
    found = [side for side in SIDES if is_held(pins, side)]
    for side in found:
        set_up(pair.ifindex(side), True)
        mark_held(pins, side, False)
    return [pair.name(side) for side in found]


def is_held(pins: Pins, side: str) -> bool:
    """Did a run take this side down, and has nobody brought it up since?"""
    return (pins.directory / f"held_{side}").exists()


def mark_held(pins: Pins, side: str, held: bool) -> None:
    """Leave word for `penstock status` that a side is down because the other has no carrier."""
    if held:
        with contextlib.suppress(FileExistsError):
            bpf.pin(tables.control.fd, str(pins.directory / f"held_{side}"))  # the name is what counts
    else:
        pins.remove(f"held_{side}")


# ---- tables -----------------------------------------------------------------------------------------------------------
def open_tables(pins: Pins, size: Size) -> bool:
    """Open the pinned tables, or create and pin them. Returns whether they are new.

    Tables beside those in use are made anew: what they say of flows is old. A switch that was turned off stays off.
    """
    size.declare()
    pins.choose(size)
    is_whole = (pins.tables / "rings").exists()  # which is pinned last
    if pins.tables.exists() and not (is_whole and pins.in_use() in (None, pins.tables)):
        pins.remove_tables(pins.tables)
        is_whole = False
    pins.tables.mkdir(mode=0o700, exist_ok=True)
    for table in TABLES:
        _open_table(pins, table)
    _open_rings(pins, size.workers)
    if not is_whole:
        control = Control()
        control.set_word(tables.CONTROL_HASH_KEY, secrets.randbits(63) | 1)
        control.renew()
        if any(switch.was_turned_off for switch in open_switches(pins.others())):
            Switch(pins.tables).turn(False)
    return not is_whole


def _open_table(pins: Pins, table: Map) -> None:
    fd = pins.open_table(table.name)
    if fd is None:
        bpf.create_map(table, word=tables.VERSION_WORD)
        bpf.pin(table.fd, str(pins.tables / table.name))
    else:
        table.fd = fd


def _open_rings(pins: Pins, count: int) -> None:
    fds = [_open_ring(pins, number) for number in range(count)]
    tables.rings.fd = pins.open_table("rings") or -1
    if tables.rings.fd < 0:
        bpf.create_map(tables.rings, fds[0], tables.VERSION_WORD)
        for number, fd in enumerate(fds):
            bpf.update_element(tables.rings.fd, struct.pack("<I", number), struct.pack("<I", fd))
        bpf.pin(tables.rings.fd, str(pins.tables / "rings"))
    for fd in fds:
        os.close(fd)


def _open_ring(pins: Pins, number: int) -> int:
    fd = pins.open_table(f"ring_{number}")
    if fd is None:
        fd = bpf.create_ring(tables.RING_BYTES, tables.VERSION_WORD)
        bpf.pin(fd, str(pins.tables / f"ring_{number}"))
    return fd


class Control:
    """The control table: the switch, the ports, the scopes."""

    def __init__(self) -> None:
        self.memory = bpf.map_memory(tables.control)

    def word(self, offset: int) -> int:
        return int(struct.unpack_from("<Q", self.memory, offset)[0])

    def set_word(self, offset: int, value: int) -> None:
        struct.pack_into("<Q", self.memory, offset, value)

    @property
    def is_on(self) -> bool:
        """Is `steer` asked at all?"""
        return self.word(tables.CONTROL_EPOCH) & 1 == 1

    @property
    def knows_places(self) -> bool:
        """Has anybody said who is where?"""
        return self.word(tables.CONTROL_SHAPES) & 0xFF > 0

    def renew(self) -> None:
        """Start a new epoch: what passed before was unread. A switch that somebody turned off stays off."""
        epoch = self.word(tables.CONTROL_EPOCH)
        self.set_word(tables.CONTROL_EPOCH, epoch + 2 if epoch else 1)

    def set_exceptions(self, policies: int) -> None:
        """What happens where the path cannot do its work (kernel.exceptions)."""
        self.set_word(tables.CONTROL_EXCEPTIONS, policies)

    def set_ports(self, ports: bytes) -> None:
        """A bit per TCP port that is judged."""
        self.memory[tables.CONTROL_PORTS : tables.CONTROL_PORTS + 8192] = ports

    def set_scopes(self, scopes: bytes) -> None:
        """The scope of each VLAN ID, 16 bits each."""
        self.memory[tables.CONTROL_SCOPES : tables.CONTROL_SCOPES + 8192] = scopes


def compile_steer() -> Program:
    """The kernel program, from the cache if it is there."""
    from penstock.compile.ebpf import build  # the cable needs no compiler, so this module imports none
    from penstock.kernel.steer import steer

    return build(steer)


def load_steer(pair: Pair, pins: Pins) -> list[int]:
    """Have the kernel take `steer` for each side: compiled, verified and at hand, so that attaching takes no longer than
    it must. Their descriptors."""
    program = compile_steer()
    key = Control().word(tables.CONTROL_HASH_KEY)
    programs = []
    for side in SIDES:
        constants = {
            "bucket_mask": tables.flows.entries - 1,
            "ring_mask": _ring_count(pins) - 1,
            "peer_ifindex": pair.peer(side),
            "from_client": 1 if side == "ingress" else 0,
            "hash_key": key,
            "address_mask": tables.addresses.entries - 1,
            "subscriber_mask": tables.subscribers.entries - 1,
        }
        programs.append(bpf.load_program(program, constants))
    return programs


def attach_steer(pair: Pair, pins: Pins, programs: list[int] | None = None) -> bool:
    """Put `steer` in front of the cable on both sides, or behind the links that are there: then no packet meets a moment
    without one. Takes the programs, loaded now unless they were before. Returns whether it was not attached.

    The server's side first: of a handshake that falls between both, its answer is seen, which makes the record. A SYN
    without its answer would make the flow one of which only one direction comes by here.
    """
    was_absent = False
    programs = programs or load_steer(pair, pins)
    pins.mark_program(programs[0])
    for side, program in reversed(list(zip(SIDES, programs, strict=True))):
        was_absent |= not is_attached(pair, pins, "steer", side)
        _attach(pins, f"steer_{side}", program, pair.ifindex(side), True)
    pins.unmark_others(programs[0])
    for program in programs:
        os.close(program)
    return was_absent


def detach_steer(pins: Pins) -> None:
    """Take `steer` away and leave the cable."""
    for side in SIDES:
        pins.remove(f"steer_{side}")


def _ring_count(pins: Pins) -> int:
    return sum(1 for path in pins.tables.iterdir() if path.name.startswith("ring_"))


# ---- what the packet process maps -------------------------------------------------------------------------------------
class RingMemory:
    """A ring buffer's memory: consumer page, producer page, data twice, end to end at `address`."""

    def __init__(self, fd: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        page, size = mmap.PAGESIZE, 2 * tables.RING_BYTES
        read_write, read = mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ
        fixed = mmap.MAP_SHARED | 0x10  # MAP_FIXED
        base = libc.mmap(None, 2 * page + size, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        first = libc.mmap(base, page, read_write, fixed, fd, 0)
        second = libc.mmap(base + page, page + size, read, fixed, fd, page)
        if first != base or second != base + page:
            raise LineError(f"the ring buffer cannot be mapped: {os.strerror(ctypes.get_errno())}")
        self.address: int = base
        self.fd = fd
