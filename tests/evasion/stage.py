"""Plays strategies on a ground, many at a time, and asks the servers' logs what their applications did.

    play_all(ground, plays) ─► 48 at a time ─► it is quiet ─► logs ─► Seen for each play ─► connections reset

Knows grounds and recipes. Refuses to say what should have been seen: verdict.py does.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.evasion.datagrams import Caller, Sender, play_datagrams
from tests.evasion.frames import Ends
from tests.evasion.ground import Ground, server_address
from tests.evasion.places import TlsClient, build_stream, dns_query, http_request
from tests.evasion.recipe import BLOCKED, SERVERS, SHAKE, Datagrams, Quic, Strategy, Syn, Tcp
from tests.evasion.site import SINK_PORT
from tests.evasion.tcp import Connection
from tests.evasion.wire import Wire

AT_ONCE = 64
BATCH = 600
QUIET_S, QUIET_LIMIT_S = 0.25, 3.0
REJECTED = {400, 408, 413, 414, 431, 494, 501, 505}  # of nginx: not a request that it acted on
AUTHORITY = re.compile(r"^(?:CONNECT |\S+ +https?://)([^/ ]+)", re.IGNORECASE)
GRAMMAR = "http-"  # the families that are about HTTP itself meet a third server
PORTS = {"http": 80, "tls": 443, "sink": SINK_PORT, "dns-tcp": 53}


@dataclass(frozen=True)
class Part:
    """One strategy against one server, over one protocol and net, for one name."""

    strategy: Strategy
    over: str
    server: str
    net: str
    host: str

    @property
    def version(self) -> int:
        return 6 if self.net == "IPv6" else 4


@dataclass
class Seen:
    """What the server's application did for one play: the names that it acted on, how often; and what a sink took."""

    hosts: dict[str, int]
    taken: bytes = b""
    came: bytes = b""
    end: str = ""
    repeats: int = 0  # by the client, of what was not acknowledged

    def count(self, host: str) -> int:
        """How often it acted on this name, or on one below it."""
        return sum(times for names, times in self.hosts.items() if has_name(names, host))


def has_name(names: str, host: str) -> bool:
    """Is this name among those? One that only begins or ends with the same letters is another name."""
    return re.search(rf"(?<![a-z0-9_-]){re.escape(host)}(?!\.?[a-z0-9_-])", names) is not None


def parts_of(strategies: Iterable[Strategy], nets: Sequence[str], hosts: Sequence[str]) -> list[Part]:
    """Every part of these strategies."""
    return [
        Part(strategy, over, server, net, host)
        for strategy in strategies
        for net in nets
        if net in strategy.nets
        for over in strategy.over
        for server in SERVERS[over] + (("Node",) if strategy.family.startswith(GRAMMAR) else ())
        if not strategy.servers or server in strategy.servers
        for host in hosts
    ]


def play_all(
    ground: Ground, parts: Sequence[Part], tell: Callable[[int], None] = lambda count: None
) -> dict[Part, Seen]:
    """Play them; what was seen of each."""
    seen: dict[Part, Seen] = {}
    for batch in _batches(parts):
        seen |= asyncio.run(_play_batch(ground, batch))
        tell(len(batch))
    return seen


def _batches(parts: Sequence[Part]) -> Iterable[tuple[Part, ...]]:
    return [tuple(parts[at : at + BATCH]) for at in range(0, len(parts), BATCH)]


async def _play_batch(ground: Ground, batch: Sequence[Part]) -> dict[Part, Seen]:
    room = asyncio.Semaphore(AT_ONCE)
    clients = {ground.next_client(part.version): part for part in batch}
    ends: dict[Part, Any] = {}
    with Wire(ground) as wire:

        async def play_one(client: str, part: Part) -> None:
            async with room:
                there = Ends(client, server_address(part.server, part.version), *ground.macs)
                ends[part] = await _play(wire, there, part)

        await asyncio.gather(*(play_one(client, part) for client, part in clients.items()))
        acted = await _read_until_quiet(ground)
        for one in ends.values():
            if isinstance(one, Connection):
                one.forget()
        acted += await _read_until_quiet(ground)
    grouped = _group(acted)
    strays = [_name_of(entry) for entry in grouped[""]]  # of connections that were reset before they were accepted
    if ground.is_judged and any(has_name(name, BLOCKED) for name in strays):
        raise RuntimeError(f"a server acted on {BLOCKED}, and does not know for whom: {strays}")
    return {part: _gather(grouped[client], part, ends[part]) for client, part in clients.items()}


def _group(acted: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in acted:
        found[entry["client"]].append(entry)
    return found


async def _read_until_quiet(ground: Ground) -> list[dict[str, Any]]:
    loop, found, quiet = asyncio.get_running_loop(), [], 0.0
    end_s = loop.time() + QUIET_LIMIT_S
    while quiet < QUIET_S and loop.time() < end_s:
        news = ground.read_news()
        found += news
        quiet = 0.0 if news else quiet + 0.05
        await asyncio.sleep(0.05)
    return found


async def _play(wire: Wire, ends: Ends, part: Part) -> Connection | Sender:
    play = part.strategy.play
    address = ends.packed[: len(ends.packed) // 2]
    if isinstance(play, Tcp):
        tls = TlsClient(part.host) if part.over == "tls" else None
        honest = _honest_stream(part, tls)
        stream = honest if play.stream is None else build_stream(play.stream, part.host)
        if play.change is not None:
            stream = play.change(stream)
        one = Connection(wire, ends, PORTS[part.over], part.host, stream, tls)
        wire.takers[address] = one.take
        shakes = any(isinstance(step, Syn) for step in play.steps)
        await one.play(play.steps if shakes else SHAKE + play.steps)
        await one.settle()
        return one
    sender = Sender(wire, ends)
    wire.takers[address] = sender.take
    if isinstance(play, Datagrams):
        await play_datagrams(sender, play, part.host)
    else:
        assert isinstance(play, Quic)
        await Caller(sender, play, part.host).call()
    return sender


def _honest_stream(part: Part, tls: TlsClient | None) -> bytes:
    if tls is not None:
        return tls.advance()
    if part.over == "dns-tcp":
        query = dns_query(part.host)
        return len(query).to_bytes(2) + query
    return http_request(part.host)


def _gather(entries: list[dict[str, Any]], part: Part, one: Connection | Sender) -> Seen:
    seen = Seen({})
    for entry in entries:
        if entry["server"] != part.server:
            continue
        if entry["kind"] == "sink":
            seen.taken += bytes.fromhex(entry["taken"])
        name = _name_of(entry)
        if name:
            seen.hosts[name] = seen.hosts.get(name, 0) + 1
    if isinstance(one, Connection):
        seen.came, seen.end = one.came, "reset" if one.is_reset else "closed" if one.is_ended else "open"
        seen.repeats = one.repeats
    return seen


def _name_of(entry: dict[str, Any]) -> str:
    """The names that an entry shows the application to have acted on, in one string; a path is none."""
    if entry.get("status", 200) in REJECTED:
        return ""
    hosts = entry["host"]
    names = [str(host).lower() for host in (hosts if isinstance(hosts, list) else [hosts]) if host]
    if found := AUTHORITY.search(entry.get("line") or ""):
        names.append(found[1].lower())
    return " ".join(dict.fromkeys(names))
