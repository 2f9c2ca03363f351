"""The hook process: carries asks from the path's workers to the pool, and answers back, within a millisecond.

    asks (a ring for each worker) ─► pool ─► worker processes
    answers (likewise)            ◄──┘

Started by the control process with its standing in JSON as only argument and a socket as standard input, whose end means
stop. A message there is an order, or what this process says:

    follow             this configuration, and these categories, hold from now on; brings a descriptor of both     followed
    tell JSON          what became of a request: a line of the event log
    introduce JSON     a subscriber who appears or changes: id, profile, addresses, is_new
                                        profiles JSON     pairs of subscriber and profile that hooks chose
                                        state             brings a descriptor: what is declared and counted, as JSON

It watches the project itself, and loads it again when it changed. It keeps the rights that starting a process of nobody's
takes; an operator's code runs in those alone. When it dies, default verdicts apply until it is there again.
"""

import json
import mmap
import os
import pickle
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import structlog

from penstock.control.configuration import Configuration
from penstock.control.events import monotonic_offset_ns
from penstock.control.hooks.asks import Names, RecordError, decode_ask, read_outcome
from penstock.control.hooks.pool import HookPool
from penstock.control.hooks.rings import NO_HOOK, Ring, hook_tag, pack_answer
from penstock.control.hooks.settings import PolicySettings
from penstock.control.hooks.sources import ProjectError, Sources, SourceWatch
from penstock.control.subscribers.owners import RegisteredOwners
from penstock.control.whole_file import seal_file
from penstock.errors import PenstockError
from penstock.hooks.request import Subscriber
from penstock.line.privileges import CAPABILITIES, keep_capabilities, read_permitted
from penstock.path.ask_rings import ANSWER_BYTES, ANSWERS_BYTES, ASK_BYTES, ASKS_BYTES

TICK_S, BUSY_TICK_S = 0.001, 0.0002  # between looks at the rings: what a worker of the path writes wakes nobody
LOOK_S = 0.05  # between looks at processes and files, when nothing happens
BUSY_S = 0.02  # behind an ask more are likely
STATE_S = 0.5
RIGHTS = ("setuid", "setgid", "setpcap", "kill")
ORDER_BYTES = 65_536

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
log = structlog.get_logger()


def map_rings(place: dict[str, int], record_bytes: int, size_bytes: int) -> list[Ring]:
    """The rings in a file in memory: `fd`, `workers`, and where the first begins and how far the next is from it."""
    length = place["offset"] + (place["workers"] - 1) * place["stride"] + size_bytes
    memory = memoryview(mmap.mmap(place["fd"], length))
    starts = (place["offset"] + worker * place["stride"] for worker in range(place["workers"]))
    return [Ring(memory[start : start + size_bytes], record_bytes) for start in starts]


class HookProcess:
    """The hook process of one `run`."""

    def __init__(self, asks: list[Ring], answers: list[Ring], orders: socket.socket) -> None:
        self.asks, self.answers, self.orders = asks, answers, orders
        self.settings = PolicySettings()
        self.names = Names()
        self.pool: HookPool | None = None
        self.coming: HookPool | None = None
        self.watch: SourceWatch | None = None
        self.owners: RegisteredOwners | None = None
        self._rings: dict[int, Ring] = {}  # by identity of what is asked
        self._state, self._state_s = b"", 0.0
        self._asked_s = self._due_s = 0.0

    def serve(self) -> None:
        """Until standard input ends."""
        numbers = [self.orders.fileno()]
        while True:
            tick_s = BUSY_TICK_S if time.monotonic() - self._asked_s < BUSY_S else TICK_S
            ready, _, _ = select.select(numbers, [], [], tick_s)
            if self.orders.fileno() in ready and not self._obey():
                break
            now_s = time.monotonic()
            if ready or any(ring.has_more for ring in self.asks) or now_s >= self._due_s:
                self.turn(now_s)
                numbers = [self.orders.fileno(), *(number for pool in self._pools() for number in pool.fds())]
        self.close()

    def turn(self, now_s: float) -> None:
        """Carry everything that is there now."""
        self._take_asks(now_s)
        if self.pool is not None:
            self._give_answers(self.pool, now_s)
            for pair in self.pool.profiles():
                self._say(b"profiles " + json.dumps(pair).encode())
        self._look_at_project(now_s)
        self._tell_state(now_s)
        ends = [at for pool in self._pools() if (at := pool.next_s()) is not None]
        self._due_s = min([now_s + LOOK_S, *ends])

    def _pools(self) -> list[HookPool]:
        return [pool for pool in (self.pool, self.coming) if pool is not None]

    # ---- the path -----------------------------------------------------------------------------------------------------
    def _take_asks(self, now_s: float) -> None:
        offset_ns = monotonic_offset_ns()
        for number, ring in enumerate(self.asks):
            for raw in ring.read():
                try:
                    identity, request = decode_ask(raw, self.names, offset_ns)
                except RecordError:
                    continue  # of a packet process that was taken over: nobody waits for an answer
                if self.pool is None:
                    self.answers[number].write(pack_answer(identity, None, []))
                    continue
                self._rings[identity] = self.answers[number]
                self._asked_s = now_s
                self.pool.ask(request, identity, now_s)

    def _give_answers(self, pool: HookPool, now_s: float) -> None:
        for identity, verdict in pool.answers(now_s):
            ring = self._rings.pop(identity, None)
            if ring is not None:
                _, name = pool.deciders.get(identity, (0, ""))
                tag = hook_tag(name) if name else NO_HOOK
                ring.write(pack_answer(identity, verdict, self.names.categories, tag))

    # ---- the project --------------------------------------------------------------------------------------------------
    def _look_at_project(self, now_s: float) -> None:
        if self.coming is not None:
            self.coming.answers(now_s)
            if self.coming.is_ready:
                self._replace_pool(self.coming)
                self.coming = None
            elif self.coming.failure is not None and self.pool is not None:
                log.error("the policy's settings were not taken: what was in force stays")
                self.coming.close()
                self.coming = None
        if self.watch is not None and self.watch.has_changed(now_s):
            self._load_again()

    def _load_again(self) -> None:
        assert self.watch is not None
        target = self.coming or self.pool
        try:
            sources = Sources.read(self.watch.path)
        except ProjectError as error:
            log.error("the policy was not reloaded: what was in force stays", error=str(error))
            return
        if target is None:
            self._begin_pool(sources)
        else:
            target.take_sources(sources)

    def _begin_pool(self, sources: Sources) -> None:
        if self.coming is not None:
            self.coming.close()
        self.coming = HookPool(self.settings, sources)
        if self.pool is None:
            self.pool, self.coming = self.coming, None

    def _replace_pool(self, pool: HookPool | None) -> None:
        """Have another pool, or none, from here on; who waits for the old one gets the default verdict."""
        if self.pool is not None:
            self.pool.close()
        for identity, ring in self._rings.items():
            ring.write(pack_answer(identity, None, []))
        self._rings.clear()
        self.pool = pool

    def follow(self, configuration: Configuration, categories: list[str]) -> None:
        """Have this configuration hold."""
        database = configuration.subscriber_register.database
        if self.owners is not None:
            self.owners.close()
        self.owners = RegisteredOwners(database)
        self.names = Names.of(categories, configuration.profiles, self.owners.name_of)
        settings, before = configuration.policy, self.settings
        self.settings = settings
        if settings == before:
            return
        if settings.project is None:
            self._replace_pool(None)
            self.watch = None
            return
        self.watch = SourceWatch(settings.project)
        try:
            self._begin_pool(Sources.read(settings.project))
        except ProjectError as error:
            log.error("the policy cannot be loaded", error=str(error))

    # ---- the control process ------------------------------------------------------------------------------------------
    def _obey(self) -> bool:
        try:
            message, descriptors, _, _ = socket.recv_fds(self.orders, ORDER_BYTES, 1)
        except ConnectionError:  # who started us is gone, and had not heard all that we said
            return False
        order, _, content = message.partition(b" ")
        now_s = time.monotonic()
        if order == b"follow":
            with open(descriptors[0], "rb") as file:
                self.follow(*pickle.load(file))
            self._say(b"followed")
        elif order == b"tell" and self.pool is not None:
            with suppress(RecordError, ValueError):
                self.pool.tell(read_outcome(json.loads(content)), now_s)
        elif order == b"introduce" and self.pool is not None:
            with suppress(TypeError, ValueError):
                plain = json.loads(content)
                self.pool.introduce(Subscriber(**(plain | {"addresses": tuple(plain.get("addresses", ()))})), now_s)
        return bool(message)

    def _say(self, message: bytes, *descriptors: int) -> bool:
        """Say something, unless who started us is gone, or does not listen just now."""
        try:
            socket.send_fds(self.orders, [message], descriptors, socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True

    def _tell_state(self, now_s: float) -> None:
        if now_s - self._state_s < STATE_S:
            return
        self._state_s = now_s
        state = json.dumps(self.pool.read_state() if self.pool is not None else None).encode()
        if state != self._state:
            descriptor = seal_file("penstock-hooks", [state])
            if self._say(b"state", descriptor):
                self._state = state
            os.close(descriptor)

    def close(self) -> None:
        """End all worker processes."""
        for pool in self._pools():
            pool.close()
        self.pool = self.coming = None


def main() -> int:
    """Run until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the control process decides; its end closes our input
    try:
        standing: dict[str, Any] = json.loads(sys.argv[1])
        more = ["dac_override"] if read_permitted() >> CAPABILITIES["dac_override"] & 1 else []
        keep_capabilities([*RIGHTS, *more])
        asks = map_rings(standing["asks"], ASK_BYTES, ASKS_BYTES)
        answers = map_rings(standing["answers"], ANSWER_BYTES, ANSWERS_BYTES)
        HookProcess(asks, answers, socket.socket(fileno=sys.stdin.fileno())).serve()
    except (PenstockError, OSError) as error:
        print(f"penstock: the hooks: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
