"""The composition root: wires configuration, snapshot, tables, programs and the packet process together.

    start   configuration → names → snapshot → tables → packet process → steer → ready
    then    events to the log, metrics, SIGHUP (a new snapshot), the packet process watched and started again

The packet process dies with this one (its input ends); the cable and `steer` outlive both, and pass what nobody judges.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

import structlog

from penstock.control.configuration import Configuration, load_configuration
from penstock.control.events import EventLog, EventReader, LogFile, decode_foreign, monotonic_offset_ns, stamp_now
from penstock.control.exceptions import Watch, pack_policies, tell_gone
from penstock.control.guard import Guard, GuardError
from penstock.control.guard_report import GuardCollector
from penstock.control.health import read_health
from penstock.control.ledger import Ledger, read_counters, read_ledger, read_times
from penstock.control.line_watch import LineWatch
from penstock.control.link_metrics import LinkCollector
from penstock.control.lists.build import build_names
from penstock.control.lists.in_force import NamesInForce
from penstock.control.metrics import Readings, serve_metrics
from penstock.control.safe_search import Addresses, find_targets
from penstock.control.snapshot import seal_snapshot
from penstock.errors import PenstockError
from penstock.kernel import bpf, tables
from penstock.line.inline import (
    SIDES,
    Control,
    Pair,
    attach_steer,
    check_kernel,
    detach_steer,
    open_tables,
    prepare_steer,
    raise_cable,
)
from penstock.line.pins import Pins, find_root
from penstock.line.protection import pack_rights, set_budgets, set_protection
from penstock.line.wires import Wires
from penstock.path.layout import ALL_REQUESTS
from penstock.path.memory import SharedMemory
from penstock.policy.snapshot import Snapshot

LOOK_S = 0.5  # between looks at the counters of exceptions
POLL_S = 0.05  # how often events are taken from the rings
READY_S = 600.0  # the first start compiles the path
TARGETS_S = 1800.0  # between look-ups of what SafeSearch leads to
RESTART_S = 1.0  # between starts of a packet process that dies at once
WORKER_LIMIT = 16
FIXED = ("log", "metrics", "flows", "workers")  # settings that a reload does not change
DRAIN_S = 0.02  # behind the last packet that went up: the workers empty their rings before they are told to stop

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # events have standard output
log = structlog.get_logger()


class RunError(PenstockError):
    """Penstock cannot run; the text names the cure."""


@dataclass
class Process:
    """The packet process: its program, the socket that is its standard input, its standard output."""

    program: subprocess.Popen[str]
    orders: socket.socket
    started_s: float

    @property
    def output(self) -> IO[str]:
        assert self.program.stdout is not None
        return self.program.stdout

    def give(self, snapshot: Snapshot) -> None:
        """Have it take a snapshot. A process that died meanwhile takes none."""
        with contextlib.suppress(OSError):
            socket.send_fds(self.orders, [b"snapshot"], list(snapshot.descriptors))

    def close(self) -> None:
        """Give up both ends: a process that still lives ends."""
        self.orders.close()
        self.output.close()


def port_bits(ports: Iterable[tuple[int, int]]) -> bytes:
    """The configuration's ranges of ports as a bit per port."""
    bits = bytearray(8192)
    for first, last in ports:
        for port in range(first, last + 1):
            bits[port >> 3] |= 1 << (port & 7)
    return bytes(bits)


def worker_count(wanted: int) -> int:
    """The largest power of two that is at most `wanted` and the limit: rings are chosen by bits of a hash."""
    return 1 << (min(wanted, WORKER_LIMIT).bit_length() - 1)


class Run:
    """One `penstock run`."""

    def __init__(self, pair: Pair, configuration_path: Path, ready_path: Path | None) -> None:
        self.pair, self.configuration_path, self.ready_path = pair, configuration_path, ready_path
        self.configuration = load_configuration(configuration_path)
        if any(subscriber.scope for subscriber in self.configuration.subscribers):
            raise RunError("subscribers: scope: expected 0: in line, scopes are not read from packets in this version")
        check_kernel()
        for side in SIDES:
            pair.ifindex(side)  # before anything is made
        self.pins = Pins(pair.ingress, pair.egress, find_root())
        self.wires = Wires(pair)
        self.workers = worker_count(self.configuration.workers)
        self.shared = SharedMemory(self.workers)
        self.reader = EventReader(self.shared)
        self.guard = Guard(self.shared)
        self.guard.follow(self.configuration)
        self.generation = 0
        self.stops = self.reloads = self.renews = False
        self.targets: Addresses = {}
        self.events = EventLog(sys.stdout)
        self.watch, self.looked_s = Watch(), 0.0
        self.snapshot: Snapshot
        self.process: Process

    # ---- start --------------------------------------------------------------------------------------------------------
    def run(self) -> int:
        """Run until SIGTERM or SIGINT. Returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        try:
            with self._open_log() as sink:
                self._start()
                self._serve(sink)
            return 0
        finally:
            self._stop()

    def _on_stop(self, number: int, frame: object) -> None:
        self.stops = True

    def _on_reload(self, number: int, frame: object) -> None:
        self.reloads = True

    def _start(self) -> None:
        if not self.configuration.database.exists():
            build_names(self.configuration)
        self.names = NamesInForce(self.configuration.database, f"{self.pair.ingress}-{self.pair.egress}")
        is_new = open_tables(self.pins, self.configuration.flows.capacity, self.workers)
        self.process = self._start_process()  # it imports and maps while the snapshot is made
        self.targets = find_targets(self.configuration)
        self.snapshot = self._build_snapshot(self.configuration, self.names.path)
        self._note_snapshot()
        self.process.give(self.snapshot)
        self.control = Control()
        self.counters = bpf.map_memory(tables.counters)
        self.path_counters = bpf.map_memory(tables.path_counters)
        self.times = bpf.map_memory(tables.verdict_times)
        self.health = bpf.map_memory(tables.health)
        self.budgets = bpf.map_memory(tables.budgets)
        self._set_line()
        raise_cable(self.pair, self.pins)
        prepare_steer()  # after the cable: a first start compiles for seconds, and the line must carry meanwhile
        if not self._wait_ready():
            return
        if attach_steer(self.pair, self.pins) or is_new:
            self.control.renew()
        self.line_watch = LineWatch(self.pair, self.pins, self.wires, self.configuration.line, self.control.renew)
        self.line_watch.start()
        self._start_metrics()
        if self.control.is_on:
            log.info("judging", ingress=self.pair.ingress, egress=self.pair.egress, names=self.snapshot.name_count)
        else:
            log.warning("the switch is off: nothing is judged until `penstock on`")
        threading.Thread(target=self._watch_targets, daemon=True).start()
        if self.ready_path:
            self.ready_path.touch()
        notify_systemd("READY=1")

    def _start_metrics(self) -> None:
        if not self.configuration.metrics.listen:
            return
        host, _, port = self.configuration.metrics.listen.rpartition(":")
        try:
            collectors = (LinkCollector(self.line_watch), GuardCollector(self.guard))
            serve_metrics(host.strip("[]"), int(port), self.read_metrics, *collectors)
        except OSError as error:
            raise RunError(f"metrics.listen: {host}:{port}: {error.strerror}: choose another, or null") from None

    def _build_snapshot(self, configuration: Configuration, names_path: Path) -> Snapshot:
        self.generation += 1
        number = seal_snapshot(configuration, names_path, self.generation, self.targets)
        return Snapshot.open(Path(f"snapshot {self.generation}"), (number, None))

    def _set_line(self) -> None:
        """Tell the kernel what it needs of configuration and snapshot."""
        self.control.set_ports(port_bits(self.configuration.ports))
        self.control.set_exceptions(pack_policies(self.configuration))
        set_budgets(self.budgets, self.configuration.budgets)
        set_protection(self.control, self._prefixes())

    def _prefixes(self) -> Iterator[tuple[int, bytes, int, int]]:
        for scope, address, bits, subscriber in self.snapshot.owned_prefixes():
            is_protected, fails_closed = self.snapshot.is_protected(subscriber), self.snapshot.fails_closed(subscriber)
            yield scope, address, bits, pack_rights(is_protected, fails_closed, subscriber)

    def _start_process(self) -> Process:
        standing = {
            "ingress": self.pair.ingress,
            "egress": self.pair.egress,
            "root": str(self.pins.directory.parent),
            "capacity": self.configuration.flows.capacity,
            "workers": self.workers,
            "shared_fd": self.shared.fd,
            "wire_fds": self.wires.fds,
            "options": ALL_REQUESTS if self.configuration.log.all_requests else 0,
        }
        orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            program = subprocess.Popen(
                [sys.executable, "-m", "penstock.engine", json.dumps(standing)],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=[self.shared.fd, *self.wires.fds],
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # a thread of NumPy's would keep root's rights
            )
        return Process(program, orders, time.monotonic())

    def _wait_ready(self) -> bool:
        """Wait until the packet process judges; False when we are told to stop before. Raises RunError when it ends."""
        end = time.monotonic() + READY_S
        told = False
        while time.monotonic() < end and not self.stops:
            readable, _, _ = select.select([self.process.output], [], [], 0.2)
            if readable:
                if self.process.output.readline().strip() == "ready":
                    return True
                status = self.process.program.wait()
                raise RunError(f"the packet process ended with status {status} before it was ready")
            if not told and time.monotonic() - self.process.started_s > 3:
                told = True
                log.info("compiling the packet path, once for this version")
        if self.stops:
            return False
        raise RunError(f"the packet process was not ready after {READY_S:.0f} s")

    # ---- service ------------------------------------------------------------------------------------------------------
    def _serve(self, sink: TextIO) -> None:
        self.events = EventLog(sink)
        self._tell_gone()
        while not self.stops:
            self._write_events()
            self._look_for_exceptions()
            if self.process.program.poll() is not None:
                self._revive_process()
                continue
            if self.reloads:
                self.reloads = False
                self._reload()
            if self.renews:
                self.renews = False
                self._take_snapshot(self._build_snapshot(self.configuration, self.names.path))
            self._sleep()
        self._write_events()

    def _write_events(self) -> None:
        self.guard.drain(time.monotonic())
        offset_ns = monotonic_offset_ns()
        for raw in self.reader.read():
            fields = decode_foreign(raw, self.snapshot, offset_ns)
            if fields is None:
                self.events.lost += 1
            else:
                self.events.write(fields)

    def _look_for_exceptions(self) -> None:
        now_s = time.monotonic()
        if now_s - self.looked_s < LOOK_S:
            return
        self.looked_s = now_s
        reasons = self._read_ledger().reasons
        self.control.set_word(tables.CONTROL_STALE_SEEN, reasons["stale_open"] + reasons["stale_closed"])
        for fields in self.watch.look(reasons, now_s):
            self._tell_exception(fields)

    def _tell_exception(self, fields: dict[str, Any]) -> None:
        self.events.write({"timestamp": stamp_now(), **fields})
        log.warning("exception", **{name: value for name, value in fields.items() if name != "event"})

    def _tell_gone(self) -> None:
        """What passed since the last look of a control process that was killed."""
        reasons = self._read_ledger().reasons
        missed = reasons["stale_open"] + reasons["stale_closed"] - self.control.word(tables.CONTROL_STALE_SEEN)
        if missed > 0:
            for fields in tell_gone(missed):
                self._tell_exception(fields)

    def _sleep(self) -> None:
        """Wait for the packet process to say something (its end above all), or for the next look at the rings."""
        select.select([self.process.output], [], [], POLL_S)

    def _open_log(self) -> Any:
        path = self.configuration.log.path
        if path == "-":
            return contextlib.nullcontext(sys.stdout)
        try:
            return LogFile(path)
        except OSError as error:
            raise RunError(f"log.path: {path}: {error.strerror}") from None

    def _revive_process(self) -> None:
        """Start the packet process again, as often as it takes: it may die again before it is ready."""
        while not self.stops:
            try:
                return self._restart_process()
            except (PenstockError, OSError) as error:
                log.error("nobody judges; trying again", error=str(error))
                time.sleep(RESTART_S)

    def _restart_process(self) -> None:
        """The packet process died: the kernel passes packets meanwhile; start it again at once."""
        status = self.process.program.returncode
        log.error("the packet process died; starting it again", status=status)
        if time.monotonic() - self.process.started_s < RESTART_S:
            time.sleep(RESTART_S)
        self.process.close()
        self.process = self._start_process()
        self.process.give(self.snapshot)  # it has its names database with it, whatever stands under that one's name
        self._wait_ready()
        log.info("judging again")

    def _reload(self) -> None:
        """SIGHUP: configuration and lists again. What is wrong, or would refuse too much, changes nothing and is logged."""
        targets = self.targets
        try:
            configuration = load_configuration(self.configuration_path)
            self.targets = find_targets(configuration)
            with self.names.build(configuration) as candidate:
                snapshot = self._build_snapshot(configuration, candidate)
                self._check_change(snapshot, configuration)
                self.names.take(candidate, configuration.database)
        except (PenstockError, OSError) as error:
            self.targets = targets
            log.error("not reloaded: what was in force stays", error=str(error))
            return
        fixed = {name: getattr(self.configuration, name) for name in FIXED}
        changed = [name for name in FIXED if getattr(configuration, name) != fixed[name]]
        if changed:
            log.warning("these settings change at the next start only", settings=changed)
        self.configuration = configuration.model_copy(update=fixed)
        self.line_watch.settings = configuration.line
        self.guard.follow(configuration)
        self._take_snapshot(snapshot)
        log.info("reloaded", generation=snapshot.generation, names=snapshot.name_count)

    def _note_snapshot(self) -> None:
        """Tell who looks at the last hour what is in force."""
        pair = self.pair
        self.guard.last_hour.set_note(
            ingress=pair.ingress, pair=f"{pair.ingress}-{pair.egress}", snapshot=self.snapshot.descriptors
        )

    def _check_change(self, snapshot: Snapshot, configuration: Configuration) -> None:
        """Raise GuardError, and give the snapshot up, when it would refuse too much."""
        self.guard.drain(time.monotonic())
        try:
            self.guard.check(self.snapshot, snapshot, configuration)
        except GuardError:
            snapshot.close()
            raise

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        """Have the workers and the kernel take a snapshot, and give up the one before."""
        old, self.snapshot = self.snapshot, snapshot
        self._note_snapshot()
        self.process.give(snapshot)
        self.process.output.readline()  # empty when it died just now: it is started again with this snapshot
        self._set_line()
        old.close()

    def _watch_targets(self) -> None:
        """Ask now and then where SafeSearch leads to: a thread of its own, for a resolver may be slow."""
        while True:
            time.sleep(TARGETS_S)
            try:
                found = find_targets(self.configuration)
            except PenstockError as error:
                log.warning("the addresses that SafeSearch leads to stay as they were", error=str(error))
                continue
            if found != self.targets:
                self.targets, self.renews = found, True

    def _read_ledger(self) -> Ledger:
        return read_ledger(read_counters(self.counters), read_counters(self.path_counters))

    def read_metrics(self) -> Readings:
        """Everything that is counted."""
        lost = self.reader.lost() + self.events.lost
        return Readings(self._read_ledger(), read_times(self.times), lost, read_health(self.health), self.watch)

    # ---- stop ---------------------------------------------------------------------------------------------------------
    def _stop(self) -> None:
        """Leave the cable: `steer` goes, then the packet process."""
        notify_systemd("STOPPING=1")
        if hasattr(self, "line_watch"):
            self.line_watch.stop()
        detach_steer(self.pins)
        time.sleep(DRAIN_S)
        if hasattr(self, "process"):
            self.process.orders.close()
            try:
                self.process.program.wait(3)
            except subprocess.TimeoutExpired:
                self.process.program.kill()
        if hasattr(self, "names"):
            self.names.release()


def notify_systemd(text: str) -> None:
    """sd_notify(3), if systemd asked for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, contextlib.suppress(OSError):
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(text.encode())
