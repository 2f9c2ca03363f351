"""`penstock status`, `off` and `on`: they read and write pinned tables, and need no running process."""

import socket
import time
from pathlib import Path

from pyroute2 import IPRoute
from rich.console import Console
from rich.table import Table

from penstock.control.guard_report import word_guard
from penstock.control.health import describe_health, read_health
from penstock.control.ledger import find_quantile_us, read_counters, read_ledger, read_times
from penstock.errors import PenstockError
from penstock.kernel import bpf, tables
from penstock.kernel.declared import Map
from penstock.kernel.reasons import REASONS, Verdict
from penstock.line.handover import DOORS, Caller, HandoverError
from penstock.line.inline import SIDES, Control
from penstock.line.links import read_link
from penstock.line.pins import find_pairs, find_root, find_tables, open_own_table, open_switches


def _find(ingress: str | None) -> list[Path]:
    pairs = find_pairs(find_root(mount=False))
    if ingress:
        pairs = [pair for pair in pairs if pair.name.split("-", 2)[2].startswith(ingress.replace(".", "~") + "-")]
    if not pairs:
        raise PenstockError("nothing is in line here: start `penstock run`, or lay the cable with `penstock cable up`")
    return pairs


def _open_control(pair: Path) -> Control | None:
    return Control() if _map_pinned(pair, tables.control) is not None else None


def _name(pair: Path) -> str:
    return pair.name.split("-", 2)[2].replace("~", ".")


def set_switch(wanted: bool, ingress: str | None) -> list[str]:
    """Turn the switch of every pair here (or of the one with this ingress). Returns a line for each."""
    lines = []
    word = "on" if wanted else "off"
    for pair in _find(ingress):
        switches = open_switches(find_tables(pair))  # of every version: it is for emergencies
        changed = [switch.turn(wanted) for switch in switches]
        if not switches:
            lines.append(f"{_name(pair)}: only a cable, nothing to switch")
        else:
            lines.append(f"{_name(pair)}: {word}" if any(changed) else f"{_name(pair)}: was {word} already")
    return lines


def _link_text(pair: Path, kind: str) -> str:
    live = []
    for side in SIDES:
        try:
            link = bpf.open_pin(str(pair / f"{kind}_{side}"))
        except FileNotFoundError:
            continue
        if bpf.link_ifindex(link):
            live.append(side)
    return "both sides" if len(live) == 2 else (f"{live[0]} only" if live else "none")


def _find_names(pair: Path) -> tuple[str, str]:
    """The two interfaces of a pair: where a name has a hyphen, the cut at which most of them are there."""
    text, present = _name(pair), {name for _, name in socket.if_nameindex()}
    cuts = [(text[:at], text[at + 1 :]) for at, letter in enumerate(text) if letter == "-"]
    return max(cuts, key=lambda names: len(present.intersection(names)))


def _interface_text(pair: Path, side: str, name: str) -> str:
    with IPRoute() as route:
        link = read_link(route, name)
    if link is None:
        return f"[red]{name} is gone[/]"
    if (pair / f"held_{side}").exists() and not link.is_up:
        return f"[red]{name} was taken down, because the other side is lost[/]"
    if not link.has_carrier:
        return f"[red]{name} {'has no carrier' if link.is_up else 'is down'}: nothing crosses[/]"
    return f"{name} up, MTU {link.mtu:,}"


def _map_pinned(pair: Path, table: Map) -> memoryview | None:
    try:
        table.fd = open_own_table(pair, table.name)
    except FileNotFoundError:
        return None
    return memoryview(bpf.map_memory(table))


def _pulse_text(pulse: memoryview) -> str:
    ages = []
    for ring in range(tables.RINGS_BOUND):
        beat = int.from_bytes(pulse[ring * tables.PULSE_BYTES : ring * tables.PULSE_BYTES + 8], "little")
        if beat:
            ages.append((time.clock_gettime_ns(time.CLOCK_MONOTONIC) - beat) / 1e6)
    if not ages:
        return "[red]none: packets pass unread (fail open)[/]"
    text = f"{len(ages)} worker(s), oldest pulse {max(ages):.0f} ms"
    return text if max(ages) < tables.STALE_NS / 1e6 else f"[red]{text}: late, packets pass unread[/]"


def _run_text(pair: Path) -> str:
    """Who holds the pair, as it says itself."""
    try:
        with Caller(DOORS / pair.name) as caller:
            told = caller.who()
    except HandoverError:
        return "none that answers"
    return f"process {told['pid']}, version {told['version']}"


def print_status(ingress: str | None) -> int:
    """Print what is in line here. Exit status 0 when everything judges, 1 when something does not."""
    console = Console()
    healthy = True
    for pair in _find(ingress):
        control, pulse = _open_control(pair), _map_pinned(pair, tables.pulse)
        counters = _map_pinned(pair, tables.counters)
        table = Table(title=_name(pair), show_header=False, title_justify="left")
        for side, name in zip(SIDES, _find_names(pair), strict=True):
            table.add_row(side, text := _interface_text(pair, side, name))
            healthy &= "[red]" not in text
        table.add_row("cable", _link_text(pair, "cable"))
        table.add_row("steer", _link_text(pair, "steer"))
        table.add_row("run", _run_text(pair))
        if control is None or pulse is None or counters is None:
            for other in find_tables(pair):
                table.add_row(
                    "tables", f"[red]{other.name}: another version judges, and its own `status` reads them[/]"
                )
            console.print(table)
            healthy = False
            continue
        table.add_row("switch", "on" if control.is_on else "[red]off: the cable carries everything[/]")
        table.add_row("packet process", _pulse_text(pulse))
        healthy &= control.is_on and "pass unread" not in _pulse_text(pulse)
        path_memory = _map_pinned(pair, tables.path_counters)
        ledger = read_ledger(read_counters(counters), read_counters(path_memory))
        for verdict in Verdict:
            reasons = [
                f"{ledger.reasons[reason.name]:,} {reason.name}"
                for reason in REASONS
                if reason.verdict == verdict and ledger.reasons[reason.name]
            ]
            table.add_row(f"{verdict.name.lower()} {ledger.verdicts[verdict]:,}", ", ".join(reasons))
        table.add_row("guard", word_guard(_name(pair)))
        times = read_times(_map_pinned(pair, tables.verdict_times))
        quantiles = [f"p{round(100 * q)} {find_quantile_us(times, q):.1f} us" for q in (0.5, 0.9, 0.99)]
        table.add_row("ring to wire", ", ".join(quantiles) if times.sum() else "nothing yet")
        health_memory = _map_pinned(pair, tables.health)
        if health_memory is not None:
            for name, health in read_health(health_memory).items():
                table.add_row(name, describe_health(health))
        table.add_row("waiting", f"{ledger.waiting:,}")
        table.add_row("difference", f"{ledger.difference:,} of {ledger.seen:,} packets seen")
        console.print(table)
    return 0 if healthy else 1
