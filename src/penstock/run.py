"""The composition root: wires configuration, snapshot, tables, programs and the packet process together.

    start   configuration → names → snapshot → tables → packet process → steer → ready
            with --take-over, and another run on the pair: all that takes time first, then it leaves and we go on
    then    events to the log, metrics, SIGHUP (a new snapshot), the packet process watched and started again

The packet process dies with this one (its input ends); the cable and `steer` outlive both, and pass what nobody judges.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

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
from penstock.control.packet_process import READY_S, PacketProcess, PacketProcessError
from penstock.control.safe_search import Addresses, find_targets
from penstock.control.seat import Seat
from penstock.control.snapshot import seal_snapshot
from penstock.control.subscribers.fixed import FixedOwners, find_moves
from penstock.control.succession import Succession
from penstock.control.systemd import notify_systemd
from penstock.errors import PenstockError
from penstock.kernel import bpf, tables
from penstock.line.directory import Directory
from penstock.line.handover import Caller, Door
from penstock.line.inline import (
    SIDES,
    Control,
    Pair,
    attach_steer,
    check_kernel,
    detach_steer,
    load_steer,
    open_tables,
    raise_cable,
)
from penstock.line.pins import Pins, Size, find_root
from penstock.line.wires import Wires
from penstock.path.layout import ALL_REQUESTS
from penstock.path.memory import SharedMemory
from penstock.policy.snapshot import Snapshot

LOOK_S = 0.5  # between looks at the counters of exceptions
POLL_S = 0.05  # how often events are taken from the rings
START_S = 10.0  # for workers that only have to begin, or to wait until others have stopped
TARGETS_S = 1800.0  # between look-ups of what SafeSearch leads to
RESTART_S = 1.0  # between starts of a packet process that dies at once
WORKER_LIMIT = 16
FIXED = ("log", "metrics", "flows", "workers")  # settings that a reload does not change
DRAIN_S = 0.02  # behind the last packet that went up: the workers empty their rings before they are told to stop

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # events have standard output
log = structlog.get_logger()


class RunError(PenstockError):
    """Penstock cannot run; the text names the cure."""


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

    def __init__(self, pair: Pair, configuration_path: Path, ready_path: Path | None, takes_over: bool = False) -> None:
        self.takes_over = takes_over
        self.succession: Succession | None = None
        self.metrics: Any = None
        self.pair, self.configuration_path, self.ready_path = pair, configuration_path, ready_path
        self.configuration = load_configuration(configuration_path)
        if any(subscriber.scope for subscriber in self.configuration.subscribers):
            raise RunError("subscribers: scope: expected 0: in line, scopes are not read from packets in this version")
        check_kernel()
        for side in SIDES:
            pair.ifindex(side)  # before anything is made
        self.pins = Pins(pair.ingress, pair.egress, find_root())
        self.seat = Seat(pair, self.pins, configuration_path, ready_path)
        self.wires = Wires(pair)
        self.workers = worker_count(self.configuration.workers)
        self.shared = SharedMemory(self.workers)
        self.reader = EventReader(self.shared)
        self.guard = Guard(self.shared)
        self.guard.follow(self.configuration)
        self.owners = FixedOwners(self.configuration)
        self.generation = 0
        self.is_new = False
        self.stops = self.reloads = self.renews = False
        self.targets: Addresses = {}
        self.events = EventLog(sys.stdout)
        self.watch, self.looked_s = Watch(), 0.0
        self.snapshot: Snapshot
        self.process: PacketProcess

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
        self.seat.find(self.takes_over)
        if not self.configuration.database.exists():
            build_names(self.configuration)
        self.names = self._hold_names()
        self.size = Size(self.configuration.flows.capacity, self.workers)
        self.is_new = open_tables(self.pins, self.size)
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
        self.directory = Directory(
            self.control.memory, bpf.map_memory(tables.addresses), bpf.map_memory(tables.subscribers)
        )
        predecessor = self.seat.predecessor
        if predecessor is None or self.is_new:
            self._set_line()
        if predecessor is None:  # else the cable is laid, and a side may be held down
            raise_cable(self.pair, self.pins)
        # After the cable: a first start compiles for seconds, and the line must carry meanwhile.
        programs = load_steer(self.pair, self.pins)
        self.line_watch = LineWatch(self.pair, self.pins, self.wires, self.configuration.line, self.control.renew)
        if not self._wait_for("taken") or not self._take_place(predecessor, programs):
            return
        self.line_watch.start()
        if self.control.is_on:
            log.info("judging", ingress=self.pair.ingress, egress=self.pair.egress, names=self.snapshot.name_count)
        else:
            log.warning("the switch is off: nothing is judged until `penstock on`")
        threading.Thread(target=self._watch_targets, daemon=True).start()
        if self.ready_path:
            self.ready_path.touch()
        notify_systemd(f"READY=1\nMAINPID={os.getpid()}")

    def _take_place(self, predecessor: Caller | None, programs: list[int]) -> bool:
        """Start the workers, attach `steer`, and have the run before us leave; False when we are told to stop before.

        One that works on the same tables leaves first, and its rings wait for a moment; one on others is left without
        packets by `steer`, and empties its rings then.
        """
        shares = predecessor is not None and not self.is_new
        self.process.say("start")  # with shared rings: as soon as the other one's workers have stopped
        if predecessor and shares:
            predecessor.ask_leave(drain=False)
        if not self._wait_for("ready", START_S):
            return False
        if attach_steer(self.pair, self.pins, programs):
            self.control.renew()
        if predecessor is None:
            self._start_metrics()
        else:
            self._finish_take_over(predecessor, shares)
        for directory in self.pins.others():
            self.pins.remove_tables(directory)
        assert self.seat.lock is not None
        self.succession = Succession(Door(self.pins), self.seat.lock, self)
        return True

    def _finish_take_over(self, predecessor: Caller, shares: bool) -> None:
        if shares:
            self._set_line()
        else:
            predecessor.ask_leave(drain=True)
        self.seat.finish()
        log.info("took over from another run", tables="the same" if shares else "others")
        try:
            self._start_metrics()  # their address was the other one's until now
        except RunError as error:
            log.error("no metrics are served", error=str(error))

    def _start_metrics(self) -> None:
        if not self.configuration.metrics.listen:
            return
        host, _, port = self.configuration.metrics.listen.rpartition(":")
        try:
            collectors = (LinkCollector(self.line_watch), GuardCollector(self.guard))
            self.metrics, _ = serve_metrics(host.strip("[]"), int(port), self.read_metrics, *collectors)
        except OSError as error:
            raise RunError(f"metrics.listen: {host}:{port}: {error.strerror}: choose another, or null") from None

    def _build_snapshot(self, configuration: Configuration, names_path: Path) -> Snapshot:
        self.generation += 1
        number = seal_snapshot(configuration, names_path, self.generation, self.targets)
        return Snapshot.open(Path(f"snapshot {self.generation}"), (number, None))

    def _hold_names(self) -> NamesInForce:
        """The names database, under a name that the run before us, which may go on, does not use."""
        if self.seat.predecessor is None:
            NamesInForce(self.configuration.database, self.seat.other_label).release()  # of one that was killed
        return NamesInForce(self.configuration.database, self.seat.label)

    def _set_line(self) -> None:
        """Tell the kernel what it needs of configuration and snapshot."""
        self.control.set_ports(port_bits(self.configuration.ports))
        self.control.set_exceptions(pack_policies(self.configuration))
        self.owners.fill(self.directory)

    def _start_process(self) -> PacketProcess:
        standing = {
            "ingress": self.pair.ingress,
            "egress": self.pair.egress,
            "root": str(self.pins.directory.parent),
            "size": asdict(self.size),
            "workers": self.workers,
            "shared_fd": self.shared.fd,
            "wire_fds": self.wires.fds,
            "options": ALL_REQUESTS if self.configuration.log.all_requests else 0,
        }
        return PacketProcess.start(standing)

    def _wait_for(self, word: str, within_s: float = READY_S) -> bool:
        """Wait until the packet process says that word; False when we are told to stop before."""
        return self.process.wait_for(word, lambda: self.stops, within_s)

    # ---- service ------------------------------------------------------------------------------------------------------
    def _serve(self, sink: TextIO) -> None:
        self.events = EventLog(sink)
        self._tell_gone()
        while not self.stops and not (self.succession and self.succession.is_over):
            self._write_events()
            self._look_for_exceptions()
            if not self._has_left():
                self._look_after()
            self._sleep()
        self._write_events()

    def _look_after(self) -> None:
        """Do what is to be done: start the packet process again, read the configuration again, take a new snapshot."""
        if not self.process.is_alive:
            self._revive_process()
            return
        if self.reloads:
            self.reloads = False
            self._reload()
        if self.renews:
            self.renews = False
            self._take_snapshot(self._build_snapshot(self.configuration, self.names.path))

    def _write_events(self) -> None:
        self.guard.drain(time.monotonic())
        offset_ns = monotonic_offset_ns()
        for raw in self.reader.read():
            fields = decode_foreign(raw, self.snapshot, self.owners, offset_ns)
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
        """Wait for the packet process to say something (its end above all), for a visitor, or for the next look at the
        rings."""
        sources: list[Any] = [] if self._has_left() else [self.process.output]
        if self.succession:
            sources += self.succession.door.sockets()
        ready, _, _ = select.select(sources, [], [], POLL_S)
        if self.succession:
            self.succession.serve(ready)

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
        if self._wait_for("taken"):
            self.process.say("start")
            self._wait_for("ready", START_S)
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
        self.owners = FixedOwners(self.configuration)
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
            moves = find_moves(self.directory.lines, FixedOwners(configuration).lines())
            self.guard.check(self.snapshot, snapshot, configuration, moves)
        except GuardError:
            snapshot.close()
            raise

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        """Have the workers and the kernel take a snapshot, and give up the one before."""
        old, self.snapshot = self.snapshot, snapshot
        self._note_snapshot()
        self.process.give(snapshot)
        self.process.hear()  # nothing when it died just now: it is started again with this snapshot
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

    # ---- hand-over: what `Succession` asks of its place ------------------------------------------------------------------
    def _has_left(self) -> bool:
        return self.succession is not None and self.succession.has_left

    def describe(self) -> dict[str, Any]:
        """Who we are, for whoever asks at the door."""
        return self.seat.describe()

    def leave(self, drain: bool) -> None:
        """Stop the workers for the heir."""
        self.line_watch.stop()  # it lays the line for us, not for others
        self.process.say("drain" if drain else "leave")
        self.process.hear()  # nothing when it died just now: then there is nothing to stop

    def take_back(self, had_left: bool) -> None:
        """Judge again, after the heir went; what it let pass was unread here."""
        if had_left:
            self.process.say("start")
            with contextlib.suppress(PacketProcessError):  # it died meanwhile, and is started again in its turn
                self._wait_for("ready", START_S)
        was_ousted = self.pins.in_use() != self.pins.tables
        attach_steer(self.pair, self.pins)
        if had_left:
            self.line_watch.start()
        if had_left or was_ousted:
            self.control.renew()
            self._set_line()
            log.info("judging again")

    def hand_over(self) -> None:
        """Give up the address of the metrics."""
        if self.metrics is not None:
            self.metrics.shutdown()
            self.metrics.server_close()

    def start_heir(self, program: Sequence[str]) -> "subprocess.Popen[Any]":
        """Start another program as the run that takes over."""
        return self.seat.start_heir(program)

    # ---- stop ---------------------------------------------------------------------------------------------------------
    def _stop(self) -> None:
        """Leave the cable: `steer` goes, then the packet process. Unless the place is another's, or not ours yet."""
        is_ours = self.seat.lock is not None and not self._has_left()
        if hasattr(self, "line_watch"):
            self.line_watch.stop()
        if is_ours:
            notify_systemd("STOPPING=1")
            detach_steer(self.pins)
            time.sleep(DRAIN_S)
        if hasattr(self, "process"):
            self.process.end()
        if self.seat.lock is None and self.pins.tables.exists() and self.is_new:
            self.pins.remove_tables(self.pins.tables)
        self.seat.give_up()  # our workers are gone by now
        if self.succession is not None:
            self.succession.door.close()
            log.info("left to another run" if self._has_left() else "the cable carries on")
        if hasattr(self, "names"):
            self.names.release()
