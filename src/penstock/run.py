"""The composition root: wires configuration, snapshot, tables, programs and the packet process together.

    start   configuration → names → tables → packet process, register → snapshot → who is where → steer → ready
            with --take-over, and another run on the pair: all that takes time first, then it leaves and we go on
    then    events to the log, metrics, SIGHUP (a new snapshot), both other processes watched and started again

Packet process, register, portal and hooks die with this one (their input ends); the cable and `steer` outlive all, and pass
what nobody judges. What it judges by is `control.policy_in_force`'s, the packet process `control.packet_keeper`'s, the
register `control.subscribers.keeper`'s, an operator's hooks `control.hooks.in_line`'s, API and pages
`control.portal.keeper`'s, what it tells `control.reporter`'s, its place on the line `control.seat`'s and
`control.succession`'s.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import structlog

from penstock.control.configuration import load_configuration
from penstock.control.exceptions import pack_policies
from penstock.control.guard import Guard
from penstock.control.guard_report import GuardCollector
from penstock.control.hooks.counts import HookCollector
from penstock.control.hooks.in_line import HooksInLine
from penstock.control.line_watch import LineWatch
from penstock.control.link_metrics import LinkCollector
from penstock.control.lists.feed_report import FeedCollector
from penstock.control.metrics import serve_metrics
from penstock.control.packet_keeper import PacketKeeper
from penstock.control.packet_process import PacketProcessError
from penstock.control.policy_in_force import PolicyInForce
from penstock.control.portal.keeper import PortalKeeper
from penstock.control.portal.words import PortalWords
from penstock.control.reporter import Reporter, open_log
from penstock.control.seat import Seat
from penstock.control.service_bits import place_services
from penstock.control.subscribers.calls import find_register_door
from penstock.control.subscribers.keeper import RegisterError, RegisterKeeper
from penstock.control.subscribers.owners import RegisteredOwners
from penstock.control.subscribers.register_metrics import RegisterCollector
from penstock.control.succession import Succession
from penstock.control.systemd import notify_systemd
from penstock.errors import PenstockError
from penstock.line.handover import Caller, Door, find_door
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

POLL_S = 0.05  # how often events are taken from the rings
WORKER_LIMIT = 16
DRAIN_S = 0.02  # behind the last packet that went up: the workers empty their rings before they are told to stop

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # events have standard output
log = structlog.get_logger()


class RunError(PenstockError):
    """Penstock cannot run; the text names the cure."""


def worker_count(wanted: int) -> int:
    """The largest power of two that is at most `wanted` and the limit: rings are chosen by bits of a hash."""
    return 1 << (min(wanted, WORKER_LIMIT).bit_length() - 1)


class Run:
    """One `penstock run`."""

    def __init__(self, pair: Pair, configuration_path: Path, ready_path: Path | None, takes_over: bool = False) -> None:
        self.pair, self.ready_path, self.takes_over = pair, ready_path, takes_over
        configuration = place_services(load_configuration(configuration_path))
        check_kernel()
        for side in SIDES:
            pair.ifindex(side)  # before anything is made
        self.pins = Pins(pair.ingress, pair.egress, find_root())
        self.seat = Seat(pair, self.pins, configuration_path, ready_path)
        self.wires = Wires(pair)
        known = configuration.subscriber_register
        workers = worker_count(configuration.workers)
        self.size = Size(configuration.flows.capacity, workers, known.capacity, known.addresses, known.own_names)
        self.shared = SharedMemory(self.size.workers)
        self.guard = Guard(self.shared)
        self.policy = PolicyInForce(configuration_path, configuration, self.guard)
        self.packets = PacketKeeper(lambda: self.stops)
        self.register = RegisterKeeper(lambda: self.stops)
        self.owners = RegisteredOwners(known.database)
        self.hooks = HooksInLine(self.size.workers)
        self.reporter = Reporter(self.shared, self.hooks)
        self.line_watch: LineWatch | None = None
        self.succession: Succession | None = None
        self.metrics: Any = None
        self.is_new = self.stops = self.reloads = False
        self.portal = PortalKeeper(PortalWords(self).answer)
        self.reporter.also_tell = self.portal.tell

    def run(self) -> int:
        """Run until SIGTERM or SIGINT. Returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        try:
            with open_log(self.policy.configuration.log.path) as sink:
                self._start()
                self._serve(sink)
            return 0
        finally:
            self._stop()

    def _on_stop(self, number: int, frame: object) -> None:
        self.stops = True

    def _on_reload(self, number: int, frame: object) -> None:
        self.reloads = True

    # ---- start --------------------------------------------------------------------------------------------------------
    def _start(self) -> None:
        self.seat.find(self.takes_over)
        predecessor = self.seat.predecessor
        self.policy.hold(self.seat.label, self.seat.other_label if predecessor is None else None)
        self.is_new = open_tables(self.pins, self.size)
        self.control = Control()
        # Tables that say something go on saying it until the register is there: to wait would leave everybody unjudged.
        is_known = predecessor is None and not self.is_new and self.control.knows_places
        self.packets.start(self._describe_standing())  # it imports and maps while the snapshot is made
        if not is_known:
            self._start_register()
        self.policy.open(ingress=self.pair.ingress, pair=f"{self.pair.ingress}-{self.pair.egress}")
        self.packets.give(self.policy.snapshot)
        self._follow_hooks()
        self.reporter.open(self.control)
        if predecessor is None or self.is_new:
            self._set_line()
        if predecessor is None:  # else the cable is laid, and a side may be held down
            raise_cable(self.pair, self.pins)
        # After the cable: a first start compiles for seconds, and the line must carry meanwhile.
        programs = load_steer(self.pair, self.pins)
        self.line_watch = LineWatch(
            self.pair, self.pins, self.wires, self.policy.configuration.line, self.control.renew
        )
        is_filled = self.packets.await_taken() and (is_known or self._fill_tables())
        if not is_filled or not self._take_place(predecessor, programs):
            return
        if is_known:
            self._start_register()  # behind what judges, which needs the processors first
        self.line_watch.start()
        self.policy.watch()
        if not is_known or self._await_register():
            self._tell_ready()

    def _follow_hooks(self) -> None:
        self.hooks.follow(self.policy.configuration, self.policy.snapshot.category_names)

    def _start_register(self) -> None:
        self.register.start(self._describe_line(), self.policy.configuration)
        if self.seat.predecessor is None:
            self.register.begin()

    def _tell_ready(self) -> None:
        self.portal.start(self._describe_line(), self.policy.configuration, self.policy.snapshot)
        if self.control.is_on:
            names = self.policy.snapshot.name_count
            log.info("judging", ingress=self.pair.ingress, egress=self.pair.egress, names=names)
        else:
            log.warning("the switch is off: nothing is judged until `penstock on`")
        if self.ready_path:
            self.ready_path.touch()
        notify_systemd(f"READY=1\nMAINPID={os.getpid()}")

    def _describe_line(self) -> dict[str, Any]:
        """Where the tables are: what the register knows from its start to its end."""
        return {
            "ingress": self.pair.ingress,
            "egress": self.pair.egress,
            "root": str(self.pins.directory.parent),
            "size": asdict(self.size),
        }

    def _describe_standing(self) -> dict[str, Any]:
        """What the packet process knows from its start to its end."""
        return {
            **self._describe_line(),
            "workers": self.size.workers,
            "shared_fd": self.shared.fd,
            "asks_fd": self.hooks.memory.fd,
            "wire_fds": self.wires.fds,
            "options": ALL_REQUESTS if self.policy.configuration.log.all_requests else 0,
        }

    def _fill_tables(self) -> bool:
        """Have the tables say who is where before anybody is judged by them; False when we are told to stop before.

        Those that another run's register fills are left to it as long as it is there; where nothing is in them yet, they
        are filled from what it keeps.
        """
        if self.seat.predecessor is None:
            return self._await_register()
        return not self.is_new or self.register.load()

    def _await_register(self) -> bool:
        """Wait until the register writes. Without it tables that say something already go on saying it."""
        try:
            return self.register.await_writing()
        except RegisterError as error:
            if self.seat.predecessor is not None or not self.control.knows_places:
                raise
            log.error("going on with the subscribers that the kernel knows", error=str(error))
            return True

    def _take_place(self, predecessor: Caller | None, programs: list[int]) -> bool:
        """Start the workers, attach `steer`, and have the run before us leave; False when we are told to stop before.

        One that works on the same tables leaves first, and its rings wait for a moment; one on others is left without
        packets by `steer`, and empties its rings then.
        """
        shares = predecessor is not None and not self.is_new
        self.packets.begin()  # with shared rings: as soon as the other one's workers have stopped
        if predecessor and shares:
            predecessor.ask_leave(drain=False)
        if not self.packets.await_ready():
            return False
        if attach_steer(self.pair, self.pins, programs):
            self.control.renew()
        if predecessor is None:
            self._start_metrics()
        elif not self._finish_take_over(predecessor, shares):
            return False
        for directory in self.pins.others():
            self.pins.remove_tables(directory)
        assert self.seat.lock is not None
        self.succession = Succession(Door(find_door(self.pins)), self.seat.lock, self)
        return True

    def _finish_take_over(self, predecessor: Caller, shares: bool) -> bool:
        if shares:
            self._set_line()
        else:
            predecessor.ask_leave(drain=True)
        self.register.begin()  # the other one's has left
        if not self._await_register():
            return False
        self.seat.finish()
        log.info("took over from another run", tables="the same" if shares else "others")
        try:
            self._start_metrics()  # their address was the other one's until now
        except RunError as error:
            log.error("no metrics are served", error=str(error))
        return True

    def _start_metrics(self) -> None:
        listen = self.policy.configuration.metrics.listen
        if not listen:
            return
        assert self.line_watch is not None
        host, _, port = listen.rpartition(":")
        of_register = RegisterCollector(find_register_door(self.pins))
        of_line, of_feeds = LinkCollector(self.line_watch), FeedCollector(self.policy)
        of_hooks = HookCollector(self.hooks.read_state)
        collectors = (of_line, GuardCollector(self.guard), of_register, of_feeds, of_hooks)
        try:
            self.metrics, _ = serve_metrics(host.strip("[]"), int(port), self.reporter.read_metrics, *collectors)
        except OSError as error:
            raise RunError(f"metrics.listen: {host}:{port}: {error.strerror}: choose another, or null") from None

    def _set_line(self) -> None:
        """Tell the kernel what it needs of the configuration. Who is where, the register tells it."""
        configuration = self.policy.configuration
        self.control.set_ports(configuration.port_bits)
        self.control.set_scopes(configuration.scope_words)
        self.control.set_exceptions(pack_policies(configuration))

    # ---- service ------------------------------------------------------------------------------------------------------
    def _serve(self, sink: TextIO) -> None:
        self.reporter.begin(sink)
        while not self.stops and not (self.succession and self.succession.is_over):
            self._tell_events()
            self.reporter.look_for_exceptions()
            self.portal.look_after()
            if not self._has_left():
                self._look_after()
            self._sleep()
        self._tell_events()
        if not self._has_left():
            self.reporter.end()

    def _tell_events(self) -> None:
        self.guard.drain(time.monotonic())
        self.reporter.write_events(self.policy.snapshot, self.owners)

    def _look_after(self) -> None:
        """Do what is to be done: start the packet process again, read the configuration again, take a new snapshot."""
        if not self.packets.is_alive:
            self.packets.revive(self.policy.snapshot)
            return
        self.register.look_after()
        self.hooks.look_after(self.policy)
        if self.reloads:
            self.reloads = False
            self.policy.reload(self.owners.find_moves)
        self.policy.renew(self._take_policy)

    def _take_policy(self) -> None:
        """Have workers, kernel and watch take the policy that is in force now."""
        assert self.line_watch is not None
        self.line_watch.settings = self.policy.configuration.line
        self.packets.replace(self.policy.snapshot)
        self._set_line()
        self.register.follow(self.policy.configuration)
        self._follow_hooks()
        self.portal.follow(self.policy.configuration, self.policy.snapshot)

    def _sleep(self) -> None:
        """Wait for the packet process to say something (its end above all), for a visitor, or for the next look at the
        rings."""
        sources: list[Any] = [*self.portal.output(), *self.hooks.keeper.output()]
        if not self._has_left():
            sources += [self.packets.output, *self.register.output()]
        if self.succession:
            sources += self.succession.door.sockets()
        ready, _, _ = select.select(sources, [], [], POLL_S)
        if self.succession:
            self.succession.serve(ready)

    # ---- stop ---------------------------------------------------------------------------------------------------------
    def _stop(self) -> None:
        """Leave the cable: `steer` goes, then the packet process. Unless the place is another's, or not ours yet."""
        is_ours = self.seat.lock is not None and not self._has_left()
        if self.line_watch is not None:
            self.line_watch.stop()
        if is_ours:
            notify_systemd("STOPPING=1")
            detach_steer(self.pins)
            time.sleep(DRAIN_S)
        self.portal.end()
        self.owners.close()  # who closes a store last cleans up behind all
        self.register.dismiss()  # it ends beside the other one
        self.packets.end()
        self.register.end()
        self.hooks.end()
        if self.seat.lock is None and self.pins.tables.exists() and self.is_new:
            self.pins.remove_tables(self.pins.tables)
        self.seat.give_up()  # our workers are gone by now
        if self.succession is not None:
            self.succession.door.close()
            log.info("left to another run" if self._has_left() else "the cable carries on")
        self.policy.release()

    # ---- hand-over: what `Succession` asks of its place ---------------------------------------------------------------
    def _has_left(self) -> bool:
        return self.succession is not None and self.succession.has_left

    def describe(self) -> dict[str, Any]:
        """Who we are, for whoever asks at the door."""
        return self.seat.describe()

    def leave(self, drain: bool) -> None:
        """Stop the workers for the heir."""
        assert self.line_watch is not None
        self.line_watch.stop()  # it lays the line for us, not for others
        self.packets.leave(drain)
        self.register.leave()

    def take_back(self, had_left: bool) -> None:
        """Judge again, after the heir went; what it let pass was unread here."""
        assert self.line_watch is not None
        if had_left:
            self.register.begin()  # as soon as the heir's is gone
            self.packets.begin()
            with contextlib.suppress(PacketProcessError):  # it died meanwhile, and is started again in its turn
                self.packets.await_ready()
        was_ousted = self.pins.in_use() != self.pins.tables
        attach_steer(self.pair, self.pins)
        if had_left:
            self.line_watch.start()
        if had_left or was_ousted:
            self.control.renew()
            self._set_line()
            log.info("judging again")

    def hand_over(self) -> None:
        """Give up the address of the metrics, and tell no more of causes: the heir begins anew."""
        self.reporter.end()
        self.portal.end()
        if self.metrics is not None:
            self.metrics.shutdown()
            self.metrics.server_close()

    def start_heir(self, program: Sequence[str]) -> "subprocess.Popen[Any]":
        """Start another program as the run that takes over."""
        return self.seat.start_heir(program)
