"""A box whose requests ask hooks: the other side of both rings is the test's.

Hooks are asked about `asked.test`, `bad.test` (a list refuses it) and all below them, on every port but 8443, and about
whatever is gambling; the budget is BUDGET_MS.
"""

import atexit
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from penstock.control.configuration import CourtOrders
from penstock.control.events import EventReader, decode_event
from penstock.control.hooks.asks import Names, decode_ask
from penstock.control.hooks.rings import Ring, hook_tag, pack_answer
from penstock.control.snapshot import build_snapshot
from penstock.hooks import Filter, Request, Verdict
from penstock.path import asks as a
from penstock.path import layout
from penstock.path.ask_rings import ANSWER_BYTES, ANSWERS_BYTES, ASK_BYTES, ASKS_BYTES
from penstock.path.memory import ANSWERS_OFF
from penstock.policy.snapshot import Snapshot
from tests.path.boxes import Box, owners, policy
from tests.vocabulary import Segment, read_frame

BUDGET_MS = 50
FILTERS = (
    Filter.declare(hosts=["asked.test", "bad.test"], ports=["1-8442", "8444-65535"]),
    Filter.declare(categories="gambling"),
)
HOOK = "decide"


@cache
def asking(*courts: str) -> Snapshot:
    """The policy of `tests.path.boxes`, with hooks, and with courts' orders about some categories."""
    known = policy()
    settings = known.configuration.policy.model_copy(update={"budget_ms": BUDGET_MS})
    orders = CourtOrders(categories=courts)
    configuration = known.configuration.model_copy(update={"policy": settings, "court_orders": orders})
    directory = tempfile.TemporaryDirectory()
    atexit.register(directory.cleanup)
    path = build_snapshot(configuration, configuration.database, 9, Path(directory.name), filters=FILTERS)
    return Snapshot.open(path)


class Ask(NamedTuple):
    """What a hook is asked."""

    identity: int
    request: Request


class AskingBox(Box):
    """A box that asks."""

    def __init__(self, **choices: Any) -> None:
        super().__init__(**choices)
        self.use(asking())
        self.memory = self.path.connect_hooks()
        self._words = self.path.worker.room(layout.W_ASKS)
        view = memoryview(self.memory.bytes)
        self.asks = Ring(view[:ASKS_BYTES], ASK_BYTES)
        self.answers = Ring(view[ANSWERS_OFF : ANSWERS_OFF + ANSWERS_BYTES], ANSWER_BYTES)

    def use(self, snapshot: Snapshot) -> None:
        """Judge by another snapshot from here on."""
        self.path.set_snapshot(snapshot.address, snapshot.names_address)

    def asked(self) -> list[Ask]:
        """What was asked since the last look."""
        names = Names.of(asking().category_names, ["all", "none", "hidden"], {}.get)
        return [Ask(*decode_ask(raw, names, 0)) for raw in self.asks.read()]

    def ask(self) -> Ask:
        """The one thing that was asked since the last look."""
        (found,) = self.asked()
        return found

    def answer(self, ask: Ask, verdict: Verdict | None = None) -> list[tuple[bool, Segment]]:
        """A hook answers, and the worker takes it: what was sent."""
        tag = hook_tag(HOOK) if verdict else 0
        assert self.answers.write(pack_answer(ask.identity, verdict, asking().category_names, tag))
        return self.turn()

    def turn(self, later_ms: float = 1) -> list[tuple[bool, Segment]]:
        """A turn of the worker, a little later: what was sent."""
        self.now_ns += int(later_ms * 1e6)
        sent = self.path.serve_asks(self.now_ns)
        return [(side, read_frame(content)) for side, content in sent]

    def _word(self, at: int) -> int:
        return int(self._words[at // 8])

    def waiting(self) -> int:
        """Packets that wait for hooks."""
        lines = self._words[a.A_LINES // 8 : a.A_QUEUE // 8].reshape(a.LINE_COUNT, a.LINE_BYTES // 8)
        return int(lines[lines[:, a.L_FLOW // 8] != 0, a.L_COUNT // 8].sum())

    def lines(self) -> int:
        """Flows that wait."""
        return self._word(a.A_OPEN)

    def unasked(self) -> int:
        """Requests that hooks should have been asked about, and were not."""
        return self.memory.count_unasked()

    def check_ledger(self) -> None:
        """Everything that went up has one path reason, or waits; and no slot is lost."""
        went_up = sum(count for name, count in self.counts().items() if name.startswith("up_"))
        assert went_up == sum(self.path_counts().values()) - self.peeks + self.held() + self.waiting()
        assert self._word(a.A_SLOTS) == self.waiting()
        assert self._words[a.A_SHARES // 8 : a.A_LINES // 8].sum() == self.waiting()

    def events(self) -> list[dict[str, Any]]:
        """The events since the last look."""
        reader = EventReader(self.path.shared)
        return [decode_event(raw, asking(), owners(), 0, {hook_tag(HOOK): HOOK}) for raw in reader.read()]


def reached(sent: list[tuple[bool, Segment]]) -> list[bytes]:
    """The data that reached the server, packet by packet."""
    return [segment.data for to_server, segment in sent if to_server and not segment.is_reset]


def answered(sent: list[tuple[bool, Segment]]) -> bytes:
    """The data that the client got."""
    return b"".join(segment.data for to_server, segment in sent if not to_server)
